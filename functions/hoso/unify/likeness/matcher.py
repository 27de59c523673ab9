"""The matcher: records in, scored pairs and clusters out, by DuckDB and numpy."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log2
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from hoso.unify.likeness.blocking import Key, condition, key_table, keys_for
from hoso.unify.likeness.comparisons import TERMS, Comparison, attribute, comparisons_for, identifier
from hoso.unify.likeness.clusters import Ints, cluster
from hoso.unify.likeness.model import Parameters, Patterns, expected, fit, probabilities
from hoso.unify.likeness.normalise import FIELDS, Row
from hoso.unify.likeness.sql import DUCKDB

THRESHOLD = 0.5
_LEAST_OTHERS = 0.3
RANDOM_PAIRS = 200_000
_SAID = 0.004
"""A column that fewer records fill is not compared."""
Progress = Callable[[str, float], None]


def write_rows(rows: Iterable[Row], file: Path) -> int:
    """Normalised rows as a file of tab-separated values; answers how many."""
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(f"{count}\t" + "\t".join([value or "" for value in row]) + "\n")
            count += 1
    return count


@dataclass(slots=True)
class Matched:
    """The outcome. ``pairs``: ends, key and probability of the pairs above the lowest band."""

    records: int
    scored: int
    a: npt.NDArray[np.int32]
    b: npt.NDArray[np.int32]
    key: npt.NDArray[np.int8]
    probability: npt.NDArray[np.float32]
    clusters: npt.NDArray[np.int32]
    parameters: Parameters
    keys: list[str] = field(default_factory=list[str])


class Matcher:
    """One run over one set of normalised rows. ``extras``: titles of the extra columns."""

    def __init__(self, rows: Path, extras: Sequence[str] = (), threads: int | None = None, memory: str | None = None):
        self.connection = duckdb.connect()
        self.connection.execute("SET preserve_insertion_order = false")
        if threads:
            self.connection.execute(f"SET threads = {threads}")
        if memory:
            self.connection.execute(f"SET memory_limit = '{memory}'")
        self.connection.execute(f"SET temp_directory = '{rows.parent}'")
        self._titles = dict(zip([f"x{n}" for n in range(1, len(extras) + 1)], extras, strict=True))
        self._load(rows)

    def _load(self, rows: Path) -> None:
        names = [*FIELDS, *self._titles]
        columns = ", ".join(["'id': 'INTEGER'", *(f"'{name}': 'VARCHAR'" for name in names)])
        self.connection.execute(
            f"CREATE TABLE loaded AS FROM read_csv('{rows}', delim='\t', header=false, quote='', escape='', nullstr='', "
            f"auto_detect=false, columns={{{columns}}})"
        )
        said = self.connection.execute(
            f"SELECT count(*), {', '.join(f'count({name}), approx_count_distinct({name})' for name in names)} FROM loaded"
        ).fetchall()[0]
        self.records: int = said[0]
        counts = dict(zip(names, zip(said[1::2], said[2::2], strict=True), strict=True))
        self.fields = [name for name in names if counts[name][0] > max(1, _SAID * self.records)]
        telling: list[str] = []
        more: list[Comparison] = []
        for name, title in self._titles.items():
            if name in self.fields:
                filled, distinct = counts[name]
                if distinct > 0.3 * filled:
                    telling.append(name)
                    more.append(identifier(name, title))
                else:
                    more.append(attribute(name, title))
        self.comparisons = comparisons_for(self.fields, more)
        self.keys: list[Key] = keys_for(self.fields, telling)
        self._weigh_terms()

    def _weigh_terms(self) -> None:
        """``records``: the loaded ones with the weight of each of their values: log2 of (mean chance agreement / its
        own). ``self.chance``: the mean chance agreement by term."""
        wanted = {level.term for one in self.comparisons for level in one.levels if level.term}
        wanted |= {"given", "surname"} if "name" in self.fields else set()
        terms = {term: TERMS.get(term, (term,)) for term in sorted(wanted)}
        self.chance: dict[str, float] = {}
        self.mates = self._mates()
        joins: list[str] = []
        columns: list[str] = []
        for term, fields in terms.items():
            value = " || '|' || ".join(f"{name}" for name in fields)
            self.connection.execute(
                f"CREATE TABLE t_{term} AS SELECT {value} AS value, count(*) AS n FROM loaded WHERE ({value}) IS NOT NULL GROUP BY 1"
            )
            others = f"greatest(n - 1 - {self.mates}, {_LEAST_OTHERS} * (n - 1), 0.25)"
            squares, total = self.connection.execute(
                f"SELECT coalesce(sum(n * {others}) FILTER (n > 1), 0), coalesce(sum(n), 0) FROM t_{term}"
            ).fetchall()[0]
            total = max(float(total), 2.0)
            chance = max(float(squares), 1.0) / (total * (total - 1.0))
            self.chance[term] = chance
            qualified = " || '|' || ".join(f"l.{name}" for name in fields)
            others = others.replace("n ", f"t_{term}.n ")
            joins.append(f"LEFT JOIN t_{term} ON t_{term}.value = {qualified}")
            columns.append(f"CAST({log2(chance * (total - 1.0))} - log2({others}) AS REAL) AS w_{term}")
        more = "".join(f", {column}" for column in columns)
        self.connection.execute(f"CREATE TABLE records AS SELECT l.*{more} FROM loaded l {' '.join(joins)}")
        for term in terms:
            self.connection.execute(f"DROP TABLE t_{term}")
        self.connection.execute("DROP TABLE loaded")

    def _mates(self) -> float:
        """About how many other records of the same person a record has, by the most telling columns."""
        telling = [name for name in ("email", "phone", *self._titles) if name in self.fields]
        found = [
            self.connection.execute(
                f"SELECT coalesce(sum(n * (n - 1)) / sum(n), 0) FROM (SELECT count(*) AS n FROM loaded "
                f"WHERE {name} IS NOT NULL GROUP BY {name})"
            ).fetchall()[0][0]
            for name in telling
        ]
        return 0.8 * min(found, default=0.0)

    def candidates(self, progress: Progress = lambda _what, _part: None) -> int:
        """Make the table ``pairs``: a, b, key, pattern, terms. Answers how many pairs were compared."""
        for statement in key_table(self.keys, DUCKDB):
            self.connection.execute(statement)
        self.connection.execute(
            "CREATE TABLE pairs (a INTEGER, b INTEGER, key TINYINT, pattern BIGINT, terms TINYINT)"
        )
        self.pattern_sql, terms = self._pattern_sql()
        for place in range(len(self.keys)):
            progress(self.keys[place].name, place / len(self.keys))
            self.connection.execute(
                f"INSERT INTO pairs SELECT a, b, {place}, {self._packed()}, CAST({terms} AS TINYINT) FROM "
                f"(SELECT a.id AS a, b.id AS b, {self.pattern_sql}, {self._term_columns()} "
                f"FROM keyed a JOIN keyed b ON {condition(place)} WHERE a.k{place} >= 0 AND b.k{place} >= 0)"
            )
        return self.connection.execute("SELECT count(*) FROM pairs").fetchall()[0][0]

    def _pattern_sql(self) -> tuple[str, str]:
        levels = ", ".join(f"{one.level_sql(DUCKDB)} AS l{place}" for place, one in enumerate(self.comparisons))
        terms = [one.term_sql(f"l{place}") for place, one in enumerate(self.comparisons)]
        total = " + ".join(f"coalesce({_unqualified(term)}, 0)" for term in terms if term) or "0"
        return levels, f"round(greatest(-40, least(60, 2 * ({total}))))"

    def _term_columns(self) -> str:
        wanted = {level.term for one in self.comparisons for level in one.levels if level.term}
        return ", ".join(f"a.w_{term} AS w_{term}" for term in sorted(wanted)) or "0 AS none"

    def _packed(self) -> str:
        total = "0"
        for place, one in enumerate(self.comparisons):
            total = f"({total}) * {len(one.levels) + 1} + l{place}"
        return f"CAST({total} AS BIGINT)"

    def chances(self) -> list[npt.NDArray[np.float64]]:
        """Per comparison how often unrelated people's records come out at each level."""
        size = min(RANDOM_PAIRS, self.records * 50)
        generator = np.random.default_rng(7)
        one = generator.integers(0, self.records, size, dtype=np.int32)
        other = generator.integers(0, self.records, size, dtype=np.int32)
        lot = {"a": one[one != other], "b": other[one != other]}
        self.connection.register("lot", lot)
        self.connection.execute(
            f"CREATE TABLE by_chance AS SELECT {self._pattern_sql()[0]} FROM lot JOIN records a ON a.id = lot.a "
            "JOIN records b ON b.id = lot.b"
        )
        found: list[npt.NDArray[np.float64]] = []
        for place, comparison in enumerate(self.comparisons):
            rows = self.connection.execute(f"SELECT l{place}, count(*) FROM by_chance GROUP BY 1").fetchall()
            counts = np.zeros(len(comparison.levels) + 1)
            for level, count in rows:
                counts[level] = count
            said = counts[1:]
            shares = (said + 0.3) / (said.sum() + 0.3 * len(said))
            for number, level in enumerate(comparison.levels):
                if level.rare is not None:
                    shares[number] = max(said[number] / max(said.sum(), 1), level.rare)
                elif level.term is not None and number == 0:
                    shares[number] = self.chance[level.term]
            found.append(shares / shares.sum())
        self.connection.execute("DROP TABLE by_chance")
        self.connection.unregister("lot")
        return found

    def patterns(self) -> tuple[Patterns, npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        got = self.connection.execute("SELECT pattern, terms, count(*) AS n FROM pairs GROUP BY ALL").fetchnumpy()
        packed = np.asarray(got["pattern"], dtype=np.int64)
        terms = np.asarray(got["terms"], dtype=np.int8)
        levels = self.unpacked(packed)
        return Patterns(levels, terms / 2.0, np.asarray(got["n"], dtype=np.float64)), packed, terms

    def unpacked(self, packed: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
        """Levels (patterns × comparisons) of packed patterns."""
        levels = np.zeros((len(packed), len(self.comparisons)), dtype=np.int16)
        rest = packed.copy()
        for place in range(len(self.comparisons) - 1, -1, -1):
            radix = len(self.comparisons[place].levels) + 1
            levels[:, place] = rest % radix
            rest //= radix
        return levels

    def run(self, threshold: float = THRESHOLD, progress: Progress = lambda _what, _part: None) -> Matched:
        scored = self.candidates(progress)
        patterns, packed, terms = self.patterns()
        parameters = fit(patterns, expected(self.comparisons, self.chances(), self.records), self.comparisons, self.records)
        score = probabilities(patterns, parameters)
        kept = score >= 0.05
        self.connection.register("scores", {"pattern": packed[kept], "terms": terms[kept], "p": score[kept].astype(np.float32)})
        got = self.connection.execute("SELECT a, b, key, p FROM pairs JOIN scores USING (pattern, terms)").fetchnumpy()
        a, b = (np.asarray(got[name], dtype=np.int32) for name in ("a", "b"))
        probability = np.asarray(got["p"], dtype=np.float32)
        linked = probability >= threshold
        clusters = cluster(self.records, a[linked], b[linked], probability[linked], self._dates(a[linked], b[linked]))
        return Matched(
            self.records, scored, a, b, np.asarray(got["key"], dtype=np.int8), probability, clusters, parameters, [key.name for key in self.keys]
        )


    def _dates(self, a: Ints, b: Ints) -> dict[int, str]:
        """The birth dates of the records that are in a pair."""
        if "dob" not in self.fields:
            return {}
        wanted = np.zeros(self.records, dtype=bool)
        wanted[a] = wanted[b] = True
        got = self.connection.execute("SELECT id, dob FROM records WHERE dob IS NOT NULL").fetchall()
        return {record: date for record, date in got if wanted[record]}


def _unqualified(term: str) -> str:
    return term.replace("a.w_", "w_")
