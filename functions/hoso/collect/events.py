"""One event at the door: what it must be, who it is about, when it happened (tracking API, sections 8, 9 and 11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, cast

from hoso.model.errors import InvalidInput
from hoso.model.identifiers import DEFAULT, Identifier, IdentityConfig, anonymous_id, extract, no_evidence_in
from hoso.model.record import Row
from hoso.model.time import EARLIEST_MS, MINUTE_MS, parse_instant

MAX_ID_BYTES = 1_024
MAX_AHEAD_MS = 10 * MINUTE_MS
"""How far ahead of its receipt an event may be; later ones are set to this limit (reliability R7)."""

_NAMES = {
    "track": "",
    "identify": "$identify",
    "page": "$page",
    "screen": "$screen",
    "group": "$group",
    "alias": "$alias",
}
TYPES = frozenset(_NAMES)
_PLAIN_NAMES = {"page": "$page", "screen": "$screen"}
_plain_members = itemgetter("type", "messageId", "anonymousId", "context", "properties", "timestamp")
_is_without_others: Callable[[Any], bool] = frozenset(
    {"userId", "traits", "integrations", "originalTimestamp", "sentAt", "writeKey"}
).isdisjoint
_NO_IDS: list[list[str]] = []
_SURELY_SHORT = MAX_ID_BYTES // 4

Json = dict[str, Any]


@dataclass(slots=True)
class Frame:
    """What all events of a request share.

    ``kind`` is the type that the path demands (empty: each event says its own). ``sent_at`` is what the batch or the
    header tells (UTC ms). ``context`` and ``integrations`` go under those of each event. ``new_id`` makes the message
    ids of events that have none. The others follow: what to add to a client's time, the latest time an event
    may have, and whether the workspace has no rules of its own for anonymous ids.
    """

    received_at: int
    new_id: Callable[[], str]
    kind: str = ""
    sent_at: int | None = None
    context: Json = field(default_factory=lambda: {})  # an alias of dict takes seven times as long to call
    integrations: Json = field(default_factory=lambda: {})
    identity: IdentityConfig = DEFAULT
    shift: int = field(init=False)
    latest: int = field(init=False)
    keeps_anonymous_ids: bool = field(init=False)

    def __post_init__(self) -> None:
        self.shift = 0 if self.sent_at is None else self.received_at - self.sent_at
        self.latest = self.received_at + MAX_AHEAD_MS
        self.keeps_anonymous_ids = self.identity.keeps_anonymous_ids


def admit(body: Any, frame: Frame) -> tuple[Identifier, Row]:
    """The hub and the row of the packed record. The event is changed: it is the caller's own copy.

    Raises:
        InvalidInput: the event cannot be taken; its code says why.
    """
    try:
        # most of the web's traffic has nothing that needs a closer look, and is taken here as it would be there
        kind, message_id, anonymous, context, properties, timestamp = _plain_members(body)
        name = body["event"] if kind == "track" else _PLAIN_NAMES[kind]
        if (
            type(name) is type(message_id) is str
            and 0 < len(name) <= _SURELY_SHORT
            and 0 < len(message_id) <= _SURELY_SHORT
            and len(anonymous) <= _SURELY_SHORT  # what is no text has no length, or is no key below
            and (_is_without_others(body) or _says_nothing_else(body))
            and no_evidence_in(context)
            and "email" not in properties
            and "phone" not in properties
            and frame.keeps_anonymous_ids
        ):
            hub, original = anonymous_id(anonymous), parse_instant(timestamp)
            if hub is not None and original is not None:
                ts, latest = original + frame.shift, frame.latest
                if ts >= EARLIEST_MS:
                    return hub, (message_id, ts if ts < latest else latest, original, name, _NO_IDS, body)
    except (KeyError, TypeError):
        pass
    return _admit_closely(body, frame)


def _says_nothing_else(event: Json) -> bool:
    """Whether the members that change how an event is taken are there, but say nothing."""
    return (
        event.get("userId") is None
        and not event.get("traits")
        and not event.get("integrations")
        and not event.get("originalTimestamp")
        and "sentAt" not in event
        and "writeKey" not in event
    )


def _admit_closely(body: Any, frame: Frame) -> tuple[Identifier, Row]:
    event: Json = body
    if type(event) is not dict:
        raise InvalidInput("an event must be a JSON object", code="invalid_event")
    if "writeKey" in event:
        del event["writeKey"]

    name = event.get("event") if event.get("type") == "track" else None
    if type(name) is not str or not 0 < len(name) <= _SURELY_SHORT:
        name = _name_of_other(event)

    user, anonymous = event.get("userId"), event.get("anonymousId")
    if (user is None or (type(user) is str and len(user) <= _SURELY_SHORT)) and (
        anonymous is None or (type(anonymous) is str and len(anonymous) <= _SURELY_SHORT)
    ):
        found = extract(event, frame.identity)
    else:
        found = extract(_with_text_ids(event, user, anonymous), frame.identity)
    if not found:
        # these words are looked for by the RudderStack mobile SDKs
        raise InvalidInput("request neither has anonymousId nor userId that identifies somebody", code="missing_id")
    others = [[kind, value] for kind, value in found[1:]] if len(found) > 1 else _NO_IDS

    original = parse_instant(event.get("originalTimestamp") or event.get("timestamp"))
    ts = _corrected(original, event, frame)

    message_id = event.get("messageId")
    if type(message_id) is not str or not message_id:
        message_id = event["messageId"] = frame.new_id()
    elif len(message_id) > _SURELY_SHORT:
        _check_length("messageId", message_id)
    return found[0], (message_id, ts, original, name, others, event)


def impose(events: list[Any], frame: Frame) -> None:
    """Give the events what the request says for all of them: the path's type, and members under their own."""
    for body in events:
        if type(body) is not dict:
            continue
        event = cast("Json", body)
        if frame.kind:
            event["type"] = frame.kind
        for member, common in (("context", frame.context), ("integrations", frame.integrations)):
            own: object = event.get(member)
            if common and (own is None or type(own) is dict):
                event[member] = {**common, **cast("Json", own or {})}


def _corrected(original: int | None, event: Json, frame: Frame) -> int:
    """When an event happened by our clock. Raises ``InvalidInput`` for a time before there were such events."""
    if original is None:
        return frame.received_at
    # receivedAt - (sentAt - originalTimestamp) is free of the client's clock error (section 9, reliability R7)
    ts = original + (_own_shift(event["sentAt"], frame) if "sentAt" in event else frame.shift)
    if ts < EARLIEST_MS:
        raise InvalidInput("the event's time is before the year 2000", code="invalid_timestamp")
    return min(ts, frame.latest)


def _own_shift(told: object, frame: Frame) -> int:
    """What to add to the client's time by the event's own ``sentAt``; one that cannot be read counts as not sent."""
    sent_at = parse_instant(told)
    return frame.shift if sent_at is None else frame.received_at - sent_at


def _name_of_other(event: Json) -> str:
    """The name of what is no plain track call; checks what its type demands."""
    kind = event.get("type")
    name = _NAMES.get(kind) if type(kind) is str else None
    if name is None:
        raise InvalidInput(f"type must be one of {', '.join(sorted(TYPES))}", code="unknown_type")
    if not name:
        called = event.get("event")
        if type(called) is not str or not called:
            raise InvalidInput("a track call needs an event name", code="missing_event")
        _check_length("event", called)
        return called
    if name == "$group" and not _named(event.get("groupId")):
        raise InvalidInput("a group call needs a groupId", code="missing_group")
    if name == "$alias" and not (_named(event.get("userId")) and _named(event.get("previousId"))):
        raise InvalidInput("an alias call needs userId and previousId", code="missing_id")
    return name


def _with_text_ids(event: Json, *ids: object) -> Json:
    """The event with ids as text: numbers become text; anything else, and overlong ids, are refused."""
    texts: Json = {}
    for name, value in zip(("userId", "anonymousId"), ids, strict=True):
        if value is None:
            continue
        if type(value) is int:
            texts[name] = str(value)
        elif type(value) is float:
            texts[name] = str(int(value)) if value.is_integer() else repr(value)
        elif type(value) is str:
            _check_length(name, value)
        else:
            raise InvalidInput(f"{name} must be a string or a number", code="invalid_event")
    return {**event, **texts}


def _named(value: object) -> bool:
    """Whether an id is given: non-empty text or a number."""
    return type(value) is int or type(value) is float or (type(value) is str and bool(value))


def _check_length(name: str, value: str) -> None:
    if len(value.encode()) > MAX_ID_BYTES:
        raise InvalidInput(f"{name} is longer than {MAX_ID_BYTES} bytes", code="invalid_event")
