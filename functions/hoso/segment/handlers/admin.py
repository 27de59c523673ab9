"""Admin API of segments and of nightly runs."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor
from hoso.segment.administration import Segments, shown_member
from hoso.segment.runs import Runs
from hoso.unify.build import Parts


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


def list_segments(request: Request) -> dict[str, Any]:
    """All segments."""
    request.require()
    return {"items": _segments().all(), "next": None}


def show_segment(request: Request) -> dict[str, Any]:
    """One segment with its document."""
    request.require()
    return _segments().get(request.path["key"])


def put_segment(request: Request) -> dict[str, Any]:
    """Make a segment, or its next revision."""
    request.require("marketer", "engineer", "admin")
    return _segments().put(request.path["key"], request.document)


def list_members(request: Request) -> dict[str, Any]:
    """The members of a segment, page by page."""
    request.require("marketer", "analyst", "engineer", "admin")
    page = _segments().members(request.path["key"], request.limit(), request.cursor)
    following = None if page.next is None else encode_cursor(list(page.next))
    return {"items": [shown_member(member) for member in page.items], "next": following}


def start_nightly(request: Request) -> dict[str, Any]:
    """Start the nightly work."""
    request.require("engineer", "admin")
    return _runs().start(request.document.get("as_of"), _parts().clock())


def show_nightly(request: Request) -> dict[str, Any]:
    """The state of a nightly run."""
    request.require()
    return _runs().show(request.path["name"])


ROUTES = Router(
    {
        "GET /v1/segments": list_segments,
        "GET /v1/segments/{key}": show_segment,
        "PUT /v1/segments/{key}": put_segment,
        "GET /v1/segments/{key}/members": list_members,
        "POST /v1/nightly": start_nightly,
        "GET /v1/nightly/{name}": show_nightly,
    }
)


@cache
def _parts() -> Parts:
    return Parts(Settings.from_env(os.environ))


@cache
def _segments() -> Segments:
    parts = _parts()
    profiles = Table(parts.settings.profiles_table, client("dynamodb"))
    return Segments(parts.control, profiles, parts.settings.workspace)


@cache
def _runs() -> Runs:
    settings = _parts().settings
    return Runs(client("stepfunctions"), settings.machine, settings.workspace)
