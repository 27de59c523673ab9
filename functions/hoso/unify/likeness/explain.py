"""Why two records are held for one person's: what agreed, what it is worth, in words."""

# The statements are made of names in this package, never of text from outside.
# ruff: noqa: S608
from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np

from hoso.unify.likeness.matcher import REVIEW
from hoso.unify.likeness.model import Parameters, Patterns, logs, probabilities
from hoso.unify.likeness.patterns import TERM_STEPS
from hoso.unify.likeness.records import Records
from hoso.unify.likeness.sql import DUCKDB
from hoso.unify.likeness.unasked import AUTO, GROUP, REASONS, capped, lacking

_SHOWN = {
    "name": ("given", "middle", "surname"),
    "email": ("email",),
    "phone": ("phone",),
    "birth date": ("dob",),
    "sex": ("sex",),
    "address": ("house", "street"),
    "area": ("ward", "district", "city"),
    "postcode": ("postcode",),
    "second line": ("unit",),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One comparison of a pair: its level, both values masked, and what it is worth in bits.

    ``against_others``: log2 of how much likelier it is for one person than for unrelated people, frequent values
    counted; ``against_family``: than for related people.
    """

    comparison: str
    level: str
    one: str
    other: str
    against_others: float
    against_family: float

    def document(self) -> dict[str, Any]:
        """The reason as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def band(probability: float) -> str:
    """What is done at a probability: ``auto``, ``review`` or ``none``."""
    return "auto" if probability >= AUTO else "review" if probability >= REVIEW else "none"


def explain(records: Records, parameters: Parameters, one: int, other: int) -> dict[str, Any]:
    """The evidence for two records, by their numbers, as JSON: reasons, keys, weight in bits, probability, band.

    Where it is asked although the model is sure, ``asked`` says why.
    """
    return explain_all(records, parameters, [(one, other)])[0]


def explain_all(records: Records, parameters: Parameters, pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """As ``explain``, for many pairs at once, in their order."""
    if not pairs:
        return []
    wanted = np.sort(records.ids[np.asarray(pairs, dtype=np.int32)], axis=1)  # as compared: the lower id first
    turned = [records.numbers[wanted[place, 0]] != one for place, (one, _) in enumerate(pairs)]
    records.connection.register(
        "asked",
        {"n": np.arange(len(pairs), dtype=np.int32), "a": wanted[:, 0].copy(), "b": wanted[:, 1].copy()},
    )
    names = records.fields
    values = ", ".join(f"a.{name}, b.{name}" for name in names)
    terms = ", ".join(
        f"{one.term_sql(f'({one.level_sql(DUCKDB)})', 'a.') or '0'} AS t{place}"
        for place, one in enumerate(records.comparisons)
    )
    keys = ", ".join(f"coalesce(x.s{place} = y.s{place}, FALSE)" for place in range(len(records.keys))) or "FALSE"
    held = ", ".join(f"{DUCKDB.key(*key.parts)} AS s{place}" for place, key in enumerate(records.keys)) or "0 AS s"
    rows = records.connection.execute(
        "WITH either AS (SELECT a AS id FROM asked UNION SELECT b FROM asked), "
        f"keyed AS (SELECT id, {held} FROM records WHERE id IN (FROM either)) "
        f"SELECT {records.packing.levels_sql()}, {terms}, {keys}, {values} FROM asked JOIN records a ON a.id = asked.a "
        "JOIN records b ON b.id = asked.b JOIN keyed x ON x.id = asked.a JOIN keyed y ON y.id = asked.b "
        "ORDER BY asked.n"
    ).fetchall()
    records.connection.unregister("asked")
    return [_explained(records, parameters, row, other) for row, other in zip(rows, turned, strict=True)]


def asked_for_its_group(told: dict[str, Any]) -> dict[str, Any]:
    """The evidence for a pair that is sure by itself, but in a group of contradicting birth dates."""
    return {**told, "band": "review", "asked": GROUP}


def _explained(records: Records, parameters: Parameters, row: tuple[Any, ...], turned: bool) -> dict[str, Any]:
    size = len(records.comparisons)
    levels: list[int] = list(row[:size])
    terms = [float(term or 0) for term in row[size : 2 * size]]
    shared = row[2 * size : 2 * size + len(records.keys)]
    held = row[2 * size + max(len(records.keys), 1) :]
    one = dict(zip(records.fields, held[::2], strict=True))
    other = dict(zip(records.fields, held[1::2], strict=True))
    if turned:
        one, other = other, one
    m, h = parameters.of("one"), parameters.of("related")
    reasons: list[Reason] = []
    for place, comparison in enumerate(records.comparisons):
        number = levels[place]
        if number == 0:
            continue
        chances = [float(tables[place][number - 1]) for tables in (m, h, parameters.u)]
        shown = _SHOWN.get(comparison.name, comparison.fields)
        reasons.append(
            Reason(
                comparison.name,
                comparison.levels[number - 1].name,
                " ".join(mask(name, one.get(name)) for name in shown if one.get(name)),
                " ".join(mask(name, other.get(name)) for name in shown if other.get(name)),
                round(log2(chances[0] / chances[2]) + terms[place], 2),
                round(log2(chances[0] / chances[1]), 2),
            )
        )
    steps = round(max(-40.0, min(60.0, TERM_STEPS * sum(terms))))
    pattern = Patterns(np.asarray([levels], dtype=np.int16), np.asarray([steps / TERM_STEPS]), np.ones(1))
    fitted = probabilities(pattern, parameters)
    probability = float(capped(fitted, pattern.levels, records.comparisons)[0])
    lacks = int(lacking(pattern.levels, records.comparisons)[0]) if fitted[0] >= AUTO else 0
    found = logs(pattern, parameters)[:, 0]
    rest = float(np.logaddexp.reduce(found[1:]))
    return {
        "reasons": [reason.document() for reason in reasons],
        "keys": [key.name for key, same in zip(records.keys, shared, strict=True) if same],
        "weight": round((float(found[0]) - rest) / _BIT, 2),
        "probability": round(probability, 4),
        "band": band(probability),
        **({"asked": REASONS[lacks]} if lacks else {}),
    }


_BIT = float(np.log(2))
"""Natural logarithms to bits."""


def mask(field: str, value: str | None) -> str:
    """A value of which enough is left to recognise it, and not to use it.

    >>> mask("email", "hoa.tran@gmail.com"), mask("phone", "0912345678"), mask("dob", "19940911")
    ('h…@gmail.com', '…678', '1994-…')
    """
    if not value:
        return ""
    if field == "email":
        local, _, domain = value.rpartition("@")
        return f"{local[:1]}…@{domain}"
    if field == "phone" or field.startswith("x"):
        return f"…{value[-3:]}"
    if field == "dob":
        return f"{value[:4]}-…"
    if field in ("sex", "city", "district", "ward"):
        return value
    return " ".join(f"{word[:1]}…" for word in value.split())
