"""Unmerge, block and allow, killed at every single call and taken up again; and against ingestion, call by call."""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hoso.model.identifiers import DEFAULT, IdentityConfig
from hoso.model.time import DAY_MS, format_instant
from hoso.unify.evidence import Apart, Block, Cut, Evidence, Restore, pair
from hoso.unify.graph import resolve
from hoso.unify.identity_items import read_identifier
from hoso.unify.intake import Delivery, evidence, grouped, take
from infra.cli.identity_trial import TurnClient, Turns
from tests.identity_table import MemoryDynamo
from tests.people_in_memory import KillAt, Killed, dump, people_api, post, swept
from tests.unify_in_memory import MemoryWorld, copy_of
from tests.unify_world import NOW, packed

LARGE_STEP = int(os.environ.get("KILL_LARGE_STEP", "13"))
SCHEDULES = int(os.environ.get("UNMERGE_SCHEDULES", "40"))
USER, BROWSER, OTHER, EMAIL = "user_id:u1", "anonymous_id:a1", "anonymous_id:a2", "email:a@b.vn"
SEGMENTS: dict[str, Any] = {
    "viewers": {"kind": "event", "event": ["Viewed"], "window": {"last": "7d"}, "op": "gte", "value": 3},
    "buyers": {"kind": "event", "event": ["Order Completed"], "op": "gte", "value": 2},
    "gold": {"kind": "trait", "name": "plan", "op": "is", "value": "gold"},
    "lost": {"kind": "not", "of": {"kind": "event", "event": ["Order Completed"], "window": {"last": "3d"}}},
}


@pytest.fixture(autouse=True)
def _api() -> Iterator[None]:
    with people_api():
        yield


def world_on(client: Any) -> MemoryWorld:
    return MemoryWorld(client, DEFAULT, now=NOW)


def consume(world: MemoryWorld, *bodies: dict[str, Any]) -> None:
    rows = [{"kinesis": {"data": base64.b64encode(blob).decode()}} for blob in packed(bodies, world.now, source="shop")]
    for _ in range(20):
        failed = world.consumer.consume(rows, lambda: 60_000).failed
        rows = [row for place, row in enumerate(rows) if place in failed]
        if not rows:
            return
    raise AssertionError("not consumed")


def said(number: int, event: str = "Viewed", **more: Any) -> dict[str, Any]:
    at = format_instant(NOW - DAY_MS + number * 1_000)
    return {"type": "track", "event": event, "messageId": f"m{number}", "timestamp": at, **more}


def bought(number: int, **more: Any) -> dict[str, Any]:
    return said(number, "Order Completed", properties={"order_id": f"o{number}", "revenue": 5}, **more)


def family() -> MemoryDynamo:
    """One browser on which u1 signs in, and another one that the address of u1 was typed in."""
    client = MemoryDynamo()
    world = world_on(client)
    for key, rule in SEGMENTS.items():
        body = {"schema": "segment/1", "key": key, "name": key, "rule": rule}
        world.control.put("main", "segment", key, body)
    consume(world, said(1, anonymousId="a1"), said(2, anonymousId="a1"), said(3, anonymousId="a2"))
    consume(world, bought(4, anonymousId="a2"))
    consume(
        world,
        {**said(5, userId="u1", anonymousId="a1"), "type": "identify", "traits": {"plan": "gold", "email": "a@b.vn"}},
    )
    consume(world, bought(6, anonymousId="a1"))
    consume(world, {**said(7, anonymousId="a2"), "type": "identify", "traits": {"email": "a@b.vn"}})
    return client


def regular() -> MemoryDynamo:
    """A guest of one address and a hundred browsers, who signs in at last: over 100 items change at once."""
    client = family()
    world = world_on(client)
    for number in range(100):
        at = format_instant(NOW - 3_000 * DAY_MS + number * 30 * DAY_MS)
        body = {**said(100 + number, anonymousId=f"b{number:03d}"), "timestamp": at, "type": "identify"}
        consume(world, {**body, "traits": {"email": "guest@b.vn"}})
    consume(world, {**said(300, userId="u9"), "type": "identify", "traits": {"email": "guest@b.vn"}})
    return client


@dataclass(frozen=True)
class Case:
    """A wish of an operator on a ready picture, after other wishes."""

    action: str
    who: str
    wish: dict[str, Any]
    before: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    ready: Callable[[], MemoryDynamo] = family


OUT = ("unmerge", USER, {"identifier": OTHER, "request_id": "r1"})
BLOCKED = ("block", USER, {"value": EMAIL, "request_id": "r1"})
CASES = {
    "unmerge an identifier": Case(*OUT),
    "unmerge an edge": Case("unmerge", USER, {"edge": [USER, EMAIL], "request_id": "r2"}),
    "block a value": Case(*BLOCKED),
    "block an edge": Case("block", USER, {"edge": [EMAIL, OTHER], "request_id": "r2"}),
    "allow a record": Case("allow", USER, {"record": "unmerge-r1", "request_id": "r2"}, (OUT,)),
    "allow a value": Case("allow", EMAIL, {"value": EMAIL, "request_id": "r2"}, (BLOCKED,)),
}
LARGE = Case("unmerge", "user_id:u9", {"edge": ["user_id:u9", "email:guest@b.vn"], "request_id": "r1"}, (), regular)


def prepared(case: Case) -> MemoryDynamo:
    client = case.ready()
    for action, who, wish in case.before:
        assert post(world_on(client), client, action, who, wish)[0] == 200
    return client


def wish(client: Any, case: Case) -> Any:
    status, answer = post(world_on(client), client, case.action, case.who, case.wish)
    assert status == 200, answer
    return answer


def kills(ready: MemoryDynamo, case: Case, every: int = 1) -> Iterator[tuple[int, MemoryDynamo]]:
    """What a worker leaves that dies after its n-th call, for every n (or one in ``every``); before a call is the same
    as after the one before."""
    counting = KillAt(copy_of(ready))
    wish(counting, case)
    for fatal in range(1, counting.count + 1, every):
        client = copy_of(ready)
        with pytest.raises(Killed):
            wish(KillAt(client, fatal, after=True), case)
        yield fatal, client


def settled(client: MemoryDynamo) -> dict[Any, Any]:
    """The state once the sweeper was there, and everybody came back once."""
    world = world_on(client)
    assert swept(world, client).left == 0
    for number, who in ((50, "a1"), (51, "a2")):
        consume(world, said(number, anonymousId=who))
    return {key: item for key, item in dump(client).items() if key[1] != "main#L"}


@pytest.fixture(scope="module")
def ready() -> MemoryDynamo:
    return family()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_r27_a_wish_that_was_killed_at_any_call_is_granted_by_its_repetition(case: Case) -> None:
    ready = prepared(case)
    clean = copy_of(ready)
    wish(clean, case)
    assert dump(clean) != dump(ready)

    for when, client in kills(ready, case):
        wish(client, case)
        assert dump(client) == dump(clean), f"killed after call {when}"
    wish(clean, case)
    assert dump(client) == dump(clean), "asked a third time"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_r27_what_a_killed_wish_left_is_finished_by_the_sweeper_and_the_next_events(case: Case) -> None:
    ready = prepared(case)
    clean, never = copy_of(ready), copy_of(ready)
    wish(clean, case)
    granted, untouched = settled(clean), settled(never)
    seen: set[bool] = set()

    for when, client in kills(ready, case):
        applied = any("#O#" in key[1] for key in dump(client).keys() - dump(ready).keys())
        assert settled(client) == (granted if applied else untouched), f"killed after call {when}"
        seen.add(applied)
    assert seen == {False, True}


def test_whoever_lives_again_before_the_merge_was_evaluated_stays_listed(ready: MemoryDynamo) -> None:
    client = copy_of(ready)
    world = world_on(client)
    assert post(world, client, *OUT)[0] == 200
    consume(world, *[said(30 + number, anonymousId="a2") for number in range(3)])
    browser, link = world.identities.person_of(read_identifier(OTHER)), pair(*map(read_identifier, (EMAIL, OTHER)))
    assert "viewers" in world.people.load_person("main", browser).person.memberships
    # joined and parted again, with nobody evaluating in between
    world.identities.apply(Restore("back", NOW, [link, pair(*map(read_identifier, (USER, OTHER)))]))
    assert world.identities.person_of(read_identifier(OTHER)) != browser
    world.identities.apply(Cut("again", NOW, [link]))
    for pid in (browser, world.identities.person_of(read_identifier(USER))):
        world.people.reevaluate("main", pid, NOW)

    state = dump(client)
    assert any(key[1].startswith("main#S#viewers#") and key[2] == browser for key in state)


@pytest.fixture(scope="module")
def large() -> MemoryDynamo:
    with people_api():
        return prepared(LARGE)


def test_r27_a_large_person_that_was_killed_while_it_parted_is_parted_by_the_repetition(large: MemoryDynamo) -> None:
    clean = copy_of(large)
    wish(clean, LARGE)
    assert not any({"mv", "op", "st", "pend"} & item.keys() for item in dump(clean).values())

    for when, client in kills(large, LARGE, LARGE_STEP):
        wish(client, LARGE)
        assert dump(client) == dump(clean), f"killed after call {when}"


def test_r27_a_large_person_that_was_killed_while_it_parted_is_parted_by_whoever_meets_it(large: MemoryDynamo) -> None:
    """The sweeper, or the next event under any identifier that waits to be moved."""
    clean, never = copy_of(large), copy_of(large)
    wish(clean, LARGE)
    chance = random.Random(1)
    for when, client in kills(large, LARGE, LARGE_STEP):
        applied = any("#O#" in key[1] for key in dump(client).keys() - dump(large).keys())
        expected = copy_of(clean if applied else never)
        who = f"b{chance.randrange(100):03d}"
        for one in (client, expected):
            consume(world_on(one), said(900, anonymousId=who))
            assert swept(world_on(one), one).left == 0
        assert _beside_versions(client) == _beside_versions(expected), f"killed after call {when}, {who}"


def coming(chance: random.Random) -> list[dict[str, Any]]:
    """Events of the same people while the operator works: some tie again what is being parted, by the same way and by
    others, late and repeated ones among them."""
    found: list[dict[str, Any]] = []
    for number in range(chance.randrange(4, 8)):
        kind = chance.randrange(5)
        more: dict[str, Any] = {"anonymousId": chance.choice(["a1", "a2"])}
        if kind == 0:
            more |= {"type": "identify", "traits": {"email": "a@b.vn"}}
        elif kind == 1:
            more |= {"userId": chance.choice(["u1", "u2"])}
        elif kind == 2:
            more |= {"type": "identify", "traits": {"phone": "0901002003"}}
        made = bought(20 + number, **more) if kind == 3 else said(20 + number, **more)
        found.append(made | {"timestamp": format_instant(NOW - chance.randrange(1, 40) * 3_600_000)})
    return found + chance.sample(found, 2)


def learnt(bodies: list[dict[str, Any]]) -> list[Evidence]:
    """The identity evidence of events, as the consumer reads it."""
    groups = grouped(
        one
        for place, blob in enumerate(blob for body in bodies for blob in packed([body], NOW, source="shop"))
        if isinstance(one := take(place, {"kinesis": {"data": base64.b64encode(blob).decode()}}), Delivery)
    )
    return [told for group in groups for told in evidence(group, DEFAULT)]


HISTORY = [
    said(1, anonymousId="a1"),
    said(3, anonymousId="a2"),
    {**said(5, userId="u1", anonymousId="a1"), "type": "identify", "traits": {"plan": "gold", "email": "a@b.vn"}},
    {**said(7, anonymousId="a2"), "type": "identify", "traits": {"email": "a@b.vn"}},
]
"""What the family's events tell of identity."""


@pytest.mark.parametrize("part", range(4))
def test_r26_unmerge_racing_the_ingestion_of_the_same_people_loses_and_joins_nothing(
    ready: MemoryDynamo, part: int
) -> None:
    """The operator (who changes the mind in a third of the schedules) and three workers, call by call."""
    for seed in range(part * SCHEDULES // 4, (part + 1) * SCHEDULES // 4):
        chance = random.Random(seed)
        client, turns, events = copy_of(ready), Turns(chance), coming(chance)
        wishes = [chance.choice([OUT, ("unmerge", USER, {"edge": [EMAIL, OTHER], "request_id": "r1"}), BLOCKED])]
        if chance.random() < 0.33:
            record = f"{wishes[0][0]}-r1"
            wishes.append(("allow", USER, {"record": record, "request_id": "r2"}))

        def work(number: int) -> None:
            mine = TurnClient(client, turns, number)  # noqa: B023
            if number:
                for body in events[number - 1 :: 3]:  # noqa: B023
                    consume(world_on(mine), body)
                return
            for action, who, asked in wishes:  # noqa: B023
                for _ in range(20):
                    status, _answer = post(world_on(mine), mine, action, who, asked)
                    if status == 200:
                        break
                assert status in (200, 400, 404), _answer

        turns.run([work] * 4)
        assert swept(world_on(client), client).left == 0
        _as_it_must_be(client, events, seed)


def _as_it_must_be(client: MemoryDynamo, events: list[dict[str, Any]], seed: int) -> None:
    """People are what the evidence and the records say; every event counts once; memberships are those that an
    evaluation gives, in the person, in the lists, and announced in turn."""
    world, state = world_on(client), dump(client)
    records: list[Any] = []
    for item in sorted(
        (item for key, item in state.items() if "#O#" in key[1]), key=lambda item: item["action"], reverse=True
    ):
        links = [pair(*map(read_identifier, link)) for link in item.get("cut", ())]
        parted = [pair(*map(read_identifier, link)) for link in item.get("apart", ())]
        if item["action"] == "allow":
            records = []  # it takes back all that the record before said
        elif "value" in item:
            records.append(Block("o", 0, read_identifier(item["value"]), on=True))
        else:
            records += [Cut("o", 0, links), Apart("a", 0, parted)]
    clusters = resolve([*learnt(HISTORY + events), *records], DEFAULT)
    people = {one: world.identities.person_of(one) for one in clusters.of}
    for one, members in clusters.of.items():
        assert {other for other in people if people[other] == people[one]} == members, f"seed {seed}: {one}"
        assert world.hub_owner(one) == people[one], f"seed {seed}: {one}"
    profiles = [world.people.load_person("main", pid) for pid in sorted(set(people.values()))]
    told = 6 + 1 + len({body["messageId"] for body in events})
    assert sum(profile.totals["events"] for profile in profiles) == told, f"seed {seed}"
    for profile in profiles:
        verdicts = world.people.verdicts(profile, world.now)
        assert not profile.person.dirty, f"seed {seed}"
        assert set(profile.person.memberships) == {key for key, found in verdicts.items() if found.member}
        assert profile.person.rest.keys() <= {"nb", "sh"}, f"seed {seed}"
        listed = {key[1].split("#")[2] for key in state if "#S#" in key[1] and key[2] == profile.pid}
        assert listed == set(profile.person.memberships), f"seed {seed}"
    strangers = {key[2] for key in state if "#S#" in key[1]} - {profile.pid for profile in profiles}
    assert not strangers, f"seed {seed}: listed under an id that leads elsewhere"


def _beside_versions(client: MemoryDynamo) -> dict[Any, Any]:
    """The state without versions, and without pages, which are named by them: a try that failed may leave orphans."""
    return {
        key: {name: value for name, value in item.items() if name not in ("v", "g")}
        for key, item in dump(client).items()
        if key[1] != "main#L" and not key[2].startswith("T#")
    }


def test_whom_other_rules_join_and_nobody_evaluated_falls_due() -> None:
    apart = IdentityConfig.parse({"base": "retail", "types": {"email": {"rank": 4, "limit": 5, "fanout": 0}}})
    client = MemoryDynamo()
    world = MemoryWorld(client, apart, now=NOW)
    for key, rule in SEGMENTS.items():
        world.control.put("main", "segment", key, {"schema": "segment/1", "key": key, "name": key, "rule": rule})
    consume(world, bought(1, userId="u1"), bought(2, anonymousId="a1"))
    consume(world, {**said(3, userId="u1"), "type": "identify", "traits": {"email": "a@b.vn"}})
    consume(world, {**said(4, anonymousId="a1"), "type": "identify", "traits": {"email": "a@b.vn"}})
    other = world_on(client)
    user, browser = read_identifier(USER), read_identifier(BROWSER)
    assert other.identities.person_of(user) != other.identities.person_of(browser)

    other.identities.rederive(browser, NOW)  # and the worker dies before it has anybody evaluated
    joined = other.identities.person_of(browser)
    assert joined == other.identities.person_of(user)
    swept(other, client)

    person = other.people.load_person("main", joined).person
    assert (person.dirty, "buyers" in person.memberships) == (False, True)
