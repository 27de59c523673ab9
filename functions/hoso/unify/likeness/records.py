"""Normalised records in DuckDB: loaded, with the weight of each of their values, and what random pairs look like."""

# The statements are made of names in this package, never of text from outside.
# ruff: noqa: S608
from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hoso.platform.columns import columns
from hoso.unify.likeness.blocking import Key, keys_for
from hoso.unify.likeness.comparisons import TERMS, Comparison, attribute, comparisons_for, identifier
from hoso.unify.likeness.model import CONTACTS
from hoso.unify.likeness.normalise import FIELDS, Row
from hoso.unify.likeness.patterns import Packing

if TYPE_CHECKING:
    import duckdb

RANDOM_PAIRS = 400_000
"""With half as many, what is rare by chance is met too seldom: precision of small files wavered between .93 and .97."""
_SAID = 0.004
"""A column that fewer records fill is not compared."""
_TELLING = 0.3
"""An extra column with more distinct values than this share identifies people; with fewer it is an attribute."""
_LEAST_OTHERS = 0.3
"""Of those who share a value with a record, at least this share is taken for other people …"""
_LEAST_HOLDERS = 0.12
"""… and of those who share an e-mail, a phone or a number: 10 to 16 % (identity reference, trap 2)."""


def write_rows(rows: Iterable[Row], file: Path) -> int:
    """Normalised rows as a file of tab-separated values; answers how many."""
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for line in map("\t".join, rows):
            out.write(f"{count}\t{line}\n")
            count += 1
    return count


class Records:
    """The records of one run: the table ``records`` of a connection, and what can be compared.

    Outside, a record is its ``number``: where it stands in the file, from 0. The tables know it by an ``id`` that goes
    by what the records say (``numbers`` and ``ids`` turn one into the other), so that the outcome hangs on which
    records there are and not on their order.
    """

    def __init__(
        self,
        file: Path,
        extras: Sequence[str] = (),
        *,
        threads: int | None = None,
        memory_mb: int | None = None,
    ) -> None:
        """``file`` as ``write_rows`` made it; ``extras`` are the titles of the columns after ``FIELDS``."""
        import duckdb as engine

        self.connection: duckdb.DuckDBPyConnection = engine.connect()
        self.connection.execute("SET preserve_insertion_order = false")
        if threads:
            self.connection.execute(f"SET threads = {int(threads)}")
        if memory_mb:
            self.connection.execute(f"SET memory_limit = '{int(memory_mb)}MB'")
        self.connection.execute(f"SET temp_directory = '{file.parent}'")
        self._titles = {f"x{place}": title for place, title in enumerate(extras, 1)}
        counts = self._load(file)
        self._order(list(counts))
        self.fields = [name for name, (filled, _) in counts.items() if filled >= max(1, _SAID * self.size)]
        telling = [
            name for name in self._titles if name in self.fields and counts[name][1] > _TELLING * counts[name][0]
        ]
        more = [
            identifier(name, title) if name in telling else attribute(name, title)
            for name, title in self._titles.items()
            if name in self.fields
        ]
        self.comparisons: list[Comparison] = comparisons_for(self.fields, more)
        self.packing = Packing(self.comparisons)
        self.keys: list[Key] = keys_for(self.fields, telling)
        self.drawn = 0
        """How many random pairs ``by_chance`` looked at."""
        self.chance: dict[str, float] = {}
        """How often two unrelated records agree on a term."""
        self.contact_alone: float | None = None
        """Where nothing but an e-mail or a phone is said: how often two other records agree on what two hold."""
        self._weigh()

    def one(self, sql: str) -> tuple[Any, ...]:
        """The only row of a query."""
        return self.connection.execute(sql).fetchall()[0]

    def by_chance(self) -> list[npt.NDArray[np.float64]]:
        """Per comparison how often unrelated people's records come out at each level, from all pairs where they are
        few enough: in a small file a draw, or one record more, would decide about the line."""
        if self.size * (self.size - 1) // 2 <= RANDOM_PAIRS:
            one, other = (ends.astype(np.int32) for ends in np.triu_indices(self.size, 1))
        else:
            generator = np.random.default_rng(7)
            one = generator.integers(0, self.size, RANDOM_PAIRS, dtype=np.int32)
            other = generator.integers(0, self.size, RANDOM_PAIRS, dtype=np.int32)
        differ = one != other
        self.drawn = int(differ.sum())
        self.connection.register("lot", {"a": one[differ], "b": other[differ]})
        self.connection.execute(
            f"CREATE OR REPLACE TABLE by_chance AS SELECT {self.packing.levels_sql()} FROM lot "
            "JOIN records a ON a.id = lot.a JOIN records b ON b.id = lot.b"
        )
        found: list[npt.NDArray[np.float64]] = []
        for place, comparison in enumerate(self.comparisons):
            counts = np.zeros(len(comparison.levels) + 1)
            for level, count in self.connection.execute(
                f"SELECT l{place}, count(*) FROM by_chance GROUP BY 1"
            ).fetchall():
                counts[level] = count
            found.append(self._shares(comparison, counts[1:]))
        self.connection.execute("DROP TABLE by_chance")
        self.connection.unregister("lot")
        return found

    def hashes(self, parts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The records that say all these parts (SQL of a record), and a hash of what they say, as ``Dialect.key``."""
        text = " || '|' || ".join(parts)
        return self._numbered(f"CAST(hash({text}) >> 1 AS BIGINT)", parts, "records")

    def _numbered(
        self, value: str, parts: Sequence[str], table: str
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        said = " AND ".join(f"({part}) IS NOT NULL" for part in parts)
        got = columns(self.connection.execute(f"SELECT id, {value} AS value FROM {table} WHERE {said}"))
        return np.asarray(got["id"], dtype=np.int32), np.asarray(got["value"], dtype=np.int64)

    def close(self) -> None:
        """Give the memory back."""
        self.connection.close()

    def _shares(self, comparison: Comparison, said: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Counts of levels as shares; what is too rare to be counted is put in."""
        shares = (said + 0.3) / (said.sum() + 0.3 * len(said))
        for number, level in enumerate(comparison.levels):
            if level.rare is not None:
                shares[number] = max(said[number] / max(said.sum(), 1), level.rare)
            elif level.term is not None and number == 0:
                shares[number] = self.chance[level.term]
        return shares / shares.sum()

    def _load(self, file: Path) -> dict[str, tuple[int, int]]:
        """Fill the table ``loaded``; answers by column how many values it has, and of an extra one about how many
        distinct ones."""
        names = [*FIELDS, *self._titles]
        types = ", ".join(["'id': 'INTEGER'", *(f"'{name}': 'VARCHAR'" for name in names)])
        self.connection.execute(
            f"CREATE TABLE loaded AS FROM read_csv('{file}', delim='\t', header=false, quote='', escape='', "
            f"nullstr='', auto_detect=false, columns={{{types}}})"
        )
        counted = ", ".join(
            f"count({name}), {f'approx_count_distinct({name})' if name in self._titles else 0}" for name in names
        )
        said = self.one(f"SELECT count(*), {counted} FROM loaded")
        self.size: int = said[0]
        return dict(zip(names, zip(said[1::2], said[2::2], strict=True), strict=True))

    def _order(self, names: Sequence[str]) -> None:
        """Number the records by what they say. Those that say the same are alike: these keep the file's order."""
        values = ", ".join(f"coalesce({name}, '')" for name in names)
        said = f"concat_ws('\x1f', {values})"
        got = columns(self.connection.execute(f"SELECT id AS number, md5_number_lower({said}) AS digest FROM loaded"))
        numbers = np.asarray(got["number"], dtype=np.int32)
        self.numbers: npt.NDArray[np.int32] = numbers[np.lexsort((numbers, np.asarray(got["digest"])))]
        """The number of each id."""
        self.ids: npt.NDArray[np.int32] = np.empty_like(self.numbers)
        """The id of each number."""
        self.ids[self.numbers] = np.arange(self.size, dtype=np.int32)

    def _weigh(self) -> None:
        """``records``: the loaded ones with a column ``w_<term>``: log2 of (mean chance agreement / that of its value).

        Who shares a value is partly the same person; those are taken out by how many such mates a record has.
        """
        wanted = {level.term for one in self.comparisons for level in one.levels if level.term}
        wanted |= {"given", "surname"} if "name" in self.fields else set()
        alone = len(self.comparisons) == 1 and self.comparisons[0].name in CONTACTS
        mates = self.size if alone else self._mates()  # alone: as many others as trap 2 says, of any value
        holders = {"email", "phone", *self._titles}
        weights: dict[str, npt.NDArray[Any]] = {"number": np.arange(self.size, dtype=np.int32), "place": self.ids}
        for term in sorted(wanted):
            least = _LEAST_HOLDERS if term in holders else _LEAST_OTHERS
            held = self._held(TERMS.get(term, (term,)))
            sizes, values = np.unique(held[held > 0], return_counts=True)  # so many records as a value has, of each
            values = values / sizes
            others = np.maximum(np.maximum(sizes - 1 - mates, least * (sizes - 1)), least)
            agreeing = float((values * sizes * others)[sizes > 1].sum())
            total = max(float((values * sizes).sum()), 2.0)
            if alone and term == self.comparisons[0].name:
                self.contact_alone = least / (total - 1.0)
            self.chance[term] = max(agreeing, 1.0) / (total * (total - 1.0))
            of_size = np.full(int(sizes.max(initial=0)) + 1, np.nan, dtype=np.float32)
            of_size[sizes] = log2(self.chance[term] * (total - 1.0)) - np.log2(others)
            weights[f"w_{term}"] = of_size[held]
        columns_ = ", ".join(f"nullif({name}, 'nan'::REAL) AS {name}" for name in weights if name.startswith("w_"))
        self.connection.register("weights", weights)
        self.connection.execute(
            f"CREATE TABLE records AS SELECT place AS id, l.* EXCLUDE (id){', ' if columns_ else ''}{columns_} "
            "FROM loaded l JOIN weights ON number = l.id"
        )
        self.connection.unregister("weights")
        self.connection.execute("DROP TABLE loaded")

    def _held(self, fields: Sequence[str]) -> npt.NDArray[np.int64]:
        """By number, how many records say what the record says in these fields; 0 where it does not say them all."""
        text = " || '|' || ".join(fields)
        # twice: the hash of one text alone was seen to be the same for two names of a million records
        ids, values = self._numbered(f"CAST(hash({text}, '|' || {text}) >> 1 AS BIGINT)", fields, "loaded")
        _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
        found = np.zeros(self.size, dtype=np.int64)
        found[ids] = sizes[group]
        return found

    def _mates(self) -> float:
        """About how many other records of the same person a record has, by the most telling columns."""
        found = [
            float(
                self.one(
                    "SELECT coalesce(sum(n * (n - 1)) / sum(n), 0) FROM (SELECT count(*) AS n FROM loaded "
                    f"WHERE {name} IS NOT NULL GROUP BY {name})"
                )[0]
            )
            for name in ("email", "phone", *self._titles)
            if name in self.fields
        ]
        return 0.8 * min(found, default=0.0)
