"""Computed traits and scores: what a definition or a model made of a person, kept with the person's fragment (pure).

They ride in the attribute ``z`` of the cold item of one fragment (the anchor's): so they move with it when people merge
and part, and whoever reads the traits has them without another read. Per name the newest value over all fragments of
the person counts, until the next computation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from hoso.model.errors import InvalidInput
from hoso.unify.codec import pack_json, unpack_json

MAX_NAMES = 100
MAX_VALUE_BYTES = 2_000
MAX_REASON_BYTES = 2_000
_MAX_NAME = 100

Kind = Literal["trait", "score"]


class Computed(NamedTuple):
    """One computed value; None: the definition gives none any more.

    ``at`` is the instant it was computed for (UTC ms), ``revision`` that of its definition or model, ``reason`` what a
    person is told of how it came about (JSON), ``since`` when the value became what it is.
    """

    kind: str
    value: Any
    at: int
    revision: str
    reason: Any
    since: int


Values = dict[str, Computed]


def packed(values: Values) -> bytes:
    """The bytes of the attribute."""
    return pack_json(values)


def unpacked(blob: bytes | None) -> Values:
    """The values in such bytes; none for a fragment that has none."""
    if blob is None:
        return {}
    return {name: Computed(*entry[:6]) for name, entry in unpack_json(blob).items()}


def put(held: Values, name: str, fresh: Computed) -> bool:
    """Take a value in, in place, unless a newer computation was here first; keeps since when it holds.

    Raises:
        InvalidInput: the name, the value or the reason is too large, or there are too many names.
    """
    if not 0 < len(name) <= _MAX_NAME:
        raise InvalidInput(f"a computed name has 1 to {_MAX_NAME} characters", code="invalid_computed")
    if len(orjson.dumps(fresh.value)) > MAX_VALUE_BYTES or len(orjson.dumps(fresh.reason)) > MAX_REASON_BYTES:
        raise InvalidInput("a computed value or its reason is too large", code="invalid_computed")
    known = held.get(name)
    if known is not None and (known.at, known.revision) > (fresh.at, fresh.revision):
        return False
    if known is None and len(held) >= MAX_NAMES:
        raise InvalidInput(f"a person has at most {MAX_NAMES} computed values", code="invalid_computed")
    same = known is not None and known.kind == fresh.kind and _raw(known.value) == _raw(fresh.value)
    if same and known is not None:
        fresh = fresh._replace(since=known.since)
    if fresh == known:
        return False
    held[name] = fresh
    return True


def merge(parts: Iterable[Mapping[str, Computed]]) -> Values:
    """Per name the newest value of several fragments."""
    merged: Values = {}
    for part in parts:
        for name, entry in part.items():
            held = merged.get(name)
            if held is None or (held.at, held.revision) < (entry.at, entry.revision):
                merged[name] = entry
    return merged


def _raw(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
