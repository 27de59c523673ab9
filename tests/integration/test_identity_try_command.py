"""``hoso identity try`` on moto: the published scenarios through the production resolver and its store."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

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


def test_a_file_that_holds_no_scenarios_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text("{")
    run = CliRunner().invoke(app, ["try", str(file)])
    assert "not JSON" in str(run.exception)
