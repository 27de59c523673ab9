"""Channels on which nothing may reach a person any more, because an event said so: a complaint, a hard bounce (pure).

- ``Email Marked as Spam``: the recipient complained.
- ``Email Bounced`` that says that it is permanent: the address is dead.

The first such statement per channel is kept, and nothing that comes later takes it back: a new subscription lifts an
unsubscribe (``hoso.unify.consent``), not this. So the fold depends on no order. It rides on the fragment of the events
like a listing (``hoso.unify.listings``), and parts with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, cast

from hoso.model.record import Event
from hoso.unify.verification import is_hard_bounce

COMPLAINT, BOUNCE = "complaint", "bounce"
_REASONS = {"Email Marked as Spam": COMPLAINT, "Email Bounced": BOUNCE}
EVENTS = frozenset(_REASONS)
"""Track events that can say so."""


class Block(NamedTuple):
    """Why a channel is blocked, since when (UTC ms), and by which event."""

    reason: str
    ts: int
    message_id: str


Blocks = dict[str, Block]
"""Channel → the first statement."""


def told(event: Event) -> Iterator[tuple[str, Block]]:
    """The channels that an event blocks."""
    reason = _REASONS.get(event.name)
    properties = event.body.get("properties")
    given = cast("dict[str, object]", properties) if isinstance(properties, dict) else {}
    if reason is not None and (reason != BOUNCE or is_hard_bounce(given)):
        yield "email", Block(reason, event.ts, event.message_id)


def put(held: Blocks, channel: str, fresh: Block) -> bool:
    """Take a statement in, in place, if it is the first one; whether it is."""
    known = held.get(channel)
    if known is not None and (known.ts, known.message_id) <= (fresh.ts, fresh.message_id):
        return False
    held[channel] = fresh
    return True


def channels(parts: Iterable[Mapping[str, Block]]) -> set[str]:
    """The channels that any of these fragments is blocked for."""
    return {channel for part in parts for channel in part}
