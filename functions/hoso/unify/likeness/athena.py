"""The matcher's SQL for Athena, where the records outgrow one Lambda: the same statements, as tables of tables.

The source is what ``normalise`` makes, as a table with a number ``id``. The statements make, in their order, the value
weights, the keys, the candidate pairs, the distinct outcomes. From these, ``model.fit`` (numpy, a few thousand rows)
learns the weights, ``unasked.capped`` gives outcomes their scores; ``edges_statement`` picks pairs above a band, and
grouping takes those alone.
"""

# The statements are made of names in this package, never of text from outside.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence

from hoso.unify.likeness.blocking import compared, found_by, key_table, keys_for
from hoso.unify.likeness.comparisons import TERMS, comparisons_for
from hoso.unify.likeness.normalise import FIELDS
from hoso.unify.likeness.patterns import Packing
from hoso.unify.likeness.sql import ATHENA, Dialect


def statements(
    fields: Sequence[str] = FIELDS, mates: float = 0.0, source: str = "normalised", dialect: Dialect = ATHENA
) -> list[str]:
    """The statements over the table ``source`` of normalised records, in their order.

    ``fields``: those that enough records fill. ``mates``: about how many other records of the same person a record has.
    Answers with the tables ``records``, ``keyed``, ``found``, ``pairs``, ``outcomes``.
    """
    comparisons = comparisons_for(fields, ())
    keys = keys_for(fields, ())
    packing = Packing(comparisons, dialect)
    wanted = {level.term for one in comparisons for level in one.levels if level.term} | {"given", "surname"}
    found: list[str] = []
    joins: list[str] = []
    columns: list[str] = []
    for term in sorted(wanted):
        value = " || '|' || ".join(TERMS[term])
        qualified = " || '|' || ".join(f"l.{name}" for name in TERMS[term])
        found.append(
            f"CREATE TABLE t_{term} AS SELECT value, n, greatest(n - 1 - {mates}, 0.3 * (n - 1), 0.3) AS others, "
            "sum(n) OVER () AS total, sum(CASE WHEN n > 1 THEN n * greatest(n - 1 - "
            f"{mates}, 0.3 * (n - 1), 0.3) ELSE 0 END) OVER () AS agreeing "
            f"FROM (SELECT {value} AS value, count(*) AS n FROM {source} WHERE ({value}) IS NOT NULL GROUP BY {value})"
        )
        joins.append(f"LEFT JOIN t_{term} ON t_{term}.value = {qualified}")
        columns.append(f"log2(greatest(t_{term}.agreeing, 1) / t_{term}.total) - log2(t_{term}.others) AS w_{term}")
    found.append(f"CREATE TABLE records AS SELECT l.*, {', '.join(columns)} FROM {source} l {' '.join(joins)}")
    found += key_table(keys, dialect)
    found.append("CREATE TABLE found AS " + " UNION ALL ".join(found_by(place) for place in range(len(keys))))
    found.append(f"CREATE TABLE pairs AS {compared(packing)}")
    found.append("CREATE TABLE outcomes AS SELECT pattern, terms, count(*) AS n FROM pairs GROUP BY pattern, terms")
    return found


def edges_statement() -> str:
    """The pairs whose outcome has a score; the table ``scores`` has pattern, terms, p."""
    return "SELECT a, b, key, p FROM pairs JOIN scores USING (pattern, terms)"
