"""Every minute: the people whose memberships time alone may change now."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

from hoso.model.time import SECOND_MS
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.log import logger
from hoso.platform.metrics import meter, metered
from hoso.platform.settings import Settings
from hoso.segment.due import DueTable, Swept, sweep
from hoso.unify.build import Parts
from hoso.unify.erasures import ERASURE
from hoso.unify.parting import look

RESERVE_MS = 10_000
"""Time left at which no further person is begun."""
AHEAD_MS = 10_000
"""Who falls due so soon after a sweep is waited for: everybody else is found by the next minute's in time."""


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Sweep the due table; what does not fit into this run is found by the next.

    Nobody waits longer than 50 seconds for a sweep to begin. While nobody falls due, a run ends at once.
    """
    del event
    parts, table = _parts()
    workspace = parts.settings.workspace
    parts.people.book(workspace)  # compiled once, before several threads ask for it

    def time_left() -> bool:
        return context.get_remaining_time_in_millis() > RESERVE_MS

    def swept(now: int) -> Swept:
        identities = parts.identities(workspace)

        def looked(who: str) -> int:
            if who.startswith(ERASURE):
                parts.eraser(workspace).resume(who.removeprefix(ERASURE))
                return 0
            return look(identities, parts.people, workspace, who, now)

        return sweep(table, looked, now, time_left)

    began = parts.clock()
    rounds = [swept(began)]
    soon = rounds[0].following
    if soon is not None and soon <= began + AHEAD_MS and time_left():
        last = began + AHEAD_MS
        while (left := last - parts.clock()) > 0 and time_left():
            time.sleep(min(left, SECOND_MS) / 1_000)
        rounds.append(swept(parts.clock()))
    result = {
        "people": sum(one.people for one in rounds),
        "changes": sum(one.changes for one in rounds),
        "left": rounds[-1].left,
        "failed": sum(one.failed for one in rounds),
    }
    if result["failed"]:
        meter().add("due_failed", result["failed"])
    if any(result.values()):
        logger("segment").info("due", extra=result)
    return result


@cache
def _parts() -> tuple[Parts, DueTable]:
    settings = Settings.from_env(os.environ)
    return Parts(settings), DueTable(Table(settings.delivery_table, client("dynamodb")), settings.workspace)
