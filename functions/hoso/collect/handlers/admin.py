"""The Lambda behind the admin API of sources, write keys and quarantine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hoso.collect.plan_lookup import PlansInUse
from hoso.collect.quarantine import STAGES, is_open, load, mark_replayed, newest_ids
from hoso.collect.replay import replay
from hoso.collect.write_keys import SourceAdmin, SourceKind
from hoso.model.errors import InvalidInput
from hoso.platform.aws import client
from hoso.platform.clock import Clock, clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.stream import Stream, stream_client
from hoso.platform.web import Answer, Request, Router, answer, encode_cursor


class ConsentSettings(BaseModel):
    """The state of consent before anybody was asked, as the settings documents tell it to web sites and apps."""

    model_config = ConfigDict(extra="forbid")

    default: Literal["granted", "denied", "unset"] = "unset"
    categories: dict[Annotated[str, Field(min_length=1, max_length=100)], Literal["granted", "denied"]] = Field(
        default_factory=dict[str, Literal["granted", "denied"]], max_length=50
    )


class SourceSettings(BaseModel):
    """Settings of a source. ``kind`` tells whether the connection is the customer's own (web, mobile) or a server's."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    kind: SourceKind
    enabled: bool = True
    events_per_minute: int | None = Field(default=None, ge=1, le=10_000_000)
    """Budget of the source (security S7); left out: 600,000."""
    consent: ConsentSettings = Field(default_factory=ConsentSettings)


class RepairedRow(BaseModel):
    """A new payload for a row of a quarantine entry."""

    model_config = ConfigDict(extra="forbid")

    index: int
    payload: Any


class ReplayOrder(BaseModel):
    """What to replay: all rows, some of them repaired. ``dry_run`` only judges."""

    model_config = ConfigDict(extra="forbid")

    rows: list[RepairedRow] = []
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """What this process works with."""

    workspace: str
    sources: SourceAdmin
    objects: Objects
    stream: Stream
    hash_of: Callable[[str, str], str]
    plans: PlansInUse
    clock: Clock


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one admin request."""
    return answer(event, context, _ROUTES)


def _list_sources(request: Request) -> dict[str, Any]:
    request.require()
    return {"items": desk().sources.all(), "next": None}


def _put_source(request: Request) -> dict[str, Any]:
    actor = request.require("engineer")
    settings = request.parse(SourceSettings)
    return desk().sources.put(request.path["key"], settings.model_dump(exclude_none=True), actor.subject)


def _new_key(request: Request) -> Answer:
    actor = request.require("engineer")
    return Answer(200, desk().sources.new_key(request.path["key"], actor.subject))


def _revoke_key(request: Request) -> dict[str, Any]:
    actor = request.require("engineer")
    desk().sources.revoke(request.path["key"], request.path["prefix"], actor.subject)
    return {"success": True}


def _list_quarantine(request: Request) -> dict[str, Any]:
    """Entries that wait for a replay, newest first; ``?state=all`` lists the others too."""
    request.require("engineer", "privacy", "analyst")
    stage = request.query.get("stage")
    if stage is not None and stage not in STAGES:
        raise InvalidInput(f"stage is one of {', '.join(STAGES)}")
    here, limit = desk(), request.limit()
    items: list[dict[str, Any]] = []
    ids = newest_ids(here.objects, here.workspace, request.cursor, stage)
    for entry_id in ids:
        entry = load(here.objects, here.workspace, entry_id)
        if is_open(entry) or request.query.get("state") == "all":
            items.append({**entry, "rows": len(entry["rows"]), "replays": len(entry.get("replays", []))})
        if len(items) >= limit:
            break
    more = next(islice(ids, 1), None) is not None
    return {"items": items, "next": encode_cursor(items[-1]["id"]) if more and items else None}


def _show_quarantine(request: Request) -> dict[str, Any]:
    """One entry with its payloads: these are customers' data."""
    request.require("engineer", "privacy")
    return load(desk().objects, desk().workspace, request.path["id"])


def _replay_quarantine(request: Request) -> dict[str, Any]:
    """Send the rows again; what is refused again stays where it is."""
    actor = request.require("engineer")
    here, order = desk(), request.parse(ReplayOrder)
    entry = load(here.objects, here.workspace, request.path["id"])
    repaired = {row.index: row.payload for row in order.rows}
    result = replay(entry, repaired, here.hash_of, here.plans.of(here.workspace, entry["source"]))
    if not order.dry_run:
        here.stream.put(result.records)
        note = {"at": here.clock(), "actor": actor.subject, "accepted": result.accepted}
        mark_replayed(here.objects, here.workspace, entry, note)
    return {
        "accepted": len(result.accepted),
        "rejected": [{"index": row.index, "code": row.code, "message": row.reason} for row in result.rejected],
        "dry_run": order.dry_run,
    }


@cache
def desk() -> Desk:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    table = Table(settings.control_table, dynamodb)
    control = ControlStore(table, dynamodb, clock, ttl_ms=0)
    return Desk(
        workspace=settings.workspace,
        sources=SourceAdmin(table, dynamodb, control, clock, settings.workspace),
        objects=Objects(settings.bucket, client("s3")),
        stream=Stream(settings.stream, stream_client()),
        hash_of=lambda kind, value: control.hasher(settings.workspace).identifier(kind, value),
        plans=PlansInUse(table, clock, ttl_ms=0),
        clock=clock,
    )


_ROUTES = Router(
    {
        "GET /v1/sources": _list_sources,
        "PUT /v1/sources/{key}": _put_source,
        "POST /v1/sources/{key}/keys": _new_key,
        "DELETE /v1/sources/{key}/keys/{prefix}": _revoke_key,
        "GET /v1/quarantine": _list_quarantine,
        "GET /v1/quarantine/{id}": _show_quarantine,
        "POST /v1/quarantine/{id}/replay": _replay_quarantine,
    }
)
