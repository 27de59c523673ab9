"""Admin API of lists and suppression lists.

Needs the write path of people (``profiles``, ``outbox`` and ``delivery``), read on ``control``, and its documents of
kind ``list``.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.activate.suppressions import told_page
from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor
from hoso.segment.lists import TELLING, Lists
from hoso.unify.build import Parts
from hoso.unify.listed import Entry

Json = dict[str, Any]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


def list_lists(request: Request) -> Json:
    """All lists."""
    request.require()
    return {"items": _lists().all(), "next": None}


def show_list(request: Request) -> Json:
    """One list."""
    request.require()
    return _lists().get(request.path["key"])


def put_list(request: Request) -> Json:
    """Make a list, or name it anew: ``{"name"?, "description"?}``."""
    actor = request.require("marketer", "engineer", "admin")
    return _lists().put(request.path["key"], request.document, actor.subject)


def delete_list(request: Request) -> Json:
    """Empty a list and take it out of use, at most 1,000 members a call: call again until it says ``deleted``."""
    actor = request.require("marketer", "engineer", "admin")
    return _lists().delete(request.path["key"], actor.subject)


def change_members(request: Request) -> Json:
    """``{"add"?: [...], "remove"?: [...], "reason"?}``: at most 1,000 TYPE:VALUE or profile ids; ``?dry_run=true``."""
    actor = request.require("marketer", "engineer", "admin")
    return _lists().change(request.path["key"], request.document, actor.subject, dry_run=_is_dry(request))


def list_members(request: Request) -> Json:
    """Who is on a list, page by page."""
    request.require("marketer", "analyst", "engineer", "privacy", "admin")
    found, following = _lists().members(request.path["key"], request.limit(), request.cursor)
    return {"items": found, "next": None if following is None else encode_cursor(list(following))}


def change_suppressions(request: Request) -> Json:
    """``{"channel": "*", "add"?, "remove"?, "reason"?}``: nothing may go to them on the channel, or may again."""
    actor = request.require("marketer", "engineer", "privacy", "admin")
    return _lists().suppress(request.document, actor.subject, dry_run=_is_dry(request))


def list_suppressions(request: Request) -> Json:
    """Who is suppressed by hand on ``?channel=`` (default ``*``); with ``?by=channel`` what the channel itself told."""
    request.require("marketer", "analyst", "engineer", "privacy", "admin")
    channel, by = request.query.get("channel", "*"), request.query.get("by", "hand")
    if by == "hand":
        found, following = _lists().suppressed(channel, request.limit(), request.cursor)
        return {"items": found, "next": None if following is None else encode_cursor(list(following))}
    if by != "channel" or channel not in TELLING:
        raise InvalidInput("by is hand, or channel for a channel that tells: " + ", ".join(TELLING))
    parts = _parts()
    delivery = Table(parts.settings.delivery_table, client("dynamodb"))
    workspace = parts.settings.workspace
    told, after = told_page(delivery, workspace, channel, request.limit(), str(request.cursor or ""))
    owners = parts.listed.owners(workspace, [Entry(one.hash, channel, one.at, one.reason) for one in told])
    items = [
        {"profile_id": pid, "type": channel, "since": format_instant(one.at), "reason": one.reason}
        for one, pid in zip(told, owners, strict=True)
    ]
    return {"items": items, "next": None if after is None else encode_cursor(after)}


ROUTES = Router(
    {
        "GET /v1/lists": list_lists,
        "GET /v1/lists/{key}": show_list,
        "PUT /v1/lists/{key}": put_list,
        "DELETE /v1/lists/{key}": delete_list,
        "POST /v1/lists/{key}/members": change_members,
        "GET /v1/lists/{key}/members": list_members,
        "POST /v1/suppressions": change_suppressions,
        "GET /v1/suppressions": list_suppressions,
    }
)


def _is_dry(request: Request) -> bool:
    return request.query.get("dry_run") == "true"


@cache
def _parts() -> Parts:
    return Parts(Settings.from_env(os.environ))


@cache
def _lists() -> Lists:
    parts = _parts()
    workspace = parts.settings.workspace
    table = Table(parts.settings.control_table, client("dynamodb"))
    config = parts.identities(workspace).config
    return Lists(parts.control, table, parts.listed, config, parts.clock, workspace)
