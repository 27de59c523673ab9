"""The Lambda behind the admin API of sources, write keys and quarantine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hoso.collect.handlers import repairs
from hoso.collect.handlers.repairs import Bench
from hoso.collect.plan_lookup import PlansInUse
from hoso.collect.write_keys import KIND, SourceAdmin, SourceKind
from hoso.model.errors import InvalidInput, NotFound
from hoso.model.time import DAY_MS, format_instant, parse_instant
from hoso.platform.audit import audit_entry
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import ABSENT, Table
from hoso.platform.identity_rules import RulesInForce
from hoso.platform.objects import Objects
from hoso.platform.queue import WorkQueue
from hoso.platform.settings import Settings
from hoso.platform.stream import Stream, stream_client
from hoso.platform.web import Answer, Request, Router, answer


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


class Rotation(BaseModel):
    """When the old keys go out of use: an instant (ISO 8601), a day from now if left out."""

    model_config = ConfigDict(extra="forbid")

    revoke_at: str | None = None


@dataclass(frozen=True, slots=True)
class Desk(Bench):
    """What this process works with."""

    sources: SourceAdmin


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
    """Out of use now, or from ``?at=`` (ISO 8601) on."""
    actor = request.require("engineer")
    at = _instant(request.query["at"]) if "at" in request.query else None
    desk().sources.revoke(request.path["key"], request.path["prefix"], actor.subject, at)
    return {"success": True}


def _rotate_key(request: Request) -> Answer:
    """A new key now, the old ones until the chosen time."""
    actor = request.require("engineer")
    here, order = desk(), request.parse(Rotation)
    revoke_at = here.clock() + DAY_MS if order.revoke_at is None else _instant(order.revoke_at)
    made = here.sources.rotate(request.path["key"], revoke_at, actor.subject)
    return Answer(200, {**made, "old_keys_until": format_instant(revoke_at)})


def _instant(text: object) -> int:
    found = parse_instant(text)
    if found is None:
        raise InvalidInput("this is no instant", hint="write such as 2026-11-28T04:00:00Z")
    return found


@cache
def desk() -> Desk:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    table = Table(settings.control_table, dynamodb)
    control = ControlStore(table, dynamodb, clock, ttl_ms=0)

    def audit(actor: str, action: str, subject: str) -> None:
        table.put(audit_entry(table, settings.workspace, clock(), actor, action, subject).item, ABSENT)

    def settings_of(source: str) -> dict[str, Any]:
        try:
            return control.get(settings.workspace, KIND, source).body.get("settings", {})
        except NotFound:
            return {}

    return Desk(
        workspace=settings.workspace,
        sources=SourceAdmin(table, dynamodb, control, clock, settings.workspace),
        settings_of=settings_of,
        identity_of=RulesInForce(control).of,
        lookups=WorkQueue(settings.lookups, client("sqs")),
        objects=Objects(settings.bucket, client("s3")),
        stream=Stream(settings.stream, stream_client()),
        hash_of=lambda kind, value: control.hasher(settings.workspace).identifier(kind, value),
        plans=PlansInUse(table, clock, ttl_ms=0),
        clock=clock,
        audit=audit,
    )


_ROUTES = Router(
    {
        "GET /v1/sources": _list_sources,
        "PUT /v1/sources/{key}": _put_source,
        "POST /v1/sources/{key}/keys": _new_key,
        "DELETE /v1/sources/{key}/keys/{prefix}": _revoke_key,
        "POST /v1/sources/{key}/rotate": _rotate_key,
        "GET /v1/quarantine": lambda request: repairs.list_entries(request, desk()),
        "GET /v1/quarantine/{id}": lambda request: repairs.show_entry(request, desk()),
        "POST /v1/quarantine/{id}/replay": lambda request: repairs.replay_entry(request, desk()),
        "POST /v1/quarantine/repair": lambda request: repairs.repair_entries(request, desk()),
    }
)
