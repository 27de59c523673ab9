"""The matcher: records in, scored pairs and clusters out, by DuckDB and numpy."""

# The statements are made of names in this package, never of text from outside.
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hoso.platform.columns import columns
from hoso.unify.likeness.blocking import compared, first_keys, sharing
from hoso.unify.likeness.clusters import Ints, cluster
from hoso.unify.likeness.model import Parameters, Patterns, contact_alone, expected, fit, probabilities
from hoso.unify.likeness.patterns import TERM_STEPS
from hoso.unify.likeness.records import Records
from hoso.unify.likeness.unasked import AUTO, capped

LIKELY = 0.65
"""Where a file is divided into people when nobody says otherwise (weight 0.9): the model is too sure about families."""
REVIEW = 0.5
"""At this probability and above, a person decides (weight 0)."""
KEPT = 0.05
"""Pairs below this probability are forgotten."""
Floats32 = npt.NDArray[np.float32]
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Decisions:
    """Pairs on which people decided, by numbers of records."""

    accepted: Iterable[tuple[int, int]] = ()
    rejected: Iterable[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Edges:
    """Scored pairs, a < b: ends, the key that found them, packed levels, term steps, probability of one person."""

    a: Ints
    b: Ints
    key: npt.NDArray[np.int16]
    pattern: npt.NDArray[np.int64]
    terms: npt.NDArray[np.int16]
    probability: Floats32

    def __len__(self) -> int:
        return len(self.a)


def _silent(_what: str, _done: float) -> None:
    return


class Matcher:
    """The steps over one set of records: ``candidates``, ``fit``, ``edges``, ``clusters``."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._sql = records.connection

    def candidates(self, progress: Progress = _silent, fresh: npt.NDArray[np.bool_] | None = None) -> int:
        """Make the table ``pairs`` of all pairs that share a key; answers how many.

        ``fresh``: by record whether it is new or changed; only pairs with such a record are made.
        """
        keys = self.records.keys
        new = None if fresh is None else fresh[self.records.numbers]
        found: list[tuple[Ints, Ints]] = []
        for place, key in enumerate(keys):
            progress(key.name, 0.4 * place / len(keys))
            one, other = sharing(*self.records.hashes(key.parts), key.cap)
            if new is not None:
                kept = new[one] | new[other]
                one, other = one[kept], other[kept]
            found.append((one, other))
        one, other, first = first_keys(self.records.size, found)
        self._sql.register("found", {"a": one, "b": other, "key": first})
        progress("all", 0.4)
        self._sql.execute(f"CREATE TABLE pairs AS {compared(self.records.packing)}")
        self._sql.unregister("found")
        progress("", 1.0)
        return int(self.records.one("SELECT count(*) FROM pairs")[0])

    def keep(self, file: Path) -> None:
        """Write the candidates to a Parquet file."""
        self._sql.execute(f"COPY pairs TO '{file}' (FORMAT parquet, COMPRESSION zstd)")

    def restore(self, file: Path) -> None:
        """Take the candidates from a file that ``keep`` wrote for the same records."""
        self._sql.execute(f"CREATE TABLE pairs AS FROM read_parquet('{file}')")

    def fit(self, decisions: Decisions | None = None) -> Parameters:
        """Learn the parameters from the pairs, and from what people decided."""
        by_chance = self.records.by_chance()
        if self.records.contact_alone is not None:
            return contact_alone(self.records.comparisons[0], by_chance[0], self.records.contact_alone)
        patterns, _, _ = self._patterns(decisions)
        start = expected(self.records.comparisons, by_chance, self.records.size)
        return fit(patterns, start, self.records.comparisons, self.records.size, self.records.drawn)

    def edges(self, parameters: Parameters, least: float = KEPT) -> Edges:
        """The pairs whose probability is ``least`` or more, in the order of their records."""
        patterns, packed, terms = self._patterns(None)
        score = capped(probabilities(patterns, parameters), patterns.levels, self.records.comparisons)
        kept = score >= least
        scores = {"pattern": packed[kept], "terms": terms[kept], "p": score[kept].astype(np.float32)}
        self._sql.register("scores", scores)
        got = columns(
            self._sql.execute("SELECT a, b, key, pattern, terms, p FROM pairs JOIN scores USING (pattern, terms)")
        )
        self._sql.unregister("scores")
        ends = (self.records.numbers[np.asarray(got[end], dtype=np.int32)] for end in ("a", "b"))
        one, other = ends
        a, b = np.minimum(one, other), np.maximum(one, other)
        order = np.lexsort((b, a))
        return Edges(
            a[order],
            b[order],
            np.asarray(got["key"], dtype=np.int16)[order],
            np.asarray(got["pattern"], dtype=np.int64)[order],
            np.asarray(got["terms"], dtype=np.int16)[order],
            np.asarray(got["p"], dtype=np.float32)[order],
        )

    def clusters(self, edges: Edges, threshold: float = LIKELY) -> Ints:
        """The label of each record: the smallest record of its cluster.

        From ``AUTO`` on, as a night does: a record without a birth date is in no group whose dates contradict.
        """
        linked = edges.probability >= threshold
        ids = self.records.ids
        one, other = ids[edges.a[linked]], ids[edges.b[linked]]
        a, b = np.minimum(one, other), np.maximum(one, other)
        label = cluster(
            self.records.size, a, b, edges.probability[linked], self._dates(a, b), unasked=threshold >= AUTO
        )
        # labels go by ids: name each group by the smallest number in it
        smallest = np.full(self.records.size, self.records.size, dtype=np.int32)
        np.minimum.at(smallest, label, self.records.numbers)
        return smallest[label[ids]]

    def unasked(self, edges: Edges) -> npt.NDArray[np.bool_]:
        """Which of the pairs are linked without asking: sure, and in a group that bears them."""
        label = self.clusters(edges, AUTO)
        return (edges.probability >= AUTO) & (label[edges.a] == label[edges.b])

    def _patterns(self, decisions: Decisions | None) -> tuple[Patterns, npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        """The distinct outcomes of all pairs, as patterns and as they are packed."""
        got = columns(self._sql.execute("SELECT pattern, terms, count(*) AS n FROM pairs GROUP BY ALL ORDER BY ALL"))
        packed = np.asarray(got["pattern"], dtype=np.int64)
        terms = np.asarray(got["terms"], dtype=np.int8)
        counts = np.asarray(got["n"], dtype=np.float64)
        patterns = Patterns(self.records.packing.unpacked(packed), terms / float(TERM_STEPS), counts)
        if decisions is not None:
            places = {(int(p), int(t)): place for place, (p, t) in enumerate(zip(packed, terms, strict=True))}
            for name, pairs in (("accepted", decisions.accepted), ("rejected", decisions.rejected)):
                found = np.zeros(len(counts))
                for pattern, term, count in self._outcomes(pairs):
                    found[places[pattern, term]] += count
                setattr(patterns, name, found)
        return patterns, packed, terms

    def _outcomes(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """Outcomes of given pairs, as far as they are among the candidates, with how many had them."""
        numbers = np.asarray(sorted({(min(pair), max(pair)) for pair in pairs}), dtype=np.int32).reshape(-1, 2)
        chosen = np.sort(self.records.ids[numbers], axis=1)
        self._sql.register("chosen", {"a": chosen[:, 0].copy(), "b": chosen[:, 1].copy()})
        found = self._sql.execute(
            "SELECT pattern, terms, count(*) FROM pairs JOIN chosen USING (a, b) GROUP BY ALL"
        ).fetchall()
        self._sql.unregister("chosen")
        return found

    def _dates(self, a: Ints, b: Ints) -> dict[int, str]:
        """The birth dates of the records (by id) that are in a pair."""
        wanted = np.zeros(self.records.size, dtype=bool)
        wanted[a] = wanted[b] = True
        got = columns(self._sql.execute("SELECT id, dob FROM records WHERE dob IS NOT NULL"))
        ids = np.asarray(got["id"], dtype=np.int32)
        chosen = wanted[ids]
        return dict(zip(ids[chosen].tolist(), np.asarray(got["dob"])[chosen].tolist(), strict=True))
