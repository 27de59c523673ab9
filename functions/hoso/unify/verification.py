"""Which identifiers somebody proved to be theirs, how, and by which event (pure).

Told by track events and by a context:

- ``Email Verified``, ``Phone Verified``, ``Email Confirmed`` (double opt-in), ``Subscription Confirmed``,
  ``OTP Verified``, ``Identifier Verified`` with ``properties.type`` and ``.value``, or ``.email``, ``.phone``;
  ``properties.method`` says how (``otp``, ``link``, ``double_opt_in``, ``document``, …).
- ``Identifier Verification Revoked`` with the same members takes it back; so does a hard ``Email Bounced``.
- ``context.verified`` on an identify call, for what the call's own traits name: ``{"email": "double_opt_in"}`` (method
  by identifier type), or a list of types.

The last statement about an identifier wins, a revocation at the same instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from hoso.model.identifiers import DEFAULT, TRAIT_TYPES, normalise
from hoso.model.record import Event
from hoso.unify.traits import written

MAX_KEYS = 50
_MAX_TEXT = 64
_METHODS = {
    "Email Verified": "link",
    "Phone Verified": "otp",
    "OTP Verified": "otp",
    "Email Confirmed": "double_opt_in",
    "Subscription Confirmed": "double_opt_in",
    "Identifier Verified": "",
}
_REVOKED = "Identifier Verification Revoked"
_BOUNCED = "Email Bounced"
EVENTS = frozenset({*_METHODS, _REVOKED, _BOUNCED})
"""Track events that carry a verification or take one back."""

VERIFIED, REVOKED = "verified", "revoked"
Json = dict[str, Any]


class Verification(NamedTuple):
    """One statement about an identifier: verified or revoked, how, when (UTC ms), by which event and source."""

    state: str
    method: str
    ts: int
    message_id: str
    source: str

    @property
    def order(self) -> tuple[int, bool, str]:
        """What decides between two statements."""
        return self.ts, self.state == REVOKED, self.message_id


Verifications = dict[str, Verification]
"""``type:value`` of an identifier → the valid statement about it."""


def put(held: Verifications, key: str, fresh: Verification) -> bool:
    """Fold one statement in, in place; of more than ``MAX_KEYS`` identifiers the first by text are kept."""
    known = held.get(key)
    if known is not None and known.order >= fresh.order:
        return False
    held[key] = fresh
    if len(held) > MAX_KEYS:
        del held[max(held)]
    return True


def merge(parts: Iterable[Verifications]) -> Verifications:
    """The valid statements of several fragments together."""
    merged: Verifications = {}
    for part in parts:
        for key, statement in part.items():
            known = merged.get(key)
            if known is None or known.order < statement.order:
                merged[key] = statement
    return merged


def told(event: Event, source: str) -> Iterator[tuple[str, Verification]]:
    """What an event says about identifiers, as (``type:value``, statement)."""
    if event.name == "$identify":
        yield from _by_context(event, source)
        return
    properties = event.body.get("properties")
    if event.name not in EVENTS or not isinstance(properties, dict):
        return
    given = cast("Json", properties)
    if event.name == _BOUNCED and not is_hard_bounce(given):
        return
    state = REVOKED if event.name in (_REVOKED, _BOUNCED) else VERIFIED
    how = _text(given.get("method")) or ("bounce" if event.name == _BOUNCED else _METHODS.get(event.name, ""))
    for kind, value in _named(event, given):
        yield from _statement(kind, value, Verification(state, how, event.ts, event.message_id, source))


def _by_context(event: Event, source: str) -> Iterator[tuple[str, Verification]]:
    context = event.body.get("context")
    marked = cast("Json", context).get("verified") if isinstance(context, dict) else None
    if isinstance(marked, list):
        marked = {kind: "" for kind in cast("list[Any]", marked) if isinstance(kind, str)}
    if not isinstance(marked, dict):
        return
    for trait, value in (written(event) or {}).items():
        kind = TRAIT_TYPES.get(trait)
        if kind is not None and kind in marked:
            how = _text(cast("Json", marked)[kind]) or ""
            yield from _statement(kind, value, Verification(VERIFIED, how, event.ts, event.message_id, source))


def _named(event: Event, given: Json) -> Iterator[tuple[str, Any]]:
    """The identifiers that the event is about: type and value, or e-mail and phone by name, or the recipient's."""
    kind = given.get("type")
    if isinstance(kind, str) and "value" in given:
        yield kind, given["value"]
        return
    found = False
    for name in ("email", "phone"):
        if name in given:
            found = True
            yield name, given[name]
    context = event.body.get("context")
    traits = cast("Json", context).get("traits") if isinstance(context, dict) else None
    if not found and isinstance(traits, dict) and "email" in traits and event.name.startswith(("Email", "Subscr")):
        yield "email", cast("Json", traits)["email"]


def _statement(kind: str, value: object, fresh: Verification) -> Iterator[tuple[str, Verification]]:
    clean = normalise(kind, value, DEFAULT)
    if clean is not None and len(clean) <= 320:
        yield f"{kind}:{clean}", fresh


def is_hard_bounce(given: Mapping[str, Any]) -> bool:
    """Whether these properties of a bounce say that it is permanent: no other one proves anything."""
    told = {str(given.get(name, "")).lower() for name in ("bounceType", "bounce_type", "type")}
    return bool(told & {"permanent", "hard"})


def _text(value: object) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) and value else None
