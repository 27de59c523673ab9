"""The Lambda behind the admin API of webhook sources: settings, addresses, secrets."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hoso.collect.pulls.work import standings
from hoso.collect.sources.contract import SIGNING
from hoso.collect.sources.directory import HookAdmin
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor


class HookSourceInput(BaseModel):
    """A webhook source. ``kind`` names its sender; what ``settings`` may hold depends on it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    kind: str = Field(max_length=40)
    enabled: bool = True
    settings: dict[str, Any] = {}
    events_per_minute: int | None = Field(default=None, ge=1, le=10_000_000)
    """Budget of the source (security S7); left out: 600,000."""


class SecretInput(BaseModel):
    """A secret that the sender gave; left out, one is made. ``use`` is what it is for."""

    model_config = ConfigDict(extra="forbid")

    use: str = SIGNING
    secret: str | None = None


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one admin request."""
    return answer(event, context, _ROUTES)


def _list(request: Request) -> dict[str, Any]:
    request.require()
    after, limit = request.cursor, request.limit()
    items = [item for item in hooks().all() if not isinstance(after, str) or item["key"] > after]
    following = encode_cursor(items[limit - 1]["key"]) if len(items) > limit else None
    return {"items": items[:limit], "next": following}


def _show(request: Request) -> dict[str, Any]:
    request.require("engineer")
    return hooks().show(request.path["key"])


def _put(request: Request) -> dict[str, Any]:
    actor = request.require("engineer")
    return hooks().put(request.path["key"], request.parse(HookSourceInput).model_dump(), actor.subject)


def _add_secret(request: Request) -> dict[str, Any]:
    actor = request.require("engineer")
    order = request.parse(SecretInput)
    return hooks().add_secret(request.path["key"], order.use, order.secret, actor.subject)


def _new_address(request: Request) -> dict[str, Any]:
    actor = request.require("engineer")
    return hooks().new_address(request.path["key"], actor.subject)


def _revoke(request: Request) -> dict[str, Any]:
    actor = request.require("engineer")
    hooks().revoke(request.path["key"], request.path["id"], actor.subject)
    return {"success": True}


def _pulls(request: Request) -> dict[str, Any]:
    request.require()
    hooks().show(request.path["key"])
    settings = Settings.from_env(os.environ)
    delivery = Table(settings.delivery_table, client("dynamodb"))
    return {"items": standings(delivery, settings.workspace, request.path["key"]), "next": None}


@cache
def hooks() -> HookAdmin:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    table = Table(settings.control_table, dynamodb)
    control = ControlStore(table, dynamodb, clock, ttl_ms=0)
    return HookAdmin(table, dynamodb, control, clock, settings.workspace, settings.public_url)


_ROUTES = Router(
    {
        "GET /v1/webhook-sources": _list,
        "GET /v1/webhook-sources/{key}": _show,
        "PUT /v1/webhook-sources/{key}": _put,
        "POST /v1/webhook-sources/{key}/secrets": _add_secret,
        "DELETE /v1/webhook-sources/{key}/secrets/{id}": _revoke,
        "POST /v1/webhook-sources/{key}/addresses": _new_address,
        "DELETE /v1/webhook-sources/{key}/addresses/{id}": _revoke,
        "GET /v1/webhook-sources/{key}/pulls": _pulls,
    }
)
