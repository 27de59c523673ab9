"""OutboxFunction and OutboxSweepFunction: outbox rows to the bus.

``send`` gets INSERT records of the table's stream; ``sweep`` runs every five minutes and sends what ``send`` did not.
Needs: ``BatchGetItem PutItem BatchWriteItem Scan`` on the outbox, read on ``control``, ``events:PutEvents``.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.activate.build import Parts
from hoso.activate.outbox import Sender
from hoso.platform.dynamo import Key
from hoso.platform.settings import Settings

STOP_MS = 10_000
"""With less time than this left nothing new is begun (reliability R15)."""


@cache
def _parts() -> Parts:
    return Parts(Settings.from_env(os.environ))


def _sender() -> Sender:
    return _parts().sender


def send(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Send the rows of a stream batch; answers the lowest sequence number that has to come again."""
    positions: dict[Key, str] = {}
    for record in event["Records"]:
        if record["eventName"] == "INSERT":
            key = record["dynamodb"]["Keys"]
            positions[(key["pk"]["S"], key["sk"]["S"])] = record["dynamodb"]["SequenceNumber"]
    waiting = _sender().send(list(positions))
    failures = [number for key, number in positions.items() if key in waiting]
    return {"batchItemFailures": [{"itemIdentifier": min(failures, key=int)}] if failures else []}


def sweep(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Send rows that stand for over a minute."""
    sent = _sender().sweep(_parts().clock(), lambda: context.get_remaining_time_in_millis() > STOP_MS)
    return {"sent": sent}
