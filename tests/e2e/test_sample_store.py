"""The sample store, loaded over HTTP, gives the people and totals of its truth file."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.cli import samples, story
from infra.cli.connection import Connection
from infra.cli.operate import run_nightly
from infra.cli.query import stored_events
from infra.cli.receiver import audience
from infra.cli.send import send_file
from infra.cli.serve import open_twin
from tests.e2e.conftest import assert_permitted

TRAFFIC = Path("events/traffic")
REACHABLE = {"exact", "visitor", "isolated"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with open_twin(tmp_path_factory.mktemp("store"), port=0) as connection:
        sent = send_file(connection, TRAFFIC / "events.ndjson", connection.write_key(), quiet=True)
        assert sent.rejected == []
        assert connection.drain(120)["stuck"] == []
        yield connection
        assert_permitted(connection)


@pytest.fixture(scope="module")
def truth() -> dict[str, dict[str, Any]]:
    lines = (TRAFFIC / "truth_events.ndjson").read_text().splitlines()
    return {entry["messageId"]: entry for entry in map(json.loads, lines)}


@pytest.fixture(scope="module")
def stored(store: Connection) -> dict[str, dict[str, Any]]:
    return {event["messageId"]: event for event in stored_events(store)}


def test_every_event_is_stored_once_and_as_sent(
    stored: dict[str, dict[str, Any]], truth: dict[str, dict[str, Any]], store: Connection
) -> None:
    sent = {event["messageId"]: event for event in map(json.loads, (TRAFFIC / "events.ndjson").open())}

    assert set(stored) == set(truth)
    assert Counter(event["messageId"] for event in stored_events(store)).most_common(1)[0][1] == 1
    for message_id, event in sent.items():
        assert {key: stored[message_id].get(key) for key in event} == event


def test_people_are_told_apart_exactly(stored: dict[str, dict[str, Any]], truth: dict[str, dict[str, Any]]) -> None:
    told: dict[str, set[str]] = defaultdict(set)
    true: dict[str, set[str]] = defaultdict(set)
    for message_id, entry in truth.items():
        if entry["class"] in REACHABLE:
            told[stored[message_id]["profile_id"]].add(message_id)
            # An isolated device is scored as a visitor of its own: its device is the truth.
            own = stored[message_id].get("anonymousId") if entry["class"] != "exact" else entry["customer"]
            true[own].add(message_id)

    assert pairwise_f1(told, true) == 1.0
    assert {frozenset(group) for group in told.values()} == {frozenset(group) for group in true.values()}


def test_totals_are_right_for_customers_with_exact_evidence(
    store: Connection, truth: dict[str, dict[str, Any]]
) -> None:
    customers = json.loads((TRAFFIC / "truth.json").read_text())["customers"]
    inexact = {entry["customer"] for entry in truth.values() if entry["class"] in ("shared", "fuzzy", "isolated")}
    checked, wrong = 0, []
    for name, customer in customers.items():
        if name in inexact or not customer.get("userId"):
            continue
        totals = store.call("GET", f"/v1/profiles/user_id:{customer['userId']}")["totals"]
        wanted = customer["totals"]
        checked += 1
        if any(
            totals[key] != wanted[key]
            for key in ("events", "orders", "revenue", "total", "items", "cancelled", "refunded")
        ):
            wrong.append((name, {key: (totals.get(key), wanted[key]) for key in wanted}))

    assert checked > 30
    assert wrong == []


def pairwise_f1(told: dict[str, set[str]], true: dict[str, set[str]]) -> float:
    of_true = {item: label for label, group in true.items() for item in group}
    both = 0
    for group in told.values():
        both += sum(count * (count - 1) // 2 for count in Counter(of_true[item] for item in group).values())
    pairs_told = sum(len(group) * (len(group) - 1) // 2 for group in told.values())
    pairs_true = sum(len(group) * (len(group) - 1) // 2 for group in true.values())
    return 2 * both / (pairs_told + pairs_true)


def test_the_night_gives_the_same_memberships_as_the_stream(store: Connection) -> None:
    with audience(story.SECRET, Path("/dev/null")) as sink:
        samples.load_documents(store, sink.url, story.SECRET)
        first = run_nightly(store)
        second = run_nightly(store)

    assert first["people"] == sql(store, "SELECT count(*) AS people FROM profiles")[0]["people"]
    assert (second["entered"], second["exited"]) == (0, 0)
    found = sql(store, "SELECT segment, count(*) AS people FROM memberships GROUP BY 1")
    by_hand = sql(
        store,
        "SELECT count(*) AS people FROM (SELECT profile_id FROM events WHERE event = 'Order Completed' "
        "GROUP BY 1 HAVING sum((body->'properties'->>'revenue')::DOUBLE) >= 5000000)",
    )
    assert {row["segment"]: row["people"] for row in found}["big-spenders"] == by_hand[0]["people"]


def sql(store: Connection, query: str) -> list[dict[str, Any]]:
    return store.call("POST", "/v1/sql", {"query": query})["items"]
