"""What the live engine reads and answers: one event, one person's state, one verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class RuleEvent(NamedTuple):
    """An event as rules see it: ``body`` is the event as it was sent, ``ts`` its corrected time (UTC ms)."""

    message_id: str
    name: str
    ts: int
    received_at: int
    body: Mapping[str, Any]


class Score(NamedTuple):
    """A model score and the instant (UTC ms) it was made for."""

    value: Any
    at: int


@dataclass(slots=True)
class PersonState:
    """All that a rule may ask about one person.

    ``traits`` are plain values; ``trait_since`` says since when (UTC ms) a trait has its present value.
    ``identifiers`` map a type to its values, ``consent`` maps ``purpose`` or ``purpose/channel`` to ``granted`` or
    ``denied``. ``meters`` is the state that ``LiveRules.fold`` kept, merged over the person's fragments.
    """

    id: str
    split_id: str | None = None
    traits: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trait_since: Mapping[str, int] = field(default_factory=dict[str, int])
    identifiers: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    lists: Collection[str] = ()
    consent: Mapping[str, str] = field(default_factory=dict[str, str])
    suppressed: Collection[str] = ()
    scores: Mapping[str, Score] = field(default_factory=dict[str, Score])
    deleted: bool = False
    meters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    running: dict[object, Any] = field(default_factory=dict[object, Any])
    """Of one evaluation: what several rules ask (a condition, a sum in a window) → its answer."""


class Verdict(NamedTuple):
    """Whether a person is a member.

    ``until`` is the next instant (UTC ms) at which time alone may change the answer, never later than the true one;
    None: never. ``spilled``: the state was capped and cannot decide, so the last nightly answer stands.
    """

    member: bool
    until: int | None
    spilled: bool = False
