"""Erasures killed at any call are finished by whoever comes, and large ones go in rounds (security S51, S53, S55)."""

from __future__ import annotations

import os
from typing import Any

import pytest

from hoso.model.errors import Conflict
from hoso.model.identifiers import STANDARD, Identifier
from hoso.model.time import DAY_MS, MINUTE_MS
from hoso.platform.dynamo import Table
from hoso.unify.eraser import Eraser
from hoso.unify.erasures import PARTIAL, SETTLING, Erasures
from hoso.unify.evidence import Evidence
from hoso.unify.lookup import find, read_asked
from tests.identity_table import MemoryDynamo
from tests.people_in_memory import KillAt, Killed, dump
from tests.unify_in_memory import NOW, START, MemoryWorld, copy_of

EVERY = int(os.environ.get("ERASURE_KILLS_EVERY", "1"))
"""Of the calls; 1 tries them all."""
AN, BINH = Identifier("user_id", "zq7-an"), Identifier("user_id", "binh")
MAIL, HOME, TAB = (Identifier(*one) for one in (("email", "zq7@x.vn"), ("email", "home@x.vn"), ("anonymous_id", "zq7")))
SEGMENTS: dict[str, Any] = {
    "viewers": {"kind": "event", "event": ["Viewed"], "op": "gte", "value": 1},
    "twice": {"kind": "event", "event": ["Viewed"], "op": "gte", "value": 2},
}
TOLD = [
    Evidence("m1", 10, TAB),
    Evidence("m2", 20, AN, [TAB]),
    Evidence("m3", 30, AN, [MAIL]),
    Evidence("b1", 40, BINH, [HOME]),
    Evidence("b2", 50, BINH),
]
LATE = [Evidence("m4", 60, AN, [MAIL]), Evidence("m5", 70, TAB)]


def worker(client: Any, now: int) -> tuple[MemoryWorld, Eraser]:
    """Somebody who works on these tables at this time."""
    world = MemoryWorld(client, STANDARD, now=now)
    control = Table("control", client, sleep=lambda _: None)
    erasures = Erasures(control, lambda: world.now, 0)
    world.identities.erased = lambda: erasures.hashes("main")
    return world, Eraser(world.store, world.identities, erasures, control, client, lambda: world.now, "main")


def ready() -> MemoryDynamo:
    client = MemoryDynamo()
    world, _ = worker(client, NOW)
    for key, rule in SEGMENTS.items():
        world.control.put("main", "segment", key, {"schema": "segment/1", "key": key, "name": key, "rule": rule})
    world.consume(TOLD)
    return client


def erase(client: Any, who: Identifier, now: int) -> str:
    """What the admin API does."""
    world, eraser = worker(client, now)
    for _ in range(3):
        held = eraser.found(world.store.fragment_id("main", who))
        if held is None:
            asked = read_asked(world.identities.config, str(who))
            try:
                held = eraser.begin(find(world.people, "main", asked), "test")
            except Conflict:
                continue
        return eraser.resume(held["sk"])["state"]
    raise AssertionError("it keeps changing")


def told(client: MemoryDynamo) -> dict[Any, Any]:
    """What the tables hold, without timers and versions, which count tries."""
    held = {key: item for key, item in dump(client).items() if "#D#" not in key[1]}
    return {key: {name: item[name] for name in item if name not in ("v", "due")} for key, item in held.items()}


def newcomer(now: int) -> list[Evidence]:
    return [Evidence("f1", now - START, AN, [MAIL])]


def of_newcomer(client: MemoryDynamo, now: int) -> tuple[Any, ...]:
    """Who holds the erased address now."""
    world, _ = worker(client, now)
    pid = world.people.profile_id("main", MAIL)
    world.people.reevaluate("main", pid, now)
    profile = world.people.load_person("main", pid)
    messages = sorted(new.event.message_id for new in world.people.timeline("main", pid))
    return sorted(profile.person.identifiers), messages, sorted(profile.person.memberships), profile.totals["events"]


@pytest.mark.parametrize("meanwhile", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_s55_an_erasure_killed_at_any_call_is_finished_by_whoever_comes(after: bool, meanwhile: bool) -> None:
    begun = ready()
    now = NOW + DAY_MS
    clean = copy_of(begun)
    counting = KillAt(clean)
    assert erase(counting, AN, now) == SETTLING
    assert erase(clean, AN, now + 16 * MINUTE_MS) == PARTIAL
    wanted, others = told(clean), {key: item for key, item in dump(begun).items() if _is_of(key, begun)}
    assert "zq7" not in str(dump(clean))
    assert others
    assert {key: dump(clean)[key] for key in others} == others
    assert counting.count > 20
    for fatal in range(1, counting.count + 1, EVERY):
        client = copy_of(begun)
        with pytest.raises(Killed):
            erase(KillAt(client, fatal, after=after), AN, now)
        if meanwhile and worker(client, now)[1].found(worker(client, now)[0].store.fragment_id("main", AN)):
            worker(client, now + MINUTE_MS)[0].consume([*newcomer(now + MINUTE_MS), *LATE])
        erase(client, AN, now if not meanwhile else now + 2 * MINUTE_MS)
        worker(client, now + 3 * MINUTE_MS)[0].consume(LATE)
        assert erase(client, AN, now + 20 * MINUTE_MS) == PARTIAL, fatal
        assert {key: dump(client)[key] for key in others} == others, fatal
        if not meanwhile:
            assert told(client) == wanted, fatal
            continue
        if "zq7" in str(dump(client)):  # it was begun when it was killed, and somebody new came
            held = [
                item for key, item in dump(client).items() if "#P#" in key[1] and item.get("m") and key not in others
            ]
            assert all(entry[1] > now for item in held for entry in item["m"].values()), fatal
            expected = ([tuple(MAIL), tuple(AN)], ["f1"], ["viewers"], 1)
            assert of_newcomer(client, now + 20 * MINUTE_MS) == expected, fatal


def _is_of(key: tuple[str, str, str], client: MemoryDynamo) -> bool:
    """Whether an item is the neighbour's."""
    store = worker(client, NOW)[0].store
    fids = {store.fragment_id("main", one) for one in (BINH, HOME)}
    return any(fid in key[1] or f"p_{fid}" == key[2] for fid in fids) and "#D#" not in key[1]


def test_r29_a_person_of_more_identifiers_than_a_transaction_holds_is_erased_whole() -> None:
    client = MemoryDynamo()
    now = START + 300 * DAY_MS
    world, _ = worker(client, now)
    tabs = [Identifier("anonymous_id", f"zq7-{number}") for number in range(110)]
    links = [Evidence(f"t{place}", place * 2 * DAY_MS, AN, [one]) for place, one in enumerate(tabs)]
    for first in range(0, len(links), 10):
        world.identities.learn([one._replace(ts=START + one.ts) for one in links[first : first + 10]])
    world.consume([links[0], *(Evidence(f"own-{one.value}", DAY_MS, one) for one in tabs[::10])])
    assert len(world.identities.load(world.identities.person_of(AN)).identifiers) == 111

    assert erase(client, tabs[7], now) == SETTLING
    assert erase(client, AN, now + 16 * MINUTE_MS) == PARTIAL

    assert "zq7" not in str(dump(client))
    world, _ = worker(client, now + DAY_MS)
    world.consume([Evidence("late", DAY_MS, AN, tabs[:3])])
    assert "zq7" not in str(dump(client))


@pytest.mark.parametrize("meanwhile", [False, True])
def test_s59_an_erased_browser_of_somebody_else_too_is_theirs_when_they_use_it_again(meanwhile: bool) -> None:
    client, now = MemoryDynamo(), NOW + DAY_MS
    world, _ = worker(client, NOW)
    for number in range(2):  # the second time the neighbour's own fragment knows it without a look
        world.consume(
            [Evidence(f"e{number}", 10 + number, AN, [TAB]), Evidence(f"b{number}", 20 + number, BINH, [TAB])]
        )
    assert world.identities.person_of(TAB) == world.identities.person_of(AN)
    world, eraser = worker(client, now)
    erasure = eraser.begin(find(world.people, "main", read_asked(STANDARD, str(AN))), "test")["sk"]
    if meanwhile:  # somebody new is told of before identity forgets who was erased
        worker(client, now + MINUTE_MS)[0].consume(newcomer(now + MINUTE_MS))

    assert worker(client, now + 2 * MINUTE_MS)[1].resume(erasure)["state"] == SETTLING

    world, _ = worker(client, now + DAY_MS)
    assert world.identities.person_of(TAB) != world.identities.person_of(BINH)
    world.consume([Evidence("b9", now + DAY_MS - START, BINH, [TAB])])
    assert world.identities.person_of(TAB) == world.identities.person_of(BINH)
