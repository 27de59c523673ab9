"""``hoso segments test``: cases of rules in git, through the production engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.connection import CommandError
from infra.cli.segments import app

VECTORS = Path(__file__).parents[1] / "fixtures" / "segments" / "vectors.json"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["test", *arguments])


@pytest.mark.parametrize("engine", ["live", "sql"])
def test_the_published_cases_are_answered_by_id(engine: str) -> None:
    result = run(str(VECTORS), "--engine", engine, "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found) == 168
    assert found["bad-cycle"] == {"error": "cycle"}
    assert found["event-window-edge-in"]["member"] is True
    if engine == "live":
        assert found["event-window-edge-in"]["next_change"] == "2026-11-22T03:00:00.001Z"


def test_a_case_that_turns_out_otherwise_fails_the_command(tmp_path: Path) -> None:
    vectors = json.loads(VECTORS.read_text())["vectors"]
    case = {**vectors[0], "expect": {"member": not vectors[0]["expect"]["member"]}}
    (tmp_path / "case.json").write_text(json.dumps({"vectors": [case]}))

    result = run(str(tmp_path / "case.json"))

    assert result.exit_code == 1
    assert "1 differ" in result.stdout


def write(file: Path, *cases: dict[str, Any], **more: Any) -> str:
    file.write_text(json.dumps({"vectors": cases, **more}))
    return str(file)


CASE: dict[str, Any] = {
    "id": "one",
    "segment": {"schema": "segment/1", "key": "s", "rule": {"kind": "trait", "name": "n", "op": "gt", "value": 5}},
    "profile": {"id": "p", "traits": {"n": 6}},
    "as_of": "2026-11-22T03:00:00Z",
    "expect": {"member": True, "next_change": None},
}


def test_a_next_change_other_than_expected_fails_the_live_engine(tmp_path: Path) -> None:
    file = write(tmp_path / "case.json", {**CASE, "expect": {"member": True, "next_change": "2026-11-23T00:00:00Z"}})

    assert run(file).exit_code == 1
    assert run(file, "--engine", "sql").exit_code == 0, "the batch engine says nothing of it"
    assert run(write(tmp_path / "case.json", CASE)).exit_code == 0


@pytest.mark.parametrize("engine", ["live", "sql"])
def test_whole_numbers_beyond_64_bits_keep_their_digits_as_at_the_doors(tmp_path: Path, engine: str) -> None:
    parts = [
        {"kind": "trait", "name": "n", "op": "between", "value": [10**30, 10**31]},
        {"kind": "trait", "name": "n", "op": "is", "value": str(2 * 10**30)},
    ]
    rule = {"kind": "all", "of": parts}
    case = {**CASE, "segment": {**CASE["segment"], "rule": rule}, "profile": {"id": "p", "traits": {"n": 2 * 10**30}}}

    result = run(write(tmp_path / "case.json", case), "--engine", engine, "--json")

    assert json.loads(result.stdout)["one"]["member"] is True


@pytest.mark.parametrize("engine", ["live", "sql"])
def test_null_is_the_same_as_left_out(tmp_path: Path, engine: str) -> None:
    profile = {"id": "p", "traits": {"n": 6}, "lists": None, "scores": None, "trait_since": None}

    result = run(write(tmp_path / "case.json", {**CASE, "profile": profile, "events": None}), "--engine", engine)

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("engine", ["live", "sql"])
@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"profile": {"id": 5}}, "profile.id"),
        ({"profile": {"id": "p", "traits": []}}, "profile.traits"),
        ({"profile": {"id": "p", "identifiers": []}}, "profile.identifiers"),
        ({"profile": {"id": "p", "scores": {"churn": {"value": 1}}}}, "profile.scores.churn.at"),
        ({"events": [{"event": "a", "timestamp": "2026-01-01T00:00:00Z"}]}, "events.0.message_id"),
        ({"segments": []}, "segments"),
        ({"expect": 5}, "expect"),
        ({"as_of": "2026-11-22"}, "an instant in the file is not a date-time"),
    ],
)
def test_what_is_no_case_is_named_by_its_path(tmp_path: Path, part: dict[str, Any], path: str, engine: str) -> None:
    result = run(write(tmp_path / "case.json", {**CASE, **part}), "--engine", engine, "--json")

    assert isinstance(result.exception, CommandError)
    assert f"case one is not a case: {path}" in str(result.exception)


def test_files_of_another_form_are_refused(tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", CASE, format="segment-vectors/2")
    (tmp_path / "odd.json").write_text('{"vectors": [{"id": NaN}]}')
    half = write(tmp_path / "half.json", {**CASE, "profile": {"id": "p", "traits": {"n": "\ud800"}}})

    for file in (other, str(tmp_path / "odd.json"), str(tmp_path)):
        assert isinstance(run(file).exception, CommandError)
    assert isinstance(run(half, "--engine", "sql").exception, CommandError)


def test_other_engines_and_files_that_are_no_cases_are_told(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{")

    assert run(str(VECTORS), "--engine", "magic").exit_code == 1
    assert run(str(tmp_path / "no.json")).exit_code == 1
