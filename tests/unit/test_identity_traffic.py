"""The pure resolver on the sample traffic: nobody is merged or split who should not be, and every total is right."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from hoso.model.identifiers import DEFAULT, Identifier, alias_previous, contradictory, extract
from hoso.model.names import person_name
from hoso.model.time import parse_instant
from hoso.unify.evidence import Evidence
from hoso.unify.graph import resolve

TRAFFIC = Path(__file__).parents[2] / "events" / "traffic"
SCORED = ("exact", "visitor", "isolated")


@pytest.fixture(scope="module")
def events() -> dict[str, dict]:
    lines = (TRAFFIC / "events.ndjson").read_text().splitlines()
    return {event["messageId"]: event for event in map(json.loads, lines)}


@pytest.fixture(scope="module")
def truth_of_events() -> dict[str, dict]:
    lines = (TRAFFIC / "truth_events.ndjson").read_text().splitlines()
    return {row["messageId"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def profile_of(events: dict[str, dict]) -> dict[str, frozenset[Identifier]]:
    """Message id to the cluster that it belongs to."""
    told: list[Evidence] = []
    for message, event in events.items():
        ids = extract(event)
        if ids and not contradictory(ids):
            ts = parse_instant(event["timestamp"]) or 0
            told.append(Evidence(message, ts, ids[0], ids[1:], alias_previous(event), person_name(event)))
    clusters = resolve(told, DEFAULT)
    return {evidence.event_id: clusters.of[evidence.hub] for evidence in told}


def truth_key(row: dict, event: dict) -> tuple:
    """One cluster per customer; a device that never says whose it is is a cluster of its own."""
    if row["class"] == "exact":
        return ("customer", row["customer"])
    return ("device", event["anonymousId"])


def pairs(sizes: Counter) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())


def test_pairwise_and_b_cubed_f1_are_one(events: dict, truth_of_events: dict, profile_of: dict) -> None:
    scored = [message for message, row in truth_of_events.items() if row["class"] in SCORED]
    truth = {message: truth_key(truth_of_events[message], events[message]) for message in scored}
    by_truth, by_guess = Counter(truth.values()), Counter(profile_of[message] for message in scored)
    both = Counter((truth[message], profile_of[message]) for message in scored)
    precision, recall = pairs(both) / pairs(by_guess), pairs(both) / pairs(by_truth)
    cubed_precision = sum(both[truth[m], profile_of[m]] / by_guess[profile_of[m]] for m in scored) / len(scored)
    cubed_recall = sum(both[truth[m], profile_of[m]] / by_truth[truth[m]] for m in scored) / len(scored)
    assert (precision, recall) == (1.0, 1.0)
    assert (cubed_precision, cubed_recall) == pytest.approx((1.0, 1.0))


def test_orders_of_exact_customers_are_theirs(events: dict, truth_of_events: dict, profile_of: dict) -> None:
    """Customers all of whose events are exact: the orders of their profile are their totals, each order once."""
    customers = json.loads((TRAFFIC / "truth.json").read_text())["customers"]
    classes: dict[str, set[str]] = defaultdict(set)
    profiles: dict[str, frozenset[Identifier]] = {}
    for message, row in truth_of_events.items():
        if row["customer"]:
            classes[row["customer"]].add(row["class"])
            profiles[row["customer"]] = profile_of[message]
    orders: dict[frozenset[Identifier], dict[str, int]] = defaultdict(dict)
    for message, event in events.items():
        if event.get("event") == "Order Completed":
            orders[profile_of[message]][event["properties"]["order_id"]] = event["properties"]["revenue"]
    exact = [customer for customer, found in classes.items() if found == {"exact"}]
    assert len(exact) > 50
    for customer in exact:
        held = orders.get(profiles[customer], {})
        totals = customers[customer]["totals"]
        assert (len(held), sum(held.values())) == (totals["orders"], totals["revenue"]), customer
