"""SuppressionFunction: what SES tells of addresses (bodies of its queue: EventBridge envelopes of the default bus).

Needs: read on ``control``; ``PutItem`` on ``delivery``; the write path of people, whose segments may ask for
suppression; ``sqs:SendMessage`` on its dead-letter queue.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import orjson

from hoso.activate.build import Parts
from hoso.activate.feedback import Feedback
from hoso.model.errors import Transient
from hoso.platform.aws import client
from hoso.platform.log import logger
from hoso.platform.queue import DeadLetters
from hoso.platform.settings import Settings


@cache
def _tools() -> tuple[Feedback, DeadLetters]:
    settings = Settings.from_env(os.environ)
    return Parts(settings).feedback(), DeadLetters(settings.dead_letters, client("sqs"))


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Suppress the addresses that bounced for good or complained; what cannot be read is buried with its reason."""
    feedback, dead = _tools()
    failures: list[dict[str, str]] = []
    for record in event["Records"]:
        try:
            feedback(orjson.loads(record["body"]))
        except Transient:
            failures.append({"itemIdentifier": record["messageId"]})
        except Exception as error:  # an envelope that breaks the code must neither vanish nor loop for ever
            logger("activate").error("feedback broke", extra={"error": type(error).__name__})
            dead.put(record["body"], f"error: {type(error).__name__}")
    return {"batchItemFailures": failures}
