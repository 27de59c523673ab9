"""Which pairs are compared: records that share one of about twenty keys.

A key that many records share is no key (one surname is a third of the people): each has a cap, and groups above it are
left out. A pair belongs to the first key that finds it.

Pairs are found here in numpy (``sharing``, ``first_keys``), and by the same rule in SQL for Athena (``key_table``,
``found_by``); a test holds the two together.
"""

# The statements are made of names in this package, never of text from outside.
# ruff: noqa: S608
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hoso.unify.likeness.patterns import Packing
from hoso.unify.likeness.sql import Dialect


@dataclass(frozen=True, slots=True)
class Key:
    """One way to be found: expressions over a record, and the largest group of records that is compared."""

    name: str
    parts: tuple[str, ...]
    cap: int
    needs: frozenset[str]


def _key(name: str, cap: int, *parts: str) -> Key:
    fields = {word for part in parts for word in _FIELD_WORDS if word in part}
    return Key(name, parts, cap, frozenset(fields))


_FIELD_WORDS = (
    *("name", "given", "surname", "email", "local", "residue", "phone", "dob", "house", "street", "ward"),
    *("district", "city", "postcode", "unit"),
)
_KEY_BITS = 6
"""Room for the number of a key beside a pair."""
Ints = npt.NDArray[np.int32]
_FULL_DATE = "nullif(substr(dob, 5, 4), '0000')"
KEYS: tuple[Key, ...] = (
    _key("email", 60, "email"),
    _key("phone", 60, "phone"),
    _key("name+birth date", 60, "name", "dob"),
    _key("house+street", 60, "house", "street"),
    _key("mailbox", 40, "local"),
    _key("given+birth date", 60, "root", "dob"),
    _key("surname+birth date", 40, "surname", "dob"),
    _key("phone's last 7", 40, "substr(phone, -7)"),
    _key("given+phone's first 6", 40, "root", "substr(phone, 1, 6)"),
    _key("given+phone's last 5", 40, "root", "substr(phone, -5)"),
    _key("birth date+phone's last 4", 40, "dob", "substr(phone, -4)"),
    _key("residue+given", 30, "root", "CASE WHEN length(residue) >= 3 THEN residue END"),
    _key("mailbox's start+given", 30, "root", "CASE WHEN length(local) >= 6 THEN substr(local, 1, 6) END"),
    _key("street+given", 30, "root", "street"),
    _key("name+district", 30, "name", "district"),
    _key("name+city", 12, "name", "city"),
    _key("name", 12, "name"),
    _key("given+surname", 12, "root", "surname"),
    _key("birth day+given+surname", 30, "root", "surname", _FULL_DATE),
    _key("birth date+district", 20, "dob", "district"),
    _key("birth date+street", 20, "dob", "street"),
    _key("birth date", 12, f"CASE WHEN {_FULL_DATE} IS NOT NULL THEN dob END"),
    _key("postcode+given", 20, "root", "postcode"),
    _key("postcode+surname", 20, "surname", "postcode"),
    _key("postcode+house", 20, "house", "postcode"),
    _key("unit+given", 20, "root", "unit"),
    _key("house+surname", 20, "house", "surname"),
)


def keys_for(fields: Iterable[str], identifiers: Sequence[str]) -> list[Key]:
    """The keys that records with these fields can have. ``identifiers`` are extra columns with telling values."""
    present = {*fields}
    found: list[Key] = []
    for name in identifiers:
        found.append(Key(name, (name,), 60, frozenset({name})))
        found.append(Key(f"{name}'s start+given", ("root", f"substr({name}, 1, 4)"), 20, frozenset({name})))
        found.append(Key(f"{name}'s end+given", ("root", f"substr({name}, -4)"), 20, frozenset({name})))
    found += [key for key in KEYS if key.needs <= present]
    return found


def sharing(ids: Ints, values: npt.NDArray[np.int64], cap: int) -> tuple[Ints, Ints]:
    """The pairs of records (smaller id first) that share a value which at most ``cap`` records have."""
    order = np.argsort(values)
    values, ids = values[order], ids[order]
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1]))) if len(values) else order
    sizes = np.diff(starts, append=len(values))
    ends: list[tuple[Ints, Ints]] = [(ids[:0], ids[:0])]
    for size in np.unique(sizes[(sizes > 1) & (sizes <= cap)]).tolist():
        members = ids[starts[sizes == size, None] + np.arange(size)]
        one, other = (members[:, places].ravel() for places in np.triu_indices(size, 1))
        ends.append((np.minimum(one, other), np.maximum(one, other)))
    one, other = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    return one, other


def first_keys(size: int, found: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints, npt.NDArray[np.int8]]:
    """Each pair once, by the first key that finds it. ``found``: the pairs of each key, of ``size`` records."""
    packed = np.concatenate(
        [
            np.zeros(0, dtype=np.int64),
            *(((one.astype(np.int64) * size + other) << _KEY_BITS) + place for place, (one, other) in enumerate(found)),
        ]
    )
    packed.sort()
    pairs = packed >> _KEY_BITS
    first = np.concatenate(([True], pairs[1:] != pairs[:-1])) if len(pairs) else pairs.astype(np.bool_)
    one, other = np.divmod(pairs[first], size)
    return one.astype(np.int32), other.astype(np.int32), (packed[first] & ((1 << _KEY_BITS) - 1)).astype(np.int8)


def key_table(keys: Sequence[Key], dialect: Dialect) -> list[str]:
    """Statements that make the table ``keyed``: numbers of records with columns ``k0``, ``k1`` …

    A key whose group is one record, or above the cap, is replaced by a number below zero that no other record has.
    """
    raw = ", ".join(f"{dialect.key(*key.parts)} AS r{place}" for place, key in enumerate(keys))
    statements = [f"CREATE TABLE raw_keys AS SELECT id, {raw} FROM records"]
    chosen: list[str] = []
    joins: list[str] = []
    for place, key in enumerate(keys):
        statements.append(
            f"CREATE TABLE g{place} AS SELECT r{place} AS k{place} FROM raw_keys WHERE r{place} IS NOT NULL "
            f"GROUP BY r{place} HAVING count(*) BETWEEN 2 AND {key.cap}"
        )
        chosen.append(f"coalesce(g{place}.k{place}, -1 - k.id) AS k{place}")
        joins.append(f"LEFT JOIN g{place} ON g{place}.k{place} = k.r{place}")
    statements.append(f"CREATE TABLE keyed AS SELECT k.id, {', '.join(chosen)} FROM raw_keys k {' '.join(joins)}")
    return statements


def condition(place: int) -> str:
    """When the records ``a`` and ``b`` are a pair of key ``place`` and of none before."""
    earlier = "".join(f" AND a.k{before} <> b.k{before}" for before in range(place))
    return f"a.k{place} = b.k{place} AND a.id < b.id{earlier}"


def found_by(place: int) -> str:
    """The pairs of key ``place`` that no earlier key finds."""
    return (
        f"SELECT a.id AS a, b.id AS b, {place} AS key FROM keyed a JOIN keyed b ON {condition(place)} "
        f"WHERE a.k{place} >= 0 AND b.k{place} >= 0"
    )


def compared(packing: Packing) -> str:
    """The pairs of the table ``found`` with their outcomes: columns a, b, key, pattern, terms."""
    return (
        f"SELECT a, b, key, {packing.packed_sql()} AS pattern, {packing.terms_sql()} AS terms FROM "
        f"(SELECT f.a AS a, f.b AS b, f.key AS key, {packing.levels_sql()}, {packing.term_columns()} FROM found f "
        "JOIN records a ON a.id = f.a JOIN records b ON b.id = f.b)"
    )
