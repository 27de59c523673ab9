"""The Lambda behind the admin API of what was seen: the catalogue and the live feed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from hoso.collect.catalogue_store import CatalogueStore, brief, full
from hoso.collect.live import MOST, Live
from hoso.collect.write_keys import KIND
from hoso.model.errors import NotFound
from hoso.platform.aws import client
from hoso.platform.clock import clock_from, system_clock
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.stream_tail import StreamTail, tail_client
from hoso.platform.web import Request, Router, answer, encode_cursor


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one admin request."""
    return answer(event, context, _ROUTES)


def _list_events(request: Request) -> dict[str, Any]:
    """Events by name; ``?source=`` those that a source sent. ``more`` counts what found no room."""
    request.require()
    start, limit, source = request.cursor, request.limit(), request.query.get("source")
    found = desk().catalogue.read()
    items: list[dict[str, Any]] = []
    for name in sorted(found.events):
        if (start is None or name > str(start)) and (source is None or source in found.events[name]["sources"]):
            items.append(brief(name, found.events[name]))
            if len(items) > limit:
                break
    return {
        "items": items[:limit],
        "next": encode_cursor(items[limit - 1]["event"]) if len(items) > limit else None,
        "more": {"events": found.more_events, "properties": found.more_properties},
        "exact": found.exact,
    }


def _show_event(request: Request) -> dict[str, Any]:
    request.require()
    name = request.path["event"]
    event = desk().catalogue.read().events.get(name)
    if event is None:
        raise NotFound("no event of this name was seen", hint="names are listed by GET /v1/catalogue")
    return full(name, event)


def _live(request: Request) -> dict[str, Any]:
    """The latest events of a source, newest first: customers' data as shapes, refused ones with their reason."""
    request.require("engineer")
    key, limit = request.path["key"], request.limit(MOST, MOST)
    here = desk()
    here.control.get(here.workspace, KIND, key)
    feed = here.live.latest(key, limit)
    return {"items": feed.items, "next": None, "complete": feed.complete}


@dataclass(frozen=True, slots=True)
class Desk:
    """What this process works with."""

    workspace: str
    control: ControlStore
    catalogue: CatalogueStore
    live: Live


@cache
def desk() -> Desk:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    objects = Objects(settings.bucket, client("s3"))
    tail = StreamTail(settings.stream, tail_client())
    return Desk(
        settings.workspace,
        ControlStore(Table(settings.control_table, dynamodb), dynamodb, clock, ttl_ms=0),
        CatalogueStore(objects, settings.workspace, clock),
        Live(tail, objects, settings.workspace, clock, system_clock),
    )


_ROUTES = Router(
    {
        "GET /v1/catalogue": _list_events,
        "GET /v1/catalogue/{event}": _show_event,
        "GET /v1/sources/{key}/live": _live,
    }
)
