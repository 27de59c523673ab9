"""Admin API of profiles: one person, a hundred, their timeline and sessions, and how traits are merged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any, cast
from urllib.parse import unquote

import orjson

from hoso.govern.access_tokens import PROFILES, AccessTokens
from hoso.model.derived import derived
from hoso.model.errors import Conflict, HosoError, InvalidInput, NotFound
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.web import Answer, Request, Router, answer, encode_cursor
from hoso.unify import past, relations, sessions, shown, veil
from hoso.unify.build import Parts
from hoso.unify.handlers.door import greeting
from hoso.unify.live_traits import with_live
from hoso.unify.lookup import MOST_AT_ONCE, Asked, find, find_many, read_asked
from hoso.unify.people import People
from hoso.unify.profiles import Profile
from hoso.unify.timeline import TYPES, Cursor, TimelinePage, Wanted
from hoso.unify.trait_policies import KEY, KIND, Policies

_FIRST_PAGE = 20
_SESSIONS = 10
Json = dict[str, Any]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


def show_profile(request: Request) -> Answer:
    """A person, whole or in some sections (``fields``), now or at a past moment (``as_of``)."""
    request.require()
    wanted = shown.sections_of(request.query.get("fields"))
    asked, profile = found_in(request)
    at = request.instant("as_of")
    if at is None:
        body = present(parts().people, profile, wanted, parts().clock())
        return tagged(request, seen(request, _led(asked, profile, body)))
    then = whole_past(request, asked, profile, at)
    return tagged(request, seen(request, shown_then(then, wanted)))


def whole_past(request: Request, asked: Asked, profile: Profile, at: int, older: past.Older | None = None) -> past.Past:
    """The person at a past moment, by the timeline, with ``older`` by these events too.

    Raises:
        InvalidInput: the moment is in the future.
        NotFound: nobody was known under the identifier then.
        Conflict: ``past_incomplete``: some events are gone, and the request does not take a part (``partial=true``).
    """
    if at > parts().clock():
        raise InvalidInput("the moment is in the future")
    then = past.as_of(parts().people, profile, asked.identifier, at, older)
    if not then.complete and request.query.get("partial") != "true":
        raise Conflict(
            "not all that had happened by then is there any more",
            code="past_incomplete",
            hint="GET /v1/profiles/{id}/past?at=… reads the archive too; partial=true shows what there is",
        )
    if not then.profile.fragments:
        raise NotFound("nobody was known under this identifier then")
    return then


def shown_then(then: past.Past, wanted: Mapping[str, frozenset[str]] | None) -> Json:
    """A past profile; its ``timeline`` is the newest events of then, without a next page."""
    body = shown.as_json(then.profile, wanted)
    if wanted is None or "timeline" in wanted:
        body["timeline"] = _page(TimelinePage(then.newest, None))
    return {**body, "as_of": {"at": format_instant(then.at), "complete": then.complete, "identity": then.identity}}


def show_batch(request: Request) -> Json:
    """Up to a hundred people: ``{"ids": [...], "fields"?: [...]}``; one entry per id, in their order."""
    request.require()
    asked: Any = request.document
    ids, fields = asked.get("ids"), asked.get("fields")
    if not isinstance(ids, list) or not 0 < len(cast("list[Any]", ids)) <= MOST_AT_ONCE:
        raise InvalidInput(f"ids must be a list of 1 to {MOST_AT_ONCE}")
    if not all(isinstance(one, str) for one in cast("list[Any]", ids)):
        raise InvalidInput("every id must be text", hint="write TYPE:VALUE, or a profile id")
    if fields is not None and not isinstance(fields, (list, str)):
        raise InvalidInput("fields must be a list of sections")
    text = ",".join(map(str, cast("list[Any]", fields))) if isinstance(fields, list) else fields
    wanted = shown.sections_of(text)
    here, now = parts(), parts().clock()
    items: list[Json] = []
    for name, found in find_many(here.people, here.settings.workspace, cast("list[str]", ids)):
        if isinstance(found, HosoError):
            items.append({"id": name, "profile": None, "error": {"code": found.code, "message": found.message}})
        else:
            asked_for, profile = found
            sections = wanted if wanted is not None else dict.fromkeys(shown.SECTIONS, frozenset[str]())
            body = present(here.people, profile, sections, now)
            items.append({"id": name, "profile": seen(request, _led(asked_for, profile, body)), "error": None})
    return {"items": items, "next": None}


def show_timeline(request: Request) -> Json:
    """Events of a person, newest first: of these names, types, sources (comma separated), ``from`` and ``to``."""
    request.require()
    _, profile = found_in(request)
    page = _page(parts().people.timeline_page(profile, request.limit(), _cursor(request), _wanted(request)))
    return page if request.actor.sees_persons else veil.page(page, veil.event)


def show_sessions(request: Request) -> Json:
    """Sessions of a person, newest first, with dwell per page and section."""
    request.require()
    _, profile = found_in(request)
    events = parts().people.events_before(profile, _cursor(request))
    found, place = sessions.page(events, request.limit(_SESSIONS, 50))
    page = {
        "items": [sessions.as_json(session) for session in found],
        "next": encode_cursor(list(place)) if place is not None else None,
    }
    return page if request.actor.sees_persons else veil.page(page, veil.session)


def show_greeting(request: Request) -> Answer:
    """What to say to who stands at the door of a shop: ``?token=…``; 404 with an empty greeting for a stranger."""
    request.require()
    said = greeting(parts(), request)
    return said if request.actor.sees_persons else Answer(said.status, veil.greeting(said.body), said.headers)


def show_policies(request: Request) -> Json:
    """How traits are merged."""
    request.require()
    held = parts().control.all(parts().settings.workspace, KIND).get(KEY)
    body = held.body if held else Policies().model_dump(by_alias=True)
    return {**body, "revision": held.revision if held else 0}


def list_tokens(request: Request) -> Json:
    """The access tokens that read profiles, by their prefix."""
    request.require("engineer", "privacy")
    return {"items": _tokens().all(), "next": None}


def new_token(request: Request) -> Json:
    """A new access token: ``{"name", "scope"?: "profiles" or "host"}``; shown only here."""
    actor = request.require("engineer")
    return _tokens().new(request.document.get("name"), request.document.get("scope", PROFILES), actor.subject)


def revoke_token(request: Request) -> Json:
    """Take a token out of use."""
    actor = request.require("engineer")
    _tokens().revoke(request.path.get("prefix", ""), actor.subject)
    return {"success": True}


def put_policies(request: Request) -> Json:
    """Set how traits are merged: it holds from the next read on, for what was said before too."""
    request.require("engineer")
    document = request.parse(Policies)
    body = document.model_dump(by_alias=True, mode="json")
    held = parts().control.put(parts().settings.workspace, KIND, KEY, body)
    return {**held.body, "revision": held.revision}


ROUTES = Router(
    {
        "GET /v1/profiles/{id}": show_profile,
        "POST /v1/profiles/batch": show_batch,
        "GET /v1/profiles/{id}/timeline": show_timeline,
        "GET /v1/profiles/{id}/sessions": show_sessions,
        "GET /v1/host/{store}/greeting": show_greeting,
        "GET /v1/traits/policies": show_policies,
        "PUT /v1/traits/policies": put_policies,
        "GET /v1/tokens": list_tokens,
        "POST /v1/tokens": new_token,
        "DELETE /v1/tokens/{prefix}": revoke_token,
    }
)


@cache
def parts() -> Parts:
    """What this process works with."""
    return Parts(Settings.from_env(os.environ))


@cache
def _tokens() -> AccessTokens:
    here = parts()
    dynamo: Any = client("dynamodb")
    return AccessTokens(Table(here.settings.control_table, dynamo), dynamo, here.clock, here.settings.workspace)


def present(people: People, profile: Profile, wanted: Mapping[str, frozenset[str]] | None, now: int) -> Json:
    """A profile as it is now, with memberships that time has not ended meanwhile."""
    body = shown.as_json(profile, wanted)
    over = frozenset(
        key for key, held in profile.person.memberships.items() if held.until is not None and held.until <= now
    )
    if over and "segments" in body:
        verdicts = people.verdicts(profile, now, over)
        for key in over & body["segments"].keys():
            if key in verdicts and not verdicts[key].member and not verdicts[key].spilled:
                del body["segments"][key]
    if "computed_traits" in body:
        definitions = people.book(profile.workspace).definitions
        body["computed_traits"] = with_live(people, profile, body["computed_traits"], definitions, now)
    if wanted is None or "relations" in wanted:
        body["relations"] = {
            "items": relations.as_json(relations.relations(people, profile)),
            "most": relations.MOST_RELATIONS,
            "freshness": "live",
        }
    if wanted is None or "timeline" in wanted:
        body["timeline"] = _page(people.timeline_page(profile, _FIRST_PAGE, None))
    return body


def found_in(request: Request) -> tuple[Asked, Profile]:
    """The person in the path: ``type:value``, or a profile id. Raises ``NotFound`` for one nobody heard of."""
    here = parts()
    workspace = here.settings.workspace
    asked = read_asked(here.people.identity_config(workspace), unquote(request.path.get("id", "")))
    return asked, find(here.people, workspace, asked)


def seen(request: Request, body: Json) -> Json:
    """A profile's answer as this caller may see it."""
    return body if request.actor.sees_persons else veil.profile(body)


def _led(asked: Asked, profile: Profile, body: Json) -> Json:
    """The body, with the former profile id that led here."""
    if asked.pid is None or asked.pid == profile.pid:
        return body
    return {"profile_id": body["profile_id"], "redirected_from": asked.pid, **body}


def tagged(request: Request, body: Json) -> Answer:
    """The body with its ETag; 304 without it for who has it already."""
    raw = orjson.dumps(body)
    tag = f'"{sha256(orjson.dumps(_lasting(body))).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    given: Mapping[str, str] = request.event.get("headers") or {}
    known = [one.strip().removeprefix("W/") for one in given.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Answer(304, "", headers)
    return Answer(200, raw, headers)


def _lasting(body: Json) -> Json:
    """The body without the instants at which live values were made: these alone are no change."""
    made: Json = body.get("computed_traits") or {}
    if not made:
        return body
    kept = {name: entry | {"at": None} if entry.get("freshness") == "live" else entry for name, entry in made.items()}
    return {**body, "computed_traits": kept}


def _wanted(request: Request) -> Wanted:
    query = request.query
    types = _names(query.get("type"))
    if types - TYPES:
        raise InvalidInput(f"type is one of {', '.join(sorted(TYPES))}")
    return Wanted(
        names=_names(query.get("event")),
        types=types,
        sources=_names(query.get("source")),
        since=request.instant("from"),
        until=request.instant("to"),
    )


def _names(text: str | None) -> frozenset[str]:
    return frozenset(part.strip() for part in (text or "").split(",") if part.strip())


def _cursor(request: Request) -> Cursor | None:
    cursor: Any = request.cursor
    if cursor is None:
        return None
    if not (isinstance(cursor, list) and len(cursor) == 2 and type(cursor[0]) is int and type(cursor[1]) is str):  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    return Cursor(cursor[0], cursor[1])


def _page(page: TimelinePage) -> Json:
    return {
        "items": [
            {**shown.event(new), "derived": derived(new.event.body, new.agent), "flags": shown.flags(new)}
            for new in page.events
        ],
        "next": encode_cursor(list(page.next)) if page.next else None,
    }
