"""After erasures, later events and late ones, the same events into empty tables make the same people (R48, S52)."""

from __future__ import annotations

import os
import random

import pytest

from hoso.model.errors import NotFound
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.model.time import DAY_MS, MINUTE_MS
from hoso.platform.dynamo import Table
from hoso.unify.compare import prints_of
from hoso.unify.eraser import Eraser
from hoso.unify.erasures import PARTIAL, SETTLING, Erasures
from hoso.unify.evidence import Evidence
from hoso.unify.lookup import find, read_asked
from tests.identity_streams import random_scenario
from tests.identity_table import MemoryDynamo
from tests.people_in_memory import dump
from tests.unify_in_memory import NOW, START, MemoryWorld, stored, without_unread

SEEDS = int(os.environ.get("ERASURE_SEEDS", "50"))
MET_BEFORE = (544, 1357)
"""In these somebody else's identifier had been seen with an erased one, which counts for limits with a window."""


def worker(client: MemoryDynamo, now: int, config: IdentityConfig) -> tuple[MemoryWorld, Eraser]:
    """Somebody who works on these tables at this time."""
    world = MemoryWorld(client, config, now=now)
    control = Table("control", client, sleep=lambda _: None)
    erasures = Erasures(control, lambda: world.now, 0)
    world.identities.erased = lambda: erasures.hashes("main")
    return world, Eraser(world.store, world.identities, erasures, control, client, lambda: world.now, "main")


def named(told: Evidence) -> list[Identifier]:
    return [told.hub, *told.ids, *([told.previous] if told.previous else [])]


def erase(client: MemoryDynamo, config: IdentityConfig, who: Identifier, now: int) -> set[Identifier] | None:
    """Erase whoever has an identifier, to the end; the hashes that the document names, None where there was nobody."""
    world, eraser = worker(client, now, config)
    try:
        profile = find(world.people, "main", read_asked(config, str(who)))
    except NotFound:
        return None
    held = {Identifier(*one) for one in profile.person.identifiers}
    document = eraser.begin(profile, "test")
    assert eraser.resume(document["sk"])["state"] == SETTLING
    assert worker(client, now + 20 * MINUTE_MS, config)[1].resume(document["sk"])["state"] == PARTIAL
    fids = {fid for _, fid in document["members"]}
    assert {world.identities.keys.fragment(one) for one in held} <= fids
    for (_, pk, sk), item in dump(client).items():
        if pk.rpartition("#")[2].removeprefix("p_") in fids:
            assert pk.split("#")[1] in ("F", "I"), (pk, sk)
            assert set(item) <= {"pk", "sk", "v", "er"}, item
    return held


@pytest.mark.parametrize("seed", [*range(SEEDS), *MET_BEFORE])
def test_r48_erased_people_stay_out_and_all_others_come_back_the_same(seed: int) -> None:
    scenario, chance = random_scenario(seed), random.Random(seed)
    config = scenario.config
    events = [without_unread(step) for step in scenario.steps if isinstance(step, Evidence)]
    if config.names or not events:
        return  # a name that events of the erased person gave to somebody else's identifier stays there
    client, now = MemoryDynamo(), NOW
    log = [(now, one) for one in events]
    worker(client, now, config)[0].consume(events)
    gone: set[Identifier] = set()
    for number in range(chance.choice([1, 1, 2])):
        now += DAY_MS
        who = chance.choice(sorted({one for told in events for one in named(told)}))
        gone |= erase(client, config, who, now) or set()
        now += DAY_MS
        came = [
            one._replace(event_id=f"{one.event_id}-new{number}", ts=now - START + one.ts % 1_000)
            for one in events
            if chance.random() < 0.4
        ]
        came += [
            one._replace(event_id=f"{one.event_id}-late{number}")
            for one in events
            if chance.random() < 0.3 and (one.hub in gone or gone.isdisjoint(named(one)))
        ]
        if came:
            worker(client, now + MINUTE_MS, config)[0].consume(came)
        log += [(now + MINUTE_MS, one) for one in came]
    if config.order == "first":
        chance.shuffle(log)
    other = MemoryDynamo()
    other.tables["control"] = dict(client.tables["control"]) if "control" in client.tables else {}
    for at, one in log:
        worker(other, at, config)[0].consume([one])
    assert prints_of(stored(other), "main") == prints_of(stored(client), "main")
