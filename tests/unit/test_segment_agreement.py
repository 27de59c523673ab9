"""Random rules, people, histories and moments: live engine, SQL engine and a brute-force evaluator agree.

``HOSO_SEGMENT_ROUNDS`` (rounds of 48 cases) and ``HOSO_SEGMENT_SEED`` make longer runs.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import orjson
import pytest

from hoso.segment import batch, folding, measures
from hoso.segment.check import read_segment
from hoso.segment.live import compile_live, merge_meters
from tests import segment_oracle as oracle
from tests.segment_random import Draw, person_of, rule_event

ROUNDS = int(os.environ.get("HOSO_SEGMENT_ROUNDS", "12"))
SEED = int(os.environ.get("HOSO_SEGMENT_SEED", "0"))
AHEAD_MS = 400 * 86_400_000
SEGMENTS, PEOPLE = 8, 6


@pytest.fixture(scope="module")
def database() -> Any:
    with batch.connect(512, 1) as connection:
        yield connection


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_both_engines_say_what_brute_force_says(seed: int, database: Any) -> None:
    assert faults_of(seed, database, most_events=8)[0] == []


def test_a_capped_state_says_that_it_cannot_tell_rather_than_something_wrong(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for 3 entries most states spill: what is said all the same is right."""
    monkeypatch.setattr(folding, "CAP", 3)
    monkeypatch.setattr(measures, "CAP", 3)

    rounds = [faults_of(seed, database, most_events=9) for seed in range(900, 904)]

    assert [fault for faults, _ in rounds for fault in faults] == []
    assert sum(spilled for _, spilled in rounds) > 0


def faults_of(seed: int, database: Any, most_events: int) -> tuple[list[str], int]:
    """What differs in one round, in words, and how many answers the live engine left open."""
    draw = Draw(random.Random(seed))
    keys = [f"s{number}" for number in range(SEGMENTS)]
    drawn: dict[str, Any] = {}
    for number, key in enumerate(keys):
        drawn[key] = draw.segment(key, keys[:number])
    documents = json.loads(json.dumps(drawn))
    segments = [read_segment(document) for document in documents.values()]
    rules = compile_live(segments)
    people = [(draw.profile(f"p{number}"), draw.events(most_events)) for number in range(PEOPLE)]
    faults: list[str] = []
    spilled = 0
    want: dict[str, set[str]] = {key: set() for key in keys}
    for profile, events in people:
        verdicts = rules.evaluate(person_of(profile, fold(rules, events, draw)), draw.as_of)
        for key in keys:
            member = oracle.member(documents[key], documents, profile, events, draw.as_of)
            if member:
                want[key].add(profile["id"])
            said = f"seed {seed}, {key}, {profile['id']}: {json.dumps(documents[key])}"
            if verdicts[key].spilled:
                spilled += 1
                continue
            if verdicts[key].member is not member:
                faults.append(f"live says {not member}: {said}")
            turned = turns_before(verdicts[key].until, documents, key, profile, events, draw.as_of, member)
            if turned is not None:
                faults.append(f"live looks again at {verdicts[key].until}, but it turned by {turned}: {said}")
    batch.create_tables(database)
    rows = ((profile["id"], rule_event(event)) for profile, events in people for event in events)
    batch.fill_tables(database, [person_of(profile) for profile, _ in people], rows)
    found = batch.members(database, segments, draw.as_of)
    faults += [
        f"SQL says {sorted(found[key])}, not {sorted(want[key])}: seed {seed}, {json.dumps(documents[key])}"
        for key in keys
        if found[key] != want[key]
    ]
    return faults, spilled


def fold(rules: Any, events: list[dict[str, Any]], draw: Draw) -> dict[str, Any]:
    """The meters of a person whose events came one by one, in one or two fragments, stored in between."""
    copies: dict[str, Any] = {}
    for event in sorted(events, key=lambda event: event["received_at"]):
        copies.setdefault(event["message_id"], event)
    received = [event for event in copies.values() if event["received_at"] <= draw.as_of]
    parts: list[dict[str, Any]] = [{}, {}] if draw.maybe(0.3) else [{}]
    for place, event in enumerate(received):
        rules.fold(parts[place % len(parts)], rule_event(event))
    return merge_meters([orjson.loads(orjson.dumps(part)) for part in parts])


def turns_before(
    until: int | None, documents: Any, key: str, profile: Any, events: Any, as_of: int, member: bool
) -> int | None:
    """A moment before the engine wants to look again at which the answer has turned; None when there is none."""
    arrivals = [event["received_at"] for event in events if event["received_at"] > as_of]
    limit = min([until if until is not None else as_of + AHEAD_MS, *arrivals])
    assert limit > as_of
    for moment in {limit - 1, as_of + (limit - as_of) // 2, as_of + (limit - as_of) // 7} - {as_of}:
        if oracle.member(documents[key], documents, profile, events, moment) != member:
            return moment
    return None
