"""Segments as files in git: planned, applied, compared and explained with the command line, on a living twin."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from infra.cli.connection import Connection
from infra.cli.main import app
from infra.cli.serve import open_twin
from infra.cli.story import until

BUYERS = {
    "schema": "segment/1",
    "key": "buyers",
    "rule": {"kind": "event", "event": "Order Completed", "op": "gte", "value": 1},
}
LOYAL = {"schema": "segment/1", "key": "a-loyal", "rule": {"kind": "segment", "key": "buyers"}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with open_twin(tmp_path_factory.mktemp("git"), port=0) as connection:
        events = [
            {
                "type": "track",
                "event": "Order Completed",
                "userId": f"u{user}",
                "messageId": uuid.uuid4().hex,
                "properties": {"orderId": f"o{user}-{number}", "total": 10, "currency": "VND"},
            }
            for user in range(3)
            for number in range(user + 1)
        ]
        answer = connection.request("POST", "/v1/batch", json={"batch": events}, auth=(connection.write_key(), ""))
        assert answer.status_code == 200
        bearer = {"Authorization": f"Bearer {connection.token}"}
        until(
            lambda: connection.request("GET", "/v1/profiles/user_id:u2", headers=bearer).status_code == 200,
            "the last buyer",
            10,
        )
        yield connection


def hoso(shop: Connection, *words: str, exit_code: int = 0) -> Result:
    done = CliRunner().invoke(app, [*words, "--url", shop.url])
    assert done.exit_code == exit_code, done.output
    return done


def rows(done: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def folder_of(path: Path, *documents: dict[str, Any]) -> str:
    for document in documents:
        (path / f"{document['key']}.json").write_text(json.dumps(document))
    return str(path)


def test_a_folder_is_planned_with_the_sentences_that_people_approve_then_applied_and_filled(
    shop: Connection, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, BUYERS, LOYAL)

    planned = rows(hoso(shop, "segments", "plan", folder, "--json", exit_code=2))
    applied = rows(hoso(shop, "segments", "apply", folder, "--json"))
    again = rows(hoso(shop, "segments", "plan", folder, "--json"))

    assert [(step["key"], step["does"]) for step in planned] == [("a-loyal", "create"), ("buyers", "create")]
    assert "the number of “Order Completed” is 1 or more" in planned[1]["sentence"]
    assert [(step["key"], step["backfill"]) for step in applied] == [("buyers", "SUCCEEDED"), ("a-loyal", "SUCCEEDED")]
    assert {step["does"] for step in again} == {"nothing"}
    for key in ("buyers", "a-loyal"):
        assert len(rows(hoso(shop, "segments", "members", key, "--json"))) == 3


def test_a_change_is_compared_and_described_as_it_will_be(shop: Connection, tmp_path: Path) -> None:
    folder_of(tmp_path, BUYERS)
    hoso(shop, "segments", "apply", str(tmp_path), "--json")
    file = tmp_path / "buyers.json"
    file.write_text(json.dumps({**BUYERS, "rule": {**BUYERS["rule"], "value": 3}}))

    (step,) = rows(hoso(shop, "segments", "plan", str(file), "--json", exit_code=2))
    compared = json.loads(hoso(shop, "segments", "diff", str(file), "--fresh", "--json").stdout)

    assert (step["does"], "is 3 or more" in step["sentence"]) == ("change", True)
    assert (compared["before"], compared["after"], compared["enter"], compared["leave"]) == (3, 1, 0, 2)
    shown = json.loads(hoso(shop, "segments", "preview", str(file), "--fresh", "--json").stdout)
    assert (shown["size"], shown["people"]) == (1, 3)
    said = hoso(shop, "segments", "why", "buyers", "user_id:u0").stdout
    assert "is in" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema": "segment/1", "key": "x"}', "x.json: missing_key: rule"),
        ('{"schema": "segment/1", "key": "x", "rule": {"kind": "did"}}', "x.json: kind: rule"),
        ("[1]", "is no segment document"),
        ("{", "is not JSON"),
    ],
)
def test_a_file_that_is_no_segment_stops_the_plan_and_stores_nothing(
    shop: Connection, tmp_path: Path, text: str, says: str
) -> None:
    folder_of(tmp_path, {**BUYERS, "key": "first"})
    (tmp_path / "x.json").write_text(text)

    for command in ("plan", "apply"):
        assert says in str(hoso(shop, "segments", command, str(tmp_path), exit_code=1).exception)

    assert "first" not in {one["key"] for one in shop.pages("/v1/segments", state="all")}
