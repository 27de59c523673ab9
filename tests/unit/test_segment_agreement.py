"""Random rules, people, histories and moments: live engine, SQL engine and a brute-force evaluator agree.

A person's events lie in one to three fragments and come late, twice, in batches out of order. Everybody is looked at
twice: at an early moment, and, after the state was stored, more events came and something happened to the person
(consent, a trait, deletion, fragments that part or join), at a later one. Rules may name computed traits.

``HOSO_SEGMENT_ROUNDS`` (rounds of some 320 cases) and ``HOSO_SEGMENT_SEED`` make longer runs; ``python -m
tests.unit.test_segment_agreement ROUNDS SEED`` runs without pytest and tells the count.
"""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from hoso.segment import batch, folding, measures
from hoso.segment.check import read_segment
from hoso.segment.language import Segment
from hoso.segment.live import LiveRules, compile_live, merge_meters
from hoso.segment.traits.inline import inlined
from hoso.segment.traits.language import read_trait
from tests import segment_oracle as oracle
from tests.segment_random import Draw, person_of, rule_event

ROUNDS = int(os.environ.get("HOSO_SEGMENT_ROUNDS", "32"))
SEED = int(os.environ.get("HOSO_SEGMENT_SEED", "0"))
AHEAD_MS = 400 * 86_400_000
SEGMENTS, PEOPLE = 8, 32

Json = dict[str, Any]


@dataclass
class Found:
    """What a round saw: faults in words, answers that the live engine left open, answers compared."""

    faults: list[str] = field(default_factory=list[str])
    open: int = 0
    compared: int = 0
    members: int = 0


@pytest.fixture(scope="module")
def database() -> Any:
    with batch.connect(512, 1) as connection:
        yield connection


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_both_engines_say_what_brute_force_says(seed: int, database: Any) -> None:
    found = round_of(seed, database, most_events=8)

    assert found.faults == []
    assert found.open == 0
    assert found.members > 0


def test_a_capped_state_says_that_it_cannot_tell_rather_than_something_wrong(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for 3 entries most states spill: what is said all the same is right."""
    monkeypatch.setattr(folding, "CAP", 3)
    monkeypatch.setattr(measures, "CAP", 3)

    rounds = [round_of(seed, database, most_events=9, people=6) for seed in range(900, 904)]

    assert [fault for found in rounds for fault in found.faults] == []
    assert sum(found.open for found in rounds) > 0


class Story:
    """A person: what is known beside the events, the events by fragment, and the meters of each fragment."""

    def __init__(self, draw: Draw, number: int, most_events: int) -> None:
        self.profile: Json = draw.profile(f"p{number}")
        events: list[Json] = draw.events(most_events, f"p{number}-")
        self.parts: list[list[Json]] = [[] for _ in range(draw.one(1, 1, 2, 3))]
        homes = {name: draw.one(*self.parts) for name in sorted({event["message_id"] for event in events})}
        for event in events:
            homes[event["message_id"]].append(event)
        self.meters: list[Json] = [{} for _ in self.parts]

    @property
    def events(self) -> list[Json]:
        return [event for part in self.parts for event in part]

    def receive(self, rules: LiveRules, draw: Draw, after: int, upto: int) -> None:
        """Fold what comes in a span of time into the stored meters and store them again."""
        for number, part in enumerate(self.parts):
            firsts: Json = {}
            for event in sorted(part, key=lambda event: event["received_at"]):
                firsts.setdefault(event["message_id"], event)
            coming = [event for event in firsts.values() if after < event["received_at"] <= upto]
            if draw.maybe(0.3):
                draw.random.shuffle(coming)
            for event in coming:
                rules.fold(self.meters[number], rule_event(event))
            self.meters[number] = orjson.loads(orjson.dumps(self.meters[number]))

    def say(self, rules: LiveRules, moment: int) -> Any:
        meters = merge_meters([part for part in self.meters if part])
        return rules.evaluate(person_of(self.profile, meters), moment)


def round_of(seed: int, database: Any, most_events: int, people: int = PEOPLE) -> Found:
    """Draw rules and people, ask everybody for everything, tell what differs."""
    draw = Draw(random.Random(seed))
    found = Found()
    documents, segments = drawn_rules(draw)
    rules = compile_live(segments)
    stories = [Story(draw, number, most_events) for number in range(people)]
    early = draw.as_of - draw.one(1, 3_600_000, 86_400_000, 2 * 86_400_000, 8 * 86_400_000)
    for story in stories:
        story.receive(rules, draw, -AHEAD_MS * 100, early)
        if draw.maybe(0.4):
            compare(found, documents, segments, story, story.say(rules, early), early)
        story.receive(rules, draw, early, draw.as_of)
        story.profile = draw.changed(story.profile)
    kept: list[Story] = []
    for story in stories:
        if len(story.parts) > 1 and draw.maybe(0.3):  # the fragments part: one of them stands alone
            alone = draw.random.randrange(len(story.parts))
            story.parts, story.meters = [story.parts[alone]], [story.meters[alone]]
        if kept and draw.maybe(0.15):  # two people become one, who keeps the first one's split
            kept[-1].parts += story.parts
            kept[-1].meters += story.meters
            continue
        kept.append(story)
    want: dict[str, set[str]] = {segment.key: set() for segment in segments}
    for story in kept:
        for key in compare(found, documents, segments, story, story.say(rules, draw.as_of), draw.as_of):
            want[key].add(story.profile["id"])
    found.members += sum(map(len, want.values()))
    batch.create_tables(database)
    rows = ((story.profile["id"], rule_event(event)) for story in kept for event in story.events)
    batch.fill_tables(database, [person_of(story.profile) for story in kept], rows)
    said = batch.members(database, segments, draw.as_of)
    for key, members in want.items():
        if said[key] != members:
            wrong = sorted(said[key] ^ members)
            found.faults.append(f"SQL differs for {wrong}: seed {seed}, {json.dumps(documents[key])}")
    return found


def drawn_rules(draw: Draw) -> tuple[Json, list[Segment]]:
    """Documents by key (definitions of traits under ``trait:<name>``), and what the engines are given."""
    defined: Json = draw.definitions() if draw.maybe(0.5) else {}
    drawn: Json = {}
    for number in range(SEGMENTS):
        drawn[f"s{number}"] = draw.segment(f"s{number}", list(drawn))
    documents: Json = json.loads(json.dumps(drawn))
    definitions = {name: read_trait(json.loads(json.dumps(document))) for name, document in defined.items()}
    segments = [inlined(read_segment(document), definitions) for document in documents.values()]
    return {**documents, **{f"trait:{name}": document for name, document in defined.items()}}, segments


def compare(
    found: Found, documents: Json, segments: list[Segment], story: Story, verdicts: Any, moment: int
) -> list[str]:
    """Compare the live verdicts on a person with brute force; the keys of the segments that hold."""
    members: list[str] = []
    for segment in segments:
        key = segment.key
        holds = oracle.member(documents[key], documents, story.profile, story.events, moment)
        if holds:
            members.append(key)
        verdict = verdicts[key]
        if verdict.spilled:
            found.open += 1
            continue
        found.compared += 1
        said = f"{key}, {story.profile['id']} at {moment}: {json.dumps(documents[key])}"
        if verdict.member is not holds:
            found.faults.append(f"live says {not holds}: {said}")
        turned = turns_before(verdict.until, documents, key, story, moment, holds)
        if turned is not None:
            found.faults.append(f"live looks again at {verdict.until}, but it turned by {turned}: {said}")
    return members


def turns_before(until: int | None, documents: Json, key: str, story: Story, as_of: int, member: bool) -> int | None:
    """A moment before the engine wants to look again at which the answer has turned; None when there is none."""
    arrivals = [event["received_at"] for event in story.events if event["received_at"] > as_of]
    limit = min([until if until is not None else as_of + AHEAD_MS, *arrivals])
    assert limit > as_of
    for moment in {limit - 1, as_of + (limit - as_of) // 2, as_of + (limit - as_of) // 7} - {as_of}:
        if oracle.member(documents[key], documents, story.profile, story.events, moment) != member:
            return moment
    return None


def run(rounds: int, seed: int) -> None:
    """A long run by hand; tells each difference, and the count every hundred rounds."""
    compared = differences = 0
    with batch.connect(512, 1) as connection:
        for number in range(seed, seed + rounds):
            found = round_of(number, connection, most_events=8)
            compared, differences = compared + found.compared, differences + len(found.faults) + found.open
            for fault in found.faults:
                print(f"seed {number}: {fault}", flush=True)
            if number % 100 == 99:
                print(f"{number + 1 - seed} rounds, {compared} cases, {differences} differences", flush=True)
    print(f"{compared} cases, {differences} differences")


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
