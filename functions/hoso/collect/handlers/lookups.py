"""LookupFunction: what senders only name, fetched from their APIs (messages of its queue, ``sources.lookups``).

Needs: read on ``control``; ``kinesis:PutRecords``; the quarantine; ``sqs:ChangeMessageVisibility`` on its queue,
``sqs:SendMessage`` on its dead-letter queue.
"""

from __future__ import annotations

import os
import random
from functools import cache
from typing import Any, NamedTuple

from hoso.collect.build import DoorParts
from hoso.collect.sources.directory import HookSources
from hoso.collect.sources.lookups import LookupDesk, read_order
from hoso.collect.sources.storing import FactStore
from hoso.model.errors import InvalidInput, Transient
from hoso.model.time import SECOND_MS
from hoso.platform.aws import client
from hoso.platform.http import Outbound
from hoso.platform.log import logger
from hoso.platform.metrics import metered
from hoso.platform.queue import DeadLetters, Queue
from hoso.platform.settings import Settings

MOST_ERRORS = 8
"""Receives after which a message that breaks the code is buried."""
STOP_MS = 110_000
"""With less time than this left no message is begun: one asks up to ten questions of ten seconds."""
_TROUBLE_MS = 5 * SECOND_MS


class Tools(NamedTuple):
    """What a batch is worked off with."""

    desk: LookupDesk
    queue: Queue
    dead: DeadLetters


@cache
def tools() -> Tools:
    """Made at the first call."""
    settings = Settings.from_env(os.environ)
    parts = DoorParts(settings)
    queues = client("sqs")
    desk = LookupDesk(
        sources=HookSources(parts.table, parts.control, parts.clock),
        store=FactStore(parts.stream, parts.hasher, parts.plan_of, parts.identity_of),
        objects=parts.objects,
        outbound=Outbound(local=settings.outbound_http),
        clock=parts.clock,
        uniform=random.SystemRandom().uniform,
    )
    return Tools(desk, Queue(queues), DeadLetters(settings.dead_letters, queues))


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Ask; what has to be asked again comes back later."""
    here = tools()
    again = [
        record["messageId"]
        for record in event["Records"]
        if context.get_remaining_time_in_millis() < STOP_MS or not _done(record, here)
    ]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}


def _done(record: dict[str, Any], here: Tools) -> bool:
    """Whether a message is done with."""
    tries = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
    try:
        wait = here.desk.work(read_order(record["body"]), tries)
    except Transient:
        wait = _TROUBLE_MS
    except InvalidInput as error:
        here.dead.put(record["body"], error.code)
        return True
    except Exception as error:  # a message that breaks the code must neither vanish nor loop for ever
        logger("collect").error("look-up broke", extra={"error": type(error).__name__, "receives": tries})
        if tries >= MOST_ERRORS:
            here.dead.put(record["body"], f"error: {type(error).__name__}")
            return True
        wait = _TROUBLE_MS
    if wait is None:
        return True
    here.queue.hide(record["eventSourceARN"], record["receiptHandle"], -int(-wait // SECOND_MS))
    return False
