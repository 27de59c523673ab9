"""What SQL may be asked, and what it answers."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from hoso.activate.deliveries import Delivery
from hoso.insight.query import BadQuery, tables_of
from hoso.insight.snapshot import delivery_row
from hoso.insight.warehouse import Warehouse


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT 1", set()),
        ("SELECT * FROM events JOIN Profiles USING (profile_id)", {"events", "profiles"}),
        ("WITH x AS (SELECT * FROM memberships) SELECT * FROM x", {"memberships"}),
        ("SELECT count(*) FROM deliveries UNION ALL SELECT count(*) FROM identities", {"deliveries", "identities"}),
    ],
)
def test_a_query_tells_which_tables_it_reads(query: str, tables: set[str]) -> None:
    assert tables_of(query) == tables


@pytest.mark.parametrize(
    "query",
    [
        "",
        "SELEC 1",
        "SELECT 1; SELECT 2",
        "DROP TABLE events",
        "INSERT INTO events SELECT 1",
        "CREATE TABLE x AS SELECT 1",
        "SELECT * INTO profiles FROM events",
        "WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x",
        "COPY events TO 'x.csv'",
        "ATTACH 'x.db'",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM secrets",
        "SELECT '" + "x" * 60_000 + "'",
    ],
)
def test_s13_what_is_not_one_select_over_known_tables_is_refused(query: str) -> None:
    with pytest.raises(BadQuery):
        tables_of(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT content FROM read_blob('{file}')",
        "SELECT * FROM glob('{folder}/*')",
    ],
)
def test_s13_functions_that_read_files_are_shut(query: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("secret")

    with Warehouse() as warehouse, pytest.raises(BadQuery):
        warehouse.run(query.format(file=file, folder=tmp_path), 10)


def test_s13_the_database_cannot_be_told_otherwise_after_the_first_query() -> None:
    with Warehouse() as warehouse:
        warehouse.run("SELECT 1", 1)

        with pytest.raises(duckdb.Error, match="locked"):
            warehouse._db.execute("SET threads = 1")


def test_deliveries_are_rows() -> None:
    delivery = Delivery("main", "p_1", "d1", "act", "mail", "email", "cause", "segment.entered", 5, "{}", status="sent")

    with Warehouse() as warehouse:
        warehouse.fill("deliveries", [delivery_row(delivery)])
        found = warehouse.run('SELECT profile_id, status, "at" FROM deliveries', 10)

    assert found == [{"profile_id": "p_1", "status": "sent", "at": 5}]


def test_an_archive_without_files_is_an_empty_table() -> None:
    with Warehouse() as warehouse:
        warehouse.events([], [], lambda kind, value: f"p_{kind}{value}")

        assert warehouse.run("SELECT count(*) AS n FROM events", 10) == [{"n": 0}]


def test_at_most_the_limit_comes_back() -> None:
    with Warehouse() as warehouse:
        assert len(warehouse.run("SELECT * FROM range(100)", 7)) == 7
