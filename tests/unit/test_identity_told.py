"""What hot items remember of evidence: it spares reads, and never hides what has to be learnt."""

from __future__ import annotations

import base64
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from hoso.model.identifiers import DEFAULT, Identifier, IdentityConfig
from hoso.platform.ids import Hasher
from hoso.platform.wire import from_wire
from hoso.unify.evidence import Block, Cut, Erasure, Evidence, Operation, Restore, pair
from hoso.unify.facts import strip
from hoso.unify.graph import resolve
from hoso.unify.identity_known import all_of, is_known, steady_reads
from hoso.unify.told import MOST_TOLD, ToldReader
from infra.cli.identity_trial import TurnClient, Turns
from tests.identity_streams import random_scenario
from tests.identity_table import MemoryDynamo
from tests.unify_in_memory import START, MemoryWorld, without_unread
from tests.unify_world import NOW as SAMPLE_NOW
from tests.unify_world import packed

SEEDS = int(os.environ.get("TOLD_SEEDS", "40"))
USER, OTHER = Identifier("user_id", "u1"), Identifier("user_id", "u2")
EMAIL, PHONE = Identifier("email", "an@x.vn"), Identifier("phone", "+84901002003")
BROWSER, TABLET = Identifier("anonymous_id", "a1"), Identifier("anonymous_id", "a2")


def identity_reads(client: MemoryDynamo) -> list[tuple[str, str]]:
    return [key for key in client.keys if "#I#" in key[0]]


def graph(client: MemoryDynamo) -> list[dict[str, Any]]:
    held = client.tables["profiles"]
    return [held[key] for key in sorted(held) if "#I#" in key[0]]


def shifted(told: Evidence) -> Evidence:
    return told._replace(ts=START + told.ts)


def at_start(record: Operation) -> Operation:
    return record._replace(ts=START + record.ts)


def nothing_hidden(world: MemoryWorld, told: list[Evidence]) -> None:
    """Whatever a hot item says is known of these events, the identifier items hold."""
    identities = world.identities
    for one in told:
        fid = identities.keys.fragment(one.hub)
        hot = world.store.read([(f"main#F#{fid}", "H")], consistent=True).get((f"main#F#{fid}", "H"), {})
        spans = identities.told.spans(hot.get("k", b""))
        span = spans.get(identities.told.digest(one))
        if span is None or not span[0] <= one.ts <= span[1]:
            continue
        wanted = {*all_of(one), *steady_reads([one], identities.config)}
        keys = {identities.keys.identifier_key(found): found for found in wanted}
        items = world.store.read(keys, consistent=True)
        held: dict[Identifier, Any] = {found: items.get(key) for key, found in keys.items()}
        assert is_known(one, held, identities.config, kept=True), one


def people_are(world: MemoryWorld, expected: dict[Identifier, frozenset[Identifier]]) -> None:
    people = {one: world.identities.person_of(one) for one in expected}
    for one, members in expected.items():
        assert {other for other in expected if people[other] == people[one]} == members
        assert world.hub_owner(one) == people[one]


def evidence_of(seed: int, **more: bool) -> tuple[list[Evidence | Operation], IdentityConfig]:
    scenario = random_scenario(seed, **more)
    steps = [step for step in scenario.steps if step is not None]
    return [without_unread(step) if isinstance(step, Evidence) else step for step in steps], scenario.config


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_with_repeats_and_records_ends_like_the_pure_function(seed: int) -> None:
    steps, config = evidence_of(20_000 + seed, records=seed % 2 == 1, erasures=seed % 4 == 3)
    chance = random.Random(seed)
    if seed % 2 == 0:
        steps = chance.sample(steps + chance.choices(steps, k=len(steps)), 2 * len(steps))
    world = MemoryWorld(MemoryDynamo(), config)
    past: list[Evidence] = []
    for step in steps:
        if isinstance(step, Evidence):
            past.append(step)
            world.consume([step])
        else:
            world.apply(at_start(step))
            if isinstance(step, Erasure):
                for one in past:  # as the erasure's replay of timelines does
                    world.consume([one])
        nothing_hidden(world, [shifted(one) for one in past])
    people_are(world, dict(resolve(steps, config).of))


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_r25_r26_interleaved_consumers_end_like_the_pure_function(seed: int) -> None:
    steps, config = evidence_of(30_000 + seed)
    chance = random.Random(seed)
    steps = chance.sample(steps + chance.choices(steps, k=len(steps)), 2 * len(steps))
    client, turns = MemoryDynamo(), Turns(chance)

    def work(number: int) -> None:
        mine = MemoryWorld(TurnClient(client, turns, number), config)
        for step in steps[number::4]:
            if isinstance(step, Evidence):
                mine.consume([step])
            else:
                mine.apply(at_start(step))

    turns.run([work] * 4)
    world = MemoryWorld(client, config)
    nothing_hidden(world, [shifted(step) for step in steps if isinstance(step, Evidence)])
    people_are(world, dict(resolve(steps, config).of))


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_r26_s59_erasures_racing_consumers_hide_and_revive_nothing(seed: int) -> None:
    steps, config = evidence_of(40_000 + seed)
    chance = random.Random(seed)
    events = [step for step in steps if isinstance(step, Evidence)]
    until = chance.choice(sorted(one.ts for one in events)) if events else 0
    client, turns = MemoryDynamo(), Turns(chance)
    mixed = chance.sample(events + chance.choices(events, k=len(events)), 2 * len(events)) if events else []

    def work(number: int) -> None:
        mine = MemoryWorld(TurnClient(client, turns, number), config)
        for step in mixed[number::4]:
            mine.consume([step])
            if number == 0 and chance.random() < 0.2:
                mine.apply(Erasure(f"o{chance.random()}", START + until, chance.choice(all_of(step))))

    turns.run([work] * 4)
    world = MemoryWorld(client, config)
    for one in events:
        world.consume([one])  # what is left of erased events is learnt, as an erasure's replay does
    names = {one for event in events for one in all_of(event)}
    keys = {world.identities.keys.identifier_key(one): one for one in names}
    items = world.store.read(keys, consistent=True)
    erased = {keys[key]: item["er"] for key, item in items.items() if "er" in item}
    told = [left for one in events if (left := strip(shifted(one), erased, config)) is not None]
    nothing_hidden(world, [shifted(one) for one in events])
    expected = dict(resolve(told, config).of)
    people = {one: world.identities.person_of(one) for one in expected}
    for one, members in expected.items():
        assert {other for other in expected if people[other] == people[one]} == members
        assert world.hub_owner(one) == people[one]


def test_known_evidence_is_not_read_again() -> None:
    client = MemoryDynamo()
    world = MemoryWorld(client)
    world.consume([Evidence("e1", 1, USER, [EMAIL, BROWSER]), Evidence("e2", 2, BROWSER)])
    client.keys.clear()
    before = graph(client)
    world.consume([Evidence("e3", 3, USER, [EMAIL, BROWSER]), Evidence("e4", 4, BROWSER)])

    assert identity_reads(client) == []
    assert graph(client) == before


def test_a_second_pass_over_the_sample_reads_and_writes_nothing_of_identity() -> None:
    lines = Path("events/traffic/events.ndjson").read_text().splitlines()[:800]
    blobs = [blob for line in lines for blob in packed([json.loads(line)], SAMPLE_NOW)]
    client = MemoryDynamo()
    world = MemoryWorld(client, DEFAULT, now=SAMPLE_NOW)
    rows = [{"kinesis": {"data": base64.b64encode(blob).decode()}} for blob in blobs]
    for row in rows:
        world.consumer.consume([row], lambda: 60_000)
    client.keys.clear()
    before = graph(client)
    for row in rows:
        world.consumer.consume([row], lambda: 60_000)

    assert len(identity_reads(client)) / len(rows) <= 0.05
    assert graph(client) == before


def test_a_strangers_first_event_costs_no_call_more_than_hot_item_page_and_put() -> None:
    client = MemoryDynamo()
    MemoryWorld(client).consume([Evidence("e1", 1, BROWSER)])

    assert [call for call in client.calls if call not in ("query",)] == [
        "batch_get_item",
        "batch_write_item",
        "put_item",
    ]


def test_an_earlier_event_is_learnt_though_the_same_was_known_later() -> None:
    client = MemoryDynamo()
    world = MemoryWorld(client)
    world.consume([Evidence("e1", 500, USER, [EMAIL])])
    world.consume([Evidence("e2", 400, OTHER, [EMAIL])])
    world.consume([Evidence("e3", 300, USER, [EMAIL])])

    (held,) = [from_wire(item) for key, item in client.tables["profiles"].items() if "#I#email#" in key[0]]
    assert held["l"][str(USER)][0] == START + 300


def test_where_the_newest_claim_wins_each_newer_event_is_learnt() -> None:
    unlimited = IdentityConfig.parse({"base": "graph-linking"})
    one, other, device = Identifier("crm_id", "c1"), Identifier("crm_id", "c2"), Identifier("device_id", "d1")
    world = MemoryWorld(MemoryDynamo(), unlimited)
    for number in range(8):
        world.consume([Evidence(f"e{number}", number, (one, other)[number % 2], [device])])
        assert world.identities.person_of(device) == world.identities.person_of((one, other)[number % 2])
    world.consume([Evidence("late", 3, one, [device])])
    assert world.identities.person_of(device) == world.identities.person_of(other)


def test_rules_of_another_revision_believe_nothing() -> None:
    client = MemoryDynamo()
    MemoryWorld(client).consume([Evidence("e1", 1, USER, [EMAIL])])
    client.keys.clear()
    MemoryWorld(client, revision=2).consume([Evidence("e2", 2, USER, [EMAIL])])
    assert len(identity_reads(client)) == 1
    client.keys.clear()
    MemoryWorld(client, revision=2).consume([Evidence("e3", 3, USER, [EMAIL])])
    assert identity_reads(client) == []


@pytest.mark.parametrize(
    "record", [Cut("o1", 5, [pair(USER, EMAIL)]), Block("o1", 5, EMAIL, True)], ids=["cut", "block"]
)
def test_r14_a_record_takes_effect_on_known_evidence_and_is_taken_back(record: Operation) -> None:
    world = MemoryWorld(MemoryDynamo())
    world.consume([Evidence("e1", 1, USER, [EMAIL, BROWSER])])
    world.identities.apply(at_start(record))
    world.consume([Evidence("e2", 6, USER, [EMAIL, BROWSER])])
    assert world.identities.person_of(EMAIL) != world.identities.person_of(USER)
    assert world.hub_owner(EMAIL) == world.identities.person_of(EMAIL)

    undo = Restore("o2", 7, [pair(USER, EMAIL)]) if isinstance(record, Cut) else Block("o2", 7, EMAIL, False)
    world.identities.apply(undo)
    world.consume([Evidence("e3", 8, USER, [EMAIL, BROWSER])])
    assert world.identities.person_of(EMAIL) == world.identities.person_of(USER) == world.hub_owner(USER)


def test_s59_what_an_erasure_took_is_learnt_anew_from_the_neighbours_next_event() -> None:
    client = MemoryDynamo()
    world = MemoryWorld(client)
    world.consume([Evidence("e1", 1, USER, [EMAIL]), Evidence("e2", 2, OTHER, [EMAIL])])
    world.identities.apply(Erasure("o1", START + 5, USER))
    world.consume([Evidence("e3", 6, OTHER, [EMAIL])])

    assert world.identities.person_of(EMAIL) == world.identities.person_of(OTHER)


def test_r15_whoever_comes_back_after_an_erasure_is_learnt_anew() -> None:
    world = MemoryWorld(MemoryDynamo())
    world.consume([Evidence("e1", 1, USER, [EMAIL])])
    world.apply(Erasure("o1", START + 5, USER))
    assert world.identities.person_of(EMAIL) != world.identities.person_of(USER)
    world.consume([Evidence("e2", 6, USER, [EMAIL])])

    assert world.identities.person_of(EMAIL) == world.identities.person_of(USER) == world.hub_owner(USER)


def test_a_worker_that_believed_what_an_erasure_took_fails_and_learns_it_again() -> None:
    """The erasure comes between any two calls of the worker."""
    ready = MemoryDynamo()
    MemoryWorld(ready).consume([Evidence("e1", 1, USER, [EMAIL]), Evidence("e2", 2, OTHER, [EMAIL])])
    moment, meddled = 0, True
    while meddled:
        moment, client = moment + 1, MemoryDynamo()
        client.tables = {name: dict(items) for name, items in ready.tables.items()}
        between = _Meddled(client, moment, lambda: MemoryWorld(client).identities.apply(Erasure("o1", START + 5, USER)))  # noqa: B023
        MemoryWorld(between).consume([Evidence("e3", 6, OTHER, [EMAIL])])
        meddled = between.done
        world = MemoryWorld(client)
        if not meddled:
            world.identities.apply(Erasure("o1", START + 5, USER))
        nothing_hidden(world, [shifted(Evidence("e4", 7, OTHER, [EMAIL]))])
        world.consume([Evidence("e4", 7, OTHER, [EMAIL])])
        assert world.identities.person_of(EMAIL) == world.identities.person_of(OTHER), f"before call {moment}"
    assert moment > 3


def test_the_list_is_bounded_and_keeps_what_is_used() -> None:
    client = MemoryDynamo()
    world = MemoryWorld(client, DEFAULT)
    often = Evidence("often", 0, USER, [EMAIL])
    world.consume([often])
    for number in range(3 * MOST_TOLD):
        world.consume([Evidence(f"e{number}", number, USER, [Identifier("gclid", f"click-{number:09d}")])])
        world.consume([often._replace(event_id=f"again{number}", ts=number)])
    (hot,) = [from_wire(item) for key, item in client.tables["profiles"].items() if key[1] == "H" and "n" in item]
    spans = world.identities.told.spans(hot["k"])
    assert len(spans) == MOST_TOLD
    assert list(spans)[-1] == world.identities.told.digest(often)


def test_what_a_crowd_shares_is_looked_up_each_time_as_an_erasure_could_not_find_who_believes_it() -> None:
    client = MemoryDynamo()
    world = MemoryWorld(client)
    users = [Identifier("user_id", f"u{n}") for n in range(80)]
    for number, user in enumerate(users):
        world.consume([Evidence(f"e{number}", number, user, [PHONE])])
    client.keys.clear()
    before = graph(client)
    world.consume([Evidence("again", 1_000, users[-1], [PHONE])])
    assert len(identity_reads(client)) == 1
    assert graph(client) == before


def test_kinds_of_evidence_have_different_digests() -> None:
    reader = ToldReader(Hasher(b"k"), DEFAULT, 0)
    kinds = [
        Evidence("e", 1, USER, [EMAIL]),
        Evidence("e", 1, USER, [EMAIL, PHONE]),
        Evidence("e", 1, USER, [PHONE, EMAIL]),
        Evidence("e", 1, USER, [EMAIL], PHONE),
        Evidence("e", 1, USER, [EMAIL], None, "an"),
        Evidence("e", 1, USER, [], EMAIL),
        Evidence("e", 1, USER, [Identifier("email", "a"), Identifier("n@x.vn", "")]),
        Evidence("e", 1, USER, [Identifier("ema", "ilan@x.vn")]),
    ]
    assert len({reader.digest(kind) for kind in kinds}) == len(kinds)
    assert reader.digest(kinds[0]) == reader.digest(Evidence("other", 9, USER, (EMAIL,), source="till"))


class _Meddled:
    """A client that lets another worker act right before its n-th call."""

    def __init__(self, client: MemoryDynamo, moment: int, act: Any) -> None:
        self.client, self.moment, self.act, self.count, self.done = client, moment, act, 0, False

    def __getattr__(self, name: str) -> Any:
        self.count += 1
        if self.count == self.moment:
            self.done = True
            self.act()
        return getattr(self.client, name)
