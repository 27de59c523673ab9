"""Counters in embedded metric format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoso.platform import metrics
from hoso.platform.metrics import MAX_VALUES, Meter
from infra.twin.figures import Figures

NOW = 1_795_358_100_000


def lines_of(meter: Meter, written: list[str]) -> list[dict[str, object]]:
    meter.flush(NOW)
    return [json.loads(line) for line in written]


def test_o6_plain_counters_share_one_line_and_have_no_dimension() -> None:
    written: list[str] = []
    meter = Meter("dev", written.append)
    meter.add("accepted", 2)
    meter.add("accepted", 3)
    meter.add("consumed")

    (line,) = lines_of(meter, written)

    directive = line["_aws"]["CloudWatchMetrics"][0]  # type: ignore[index]
    assert line["accepted"] == 5
    assert line["consumed"] == 1
    assert line["_aws"]["Timestamp"] == NOW  # type: ignore[index]
    assert directive == {
        "Namespace": "Hoso/dev",
        "Dimensions": [[]],
        "Metrics": [{"Name": "accepted", "Unit": "Count"}, {"Name": "consumed", "Unit": "Count"}],
    }


def test_o6_a_dimension_counts_for_itself_and_for_the_total() -> None:
    written: list[str] = []
    meter = Meter("prod", written.append)
    meter.add("refused", 2, code="missing_id")

    (line,) = lines_of(meter, written)

    assert line["code"] == "missing_id"
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[], ["code"]]  # type: ignore[index]


def test_o6_a_dimension_has_a_bounded_number_of_values() -> None:
    written: list[str] = []
    meter = Meter("dev", written.append)
    for number in range(100):
        meter.add("refused", code=f"code-{number}")

    lines = lines_of(meter, written)

    assert len(lines) == MAX_VALUES + 1
    assert sum(line["refused"] for line in lines) == 100  # type: ignore[misc]


def test_a_flush_starts_anew_and_zero_is_no_line() -> None:
    written: list[str] = []
    meter = Meter("dev", written.append)
    meter.add("accepted")
    meter.add("duplicates", 0)
    meter.flush(NOW)
    meter.flush(NOW)

    assert len(written) == 1
    assert "duplicates" not in written[0]


def test_r56_a_metric_that_fails_fails_no_invocation() -> None:
    def broken(_line: str) -> None:
        raise OSError("no space left")

    meter = Meter("dev", broken)
    meter.add("accepted")
    meter.add("refused", code="a", stage="b")
    meter.flush(NOW)


def test_counts_of_a_failing_handler_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    meter = Meter("dev", written.append)

    @metrics.metered
    def handler(_event: dict[str, object], _context: object) -> None:
        metrics.meter().add("accepted")
        raise ValueError("broken")

    monkeypatch.setattr(metrics, "meter", lambda: meter)
    with pytest.raises(ValueError, match="broken"):
        handler({}, None)
    assert len(written) == 1


def test_the_twin_adds_up_what_functions_print(tmp_path: Path) -> None:
    log = tmp_path / "CollectFunction.log"
    with log.open("a") as out:
        meter = Meter("dev", lambda line: out.write(line + "\n"))
        figures = Figures(tmp_path)
        out.write("a line of another kind\n")
        meter.add("accepted", 3)
        meter.add("refused", 1, code="missing_id")
        meter.flush(NOW)
        out.flush()
        figures.totals()
        meter.add("refused", 2, code="too_deep")
        meter.flush(NOW)
        out.write('{"_aws": half a line')
        out.flush()

        assert figures.totals() == {
            "accepted": {"total": 3},
            "refused": {"total": 3, "code": {"missing_id": 1, "too_deep": 2}},
        }
