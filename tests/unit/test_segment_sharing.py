"""What several rules ask of a person is asked once, and answered as if each of them stood alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hoso.segment.check import read_segment
from hoso.segment.live import compile_live
from hoso.segment.person import PersonState, RuleEvent, Verdict

AS_OF = 1_795_358_100_000
HOUR = 3_600_000
DAY = 24 * HOUR

Json = dict[str, Any]


class Counted(dict[str, Any]):
    """Meters that count how often each of them is looked at."""

    def __init__(self, meters: Json) -> None:
        super().__init__(meters)
        self.looked = Counter[str]()

    def get(self, key: str, default: Any = None) -> Any:
        self.looked[key] += 1
        return super().get(key, default)


def document(key: str, rule: Json, zone: str = "UTC") -> Json:
    return {"schema": "segment/1", "key": key, "timezone": zone, "rule": rule}


def bought(op: str | None = None, value: Any = None, window: str | None = "7d") -> Json:
    rule: Json = {"kind": "event", "event": "Order Completed"}
    if window:
        rule["window"] = {"last": window}
    return rule if op is None else {**rule, "op": op, "value": value}


def spent(value: int) -> Json:
    return {**bought("gte", value), "measure": {"agg": "sum", "of": "properties.revenue"}}


def answers(rules: list[Json], *ages: int, revenue: int = 10) -> tuple[dict[str, Verdict], Counter[str]]:
    """Verdicts on a person with orders of these ages (ms), and how often each meter was looked at."""
    compiled = compile_live([read_segment(document(f"s{number}", rule)) for number, rule in enumerate(rules)])
    meters: Json = {}
    for number, age in enumerate(ages):
        at = AS_OF - age
        event = RuleEvent(f"m{number}", "Order Completed", at, min(at, AS_OF), {"properties": {"revenue": revenue}})
        compiled.fold(meters, event)
    counted = Counted(meters)
    return compiled.evaluate(PersonState("p", meters=counted), AS_OF), counted.looked


def seen(looked: Counter[str]) -> list[int]:
    return [count for key, count in looked.items() if key[0] in "nes"]


TRAIT: Json = {"kind": "trait", "name": "plan", "op": "is", "value": "gold"}
GROUP: Json = {"kind": "any", "of": [TRAIT, bought()]}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([bought(), bought()], id="two segments with one rule"),
        pytest.param([bought(), GROUP, {"kind": "not", "of": GROUP}], id="a rule that is a part of others"),
        pytest.param([GROUP, {"kind": "any", "of": [bought(), TRAIT]}], id="groups in another order"),
        pytest.param([bought(), {"kind": "segment", "key": "s0"}], id="a segment and one that refers to it"),
        pytest.param([spent(5), spent(15), {"kind": "not", "of": spent(25)}], id="sums with other thresholds"),
    ],
)
def test_what_several_rules_ask_is_looked_at_once(rules: list[Json]) -> None:
    _, looked = answers(rules, DAY, 2 * DAY)

    assert seen(looked) == [1]


def test_rules_that_differ_in_their_zone_alone_are_told_apart() -> None:
    today: Json = {"kind": "event", "event": "Order Completed", "window": {"calendar": "day"}}
    segments = [read_segment(document(name[:3].lower(), today, name)) for name in ("UTC", "Asia/Ho_Chi_Minh")]
    compiled = compile_live(segments)
    meters: Json = {}
    at = AS_OF // DAY * DAY + 20 * HOUR  # 20:00 in UTC, 3:00 of the next day in Vietnam
    compiled.fold(meters, RuleEvent("m", "Order Completed", at - 4 * HOUR, at, {}))

    said = compiled.evaluate(PersonState("p", meters=meters), at)

    assert {key: verdict.member for key, verdict in said.items()} == {"utc": True, "asi": False}


def test_a_sum_that_is_shared_is_made_anew_for_the_next_question() -> None:
    compiled = compile_live([read_segment(document(f"s{least:02d}", spent(least))) for least in (5, 15)])
    meters: Json = {}
    compiled.fold(meters, RuleEvent("m1", "Order Completed", AS_OF, AS_OF, {"properties": {"revenue": 10}}))
    person = PersonState("p", meters=meters)
    first = compiled.evaluate(person, AS_OF)
    compiled.fold(meters, RuleEvent("m2", "Order Completed", AS_OF, AS_OF, {"properties": {"revenue": 10}}))

    said = [compiled.evaluate(person, at) for at in (AS_OF, AS_OF + 7 * DAY)]

    members = [[verdict.member for verdict in found.values()] for found in (first, *said)]
    assert members == [[True, False], [True, True], [False, False]]


@pytest.mark.parametrize(
    ("op", "value", "member", "turns"),
    [
        (None, None, True, 3 * DAY),
        ("gte", 3, True, DAY),
        ("gte", 2.5, True, DAY),
        ("gt", 2, True, DAY),
        ("gt", 3, False, None),
        ("gte", 4, False, None),
        ("gte", 0, True, None),
        ("gt", -1, True, None),
        ("lt", 0, False, None),
        ("lt", 3, False, DAY),
        ("lte", 2, False, DAY),
        ("lt", 4, True, None),
        ("is", 0, False, 3 * DAY),
        ("is_not", 0, True, 3 * DAY),
        ("is", 3, True, DAY),
        ("is", 2, False, DAY),
        ("between", [1, 2], False, DAY),
    ],
)
def test_counts_turn_when_the_event_that_matters_leaves(op: Any, value: Any, member: bool, turns: int | None) -> None:
    """Three events, which leave the window of seven days after one, two and three days."""
    until = None if turns is None else AS_OF + turns

    said, _ = answers([bought(op, value), {"kind": "not", "of": bought(op, value)}], 6 * DAY, 5 * DAY, 4 * DAY)

    assert said["s0"] == Verdict(member, until)
    assert said["s1"] == Verdict(not member, until)


@pytest.mark.parametrize("window", ["7d", "1mo", None])
def test_a_count_waits_for_an_event_stamped_in_the_future(window: str | None) -> None:
    said, _ = answers([bought("gte", 2, window), bought("lt", 2, window)], 2 * DAY, -HOUR)

    assert said["s0"] == Verdict(False, AS_OF + HOUR)
    assert said["s1"] == Verdict(True, AS_OF + HOUR)


def test_a_count_over_all_time_never_turns() -> None:
    said, _ = answers([bought("gte", 2, None), bought("lt", 2, None), bought("gte", 3, None)], 900 * DAY, DAY)

    assert list(said.values()) == [Verdict(True, None), Verdict(False, None), Verdict(False, None)]
