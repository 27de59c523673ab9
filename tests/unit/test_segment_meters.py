"""The live engine's state: small whatever a person does, mergeable, versioned; and what it has to look at again."""

from __future__ import annotations

import random
import time
from typing import Any

import orjson
import pytest

from hoso.segment.check import read_segment
from hoso.segment.live import CONSENT, LiveRules, PersonState, RuleEvent, compile_live, merge_meters

NOW = 1_795_316_400_000
HOUR = 3_600_000
MONEY = "properties.total"
RULES: dict[str, Any] = {
    "count": {"kind": "event", "event": "a", "window": {"last": "7d"}, "op": "gte", "value": 5},
    "often": {"kind": "event", "event": "a", "op": "gte", "value": 5_000},
    "sum": {"kind": "event", "event": "a", "measure": {"agg": "sum", "of": MONEY}, "op": "gte", "value": 1},
    "sum7d": {
        "kind": "event", "event": "a", "window": {"last": "7d"},
        "measure": {"agg": "sum", "of": MONEY}, "op": "gte", "value": 1,
    },
    "unique": {
        "kind": "event", "event": "a", "window": {"last": "7d"},
        "measure": {"agg": "unique", "of": MONEY}, "op": "gte", "value": 2,
    },
    "frequent": {
        "kind": "event", "event": "a",
        "measure": {"agg": "most_frequent", "of": MONEY}, "op": "is", "value": "1",
    },
    "first": {"kind": "event", "event": "a", "measure": {"agg": "first", "of": MONEY}, "op": "is", "value": 1},
    "last": {
        "kind": "event", "event": "a",
        "measure": {"agg": "last", "of": "timestamp"}, "op": "older_than", "value": "60d",
    },
    "median": {
        "kind": "event", "event": "a", "window": {"last": "30d"},
        "measure": {"agg": "percentile", "of": MONEY, "p": 50}, "op": "gte", "value": 1,
    },
    "then": {"kind": "sequence", "steps": [{"event": "a"}, {"event": "b", "within": "1h"}], "window": {"last": "30d"}},
    "moving": {
        "kind": "event", "event": "a", "window": {"last": "30d"},
        "where": {"kind": "prop", "path": "properties.due", "op": "in_next", "value": "7d"},
    },
}  # fmt: skip


def rules_of(*keys: str) -> LiveRules:
    documents = [{"schema": "segment/1", "key": key, "rule": RULES[key]} for key in keys or RULES]
    return compile_live([read_segment(document) for document in documents])


def event(number: int, ts: int, name: str = "a", **properties: Any) -> RuleEvent:
    return RuleEvent(f"m{number}", name, ts, ts + 1_000, {"properties": properties})


def busy(count: int) -> list[RuleEvent]:
    draw = random.Random(1)
    return [
        event(number, NOW - count * 60_000 + number * 60_000, total=draw.randint(0, 9_999)) for number in range(count)
    ]


def test_the_state_of_a_hot_person_stays_small_and_is_json() -> None:
    rules, meters = rules_of(), {}
    sizes: list[int] = []
    for number, one in enumerate(busy(3_000)):
        rules.fold(meters, one)
        if number in (999, 2_999):
            sizes.append(len(orjson.dumps(meters)))

    assert orjson.loads(orjson.dumps(meters)) == meters
    assert sizes[1] < sizes[0] * 1.1 < 60_000


def test_the_state_of_a_light_visitor_is_tiny() -> None:
    rules, meters = rules_of("count", "last", "sum"), {}

    for number in range(3):
        rules.fold(meters, event(number, NOW + number * HOUR, total=5))

    assert len(orjson.dumps(meters)) < 200


def test_the_cost_of_an_event_does_not_grow_with_the_person() -> None:
    """16,000 events of one person: the last thousand cost about what the second thousand did (reference, section 8)."""
    rules, meters = rules_of(), {}
    costs: list[float] = []
    events = busy(16_000)
    for start in range(0, len(events), 1_000):
        began = time.process_time()
        for one in events[start : start + 1_000]:
            rules.fold(meters, one)
        costs.append(time.process_time() - began)

    assert min(costs[-3:]) < 3 * max(costs[1:3])


def test_a_capped_count_and_sum_are_still_decided_where_the_day_sums_allow() -> None:
    rules, meters = rules_of("sum7d", "often"), {}
    for one in busy(1_000):
        rules.fold(meters, one)

    verdicts = rules.evaluate(PersonState("p", meters=meters), NOW)

    assert verdicts["sum7d"] == (True, verdicts["sum7d"].until, False)
    assert verdicts["often"] == (False, None, False)


def test_what_a_capped_state_cannot_tell_is_said_to_be_open() -> None:
    rules, meters = rules_of("median"), {}
    for one in busy(1_000):
        rules.fold(meters, one)

    assert rules.evaluate(PersonState("p", meters=meters), NOW)["median"].spilled
    # a month later the entries that were dropped lie outside the window: the state tells again
    assert not rules.evaluate(PersonState("p", meters=meters), NOW + 31 * 24 * HOUR)["median"].spilled


def test_an_open_part_does_not_matter_where_the_rest_decides() -> None:
    both = {"kind": "all", "of": [RULES["median"], {"kind": "trait", "name": "vip", "op": "exists"}]}
    rules = compile_live([read_segment({"schema": "segment/1", "key": "s", "rule": both})])
    meters: dict[str, Any] = {}
    for one in busy(1_000):
        rules.fold(meters, one)

    assert rules.evaluate(PersonState("p", meters=meters), NOW)["s"] == (False, None, False)
    assert rules.evaluate(PersonState("p", traits={"vip": 1}, meters=meters), NOW)["s"].spilled


def test_sums_beyond_64_bits_are_kept() -> None:
    rules, meters = rules_of("sum"), {}
    for number in range(3):
        rules.fold(meters, event(number, NOW, total=9e15))
        meters = orjson.loads(orjson.dumps(meters))

    assert rules.evaluate(PersonState("p", meters=merge_meters([meters, meters])), NOW + 1_000)["sum"].member


def test_large_values_do_not_fill_the_state() -> None:
    rules, meters = rules_of("unique", "frequent", "first"), {}
    for number in range(20):
        rules.fold(meters, event(number, NOW - number, total="x" * 20_000 + str(number % 2)))

    verdicts = rules.evaluate(PersonState("p", meters=meters), NOW + 1_000)
    assert len(orjson.dumps(meters)) < 1_000
    assert verdicts["unique"].member
    assert verdicts["first"].spilled


def test_merging_gives_what_one_fragment_would_have() -> None:
    rules = rules_of()
    events = [*busy(150), *(event(9_000 + number, NOW - number * HOUR, "b") for number in range(5))]
    whole: dict[str, Any] = {}
    parts: list[dict[str, Any]] = [{}, {}, {}]
    draw = random.Random(2)
    for one in events:
        rules.fold(whole, one)
        rules.fold(draw.choice(parts), one)
    before = orjson.dumps(parts)

    merged = merge_meters(parts)

    for as_of in (NOW + 1_000, NOW + 6 * 24 * HOUR, NOW + 90 * 24 * HOUR):
        one, other = (rules.evaluate(PersonState("p", meters=meters), as_of) for meters in (whole, merged))
        assert one == other
    assert orjson.dumps(parts) == before


def test_meters_of_other_rules_are_recognised() -> None:
    old, new = rules_of("count"), rules_of("count", "sum")
    meters: dict[str, Any] = {}
    old.fold(meters, event(1, NOW))

    assert not old.missing(meters)
    assert new.missing(meters)
    assert not new.missing({})
    assert old.version != new.version
    # a rule that asks nothing new of events needs no new meters
    with_trait = compile_live(
        [*old.segments, read_segment({"schema": "segment/1", "key": "t", "rule": {"kind": "everyone"}})]
    )
    assert not with_trait.missing(meters)


def test_rules_with_the_same_question_share_a_meter() -> None:
    documents = [
        {"schema": "segment/1", "key": f"s{depth}", "rule": {**RULES["count"], "value": depth}}
        for depth in range(1, 30)
    ]

    assert len(compile_live([read_segment(document) for document in documents]).meter_ids) == 1


@pytest.mark.parametrize(
    ("events", "traits", "keys"),
    [
        (["a"], [], {"a", "any", "nested"}),
        (["b"], [], {"any"}),
        ([], ["plan"], {"plan"}),
        ([], [CONSENT], {"consent"}),
        ([], ["other"], set()),
        (["zzz"], ["address"], {"any", "city"}),
    ],
)
def test_only_segments_whose_inputs_moved_are_affected(events: list[str], traits: list[str], keys: set[str]) -> None:
    rules = compile_live(
        [
            read_segment({"schema": "segment/1", "key": key, "rule": rule})
            for key, rule in {
                "a": {"kind": "event", "event": "a"},
                "any": {"kind": "event", "event": "*"},
                "nested": {"kind": "not", "of": {"kind": "segment", "key": "a"}},
                "plan": {"kind": "trait", "name": "plan", "op": "exists"},
                "city": {"kind": "trait", "name": "address.city", "op": "exists"},
                "consent": {"kind": "consent", "purpose": "m", "state": ["granted"]},
                "all": {"kind": "everyone"},
            }.items()
        ]
    )

    assert rules.affected(events, traits) == keys


def test_groups_look_again_no_earlier_than_they_can_turn() -> None:
    """``all`` with one part that is false for ever never needs a timer; one with a part that ends does."""

    def until(*parts: Any, kind: str = "all") -> int | None:
        rule = {"kind": kind, "of": list(parts)}
        rules = compile_live([read_segment({"schema": "segment/1", "key": "s", "rule": rule})])
        meters: dict[str, Any] = {}
        rules.fold(meters, event(1, NOW - HOUR))
        return rules.evaluate(PersonState("p", meters=meters), NOW)["s"].until

    ends = {"kind": "event", "event": "a", "window": {"last": "7d"}}
    never = {"kind": "trait", "name": "x", "op": "exists"}
    assert until(ends, never) is None
    assert until(ends, {"kind": "everyone"}, kind="any") is None
    assert until(ends, {"kind": "everyone"}) == NOW - HOUR + 7 * 24 * HOUR
    assert until(ends, never, kind="any") == NOW - HOUR + 7 * 24 * HOUR


def test_of_events_at_the_same_instant_the_greater_message_id_is_the_last() -> None:
    """Whatever order they came in."""
    rule = {**RULES["first"], "window": {"to": "2030-01-01"}, "measure": {"agg": "last", "of": MONEY}, "value": 2}
    rules = compile_live([read_segment({"schema": "segment/1", "key": "s", "rule": rule})])
    one, two = event(1, NOW, total=1), event(2, NOW, total=2)
    for order in ((one, two), (two, one)):
        meters: dict[str, Any] = {}
        for each in order:
            rules.fold(meters, each)

        assert rules.evaluate(PersonState("p", meters=meters), NOW + 1_000)["s"].member
