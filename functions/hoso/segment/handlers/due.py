"""Every minute: the people whose memberships time alone may change now."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.log import logger
from hoso.platform.settings import Settings
from hoso.segment.due import DueTable, sweep
from hoso.unify.build import Parts

RESERVE_MS = 10_000
"""Time left at which no further person is begun."""


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Sweep the due table; what does not fit into this run is found by the next."""
    del event
    parts, table = _parts()
    workspace = parts.settings.workspace
    now = parts.clock()
    swept = sweep(
        table,
        lambda pid: len(parts.people.reevaluate(workspace, pid, now)),
        now,
        lambda: context.get_remaining_time_in_millis() > RESERVE_MS,
    )
    result = {"people": swept.people, "changes": swept.changes, "left": swept.left}
    if swept.people or swept.left:
        logger("segment").info("due", extra=result)
    return result


@cache
def _parts() -> tuple[Parts, DueTable]:
    settings = Settings.from_env(os.environ)
    return Parts(settings), DueTable(Table(settings.delivery_table, client("dynamodb")), settings.workspace)
