"""TriggerFunction: price drops to the people whom they concern (messages of its queue: EventBridge envelopes).

Needs: read on ``profiles`` and ``control``; ``GetItem PutItem`` on ``delivery``; ``BatchWriteItem`` on the outbox.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import orjson

from hoso.activate.build import Parts
from hoso.activate.trigger import PriceWalk
from hoso.platform.settings import Settings

STOP_MS = 30_000
"""With less time than this left no further page of the audience is begun."""


@cache
def _walk() -> PriceWalk:
    return Parts(Settings.from_env(os.environ)).price_walk()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Walk through the audiences; a walk that time cut short comes again and goes on."""
    failures: list[dict[str, str]] = []
    for record in event["Records"]:
        detail: dict[str, Any] = orjson.loads(record["body"])["detail"]
        if not _walk().run(detail, lambda: context.get_remaining_time_in_millis() > STOP_MS):
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
