"""Consent that events tell: which purposes a person granted or denied, when, and by which event.

Kept per ``purpose`` or ``purpose/channel``; the last statement wins, a withdrawal wins at the same instant. What a
consent banner repeats with every event (``context``) is apart from what a person said once (a form, an unsubscribe
link), so that the repetition does not rewrite the large item of a fragment; both are the same kind of record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from hoso.model.record import Event
from hoso.unify.traits import written

MAX_KEYS = 50
_MAX_KEY = 100
STATES = frozenset({"granted", "denied", "unset"})
MARKETING = "marketing"
WITHDRAWALS = frozenset({"Unsubscribed", "Email Unsubscribed", "Email Marked as Spam"})
UPDATED = "Consent Updated"
EVENTS = WITHDRAWALS | {UPDATED}
"""Track events that carry consent."""

Json = dict[str, Any]


class Consent(NamedTuple):
    """One statement: the state, when it was made, by which event and source, and which text was agreed to."""

    state: str
    ts: int
    message_id: str
    source: str
    text_version: str | None = None

    @property
    def order(self) -> tuple[int, bool, str]:
        """What decides between two statements: the later one; at the same instant the withdrawal."""
        return self.ts, self.state == "denied", self.message_id


Consents = dict[str, Consent]


def put(consents: Consents, key: str, fresh: Consent) -> bool:
    """Fold one statement in, in place. Answers whether it became the valid one.

    Beyond ``MAX_KEYS`` purposes the first by text are kept.
    """
    held = consents.get(key)
    if held is not None and held.order >= fresh.order:
        return False
    consents[key] = fresh
    if len(consents) > MAX_KEYS:
        del consents[max(consents)]
    return True


def merge(parts: Iterable[Consents]) -> Consents:
    """The valid statements of several fragments together."""
    merged: Consents = {}
    for part in parts:
        for key, statement in part.items():
            held = merged.get(key)
            if held is None or held.order < statement.order:
                merged[key] = statement
    return merged


def opted_out(consents: Mapping[str, Consent]) -> set[str]:
    """The channels of which the person's last word was no marketing: an unsubscribe, until they subscribe again.

    A denial of marketing as a whole (a cookie banner) names no channel.
    """
    told = (key.partition("/") for key, statement in consents.items() if statement.state == "denied")
    return {channel for purpose, _, channel in told if purpose == MARKETING and channel}


def said(event: Event, source: str) -> Iterator[tuple[str, Consent]]:
    """What a person said with this event: the trait ``marketingConsent``, ``Consent Updated``, an unsubscribe."""
    body = event.body
    if event.name == "$identify":
        traits = written(event)
        if traits is not None and "marketingConsent" in traits:
            state = _state(traits["marketingConsent"])
            if state is not None:
                yield MARKETING, _statement(event, state, source)
        return
    if event.name not in EVENTS:
        return
    properties = body.get("properties")
    given = cast("Json", properties) if isinstance(properties, dict) else {}
    if event.name == UPDATED:
        key, state = _key(given.get("purpose"), given.get("channel")), given.get("state")
        if key is not None and isinstance(state, str) and state in STATES:
            text = given.get("textVersion")
            yield key, _statement(event, state, source, str(text)[:_MAX_KEY] if isinstance(text, (str, int)) else None)
        return
    key = _key(given.get("purpose") or MARKETING, given.get("channel") or "email")
    yield key or f"{MARKETING}/email", _statement(event, "denied", source)


def shown(event: Event, source: str) -> Iterator[tuple[str, Consent]]:
    """What the consent banner showed with this event: Segment's category preferences, RudderStack's id lists."""
    context = event.body.get("context")
    if type(context) is not dict:
        return
    banner = cast("Json", context)
    consent = banner.get("consent")
    if type(consent) is dict:
        categories = cast("Json", consent).get("categoryPreferences")
        if type(categories) is dict:
            for name, agreed in cast("Json", categories).items():
                key = _key(name, None)
                if key is not None and type(agreed) is bool:
                    yield key, _statement(event, "granted" if agreed else "denied", source)
    management = banner.get("consentManagement")
    if type(management) is dict:
        for member, state in (("allowedConsentIds", "granted"), ("deniedConsentIds", "denied")):
            names = cast("Json", management).get(member)
            if type(names) is list:
                for name in cast("list[object]", names):
                    key = _key(name, None)
                    if key is not None:
                        yield key, _statement(event, state, source)


def _statement(event: Event, state: str, source: str, text_version: str | None = None) -> Consent:
    return Consent(state, event.ts, event.message_id, source, text_version)


def _state(value: object) -> str | None:
    if value is None:
        return "unset"
    if value is True or value == "true":
        return "granted"
    return "denied" if value is False or value == "false" else None


def _key(purpose: object, channel: object) -> str | None:
    """``purpose`` or ``purpose/channel``; None when either is not a usable name."""
    if not isinstance(purpose, str) or not 0 < len(purpose) <= _MAX_KEY:
        return None
    if channel is None or channel == "":
        return purpose
    return f"{purpose}/{channel}" if isinstance(channel, str) and len(channel) <= _MAX_KEY else None
