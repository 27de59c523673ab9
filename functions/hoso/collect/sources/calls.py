"""From what a sender told to calls of the tracking API: same names, ids and times however often it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hoso.collect.sources.contract import Fact, Json
from hoso.collect.sources.reading import given
from hoso.model.time import format_instant
from hoso.platform.ids import content_id

MAX_RECORD_BYTES = 16_384
"""A larger record of a sender is not repeated in the event: an event holds 32,768 bytes."""

ID_PREFIX = "hook-"


def person(
    *,
    user_id: str = "",
    anonymous_id: str = "",
    traits: Mapping[str, Any] | None = None,
    ids: Sequence[tuple[str, str]] = (),
) -> Json:
    """Who a call is about: its ids at their places, and traits beside a track call that identify."""
    context: Json = {}
    external = [
        {"type": kind, "id": value, "collection": "users", "encoding": "none"} for kind, value in ids if kind and value
    ]
    if external:
        context["externalIds"] = external
    known = {name: value for name, value in (traits or {}).items() if value not in (None, "")}
    if known:
        context["traits"] = known
    return {**given(userId=user_id, anonymousId=anonymous_id), **({"context": context} if context else {})}


def track(event: str, properties: Json, who: Json | None = None, *, record: tuple[str, Json] | None = None) -> Json:
    """A track call. ``record`` is the sender's kind and its own words, kept beside what is made of them."""
    kept = dict(properties)
    if record is not None and len(orjson.dumps(record[1], default=str)) <= MAX_RECORD_BYTES:
        kept[record[0]] = record[1]
    return {"type": "track", "event": event, "properties": kept, **(who or {})}


def identify(traits: Json, who: Json | None = None) -> Json:
    """An identify call: what is known of a person now. Members without a value are left out."""
    known = {name: value for name, value in traits.items() if value is not None and value != ""}
    return {"type": "identify", "traits": known, **(who or {})}


def consent(channel: str, state: str, who: Json, **more: Any) -> Json:
    """That a person agreed to marketing on a channel, or withdrew it."""
    return track("Consent Updated", {"purpose": "marketing", "channel": channel, "state": state, **given(**more)}, who)


def stamp(fact: Fact, kind: str, connection: str) -> Json:
    """The call as it is stored: message id, time and origin are functions of what was told, never of the delivery."""
    body = dict(fact.body)
    body["messageId"] = ID_PREFIX + content_id(kind, connection, fact.key)
    origin = {"type": kind, "connection_id": connection, "external_event_id": fact.external_id}
    body["context"] = {**body.get("context", {}), "source": origin}
    if fact.at is not None:
        body["timestamp"] = format_instant(fact.at)
    if not body.get("userId") and not body.get("anonymousId"):
        # the tracking API wants one; identity passes over an anonymous id that is the message id
        body["anonymousId"] = body["messageId"]
    return body
