"""``hoso segments test``: cases of rules in git, through the production engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

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


def test_other_engines_and_files_that_are_no_cases_are_told(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{")

    assert run(str(VECTORS), "--engine", "magic").exit_code == 1
    assert run(str(tmp_path / "no.json")).exit_code == 1
