"""``hoso identity try`` on moto: the published scenarios through the production resolver and its store."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.connection import CommandError
from infra.cli.identity import app

SCENARIOS = Path(__file__).parents[1] / "fixtures" / "identity" / "scenarios.json"


@pytest.mark.parametrize(
    "options", [[], ["--order", "shuffled"], ["--order", "shuffled-repeats", "--workers", "4", "--seed", "7"]], ids=str
)
def test_every_published_scenario_comes_out_as_expected(options: list[str]) -> None:
    run = CliRunner().invoke(app, ["try", str(SCENARIOS), "--json", *options])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout).keys() == {scenario["id"] for scenario in json.loads(SCENARIOS.read_text())}


def test_a_scenario_that_comes_out_otherwise_fails_the_command(tmp_path: Path) -> None:
    scenario = json.loads(SCENARIOS.read_text())[0]
    scenario["expect"]["profiles"] = []
    file = tmp_path / "one.json"
    file.write_text(json.dumps([scenario]))
    run = CliRunner().invoke(app, ["try", str(file)])
    assert run.exit_code == 1
    assert "1 differ" in run.stdout


EVENT = {"id": "e1", "ts": 1, "type": "track", "ids": {"user_id": "u1"}}
CUT = {"op": "cut", "id": "o1", "ts": 1}


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ({"config": "nope"}, "base is one of"),
        ({"config": 7}, "config is"),
        ({"config": {"base": "default", "blocked": 3}}, "blocked is a list"),
        ({"items": {"a": EVENT}}, "items is a list"),
        ({"items": [3]}, "item 1: an item is an object"),
        ({"items": [EVENT, EVENT | {"ts": "x"}]}, "item 2 (e1): ts is"),
        ({"items": [EVENT | {"ts": 10**40}]}, "ts is"),
        ({"items": [EVENT | {"ids": ["u1"]}]}, "ids is an object"),
        ({"items": [EVENT | {"type": "alias", "previous": "u0"}]}, "previous is an object"),
        ({"items": [CUT | {"op": "boo"}]}, "no operator record"),
        ({"items": [CUT]}, "each end of a pair names"),
        ({"items": [CUT | {"links": 5}]}, "links is a list"),
        ({"items": [CUT | {"links": [["user_id:u1"]]}]}, "links holds pairs"),
        ({"items": [CUT | {"links": [["user_id:u1", 5]]}]}, "each end of a pair names"),
        ({"items": [CUT | {"links": [["user_id:u1", "e"]]}]}, "type:value"),
        ({"items": [CUT | {"op": "delete"}]}, "profile_of names"),
        ({"items": [CUT | {"op": "probable", "a": "user_id:u1", "b": "user_id:u2", "score": "x"}]}, "score is"),
        ({"expect": 3}, "expect is"),
        ({"expect": {"profiles": [{"ids": ["user_id:u1"]}]}}, "expect.profiles is"),
        ({"expect": {"unowned": "user_id:u1"}}, "expect.unowned is"),
    ],
)
def test_a_scenario_that_cannot_be_read_says_where_before_anything_runs(
    tmp_path: Path, scenario: dict, said: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps([{"id": "x", "items": []} | scenario]))
    run = CliRunner().invoke(app, ["try", str(file), "--json"])
    assert isinstance(run.exception, CommandError)
    assert str(run.exception).startswith("scenario x: ")
    assert said in str(run.exception)


def test_r6_an_event_that_comes_again_with_other_content_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    again = EVENT | {"ids": {"user_id": "u1", "email": "lan@shop.vn"}}
    file.write_text(json.dumps({"id": "x", "config": {"max_ids": 5}, "items": [EVENT, again]}))
    run = CliRunner().invoke(app, ["try", str(file), "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)["x"]
    assert found["profiles"] == [{"ids": ["user_id:u1"], "events": ["e1"]}]
    assert found["unowned"] == []


def test_two_scenarios_of_one_id_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "two.json"
    file.write_text(json.dumps([{"id": "x", "items": []}] * 2))
    run = CliRunner().invoke(app, ["try", str(file)])
    assert "two scenarios are called x" in str(run.exception)


def test_a_file_that_holds_no_scenarios_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text("{")
    run = CliRunner().invoke(app, ["try", str(file)])
    assert "not JSON" in str(run.exception)
