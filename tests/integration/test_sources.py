"""Every webhook source by its table of cases: raw request → verified? → canonical events → answer.

A table is ``tests/fixtures/sources/<kind>.json``: the source's settings and secrets, and cases that are sent in their
order to one source: ``at`` (the clock), the raw request, then what must come: ``answer``, ``refused`` (the reason) or
``events`` (all new ones on the stream, whole).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.sources import KINDS
from hoso.model.time import parse_instant
from hoso.platform.metrics import meter
from tests.hook_world import HookWorld, hook_world

TABLES = Path(__file__).parent.parent / "fixtures" / "sources"


def by_id(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(events, key=lambda event: event["messageId"])


def body_of(case: dict[str, Any]) -> str:
    """The body of a case; one of many bytes is written as a piece and how often it is repeated."""
    return case.get("body", "") + case.get("repeat", "") * case.get("times", 0)


def run(place: HookWorld, path: str, case: dict[str, Any], before: int) -> list[dict[str, Any]]:
    place.now = parse_instant(case["at"]) or 0
    meter().flush(0)
    answer = place.deliver(
        path,
        body_of(case),
        method=case.get("method", "POST"),
        headers=case.get("headers"),
        query=case.get("query", ""),
        as_base64=case.get("base64", False),
    )
    expected = case["answer"]
    assert answer["statusCode"] == expected["status"], answer
    if "json" in expected:
        assert json.loads(answer["body"]) == expected["json"]
    if "text" in expected:
        assert answer["body"] == expected["text"]
    if "type" in expected:
        assert answer["headers"]["content-type"].startswith(expected["type"])
    return place.events()[before:]


@pytest.mark.parametrize("kind", KINDS)
def test_source_answers_and_stores_as_its_table_says(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = json.loads((TABLES / f"{kind}.json").read_text())
    assert {"accepted", "refused"} <= {what for case in table["cases"] for what in case.get("shows", [])}

    with hook_world(tmp_path) as place:
        path = place.source(kind, kind, table.get("settings"), table.get("secrets"))
        stored = 0
        for case in table["cases"]:
            capsys.readouterr()
            events = run(place, path, case, stored)
            stored += len(events)
            counted = capsys.readouterr().out
            assert by_id(events) == by_id(case.get("events", [])), case["name"]
            assert f'"code":"{case["refused"]}"' in counted if "refused" in case else "refused" not in counted, case[
                "name"
            ]
            assert len(place.inner.quarantined()) == case.get("quarantined", 0), case["name"]


def test_a_table_exists_for_each_kind_and_for_nothing_else() -> None:
    assert {file.stem for file in TABLES.glob("*.json")} == set(KINDS)
