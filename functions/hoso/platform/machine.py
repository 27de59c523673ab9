"""Start executions of a state machine, each name once."""

from __future__ import annotations

from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from hoso.model.errors import Transient


class Machine:
    """One state machine."""

    __slots__ = ("_arn", "_client")

    def __init__(self, arn: str, client: Any) -> None:
        self._arn = arn
        self._client = client

    def start(self, given: dict[str, Any], name: str) -> None:
        """Start an execution; a name that was started already is left as it is. Raises ``Transient``."""
        try:
            self._client.start_execution(stateMachineArn=self._arn, name=name, input=orjson.dumps(given).decode())
        except self._client.exceptions.ExecutionAlreadyExists:
            return
        except (ClientError, BotoCoreError) as error:
            raise Transient(f"the machine does not start: {type(error).__name__}") from error
