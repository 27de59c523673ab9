"""Matching in tests: records in memory to a matcher, clusters to figures."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

from hoso.unify.likeness.columns import read_columns
from hoso.unify.likeness.matcher import LIKELY, Edges, Matcher
from hoso.unify.likeness.model import Parameters
from hoso.unify.likeness.normalise import normalised
from hoso.unify.likeness.records import Records, write_rows


class Scores(NamedTuple):
    """Pairwise figures of clusters against the truth."""

    f1: float
    precision: float
    recall: float


class Matched(NamedTuple):
    """One whole run."""

    matcher: Matcher
    parameters: Parameters
    edges: Edges
    labels: list[int]
    scored: int


def records_of(rows: Sequence[Sequence[str]]) -> Records:
    """The records of a table whose first row is the header."""
    columns = read_columns(rows[0])
    with tempfile.TemporaryDirectory(prefix="hoso-test-") as folder:
        file = Path(folder) / "rows.tsv"
        write_rows(normalised(rows[1:], columns), file)
        return Records(file, list(columns.extras))


def match(rows: Sequence[Sequence[str]], threshold: float = LIKELY) -> Matched:
    """Everything that ``hoso match`` does with a table."""
    matcher = Matcher(records_of(rows))
    scored = matcher.candidates()
    parameters = matcher.fit()
    edges = matcher.edges(parameters)
    return Matched(matcher, parameters, edges, matcher.clusters(edges, threshold).tolist(), scored)


def scores(truth: Sequence[Hashable], found: Sequence[Hashable]) -> Scores:
    """Pairwise F1, precision and recall."""
    right, said, true = (_pairs(Counter(parts)) for parts in (zip(truth, found, strict=True), found, truth))
    return Scores(2 * right / max(said + true, 1), right / max(said, 1), right / max(true, 1))


def _pairs(groups: Counter[Hashable]) -> int:
    return sum(size * (size - 1) // 2 for size in groups.values())
