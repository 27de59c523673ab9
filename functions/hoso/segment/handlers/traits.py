"""Admin API of computed traits and scores: definitions, and what the last night made of them."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Route, encode_cursor
from hoso.segment.traits.store import Definitions
from hoso.unify.build import Parts


def list_traits(request: Request) -> dict[str, Any]:
    """All definitions, each with its freshness and the last night's figures."""
    request.require()
    return {"items": definitions().all(), "next": None}


def show_trait(request: Request) -> dict[str, Any]:
    """One definition."""
    request.require()
    return definitions().get(request.path["key"])


def show_history(request: Request) -> dict[str, Any]:
    """What each night made of a definition (values, quality, or why it was withheld), the newest first."""
    request.require()
    found, start = definitions().history(request.path["key"]), int(request.cursor or 0)
    end = start + request.limit()
    return {"items": found[start:end], "next": encode_cursor(end) if end < len(found) else None}


def put_trait(request: Request) -> dict[str, Any]:
    """Make a definition, or its next revision."""
    actor = request.require("marketer", "analyst", "engineer", "admin")
    return definitions().put(request.path["key"], request.document, actor.subject)


def delete_trait(request: Request) -> dict[str, Any]:
    """Take a definition out of use."""
    actor = request.require("marketer", "analyst", "engineer", "admin")
    definitions().delete(request.path["key"], actor.subject)
    return {"success": True}


TRAIT_ROUTES: dict[str, Route] = {
    "GET /v1/computed-traits": list_traits,
    "GET /v1/computed-traits/{key}": show_trait,
    "GET /v1/computed-traits/{key}/history": show_history,
    "PUT /v1/computed-traits/{key}": put_trait,
    "DELETE /v1/computed-traits/{key}": delete_trait,
}


@cache
def definitions() -> Definitions:
    """The definitions of this deployment's workspace."""
    settings = Settings.from_env(os.environ)
    parts = Parts(settings)
    table = Table(settings.control_table, client("dynamodb"))
    return Definitions(parts.control, table, Objects(settings.bucket, client("s3")), parts.clock, settings.workspace)
