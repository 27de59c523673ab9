"""Nightly runs: start one by hand, look at one."""

from __future__ import annotations

from typing import Any

import orjson
from botocore.exceptions import ClientError

from hoso.model.errors import InvalidInput, NotFound
from hoso.model.time import format_instant, parse_instant
from hoso.platform.ids import content_id
from hoso.platform.objects import Objects

Json = dict[str, Any]


def backfill_lease(name: str) -> str:
    """The lease and the folder of a backfill: its own, so that it neither waits for the nights nor disturbs them."""
    return f"backfill-{content_id(name)}"


class Runs:
    """Executions of the nightly state machine."""

    def __init__(self, states: Any, machine: str, workspace: str) -> None:
        self._states = states
        self._machine = machine
        self._workspace = workspace

    def start(self, as_of: object, now: int) -> Json:
        """Start the nightly work for an instant (ISO 8601), or for now.

        Raises:
            InvalidInput: ``as_of`` is no instant.
        """
        instant = now if as_of is None else parse_instant(as_of)
        if instant is None:
            raise InvalidInput("as_of is no date-time", hint="write such as 2026-11-22T19:00:00Z")
        text = format_instant(instant)
        # Names are kept for 90 days: a run by hand carries the time of its start, so that it can be repeated.
        name = f"{self._workspace}-{text[:10]}-{now}"
        self._states.start_execution(
            stateMachineArn=self._machine,
            name=name,
            input=orjson.dumps({"as_of": text, "workspace": self._workspace, "execution": name}).decode(),
        )
        return {"name": name, "as_of": text}

    def backfill(self, segment: str, revision: int, now: int) -> Json:
        """Start the work of one segment for everybody, beside the nightly runs. Answers the run's name."""
        name = f"{self._workspace}-backfill-{segment}-{revision}-{now}"[:80]
        given = {
            "as_of": format_instant(now),
            "workspace": self._workspace,
            "execution": name,
            "segments": [segment],
            "lease": backfill_lease(name),
        }
        self._states.start_execution(stateMachineArn=self._machine, name=name, input=orjson.dumps(given).decode())
        return {"name": name, "segment": segment, "as_of": given["as_of"]}

    def progress(self, objects: Objects, name: str) -> Json:
        """Batches of people that a backfill has, and how many are done."""
        root = f"nightly/{self._workspace}/{backfill_lease(name)}/"
        keys = list(objects.keys(root))
        return {
            "batches": sum("/batch/" in key for key in keys),
            "done": sum("/result/" in key for key in keys),
        }

    def show(self, name: str) -> Json:
        """The state of a run, with its report when it has ended well. Raises ``NotFound``."""
        arn = self._machine.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            run: Json = self._states.describe_execution(executionArn=arn)
        except ClientError as error:
            raise NotFound(f"no nightly run has the name {name}") from error
        output = run.get("output")
        return {
            "name": name,
            "status": run["status"],
            "report": orjson.loads(output) if output else None,
            "error": run.get("error"),
            "cause": run.get("cause"),
        }
