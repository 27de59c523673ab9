"""Merge policies: which of the writes of a trait is its value (pure).

One definition for profiles and for both rule engines.

The document of kind ``traits``, key ``policies``::

    {"schema": "traits/1", "policies": {"tier": {"merge": "source_rank", "sources": ["crm", "web"]},
                                        "points": {"merge": "max"}, "tags": {"merge": "union"}}}

A trait without a policy is ``latest``: the newest write wins. Policies act when the fragments of a person are merged,
at read: a new policy holds for what was said before, as far as the notable writes reach (``trait_history``).

A null as the newest write removes a trait under every policy; with ``source_rank`` each source speaks for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hoso.model.errors import InvalidInput
from hoso.segment.values import number
from hoso.unify.trait_history import VALUES, Write, notable
from hoso.unify.traits import Trait

KIND, KEY = "traits", "policies"
MAX_POLICIES = 200

Merge = Literal["latest", "first", "max", "min", "union", "source_rank"]


class Policy(BaseModel):
    """How the writes of one trait become its value. ``sources``: best first, for ``source_rank`` alone; a source that
    is not listed comes after all that are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    merge: Merge
    sources: tuple[Annotated[str, Field(min_length=1, max_length=63)], ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _sources_belong_to_ranks(self) -> Policy:
        if bool(self.sources) != (self.merge == "source_rank"):
            raise ValueError("sources belong to source_rank, and it needs them")
        return self


class Policies(BaseModel):
    """The policies document of a workspace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["traits/1"] = Field(default="traits/1", alias="schema")
    policies: dict[Annotated[str, Field(min_length=1, max_length=200)], Policy] = Field(
        default_factory=dict[str, Policy], max_length=MAX_POLICIES
    )


PolicyOf = Mapping[str, Policy]
NO_POLICIES: PolicyOf = {}


def policies_in(body: Mapping[str, Any] | None) -> PolicyOf:
    """The policies that a stored document holds, without those that are ``latest`` anyway.

    Raises:
        InvalidInput: ``invalid_policies``, a document that this code cannot read.
    """
    if body is None:
        return NO_POLICIES
    try:
        found = Policies.model_validate(body).policies
    except ValidationError as error:
        raise InvalidInput("not a document of trait policies", code="invalid_policies") from error
    return {name: policy for name, policy in found.items() if policy.merge != "latest"}


def decide(policy: Policy, writes: Iterable[Write]) -> Trait | None:
    """The trait that these writes make under a policy; None when nothing was ever written.

    ``value`` of the answer is None where the trait was removed.
    """
    kept = notable(writes)
    if not kept:
        return None
    newest = kept[-1]
    if policy.merge == "source_rank":
        return _shown(_by_rank(kept, policy.sources) or newest, kept)
    if newest.value is None:
        return _shown(newest, kept)
    return _CHOICES[policy.merge](kept)


def _first(kept: Sequence[Write]) -> Trait:
    return _shown(next(write for write in kept if write.value is not None), kept)


def _extreme(kept: Sequence[Write], *, largest: bool) -> Trait:
    """By number form, the earliest write of the winning number; without any number the newest write."""
    sized = [(size, write) for write in kept if (size := number(write.value)) is not None]
    if not sized:
        return _shown(kept[-1], kept)
    best = (max if largest else min)(size for size, _ in sized)
    return _shown(next(write for size, write in sized if size == best), kept)


def _union(kept: Sequence[Write]) -> Trait:
    """The values, and the entries of values that are lists, in the order of their newest write. A null empties it."""
    newest: dict[bytes, Write] = {}
    for write in kept:
        if write.value is None:
            newest.clear()
        else:
            raw = orjson.dumps(write.value, option=orjson.OPT_SORT_KEYS)
            newest.pop(raw, None)
            newest[raw] = write
    entries: dict[bytes, Any] = {}
    for write in list(newest.values())[-VALUES:]:
        value = write.value
        for entry in cast("list[Any]", value) if isinstance(value, list) else [value]:
            entries.setdefault(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS), entry)
    last = kept[-1]
    return Trait(list(entries.values()), last.ts, last.message_id, last.source, [last.ts], None, 0)


_CHOICES: Mapping[str, Callable[[Sequence[Write]], Trait]] = {
    "latest": lambda kept: _shown(kept[-1], kept),
    "first": _first,
    "max": lambda kept: _extreme(kept, largest=True),
    "min": lambda kept: _extreme(kept, largest=False),
    "union": _union,
}


def _by_rank(kept: Sequence[Write], sources: Sequence[str]) -> Write | None:
    """The newest write of the best source that has not taken its own back."""
    newest = {write.source: write for write in kept}
    said = [write for write in newest.values() if write.value is not None]
    places = {source: place for place, source in enumerate(sources)}
    unlisted = len(places)
    return min(said, key=lambda write: (places.get(write.source, unlisted), -write.ts, write.source), default=None)


def _shown(winner: Write, kept: Sequence[Write]) -> Trait:
    """The winner as a trait; it holds since the first kept write of the same value."""
    raw = orjson.dumps(winner.value, option=orjson.OPT_SORT_KEYS)
    since = min(write.ts for write in kept if orjson.dumps(write.value, option=orjson.OPT_SORT_KEYS) == raw)
    return Trait(winner.value, winner.ts, winner.message_id, winner.source, [since], None, 0)
