"""Copies of messages that came under several identifiers: ``handler`` answers the admin API, ``nightly`` is the
scheduled run over the last days (decision 0055)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from hoso.collect.quarantine import quarantine
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.time import DAY_MS, parse_instant
from hoso.platform.audit import audit_entry
from hoso.platform.aws import client
from hoso.platform.dynamo import ABSENT, Table
from hoso.platform.log import logger
from hoso.platform.metrics import meter, metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, decode_cursor, encode_cursor
from hoso.unify.archive_range import ArchiveRange, Range
from hoso.unify.build import Parts
from hoso.unify.copies import Striker, Taken, copies_key
from hoso.unify.placement import placement_of
from hoso.unify.rehub import copies_under

MOST_DAYS = 31
_NIGHTLY_DAYS = 2
"""Days of receipt that a night looks at: the last one whole, whatever the hour."""
_AT_ONCE = 500


class RepairRequest(BaseModel):
    """Copies received at or after ``from`` and before ``to`` (ISO 8601), of one source or all; ``limit`` messages of
    them from ``cursor`` on."""

    model_config = ConfigDict(extra="forbid")

    since: str = Field(alias="from")
    until: str = Field(alias="to")
    source: str = ""
    dry_run: bool = True
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None


@metered
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


@metered
def nightly(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Take out the copies of the last days. Killed or out of time, the next night goes on: what is done stays done.

    What it counted stands in the night's report (``copies``).
    """
    settings, now = _settings(), parts().clock()
    wanted = Range(now - _NIGHTLY_DAYS * DAY_MS, now + 1)
    taken, after = Taken(), ""
    while context.get_remaining_time_in_millis() > 60_000:
        counts, following = _strike(settings, wanted, after, _AT_ONCE, dry_run=False)
        taken.add(counts)
        if following is None:
            break
        after = following
    figures = asdict(taken)
    note = {"at": now, **figures}
    objects().put(copies_key(settings.workspace), orjson.dumps(note), "application/json")
    with suppress(Exception):  # a log that fails must not fail the work (reliability R56)
        logger("unify").info("copies", extra=figures)
    return figures


def repair(request: Request) -> dict[str, Any]:
    """Take out the copies of a range, some messages a call; a dry run, the default, counts."""
    actor = request.require("engineer")
    settings, order = _settings(), request.parse(RepairRequest)
    since, until = parse_instant(order.since), parse_instant(order.until)
    if since is None or until is None:
        raise InvalidInput("from and to are instants", hint="write such as 2026-11-28T04:00:00Z")
    if not 0 < until - since <= MOST_DAYS * DAY_MS:
        raise InvalidInput(f"a range has more than nothing and at most {MOST_DAYS} days")
    after: Any = decode_cursor(order.cursor) if order.cursor else ""
    if not isinstance(after, str):
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    if not order.dry_run:
        table, now = Table(settings.control_table, client("dynamodb")), parts().clock()
        what = f"{order.since} {order.until} {order.source}".strip()
        table.put(audit_entry(table, settings.workspace, now, actor.subject, "duplicates.repair", what).item, ABSENT)
    wanted = Range(since, until, order.source)
    taken, following = _strike(settings, wanted, after, order.limit, dry_run=order.dry_run)
    return {
        "dry_run": order.dry_run,
        "counts": asdict(taken),
        "next": None if following is None else encode_cursor(following),
    }


ROUTES = Router({"POST /v1/duplicates/repair": repair})


@cache
def parts() -> Parts:
    """What this process works with."""
    return Parts(_settings())


@cache
def objects() -> Objects:
    """The files."""
    return Objects(_settings().bucket, client("s3"))


def _strike(settings: Settings, wanted: Range, after: str, limit: int, *, dry_run: bool) -> tuple[Taken, str | None]:
    """The counts of one page of messages, and the place after which the next one begins."""
    within = settings.dedupe_days * DAY_MS
    found = ArchiveRange(objects(), settings.workspace, wanted).copies(within, after, limit, bodies=True)
    placed = placement_of(objects(), settings.workspace)
    under = copies_under(found, placed.rules_at) if placed else found
    striker = Striker(parts().store, parts().people, _keep, parts().clock)
    taken = striker.strike(settings.workspace, under, dry_run=dry_run)
    if not dry_run:
        meter().add("copies_taken_out", taken.struck)
        meter().add("copies_left", taken.expired)
    return taken, found[-1].place if len(found) == limit else None


def _keep(workspace: str, stage: str, source: str, at: int, rows: Sequence[BadRow]) -> None:
    quarantine(objects(), workspace, stage, source, at, rows)
    meter().add("quarantined", len(rows), stage=stage)


def _settings() -> Settings:
    return Settings.from_env(os.environ)
