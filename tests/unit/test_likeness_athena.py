"""The matcher's SQL for Athena: golden statements, in Athena's grammar, with the outcomes of DuckDB's."""

from __future__ import annotations

import os
import re
from pathlib import Path

import sqlglot

from hoso.unify.likeness.athena import edges_statement, statements
from hoso.unify.likeness.matcher import Matcher
from hoso.unify.likeness.normalise import FIELDS
from hoso.unify.likeness.sql import DUCKDB
from tests.likeness_people import people
from tests.likeness_world import records_of

GOLDEN = Path(__file__).parents[1] / "fixtures" / "likeness-sql" / "few.sql"
FEW = ("name", "given", "root", "surname", "middle", "initials", "phone", "dob")


def test_statements_are_those_of_the_golden_file() -> None:
    """``HOSO_UPDATE_GOLDEN=1`` writes it anew."""
    made = ";\n".join([*statements(FEW), edges_statement()]) + ";\n"
    if os.environ.get("HOSO_UPDATE_GOLDEN"):
        GOLDEN.write_text(made)
    assert made == GOLDEN.read_text()


def test_the_statements_find_the_pairs_and_outcomes_that_the_matcher_finds() -> None:
    # given: records with these fields alone, and the same statements in DuckDB's words
    rows, _ = people(12, 700)
    columns = [rows[0].index(name) for name in ("record_id", "first_name", "last_name", "phone", "dob")]
    records = records_of([[row[place] for place in columns] for row in rows])
    matcher = Matcher(records)
    matcher.candidates()
    matcher.fit()
    sql = records.connection
    want = sql.execute("SELECT a, b, key, pattern FROM pairs ORDER BY ALL").fetchall()
    sql.execute(f"CREATE TABLE normalised AS SELECT id, {', '.join(FIELDS)} FROM records")
    for table in [name for (name,) in sql.execute("SHOW TABLES").fetchall() if name != "normalised"]:
        sql.execute(f"DROP TABLE {table}")

    for statement in statements(records.fields, dialect=DUCKDB):
        sql.execute(statement)

    # then: all is alike; what mistyping weighs hangs on the weights, which are made of other counts of mates
    found = sql.execute("SELECT a, b, key, pattern FROM pairs ORDER BY ALL").fetchall()
    assert [row[:3] for row in found] == [row[:3] for row in want] != []
    assert sum(one[3] != other[3] for one, other in zip(found, want, strict=True)) <= 0.02 * len(want)
    assert sql.execute("SELECT sum(n) FROM outcomes").fetchall() == [(len(want),)]


def test_every_statement_parses_as_athena() -> None:
    for statement in [*statements(FEW), edges_statement()]:
        assert sqlglot.parse_one(statement, dialect="athena").sql()


def test_the_statements_use_no_function_that_athena_does_not_have() -> None:
    known = {
        *("abs", "coalesce", "count", "greatest", "least", "length", "levenshtein_distance", "log2", "nullif", "round"),
        *("strpos", "substr", "sum", "bitwise_and", "from_big_endian_64", "to_utf8", "xxhash64", "cast"),
    }
    used = {name.lower() for text in statements() for name in re.findall(r"\b([A-Za-z_0-9]+)\(", text)}
    words = {"in", "and", "or", "not", "when", "then", "else", "case", "over", "between", "as", "select", "on", "from"}
    assert used - words <= known | {"using"}
