"""What the functions of collect and unify count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import collect_world, unify_world
from tests.collect_world import track


def counted(printed: str) -> dict[str, int]:
    """The counters in what was printed, those of a dimension under ``name/value``."""
    found: dict[str, int] = {}
    for line in printed.splitlines():
        if '"_aws"' not in line:
            continue
        said: dict[str, Any] = json.loads(line)
        for directive in said["_aws"]["CloudWatchMetrics"]:
            kind = next((entry[0] for entry in directive["Dimensions"] if entry), None)
            for metric in directive["Metrics"]:
                name = metric["Name"] if kind is None else f"{metric['Name']}/{said[kind]}"
                found[name] = found.get(name, 0) + said[metric["Name"]]
    return found


def test_o5_collect_counts_accepted_refused_by_code_and_quarantined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with collect_world.world(tmp_path) as place:
        key = place.source()
        capsys.readouterr()
        place.send("/v1/batch", {"batch": [track(1), track(2), {"type": "track", "anonymousId": "a"}]}, key=key)
        assert counted(capsys.readouterr().out) == {"accepted": 2, "refused/missing_event": 1, "quarantined/collect": 1}
        place.send("/v1/batch", b"{broken", key=key)
        assert counted(capsys.readouterr().out) == {"refused/invalid_json": 1, "quarantined/collect": 1}
        place.send("/v1/t", track(), key="wk_unknown")
        assert counted(capsys.readouterr().out) == {"refused/invalid_write_key": 1}


def test_o5_the_consumer_counts_duplicates_and_what_it_sets_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with unify_world.unify_world(tmp_path) as place:
        place.consume(track(1), track(2))
        capsys.readouterr()
        place.consume(track(1), track(2, event="Another"), track(3))

    assert counted(capsys.readouterr().out) == {"consumed": 3, "duplicates": 1, "quarantined/duplicate": 1}
