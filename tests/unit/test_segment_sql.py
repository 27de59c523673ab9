"""The SQL engine's shape: no text pasted together, one scan per event name, Athena's words where Athena would run it.

``HOSO_UPDATE_GOLDEN=1`` writes the golden file anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from hoso.segment import batch
from hoso.segment.cases import read_case, read_events
from hoso.segment.check import read_segment
from hoso.segment.person import PersonState
from hoso.segment.sql.athena import Athena
from hoso.segment.sql.build import column, integer, text
from hoso.segment.sql.compiler import compile_batch
from hoso.segment.sql.dialect import Dialect
from hoso.segment.sql.duckdb import DuckDb

FIXTURES = Path(__file__).parents[1] / "fixtures"
VECTORS = json.loads((FIXTURES / "segments" / "vectors.json").read_text())["vectors"]
VALID = [vector for vector in VECTORS if "error" not in vector["expect"]]
GOLDEN = FIXTURES / "segment-sql" / "primitives.json"
NOW = 1_795_316_400_000


def primitives(dialect: Dialect) -> dict[str, str]:
    value, name = column("v"), column("t")
    made = {
        "document": dialect.document(column("body")),
        "path": dialect.paths(column("doc"), [("properties", "total")])[0],
        "path with odd names": dialect.paths(column("doc"), [('a"b', "*", "c.d", "0")])[0],
        "any_entry": dialect.any_entry(value, lambda entry: dialect.is_kind(entry, "object")),
        "size": dialect.size(value),
        "json_text": dialect.json_text(name),
        "let": dialect.let(dialect.raw(value), lambda raw: dialect.fits(raw, "[0-9]+")),
        "contains": dialect.contains(name, text("it's")),
        "ends_with": dialect.ends_with(name, "%_'"),
        "text_form": dialect.text_form(value),
        "number_form": dialect.number_form(value),
        "boolean_form": dialect.boolean_form(value),
        "day_form": dialect.day_form(value),
        "instant_form": dialect.instant_form(value),
        "millionths": dialect.millionths(column("n")),
        "date": dialect.date(column("n")),
        "bucket": dialect.bucket(name),
        "first value": dialect.value_at_end(value, [column("ts"), column("message_id")], last=False),
        "last value": dialect.value_at_end(value, [column("ts"), column("message_id")], last=True),
        "sorted_list": dialect.sorted_list(column("n")),
        "entry": dialect.entry(column("l"), integer(2)),
        "length": dialect.length(column("l")),
    }
    kinds = ("text", "whole", "number", "boolean", "list", "object")
    made |= {f"is {kind}": dialect.is_kind(value, kind) for kind in kinds}
    return {name: sql.sql(dialect=dialect.name) for name, sql in made.items()}


@pytest.mark.parametrize("dialect", [DuckDb, Athena], ids=["duckdb", "athena"])
def test_each_primitive_says_what_it_said(dialect: type[Dialect]) -> None:
    made = primitives(dialect())
    if os.environ.get("HOSO_UPDATE_GOLDEN"):
        held = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps({**held, dialect().name: made}, indent=1) + "\n")

    assert made == json.loads(GOLDEN.read_text())[dialect().name]


@pytest.mark.parametrize("vector", VALID, ids=[vector["id"] for vector in VALID])
def test_every_published_case_parses_as_athena(vector: dict[str, Any]) -> None:
    case = read_case(vector)

    statement = compile_batch(case.segments, case.as_of, Athena()).sql()

    assert isinstance(sqlglot.parse_one(statement, dialect="athena"), exp.Select)


def test_athena_is_given_none_of_duckdbs_words() -> None:
    said = "\n".join(primitives(Athena()).values())

    for word in ("HUGEINT", "JSON_EXTRACT_STRING", "LIST_", "NFC_NORMALIZE", "ARG_M", "LEN(", "ISFINITE", "LAMBDA"):
        assert word not in said
    assert "SHA256(TO_UTF8(" in said


def test_rules_on_the_same_event_share_one_scan() -> None:
    rules = [
        {"kind": "event", "event": "Order Completed", "window": {"last": f"{days}d"}, "op": "gte", "value": days}
        for days in range(1, 40)
    ]
    segments = [
        read_segment({"schema": "segment/1", "key": f"s{place}", "rule": rule}) for place, rule in enumerate(rules)
    ]

    statement = compile_batch(segments, NOW, DuckDb()).statement

    scans = [table for table in statement.find_all(exp.Table) if table.name == "happened"]
    assert len(scans) == 1


@pytest.mark.parametrize("hostile", ["x'; DROP TABLE events; --", '"; --', "\\'", "%s {0}", "＇"])
def test_texts_of_a_rule_are_data(hostile: str) -> None:
    """Names, values and keys that look like SQL: found where they are, and nothing else happens."""
    path = hostile.replace("\\", "\\\\").replace(".", "\\.")
    rule = {
        "kind": "all",
        "of": [
            {"kind": "trait", "name": path, "op": "is", "value": hostile},
            {"kind": "trait", "name": path, "op": "contains", "value": hostile},
            {"kind": "consent", "purpose": hostile, "channel": hostile, "state": ["granted"]},
            {"kind": "list", "key": hostile},
            {
                "kind": "event",
                "event": hostile,
                "where": {"kind": "prop", "path": f"properties.{path}", "op": "in", "value": [hostile]},
            },
        ],
    }
    name = path.replace("\\.", ".")
    person = PersonState("p", traits={name: hostile}, consent={f"{hostile}/{hostile}": "granted"}, lists=[hostile])
    events = read_events(
        [{"message_id": "m", "event": hostile, "timestamp": "2026-11-01T00:00Z", "properties": {name: hostile}}]
    )
    with batch.connect(256, 1) as connection:
        batch.create_tables(connection)
        batch.fill_tables(connection, [person, PersonState("q")], [("p", event) for event in events])

        found = batch.members(connection, [read_segment({"schema": "segment/1", "key": "s", "rule": rule})], NOW)

        assert found == {"s": {"p"}}
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)
