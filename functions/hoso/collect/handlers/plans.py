"""The Lambda behind the admin API of tracking plans."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.collect.plan_store import PlanAdmin
from hoso.model.errors import InvalidInput
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one admin request."""
    return answer(event, context, _ROUTES)


def _list_plans(request: Request) -> dict[str, Any]:
    request.require()
    start, limit = request.cursor, request.limit()
    plans = [plan for plan in plan_admin().all() if start is None or plan["key"] > str(start)]
    return _page(plans, limit, "key")


def _show_plan(request: Request) -> dict[str, Any]:
    """A plan; ``?revision=`` shows it as it was."""
    request.require()
    return plan_admin().get(request.path["key"], _number(request.query.get("revision")))


def _put_plan(request: Request) -> dict[str, Any]:
    """Store the next revision. ``breaking: true`` beside the document confirms that it refuses what was taken."""
    actor = request.require("engineer")
    document, breaking = _order(request)
    return plan_admin().put(request.path["key"], document, actor.subject, breaking=breaking)


def _preview_plan(request: Request) -> dict[str, Any]:
    """What the document of the body would change; nothing is stored."""
    request.require()
    return plan_admin().preview(request.path["key"], _order(request)[0])


def _list_revisions(request: Request) -> dict[str, Any]:
    request.require()
    cursor, limit = request.cursor, request.limit()
    if cursor is not None and type(cursor) is not int:
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    return _page(plan_admin().revisions(request.path["key"], limit, cursor), limit, "revision")


def _page(items: list[dict[str, Any]], limit: int, place: str) -> dict[str, Any]:
    more = len(items) > limit
    return {"items": items[:limit], "next": encode_cursor(items[limit - 1][place]) if more else None}


def _order(request: Request) -> tuple[dict[str, Any], bool]:
    document = dict(request.document)
    breaking = document.pop("breaking", False)
    if type(breaking) is not bool:
        raise InvalidInput("breaking is true or false", code="invalid_plan")
    return document, breaking


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise InvalidInput("revision must be a whole number")
    return int(text)


@cache
def plan_admin() -> PlanAdmin:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    table = Table(settings.control_table, dynamodb)
    return PlanAdmin(table, ControlStore(table, dynamodb, clock, ttl_ms=0), clock, settings.workspace)


_ROUTES = Router(
    {
        "GET /v1/plans": _list_plans,
        "GET /v1/plans/{key}": _show_plan,
        "PUT /v1/plans/{key}": _put_plan,
        "POST /v1/plans/{key}/preview": _preview_plan,
        "GET /v1/plans/{key}/revisions": _list_revisions,
    }
)
