"""Computed traits and scores: documents, values by night and live, what differs, what is withheld."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from hoso.model.time import DAY_MS
from hoso.segment import batch as engine
from hoso.segment.check import read_segment
from hoso.segment.live import compile_live
from hoso.segment.nightly_tables import make_distinct
from hoso.segment.person import PersonState, RuleEvent
from hoso.segment.traits.batch import changes, compute
from hoso.segment.traits.inline import inlined
from hoso.segment.traits.language import ComputedTrait, InvalidTrait, check_traits, read_trait
from hoso.segment.traits.live import live_values
from tests.segment_random import Draw, rule_event

NOW = 1_795_358_100_000
ORDERED = "Order Completed"


def trait(key: str, of: dict[str, Any], timezone: str = "Asia/Ho_Chi_Minh") -> ComputedTrait:
    return read_trait({"schema": "trait/1", "key": key, "timezone": timezone, "of": of})


def event(who: int, name: str, ago_days: float, n: int = 0, **properties: Any) -> tuple[str, RuleEvent]:
    at = NOW - round(ago_days * DAY_MS)
    message_id = f"{name}-{who}-{ago_days}-{n}"
    return f"p{who}", RuleEvent(message_id, name, at, at, {"properties": properties})


class Store:
    """People and events in a database, as the nightly step has them."""

    def __init__(self, rows: Sequence[tuple[str, RuleEvent]], stored: dict[str, Any] | None = None) -> None:
        self.rows = rows
        self.database = engine.connect(256, 1)
        engine.create_tables(self.database)
        people = sorted({pid for pid, _ in rows} | set(stored or {}))
        engine.fill_tables(self.database, [PersonState(pid) for pid in people], rows)
        self.database.execute("ALTER TABLE profiles ADD COLUMN computed VARCHAR DEFAULT '{}'")
        for pid, values in (stored or {}).items():
            self.database.execute("UPDATE profiles SET computed = ? WHERE profile_id = ?", [json.dumps(values), pid])
        make_distinct(self.database, "events")

    def compute(self, *definitions: ComputedTrait, as_of: int = NOW) -> dict[str, Any]:
        return compute(self.database, definitions, as_of)

    def values(self, name: str) -> dict[str, Any]:
        found = self.database.execute("SELECT profile_id, value FROM made WHERE name = ?", [name]).fetchall()
        return {pid: json.loads(value) for pid, value in found}

    def reason(self, pid: str, name: str) -> Any:
        row = self.database.execute("SELECT reason FROM made WHERE name = ? AND profile_id = ?", [name, pid]).fetchone()
        return json.loads(row[0])  # type: ignore[index]


def close(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) or isinstance(wanted, float):
        return found == pytest.approx(wanted, rel=1e-9)
    return found == wanted


@pytest.mark.parametrize("seed", range(10))
def test_values_by_night_are_those_that_a_profile_shows_live(seed: int) -> None:
    draw = Draw(random.Random(seed))
    definitions = list(drawn(draw))
    people = {f"p{n}": [rule_event(one) for one in draw.events(8)] for n in range(4)}
    store = Store([(pid, one) for pid, events in people.items() for one in events])

    store.compute(*definitions, as_of=draw.as_of)

    for definition in definitions:
        found = store.values(definition.key)
        for pid, events in people.items():
            live = live_values({definition.key: definition}, first_copies(events, draw.as_of), draw.as_of)
            wanted = live.get(definition.key)
            assert close(found.get(pid), wanted) or (pid not in found and wanted == 0), (pid, definition)


def drawn(draw: Draw) -> Iterator[ComputedTrait]:
    """Definitions out of the conditions of random segments."""
    for n in range(12):
        rule = draw.event_rule()
        zone = draw.one("UTC", "Asia/Ho_Chi_Minh", "America/New_York")
        shared = {name: rule[name] for name in ("event", "where", "window") if name in rule}
        of: dict[str, Any] = {"kind": "measure", **shared, "measure": rule.get("measure", {"agg": "count"})}
        if n % 4 == 3:
            path = draw.one("properties.n", "properties.t")
            of = draw.one(
                {"kind": "unique_list", **shared, "of": path},
                {"kind": "days_since", **{k: v for k, v in shared.items() if k != "window"}},
                {"kind": "trend", **shared, "of": path},
            )
        yield trait(f"t{n}", json.loads(json.dumps(of)), zone)


def first_copies(events: list[RuleEvent], as_of: int) -> list[RuleEvent]:
    kept: dict[str, RuleEvent] = {}
    for one in sorted(events, key=lambda one: one.received_at):
        if one.received_at <= as_of:
            kept.setdefault(one.message_id, one)
    return list(kept.values())


def test_a_trend_tells_rising_from_falling_values() -> None:
    rows = [event(1, ORDERED, 30 - n, total=100 + 10 * n) for n in range(3)]
    rows += [event(2, ORDERED, 30 - n, total=120 - 10 * n) for n in range(3)]
    rows += [event(3, ORDERED, 1, total=5)]
    store = Store(rows)

    store.compute(trait("trend", {"kind": "trend", "event": ORDERED, "of": "properties.total"}))

    assert store.values("trend") == {"p1": 0.0909, "p2": -0.0909}


def test_affinity_weighs_by_event_and_age() -> None:
    rows = [event(1, "Product Viewed", 0, n, category="shoes") for n in range(4)]
    rows += [event(1, ORDERED, 0, category="hats"), event(2, "Product Viewed", 30, category="hats")]
    rows += [event(2, "Product Viewed", 0, category="shoes"), event(3, "Other", 0, category="x")]
    store = Store(rows)

    store.compute(trait("likes", {"kind": "affinity", "of": "properties.category"}))

    assert store.values("likes") == {"p1": "hats", "p2": "shoes"}
    assert store.values("likes_share") == {"p1": 0.5556, "p2": 0.6667}
    assert store.reason("p2", "likes")["favoured"][1] == {"value": "hats", "share": 0.3333}


def test_rfm_counts_an_order_once_and_takes_refunds_off() -> None:
    rows = [event(n, ORDERED, 10 * n, order_id=f"o{n}", total=100 * n) for n in range(1, 6)]
    rows += [event(5, ORDERED, 50, 1, orderId="o5", total=500), event(4, "Order Refunded", 1, total=400)]
    store = Store(rows)

    store.compute(trait("rfm", {"kind": "rfm"}))

    assert store.values("rfm_f") == {f"p{n}": 1 for n in range(1, 6)}
    assert store.values("rfm_m") == {"p1": 2, "p2": 3, "p3": 4, "p4": 1, "p5": 5}
    assert store.values("rfm_r") == {"p1": 5, "p2": 4, "p3": 3, "p4": 2, "p5": 1}
    assert store.values("rfm")["p1"] == "new"
    assert store.reason("p5", "rfm")["orders"] == 1


def shop(people: int = 400) -> list[tuple[str, RuleEvent]]:
    """Half of the people come every week and buy, the others look once in a while."""
    draw = np.random.default_rng(5)
    rows: list[tuple[str, RuleEvent]] = []
    for who in range(people):
        keen = who % 2 == 0
        for n in range(int(draw.integers(4, 40 if keen else 8))):
            ago = float(draw.uniform(0, 200))
            rows.append(event(who, "Product Viewed", ago, n))
            if keen and draw.random() < 0.5:
                rows.append(event(who, ORDERED, ago, n, order_id=f"o{who}-{n}", total=float(draw.integers(50, 500))))
    return rows


def test_lifetime_gives_value_churn_and_next_order_with_a_hold_out() -> None:
    store = Store(shop())

    report = store.compute(trait("clv", {"kind": "lifetime"}))["clv"]

    values, churn, again = (store.values(name) for name in ("clv", "clv_churn", "clv_next_order"))
    assert report["values"] == len(values) + len(churn) + len(again)
    assert all(value >= 0 for value in values.values())
    assert all(0 <= share <= 1 for share in [*churn.values(), *again.values()])
    assert report["hold_out"]["auc"] > 0.5
    assert store.reason(next(iter(values)), "clv")["repeat_days"] >= 0


def test_propensity_tells_the_keen_from_the_others_and_says_why() -> None:
    store = Store(shop())

    report = store.compute(trait("buys", {"kind": "propensity", "target": ORDERED}))["buys"]

    scores = store.values("buys")
    keen = [score for pid, score in scores.items() if int(pid[1:]) % 2 == 0]
    others = [score for pid, score in scores.items() if int(pid[1:]) % 2]
    assert np.mean(keen) > 3 * np.mean(others)
    assert report["hold_out"]["auc"] > 0.8
    assert report["hold_out"]["lift_first_tenth"] > 1.5
    assert len(store.reason("p0", "buys")) == 3


@pytest.mark.parametrize(
    ("of", "what"),
    [({"kind": "lifetime"}, "are needed"), ({"kind": "propensity", "target": ORDERED}, "are needed")],
)
def test_a_model_with_too_little_to_learn_from_is_withheld(of: dict[str, Any], what: str) -> None:
    store = Store([event(1, ORDERED, day, total=1) for day in (1, 200)])

    report = store.compute(trait("m", of))

    assert report["m"]["values"] == 0
    assert what in report["m"]["withheld"]


def test_a_rank_puts_the_top_tenth_at_90_and_more() -> None:
    rows = [event(who, ORDERED, 1, n) for who in range(20) for n in range(who + 1)]
    store = Store(rows)
    count = trait("orders", {"kind": "measure", "event": ORDERED, "measure": {"agg": "count"}})

    store.compute(count, trait("orders_rank", {"kind": "rank", "of": "orders"}))

    ranks = store.values("orders_rank")
    assert sorted(pid for pid, rank in ranks.items() if rank >= 90) == ["p18", "p19"]
    assert ranks["p0"] == 0


def test_only_what_differs_from_the_stored_is_written_and_what_nobody_makes_goes() -> None:
    stored = {
        "p1": {"orders": ["trait", 1, 5, "r1"]},
        "p2": {"orders": ["trait", 7, 5, "r1"]},
        "p3": {"orders": ["trait", 2, 5, "r1"], "kept": ["score", 0.5, 5, "r0"], "old": ["trait", 1, 5, "r0"]},
    }
    store = Store([event(1, ORDERED, 1), event(2, ORDERED, 1)], stored)
    store.compute(trait("orders", {"kind": "measure", "event": ORDERED, "measure": {"agg": "count"}}))

    fresh = {one.profile_id: one.values for one in changes(store.database, {"orders": "r1"}, ["kept"], NOW)}

    assert {pid: {name: entry["value"] for name, entry in values.items()} for pid, values in fresh.items()} == {
        "p2": {"orders": 1},
        "p3": {"orders": None, "old": None},
    }


def test_a_condition_on_a_named_measure_is_the_condition_on_events() -> None:
    definition = trait(
        "views_7d",
        {"kind": "measure", "event": "Product Viewed", "window": {"last": "7d"}, "measure": {"agg": "count"}},
    )
    rule = {"kind": "all", "of": [{"kind": "trait", "name": "views_7d", "op": "gte", "value": 2}]}
    segment = read_segment({"schema": "segment/1", "key": "s", "timezone": "Asia/Ho_Chi_Minh", "rule": rule})

    rules = compile_live([inlined(segment, {"views_7d": definition})])
    meters: dict[str, Any] = {}
    for _, one in (event(1, "Product Viewed", 1), event(1, "Product Viewed", 2)):
        rules.fold(meters, one)
    verdict = rules.evaluate(PersonState("p", meters=meters), NOW)["s"]

    assert (verdict.member, verdict.until) == (True, NOW + 5 * DAY_MS)


@pytest.mark.parametrize(
    "changed",
    [{"for": "1d"}, {"op": "exists", "value": None}, {"name": "other"}],
)
def test_what_cannot_be_written_out_stays_a_condition_on_the_stored_value(changed: dict[str, Any]) -> None:
    definition = trait("n", {"kind": "measure", "event": "x", "measure": {"agg": "count"}}, "UTC")
    rule = {"kind": "trait", "name": "n", "op": "gte", "value": 2, **changed}
    rule = {name: value for name, value in rule.items() if value is not None}
    segment = read_segment({"schema": "segment/1", "key": "s", "rule": rule})

    assert inlined(segment, {"n": definition}) is segment


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"schema": "trait/1", "key": "t", "of": {"kind": "measure", "event": "x"}}, "of.measure.measure"),
        ({"schema": "trait/2", "key": "t", "of": {"kind": "rfm"}}, "schema"),
        ({"schema": "trait/1", "key": "t", "of": {"kind": "guess"}}, "of"),
        ({"schema": "trait/1", "key": "t", "timezone": "Mars/Base", "of": {"kind": "rfm"}}, "timezone"),
        ({"schema": "trait/1", "key": "t", "of": {"kind": "rfm"}, "colour": 1}, "colour"),
    ],
)
def test_a_faulty_document_is_refused_with_its_path(document: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidTrait, match=f"^{path}"):
        read_trait(document)


def test_two_definitions_may_not_make_the_same_value_and_a_rank_needs_one() -> None:
    rfm = trait("rfm", {"kind": "rfm"})

    with pytest.raises(InvalidTrait, match="rfm makes rfm_r"):
        check_traits(trait("rfm_r", {"kind": "rfm"}), {"rfm": rfm})
    with pytest.raises(InvalidTrait, match="no definition"):
        check_traits(trait("top", {"kind": "rank", "of": "nothing"}), {"rfm": rfm})
