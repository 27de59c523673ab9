"""Why somebody is in a segment or not: the tree says what decided, with the figures and events behind it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import parse_instant
from hoso.segment.cases import read_case
from hoso.segment.check import read_segment
from hoso.segment.person import PersonState, RuleEvent
from hoso.segment.why import explain
from tests import segment_oracle as oracle
from tests.segment_random import Draw, person_of, rule_event

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "segments" / "vectors.json").read_text())["vectors"]
VALID = [vector for vector in VECTORS if "error" not in vector["expect"]]


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for part in tree.get("of", ()):
        yield from nodes(part)


def at(document: dict[str, Any], path: str) -> Any:
    """The condition at a node's path."""
    found: Any = document
    for name in path.split("."):
        found = found[int(name)] if isinstance(found, list) else found[name]
    return found


def told(vector: dict[str, Any]) -> dict[str, Any]:
    case = read_case(vector)
    others = {other.key: other for other in case.others}
    return explain(case.segment, others, case.person, case.events, case.as_of)


@pytest.mark.parametrize("vector", VALID, ids=[vector["id"] for vector in VALID])
def test_the_tree_decides_as_the_engines_do(vector: dict[str, Any]) -> None:
    answer = told(vector)

    assert answer["member"] is vector["expect"]["member"]
    for node in nodes(answer["tree"]):
        if node["kind"] in ("all", "any"):
            join = all if node["kind"] == "all" else any
            assert node["holds"] is join(part["holds"] for part in node["of"])
        elif node["kind"] in ("not", "segment"):
            assert node["holds"] is (node["of"][0]["holds"] is (node["kind"] == "segment"))
        elif node["kind"] == "sequence":
            assert bool(node["events"]) is node["holds"]
    deleted = vector["profile"].get("deleted", False)
    assert bool(answer["missing"]) is (not answer["member"] and not deleted)


@pytest.mark.parametrize("seed", range(40))
def test_figures_are_those_that_brute_force_compares(seed: int) -> None:
    draw = Draw(random.Random(seed))
    document = json.loads(json.dumps(draw.segment("s", [])))
    profile = draw.profile("p")
    events = draw.events(8)
    as_of = draw.as_of

    answer = explain(read_segment(document), {}, person_of(profile), [rule_event(event) for event in events], as_of)

    present = oracle.present(events, as_of)
    for node in nodes(answer["tree"]):
        if node["kind"] != "event":
            continue
        rule = at(document, node["path"])
        assert node["holds"] is oracle.holds(rule, document.get("timezone", "UTC"), {}, profile, present, as_of)
        if rule.get("measure", {"agg": "count"})["agg"] == "count":
            op, value = rule.get("op", "gte"), rule.get("value", 1)
            shown = {**rule, "op": op, "value": value}
            assert oracle.numeric(node["value"], shown) is node["holds"]


def test_what_keeps_somebody_out_is_named() -> None:
    rule = {
        "kind": "all",
        "of": [
            {"kind": "event", "event": "Product Viewed", "op": "gte", "value": 3},
            {"kind": "not", "of": {"kind": "event", "event": "Order Completed"}},
            {"kind": "consent", "purpose": "marketing", "channel": "email", "state": ["granted"]},
        ],
    }
    segment = read_segment({"schema": "segment/1", "key": "s", "rule": rule})
    now = parse_instant("2026-11-20T10:00:00Z") or 0
    viewed = [RuleEvent(f"v{n}", "Product Viewed", now - n, now - n, {}) for n in (1, 2)]
    bought = RuleEvent("o", "Order Completed", now - 9, now - 9, {})

    answer = explain(segment, {}, PersonState("p"), [*viewed, bought], now)

    assert answer["missing"] == ["rule.of.0", "rule.of.1.of", "rule.of.2"]
    views, no_order, consent = answer["tree"]["of"]
    assert (views["value"], [event["message_id"] for event in views["events"]]) == (2, ["v1", "v2"])
    assert [event["message_id"] for event in no_order["of"][0]["events"]] == ["o"]
    assert consent["value"] == "unset"
