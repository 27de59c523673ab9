"""Replays of the archive: ``handler`` answers the admin API, ``step`` is the task of the replay machine.

Input and output of ``step``: ``{"workspace", "replay"}`` → the same with ``done`` and ``wait_s``, the seconds until
the next step. With ``error``, the kind of an error, the machine says that it gives up.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.identity_config import IdentityConfig
from hoso.model.time import DAY_MS, format_instant, parse_instant
from hoso.platform.audit import audit_entry
from hoso.platform.aws import client
from hoso.platform.dynamo import ABSENT, Table
from hoso.platform.metrics import meter, metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.stream import Stream, stream_client
from hoso.platform.web import Answer, Request, Router, answer, encode_cursor
from hoso.unify.archive_range import ArchiveRange, Range
from hoso.unify.build import Parts
from hoso.unify.consumer import Consumer
from hoso.unify.copies import Striker
from hoso.unify.placement import placement_of
from hoso.unify.rewind import STEP_S, Rewinder, Rewinds, most_a_step, shown

MAX_RATE = 20_000
_MOST_DAYS = 31


class ReplayRequest(BaseModel):
    """Which events, by their receipt (``from`` to before ``to``, ISO 8601), go where, at most how many a second.

    ``restore`` says that the tables hold nothing of the range, so that ranges older than the timelines may be replayed
    into them.
    """

    model_config = ConfigDict(extra="forbid")

    since: str = Field(alias="from")
    until: str = Field(alias="to")
    source: str = ""
    into: Literal["live", "shadow"] = "shadow"
    rate: int = Field(default=2_000, ge=1, le=MAX_RATE)
    restore: bool = False
    dry_run: bool = False


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


@metered
def step(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The next piece of a replay; a failure is tried again by the machine."""
    began = time.monotonic()
    workspace, replay = event["workspace"], event["replay"]
    if "error" in event:
        rewinds(workspace).fail(replay, str(event["error"]))
        return {"workspace": workspace, "replay": replay, "done": True, "wait_s": 0}
    before = rewinds(workspace).get(replay)
    ended = rewinder(workspace).step(replay, context.get_remaining_time_in_millis)
    after = rewinds(workspace).get(replay)
    meter().add("replayed", after["events"] - before["events"])
    filled = after["events"] - before["events"] >= most_a_step(before)
    wait_s = max(0, STEP_S - int(time.monotonic() - began)) if filled and not ended else 0
    return {"workspace": workspace, "replay": replay, "done": ended, "wait_s": wait_s}


def start(request: Request) -> Answer:
    """Count what is in the range; unless it is a dry run, start the replay."""
    actor = request.require("engineer")
    settings, order = _settings(), request.parse(ReplayRequest)
    wanted = Range(_instant(order.since), _instant(order.until), order.source)
    now = parts().clock()
    if wanted.until <= wanted.since:
        raise InvalidInput("the range is empty: from must be before to")
    oldest = now - (settings.timeline_days - 1) * DAY_MS
    if order.into == "live" and not order.restore and wanted.since < oldest:
        raise InvalidInput(
            f"timelines go back to {format_instant(oldest)}: what is older would count twice",
            code="too_old",
            hint="begin later, or say restore if the tables hold nothing of it",
        )
    events = ArchiveRange(objects(), settings.workspace, wanted).count()
    if order.dry_run:
        return Answer(200, {"dry_run": True, "into": order.into, "events": events})
    replay = f"{now:013d}-{secrets.token_hex(4)}"
    held = rewinds(settings.workspace).create(replay, wanted, order.into, order.rate, actor.subject)
    table = Table(settings.control_table, client("dynamodb"))
    what = f"{order.into} {order.since} {order.until}"
    table.put(audit_entry(table, settings.workspace, now, actor.subject, "replay.start", what).item, ABSENT)
    client("stepfunctions").start_execution(
        stateMachineArn=settings.machine,
        name=f"replay-{replay}",
        input=orjson.dumps({"workspace": settings.workspace, "replay": replay}).decode(),
    )
    return Answer(202, {**shown(held), "total": events["total"]})


def listed(request: Request) -> dict[str, Any]:
    """Replays, newest first."""
    request.require("engineer", "analyst")
    found, following = rewinds(_settings().workspace).page(request.limit(), request.cursor)
    return {"items": [shown(held) for held in found], "next": encode_cursor(following) if following else None}


def show(request: Request) -> dict[str, Any]:
    """One replay with its progress and, at its end, its report."""
    request.require("engineer", "analyst")
    return shown(rewinds(_settings().workspace).get(request.path["id"]))


def stop(request: Request) -> dict[str, Any]:
    """Stop a replay: what is on its way arrives, nothing more is sent."""
    request.require("engineer")
    return shown(rewinds(_settings().workspace).stop(request.path["id"]))


def copies(request: Request) -> dict[str, Any]:
    """Message ids of a range (``?from= &to=``, at most 31 days) that came under several identifiers: each copy counts
    in the fragment of its own (decision 0028)."""
    request.require("engineer", "privacy")
    query, settings = request.query, _settings()
    wanted = Range(_instant(query.get("from", "")), _instant(query.get("to", "")), query.get("source", ""))
    if not 0 < wanted.until - wanted.since <= _MOST_DAYS * DAY_MS:
        raise InvalidInput(f"a range has more than nothing and at most {_MOST_DAYS} days")
    limit = request.limit()
    within = settings.dedupe_days * DAY_MS
    found = ArchiveRange(objects(), settings.workspace, wanted).copies(within, request.cursor or "", limit)
    return {
        "items": [
            {"message_id": one.message_id, "source": one.source, "same_content": one.same_content, "copies": one.found}
            for one in found
        ],
        "next": encode_cursor(found[-1].place) if len(found) == limit else None,
    }


ROUTES = Router(
    {
        "POST /v1/replays": start,
        "GET /v1/replays": listed,
        "GET /v1/replays/{id}": show,
        "POST /v1/replays/{id}/stop": stop,
        "GET /v1/duplicates": copies,
    }
)


@cache
def parts() -> Parts:
    """What this process works with: the live tables."""
    return Parts(_settings())


@cache
def objects() -> Objects:
    """The files."""
    return Objects(_settings().bucket, client("s3"))


def rewinds(workspace: str) -> Rewinds:
    """The documents of a workspace's replays."""
    return Rewinds(parts().store.delivery, parts().clock, workspace)


def shadow_parts(config: IdentityConfig | None = None) -> Parts:
    """The shadow's tables, under the identity rules in force or others."""
    settings = _settings()
    apart: dict[str, str] = dict.fromkeys(("profiles_table", "outbox_table", "delivery_table"), settings.shadow_table)
    return Parts(settings.model_copy(update=apart), config)


def rewinder(workspace: str, config: IdentityConfig | None = None) -> Rewinder:
    """The worker of a workspace's replays; ``config``: of a switch to these rules, by which every event is placed."""
    settings, shadow = _settings(), shadow_parts(config)
    placed = None if config else placement_of(objects(), workspace)

    def rules_at(received_at: int) -> IdentityConfig | None:
        return config if placed is None else placed.rules_at(received_at)

    def consumer(keep: Callable[[Sequence[BadRow]], None]) -> Consumer:
        return Consumer(
            shadow.store,
            shadow.identities,
            shadow.rulebook,
            lambda _workspace, _stage, _source, _at, rows: keep(rows),
            shadow.clock,
            keep_days=settings.timeline_days,
            dedupe_days=settings.dedupe_days,
        )

    return Rewinder(
        rewinds(workspace),
        objects(),
        Stream(settings.stream, stream_client()),
        parts().profiles,
        shadow.profiles,
        consumer,
        parts().control.hasher(workspace).identifier,
        workspace,
        (_striker(parts()), _striker(shadow)),
        settings.dedupe_days,
        rules_at,
    )


def _striker(made: Parts) -> Striker:
    """What takes copies out of these tables; what it would keep aside was kept when the live people were cleaned."""

    def keep(_workspace: str, _stage: str, _source: str, _at: int, _rows: Sequence[BadRow]) -> None:
        """Nothing: it is there."""

    return Striker(made.store, made.people, keep, made.clock)


def _settings() -> Settings:
    return Settings.from_env(os.environ)


def _instant(text: str) -> int:
    found = parse_instant(text)
    if found is None:
        raise InvalidInput("from and to are instants", hint="write such as 2026-11-28T04:00:00Z")
    return found
