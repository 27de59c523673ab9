"""What access tokens may ask: Segment's Profile API, and how to greet who stands at a shop's door.

Without the authorizer of the admin API: the access token is the user name of Basic authentication, checked here on
every request. Errors have Segment's shape.
"""

from __future__ import annotations

import binascii
import os
from base64 import b64decode
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import unquote

import orjson

from hoso.govern.access_tokens import HOST, PROFILES, AccessTokens
from hoso.model.errors import Forbidden, InvalidInput, NotFound, Unauthorized
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.web import Answer, Request, Router, answer, decode_cursor, encode_cursor, request_of
from hoso.unify import spaces
from hoso.unify.build import Parts
from hoso.unify.fragments import New
from hoso.unify.handlers.door import greeting
from hoso.unify.lookup import person_named
from hoso.unify.profiles import Profile
from hoso.unify.timeline import MOST_READ, Cursor, Wanted

_CODES = {401: "authentication_error", 404: "not_found", 400: "validation_error"}
_FIRST_WITHIN = 1_000
"""Events walked through to find the first one."""

Json = dict[str, Any]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One request."""
    told = answer(event, context, ROUTES)
    told["headers"]["request-id"] = request_of(event, context).request_id
    problem: Json = orjson.loads(told["body"]) if told["statusCode"] >= 400 else {}
    if "code" in problem:
        code = _CODES.get(told["statusCode"], problem["code"])
        told["body"] = orjson.dumps({"error": {"code": code, "message": problem["message"]}}).decode()
    return told


def show(request: Request) -> Answer | Json:
    """One part of one profile."""
    here = _parts()
    _check(request, PROFILES)
    if request.path.get("collection") != "users":
        raise NotFound("Only the collection `users` is kept.")
    part = request.path.get("part", "")
    if part not in _PARTS:
        raise NotFound("The requested resource does not exist.")
    workspace = here.settings.workspace
    asked = spaces.identifier_of(unquote(request.path.get("id", "")))
    profile = person_named(here.people, here.people.identity_config(workspace), workspace, asked)
    url = f"/v1/spaces/{workspace}/collections/users/profiles/{profile.pid}/{part}"
    return _PARTS[part](profile, request.query, url)


def greet(request: Request) -> Answer:
    """What the host of a shop may say; see ``GET /v1/host/{store}/greeting``."""
    _check(request, HOST)
    return greeting(_parts(), request)


def _events(profile: Profile, query: Mapping[str, str], url: str) -> Json:
    limit = spaces.limit_of(query, spaces.EVENTS_DEFAULT, spaces.EVENTS_MOST)
    wanted = spaces.wanted_events(query)
    place = _place(query.get("next"))
    if query.get("sort", "desc") not in ("asc", "desc"):
        raise InvalidInput("The parameter `sort` is asc or desc")
    if query.get("sort") == "asc":
        found, following = _rising(profile, wanted, limit, place)
    else:
        page = _parts().people.timeline_page(profile, limit, place, wanted)
        found, following = page.events, page.next
    return spaces.events(profile, found, encode_cursor(list(following)) if following else "", url)


def _rising(profile: Profile, wanted: Wanted, limit: int, place: Cursor | None) -> tuple[list[New], Cursor | None]:
    """Oldest first, out of the newest ``MOST_READ`` events."""
    every: Iterable[New] = islice(_parts().people.events_before(profile, None), MOST_READ)
    times = (wanted.since or 0, wanted.until)
    kept = [
        new
        for new in every
        if wanted(new) and new.event.ts >= times[0] and (times[1] is None or new.event.ts < times[1])
    ]
    kept.reverse()
    if place is not None:
        kept = [new for new in kept if (new.event.ts, new.event.message_id) > (place.ts, place.message_id)]
    page = kept[:limit]
    last = page[-1].event if len(kept) > limit else None
    return page, Cursor(last.ts, last.message_id) if last is not None else None


def _metadata(profile: Profile, _query: Mapping[str, str], _url: str) -> Json:
    told = list(islice(_parts().people.events_before(profile, None), _FIRST_WITHIN + 1))
    whole = len(told) <= _FIRST_WITHIN
    return spaces.metadata(profile, told[-1] if told and whole else None, told[0] if told else None)


def _links(profile: Profile, _query: Mapping[str, str], _url: str) -> Json:
    groups = Wanted(types=frozenset({"group"}))
    return spaces.links(_parts().people.timeline_page(profile, _FIRST_WITHIN, None, groups).events)


_PARTS = {
    "traits": spaces.traits,
    "external_ids": spaces.external_ids,
    "events": _events,
    "metadata": _metadata,
    "links": _links,
}
ROUTES = Router(
    {
        "GET /v1/spaces/{space}/collections/{collection}/profiles/{id}/{part}": show,
        "GET /v1/spaces/{space}/host/{store}/greeting": greet,
    }
)


def _check(request: Request, scope: str) -> None:
    """Raises ``Unauthorized`` without a live token, ``Forbidden`` for one of another space or scope."""
    headers: Mapping[str, str] = request.event.get("headers") or {}
    found = _tokens().find(_user(headers.get("authorization", "")))
    if found is None:
        raise Unauthorized("No valid Access Token provided.")
    if found.workspace != _parts().settings.workspace or request.path.get("space") != found.workspace:
        raise Forbidden("The Access Token belongs to another space.")
    if found.scope != scope:
        raise Forbidden("The Access Token is not made for this.")


def _user(header: str) -> str:
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(rest.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def _place(text: str | None) -> Cursor | None:
    if not text:
        return None
    value: Any = decode_cursor(text)
    if isinstance(value, list) and len(value) == 2 and type(value[0]) is int and type(value[1]) is str:  # pyright: ignore[reportUnknownArgumentType]
        return Cursor(value[0], value[1])
    raise InvalidInput("The parameter `next` is no cursor of this list")


@cache
def _parts() -> Parts:
    return Parts(Settings.from_env(os.environ))


@cache
def _tokens() -> AccessTokens:
    here = _parts()
    dynamo: Any = client("dynamodb")
    return AccessTokens(Table(here.settings.control_table, dynamo), dynamo, here.clock, here.settings.workspace)
