"""Admin API of segments, what they would mean, why somebody is in one, and of nightly runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hoso.model.errors import Conflict, InvalidInput
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor
from hoso.segment.administration import Segments, shown_difference, shown_member
from hoso.segment.check import check_references, read_segment
from hoso.segment.describe import sentence
from hoso.segment.handlers.traits import TRAIT_ROUTES
from hoso.segment.language import Segment
from hoso.segment.picture import Picture, Pictures
from hoso.segment.preview import Difference, difference, preview
from hoso.segment.runs import Runs
from hoso.segment.traits.inline import inlined
from hoso.segment.why import explain, standing
from hoso.unify import veil
from hoso.unify.build import Parts
from hoso.unify.lookup import person_named

MOST_EVENTS = 20_000
"""Events of one person that an explanation looks at, the newest ones; with more it says so."""

Json = dict[str, Any]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


def list_segments(request: Request) -> Json:
    """The segments that are not archived, or those of ``?state=``."""
    request.require()
    return {"items": _segments().all(request.query.get("state")), "next": None}


def show_segment(request: Request) -> Json:
    """One segment with its document."""
    request.require()
    return _segments().get(request.path["key"])


def list_revisions(request: Request) -> Json:
    """Every revision of a segment, the newest first."""
    request.require()
    return {"items": _segments().revisions(request.path["key"]), "next": None}


def put_segment(request: Request) -> Json:
    """Make a segment, or its next revision; ``?confirm=true`` when it may move many people."""
    actor = request.require("marketer", "engineer", "admin")
    confirmed = request.query.get("confirm") == "true"
    return _segments().put(request.path["key"], request.document, actor.subject, _compare, confirmed=confirmed)


def switch_segment(request: Request) -> Json:
    """Pause, archive or take up a segment again: ``{"state": "active" | "paused" | "archived"}``."""
    actor = request.require("marketer", "engineer", "admin")
    return _segments().switch(request.path["key"], str(request.document.get("state")), actor.subject)


def preview_segment(request: Request) -> Json:
    """What a document would mean: ``{"document", "history"?: bool, "fresh"?: bool}``."""
    request.require("marketer", "analyst", "engineer", "admin")
    asked = request.document
    segment = read_segment(asked.get("document"))
    known = _segments().known(without=segment.key)
    check_references(segment, known)
    now = _parts().clock()
    picture = _picture(now, fresh=asked.get("fresh") is True)
    history = bool(asked.get("history"))
    found = preview(_written_out(segment), _all_written_out(known), picture, now, history=history)
    if not request.actor.sees_persons:
        found["examples"] = [veil.example(one) for one in found["examples"]]
    return {"sentence": sentence(segment), "sentence_vi": sentence(segment, "vi"), **found}


def compare_segment(request: Request) -> Json:
    """Who enters and who leaves: ``{"document"}`` against the stored one, or ``{"key", "from", "to"}`` revisions."""
    request.require("marketer", "analyst", "engineer", "admin")
    asked = request.document
    segments = _segments()
    if "document" in asked:
        fresh = read_segment(asked["document"])
        former = segments.document(fresh.key)
    else:
        key, first, last = asked.get("key"), asked.get("from"), asked.get("to")
        if type(key) is not str or type(first) is not int or type(last) is not int:
            raise InvalidInput("a document, or a key with two revisions (from, to), is needed")
        former, fresh = segments.document(key, first), segments.document(key, last)
    known = segments.known(without=fresh.key)
    check_references(fresh, known)
    now = _parts().clock()
    picture = _picture(now, fresh=asked.get("fresh") is True)
    found = difference(_written_out(former), _written_out(fresh), _all_written_out(known), picture, now)
    shown: Json = {"key": fresh.key, **shown_difference(found)}
    if not request.actor.sees_persons:
        shown |= {side: [veil.example(one) for one in shown[side]] for side in ("entering", "leaving")}
    return shown


def explain_member(request: Request) -> Json:
    """Why a person (``type:value``, or a profile id) is in a segment, or what keeps it out."""
    request.require("marketer", "analyst", "engineer", "privacy", "admin")
    parts, key = _parts(), request.path["key"]
    workspace = parts.settings.workspace
    known = {segment.key: segment for segment in parts.people.book(workspace).rules.segments}
    segment = known.get(key) or _segments().document(key)
    config = parts.identities(workspace).config
    profile = person_named(parts.people, config, workspace, unquote(request.path["id"]))
    now = parts.clock()
    events = list(islice(parts.people.rule_events(workspace, profile), MOST_EVENTS + 1))
    person = parts.people.person_state(profile)
    found = explain(segment, known, person, events[:MOST_EVENTS], now)
    held = profile.person.memberships.get(key)
    if key not in parts.people.book(workspace).rules.paused:
        verdict = parts.people.verdicts(profile, now, frozenset({key})).get(key)
        if verdict is not None and verdict.spilled:
            found = standing(found, member=held is not None)
    stored: Json | None = held and {
        "since": format_instant(held.since),
        "revision": held.revision,
        "until": None if held.until is None else format_instant(held.until),
        "message_id": held.cause,
    }
    cut = len(events) > MOST_EVENTS
    return {
        "profile_id": profile.pid,
        "segment": key,
        "as_of": format_instant(now),
        **(found if request.actor.sees_persons else veil.membership(found)),
        "stored": stored,
        "cut": cut,
    }


def list_members(request: Request) -> Json:
    """The members of a segment, page by page."""
    request.require("marketer", "analyst", "engineer", "admin")
    page = _segments().members(request.path["key"], request.limit(), request.cursor)
    following = None if page.next is None else encode_cursor(list(page.next))
    return {"items": [shown_member(member) for member in page.items], "next": following}


def start_backfill(request: Request) -> Json:
    """Bring everybody's membership of a segment up to date now, not only with the next event or night."""
    request.require("marketer", "engineer", "admin")
    segment = _segments().get(request.path["key"])
    if segment["state"] != "active":
        raise Conflict(f"the segment is {segment['state']}", hint="make it active first")
    return _runs().backfill(segment["key"], segment["revision"], _parts().clock())


def show_backfill(request: Request) -> Json:
    """How far a backfill is."""
    request.require()
    run = _runs().show(request.path["name"])
    return {**run, "progress": _runs().progress(_objects(), request.path["name"])}


def start_nightly(request: Request) -> Json:
    """Start the nightly work."""
    request.require("engineer", "admin")
    return _runs().start(request.document.get("as_of"), _parts().clock())


def show_nightly(request: Request) -> Json:
    """The state of a nightly run."""
    request.require()
    return _runs().show(request.path["name"])


ROUTES = Router(
    {
        "GET /v1/segments": list_segments,
        "GET /v1/segments/{key}": show_segment,
        "PUT /v1/segments/{key}": put_segment,
        "GET /v1/segments/{key}/revisions": list_revisions,
        "PUT /v1/segments/{key}/state": switch_segment,
        "GET /v1/segments/{key}/members": list_members,
        "GET /v1/segments/{key}/why/{id}": explain_member,
        "POST /v1/segments/{key}/backfill": start_backfill,
        "GET /v1/backfills/{name}": show_backfill,
        "POST /v1/previews": preview_segment,
        "POST /v1/differences": compare_segment,
        **TRAIT_ROUTES,
        "POST /v1/nightly": start_nightly,
        "GET /v1/nightly/{name}": show_nightly,
    }
)


def _compare(former: Segment, fresh: Segment, known: Mapping[str, Segment]) -> Difference | None:
    """What a new revision changes, by the people of the last night; None before the first."""
    now = _parts().clock()
    picture = _pictures().last(now)
    if picture is None:
        return None
    return difference(_written_out(former), _written_out(fresh), _all_written_out(known), picture, now)


def _written_out(segment: Segment) -> Segment:
    """The segment with its named measures written out, as the engines run it."""
    parts = _parts()
    return inlined(segment, parts.people.book(parts.settings.workspace).definitions)


def _all_written_out(known: Mapping[str, Segment]) -> dict[str, Segment]:
    return {key: _written_out(segment) for key, segment in known.items()}


def _picture(now: int, *, fresh: bool) -> Picture:
    parts = _parts()
    workspace = parts.settings.workspace
    held = None if fresh else _pictures().last(now)
    return held or _pictures().fresh(lambda: parts.people.everyone(workspace), parts.people.book(workspace).rules, now)


@cache
def _parts() -> Parts:
    return Parts(Settings.from_env(os.environ))


@cache
def _segments() -> Segments:
    parts = _parts()
    dynamodb = client("dynamodb")
    control, profiles = (
        Table(name, dynamodb) for name in (parts.settings.control_table, parts.settings.profiles_table)
    )
    return Segments(parts.control, control, profiles, parts.clock, parts.settings.workspace)


@cache
def _objects() -> Objects:
    return Objects(_parts().settings.bucket, client("s3"))


@cache
def _pictures() -> Pictures:
    return Pictures(_objects(), _parts().settings.workspace, Path(tempfile.mkdtemp(prefix="hoso-picture-")))


@cache
def _runs() -> Runs:
    settings = _parts().settings
    return Runs(client("stepfunctions"), settings.machine, settings.workspace)
