"""Evidence: everything that identity is decided from. The graph is a pure function of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hoso.model.identifiers import Identifier

Pair = tuple[Identifier, Identifier]
"""Two identifiers in the order of their text, so that a link has one name."""


class Evidence(NamedTuple):
    """What one event tells about identity.

    ``ids`` are its identifiers beside the ``hub``; ``previous`` is what an alias call replaces (R12); ``name`` is the
    folded name of the person (``hoso.model.names.person_name``). ``ts`` is the event's time in UTC ms. ``silent``: it
    comes from a replay, so that what it changes is announced to nobody. ``source`` is the key of the source.
    """

    event_id: str
    ts: int
    hub: Identifier
    ids: Sequence[Identifier] = ()
    previous: Identifier | None = None
    name: str | None = None
    silent: bool = False
    source: str = ""


class Cut(NamedTuple):
    """An operator takes links back for good (R14)."""

    record_id: str
    ts: int
    links: Sequence[Pair]


class Restore(NamedTuple):
    """An operator takes cuts, and apart pairs, back."""

    record_id: str
    ts: int
    links: Sequence[Pair]


class Apart(NamedTuple):
    """An operator keeps two identifiers out of one profile, by whatever path (R14)."""

    record_id: str
    ts: int
    pairs: Sequence[Pair]


class Erasure(NamedTuple):
    """Erase the profile that holds an identifier, up to a time (R15).

    ``only``: these of its identifiers alone, in one of several rounds; ``whole``: all that the rounds together erase,
    so that nobody inherits from, or is told of, what a round leaves for the next.
    """

    record_id: str
    ts: int
    of: Identifier
    only: frozenset[Identifier] | None = None
    whole: frozenset[Identifier] = frozenset()


class Probable(NamedTuple):
    """The nightly job, or a person, holds two identifiers for one person's (R17). A score of 0 takes that back."""

    record_id: str
    ts: int
    a: Identifier
    b: Identifier
    score: float


class Block(NamedTuple):
    """An operator takes a value out of use for joining people, or lets it join again."""

    record_id: str
    ts: int
    of: Identifier
    on: bool


Operation = Cut | Restore | Apart | Erasure | Probable | Block


def pair(one: Identifier, other: Identifier) -> Pair:
    """The name of the link between two identifiers."""
    return (one, other) if str(one) <= str(other) else (other, one)
