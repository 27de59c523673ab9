"""Shared identifiers: erasing one person never harms the other (security S59), as far as identity goes."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from hoso.model.identifiers import DEFAULT, Identifier
from hoso.unify.evidence import Cut, Erasure, Evidence, Probable, Restore, pair
from hoso.unify.graph import resolve
from tests.identity_table import MemoryDynamo
from tests.people_in_memory import KillAt, Killed, dump, swept
from tests.unify_in_memory import START, MemoryWorld, copy_of

SEEDS = int(os.environ.get("S59_SEEDS", "60"))
AN, BINH, CHI = (Identifier("user_id", name) for name in ("an", "binh", "chi"))
HOME = Identifier("email", "home@x.vn")
PHONE = Identifier("phone", "+84901002003")
BROWSER, AN_S, BINH_S = (Identifier("anonymous_id", name) for name in ("shared", "of-an", "of-binh"))
SEGMENTS: dict[str, Any] = {
    "viewers": {"kind": "event", "event": ["Viewed"], "op": "gte", "value": 2},
    "known": {"kind": "has_id", "types": ["email"]},
    "quiet": {"kind": "not", "of": {"kind": "event", "event": ["Viewed"], "op": "gte", "value": 4}},
}
ERASED_AT = 1_000


def shop() -> tuple[MemoryDynamo, MemoryWorld]:
    client = MemoryDynamo()
    world = MemoryWorld(client, DEFAULT)
    for key, rule in SEGMENTS.items():
        body = {"schema": "segment/1", "key": key, "name": key, "rule": rule}
        world.control.put("main", "segment", key, body)
    return client, world


def erase(world: MemoryWorld, who: Identifier, at: int = ERASED_AT) -> frozenset[Identifier]:
    """Erase; the identifiers that the person had."""
    held = frozenset(world.identities.load(world.identities.person_of(who)).identifiers) or frozenset([who])
    world.apply(Erasure(f"erase-{who}-{at}", START + at, who))
    return held


def told_of(client: MemoryDynamo, members: frozenset[Identifier], pid: str) -> dict[Any, Any]:
    """All that the tables tell of a person: fragments, person, identifiers, lists, announcements, timers. Without what
    only names the version or remembers what identity was told, and without links to others."""
    world = MemoryWorld(client, DEFAULT)
    fids = {world.identities.keys.fragment(one) for one in members}
    found: dict[Any, Any] = {}
    for (table, pk, sk), item in dump(client).items():
        kind = pk.split("#")[1] if table == "profiles" else ""
        mine = (
            (kind == "F" and pk.split("#")[2] in fids)
            or (kind == "P" and pk.split("#")[2] == pid)
            or (kind == "I" and pk.split("#")[3] in fids)
            or (kind == "S" and sk == pid)
            or (table == "outbox" and pk == f"main#{pid}")
            or (table == "delivery" and sk == pid)
        )
        if mine:
            left = {name: value for name, value in item.items() if name not in ("v", "k", "nb", "sh")}
            if "fr" in left:
                left["fr"] = sorted(left["fr"])
            if kind == "I":
                names = {str(one) for one in members}
                left["l"] = {strong: times for strong, times in item.get("l", {}).items() if strong in names}
                left["pf"] = {strong: proof for strong, proof in item.get("pf", {}).items() if strong in names}
                left["bs"] = {}
                left.pop("w", None)  # the first meeting may have been with whoever went
            if set(left) - {"pk", "sk", "hub", "l", "pf", "bs"}:
                found[table, pk, sk] = left
    return found


def announced(client: MemoryDynamo) -> set[str]:
    return {key[2] for key in dump(client) if key[0] == "outbox"}


def test_s59_a_household_address_goes_to_the_other_who_stays_as_she_is() -> None:
    client, world = shop()
    world.consume([Evidence("e1", 1, AN, [HOME, AN_S]), Evidence("e2", 2, BINH, [HOME, BINH_S])])
    world.consume([Evidence("e3", 3, BINH_S), Evidence("e4", 4, AN_S), Evidence("e5", 5, BINH)])
    binh = world.identities.person_of(BINH)
    before, rows = told_of(client, frozenset([BINH, BINH_S]), binh), announced(client)

    assert erase(world, AN) == {AN, HOME, AN_S}
    swept(world, client)

    assert told_of(client, frozenset([BINH, BINH_S]), binh) == before
    assert announced(client) == rows, "nobody is told of anything"
    assert world.identities.person_of(HOME) not in (binh, world.identities.person_of(AN))
    world.consume([Evidence("e6", ERASED_AT + 1, BINH, [HOME])])
    assert world.identities.person_of(HOME) == binh == world.hub_owner(HOME)


def test_s59_the_one_who_never_held_the_shared_address_is_erased_without_it() -> None:
    client, world = shop()
    world.consume([Evidence("e1", 1, AN, [HOME, AN_S]), Evidence("e2", 2, BINH, [HOME, BINH_S])])
    an = world.identities.person_of(AN)
    before = told_of(client, frozenset([AN, HOME, AN_S]), an)

    assert erase(world, BINH) == {BINH, BINH_S}
    swept(world, client)

    assert told_of(client, frozenset([AN, HOME, AN_S]), an) == before
    (held,) = [item for key, item in dump(client).items() if "#I#email#" in key[1]]
    assert list(held["l"]) == [str(AN)], "the link to whoever was erased is gone"


def test_s59_a_telephone_of_two_people_whose_names_differ_keeps_both_apart_and_the_other_whole() -> None:
    client, world = shop()
    world.consume(
        [Evidence("e1", 1, AN, [PHONE], name="an nguyen"), Evidence("e2", 2, BINH, [PHONE], name="binh tran")]
    )
    world.consume([Evidence("e3", 3, BINH), Evidence("e4", 4, BINH)])
    binh = world.identities.person_of(BINH)
    assert world.identities.person_of(PHONE) not in (binh, world.identities.person_of(AN))
    before = told_of(client, frozenset([BINH]), binh)

    assert erase(world, AN) == {AN}
    world.consume([Evidence("e5", ERASED_AT + 5, BINH, [PHONE], name="binh tran")])

    # nobody contradicts any more: the number is that of the one who is left
    assert world.identities.person_of(PHONE) == world.identities.person_of(BINH)
    kept = world.people.load_person("main", binh)
    assert kept.totals["events"] == 4
    hot = next(key for key in before if key[1].startswith("main#F#") and key[2] == "H")
    assert dump(client)[hot]["n"] == before[hot]["n"] + 1


def test_s59_a_shared_browser_that_is_erased_with_one_starts_afresh_under_the_other() -> None:
    client, world = shop()
    world.consume([Evidence("e1", 1, AN, [BROWSER]), Evidence("e2", 2, BROWSER), Evidence("e3", 3, BINH, [BROWSER])])
    binh = world.identities.person_of(BINH)
    before, rows = told_of(client, frozenset([BINH]), binh), announced(client)

    assert erase(world, AN) == {AN, BROWSER}
    swept(world, client)
    assert told_of(client, frozenset([BINH]), binh) == before
    assert announced(client) == rows

    world.consume([Evidence("late", 2, BINH, [BROWSER])])
    assert world.identities.person_of(BROWSER) != binh, "a late event from before does not bring the browser back"
    world.consume([Evidence("e4", ERASED_AT + 1, BINH, [BROWSER])])
    assert world.identities.person_of(BROWSER) == binh


def test_s59_whoever_registers_again_gets_neither_the_old_links_nor_the_neighbour() -> None:
    client, world = shop()
    world.consume([Evidence("e1", 1, AN, [HOME, AN_S]), Evidence("e2", 2, BINH, [HOME, BINH_S])])
    binh = world.identities.person_of(BINH)
    before = told_of(client, frozenset([BINH, BINH_S]), binh)
    erase(world, AN)
    again = Identifier("user_id", "an-again")

    world.consume([Evidence("e3", ERASED_AT + 1, again, [HOME])])

    assert set(world.identities.load(world.identities.person_of(again)).identifiers) == {again, HOME}
    assert told_of(client, frozenset([BINH, BINH_S]), binh) == before
    world.consume([Evidence("e4", ERASED_AT + 2, AN, [AN_S])])
    assert set(world.identities.load(world.identities.person_of(AN)).identifiers) == {AN, AN_S}
    assert told_of(client, frozenset([BINH, BINH_S]), binh) == before


def test_s59_nobody_inherits_memberships_of_whoever_was_erased() -> None:
    client, world = shop()
    world.consume([Evidence("e1", 1, AN, [HOME, BROWSER]), Evidence("e2", 2, BROWSER), Evidence("e3", 3, BROWSER)])
    assert "viewers" in world.people.load_person("main", world.identities.person_of(AN)).person.memberships
    rows = announced(client)
    erase(world, AN)
    swept(world, client)
    for one in (HOME, BROWSER):
        left = world.identities.load(world.identities.person_of(one)).item
        assert not {"m", "dirty", "due"} & left.keys()
    assert announced(client) == rows

    world.consume([Evidence("e4", ERASED_AT + 1, BINH, [HOME])])
    told = [json.loads(item["detail"]) for key, item in dump(client).items() if key[0] == "outbox"]
    binh = world.identities.person_of(BINH)
    assert not [one for one in told if one["profile_id"] == binh and one.get("segment") == "viewers"]


def test_s59_what_came_later_to_an_erased_address_starts_without_the_past_of_its_owner() -> None:
    _, world = shop()
    world.consume([Evidence("e1", 1, AN, [HOME], name="an nguyen"), Evidence("e2", 2, AN), Evidence("e3", 3, AN)])
    world.consume([Evidence("e4", ERASED_AT + 1, PHONE, name="binh tran")])
    world.consume([Evidence("e5", ERASED_AT + 2, HOME, [PHONE])])
    assert world.identities.person_of(HOME) == world.identities.person_of(AN) != world.identities.person_of(PHONE)
    assert "viewers" in world.people.load_person("main", world.identities.person_of(AN)).person.memberships

    erase(world, AN)

    new = world.identities.load(world.identities.person_of(PHONE))
    assert set(new.identifiers) == {HOME, PHONE}
    assert "viewers" not in new.item.get("m", {})


@pytest.mark.parametrize(("found_at", "joined"), [(ERASED_AT, False), (ERASED_AT + 1, True)])
def test_r15_a_match_of_a_night_that_began_before_an_erasure_brings_nobody_back(found_at: int, joined: bool) -> None:
    # given: somebody is erased while a night compares
    match = Probable("likeness:1", START + found_at, AN, PHONE, 0.97)
    _, world = shop()
    world.identities.learn([Evidence("1", START, AN), Evidence("2", START, PHONE)])
    erase(world, AN)
    # when: the night tells its match afterwards
    world.apply(match)
    # then
    people = world.identities.people_of([AN, PHONE])
    assert (people[AN] == people[PHONE]) is joined
    told = [Evidence("1", START, AN), Evidence("2", START, PHONE), Erasure("e", START + ERASED_AT, AN), match]
    assert (len(resolve(told, DEFAULT).of[PHONE]) > 1) is joined


def test_r15_what_a_cut_had_kept_apart_is_erased_too_and_a_later_event_starts_afresh() -> None:
    # given: a cut between two, and matches and links of before the erasure of one of them
    link = pair(AN, BROWSER)
    steps = [
        Evidence("1", START, AN, [BROWSER]),
        Probable("likeness:1", START, AN, PHONE, 0.97),
        Evidence("2", START, PHONE),
        Cut("c1", START + 10, [link, pair(AN, PHONE)]),
        Erasure("e", START + ERASED_AT, AN),
        Evidence("3", START + ERASED_AT + 500, AN, [BROWSER]),
        Restore("r", START + ERASED_AT + 600, [link, pair(AN, PHONE)]),
    ]
    _, world = shop()
    # when
    for step in steps:
        if isinstance(step, Evidence):
            world.identities.learn([step])
        else:
            world.apply(step)
    # then: the link of the later event stands, the match of before is gone
    people = world.identities.people_of([AN, BROWSER, PHONE])
    assert people[AN] == people[BROWSER] != people[PHONE]
    assert resolve(steps, DEFAULT).of[AN] == {AN, BROWSER}


def test_s59_a_number_that_a_crowd_shared_is_erased_with_all_its_links() -> None:
    _, world = shop()
    crowd = [Identifier("user_id", f"u{number}") for number in range(60)]
    for number, one in enumerate(crowd):
        world.consume([Evidence(f"e{number}", number, one, [PHONE])])

    erase(world, PHONE)
    world.consume([Evidence("later", ERASED_AT + 1, crowd[3], [PHONE])])

    assert set(world.identities.load(world.identities.person_of(PHONE)).identifiers) == {crowd[3], PHONE}
    assert len({world.identities.person_of(one) for one in crowd}) == len(crowd)


def test_s55_an_erasure_killed_at_any_call_is_completed_by_its_repetition() -> None:
    ready, world = shop()
    world.consume([Evidence("e1", 1, AN, [HOME, AN_S]), Evidence("e2", 2, BINH, [HOME, BINH_S])])
    record = Erasure("o1", START + ERASED_AT, AN)
    clean = copy_of(ready)
    counting = KillAt(clean)
    MemoryWorld(counting, DEFAULT).identities.apply(record)
    for fatal in range(1, counting.count + 1):
        client = copy_of(ready)
        with pytest.raises(Killed):
            MemoryWorld(KillAt(client, fatal, after=True), DEFAULT).identities.apply(record)
        MemoryWorld(client, DEFAULT).identities.apply(record)
        assert dump(client) == dump(clean), f"killed after call {fatal}"


def test_memberships_that_somebody_only_had_by_parting_end_in_silence_after_a_merge_too() -> None:
    client, world = shop()
    world.consume([Evidence("e1", 1, AN, [HOME, BROWSER]), Evidence("e2", 2, AN), Evidence("e3", 3, AN)])
    world.apply(Cut("o1", START + 10, [pair(AN, HOME)]))  # the address parts, and is in the same segments for now
    world.identities.learn([Evidence("e4", START + 11, BINH, [HOME])])
    binh = world.identities.person_of(HOME)
    assert binh == world.identities.person_of(BINH)
    world.people.reevaluate("main", binh, world.now)

    told = [json.loads(item["detail"]) for key, item in dump(client).items() if key[0] == "outbox"]
    assert not [one for one in told if one["profile_id"] == binh and one.get("segment") == "viewers"]
    assert "viewers" not in world.people.load_person("main", binh).person.memberships


def neighbours(chance: random.Random) -> list[Evidence]:
    """Three people with devices of their own, and an address, a number and a browser that any of them may use."""
    found: list[Evidence] = []
    for number in range(chance.randrange(6, 16)):
        person = chance.choice([AN, BINH, CHI])
        own = Identifier("anonymous_id", f"of-{person.value}")
        shared = [one for one in (HOME, PHONE, BROWSER) if chance.random() < 0.35]
        ids = shared + ([own] if chance.random() < 0.5 else [])
        hub, rest = (person, ids) if chance.random() < 0.75 or not ids else (ids[0], ids[1:])
        name = f"{person.value} tran" if chance.random() < 0.3 else None
        found.append(Evidence(f"e{number}", chance.randrange(ERASED_AT), hub, rest, name=name))
    return found


@pytest.mark.parametrize("part", range(4))
def test_s59_everybody_but_the_erased_one_is_what_the_evidence_without_it_says(part: int) -> None:
    """Whoever's identifiers stay the same is not touched at all; the others change as the graph without the erased
    person's evidence says, and the list of members, the timers and the announcements of nobody else move."""
    for seed in range(part * SEEDS // 4, (part + 1) * SEEDS // 4):
        chance = random.Random(seed)
        client, world = shop()
        events = neighbours(chance)
        for one in events:
            world.consume([one])
        swept(world, client)
        record = Erasure("gone", START + ERASED_AT, chance.choice([AN, BINH, CHI]))
        before = {one: (pid := world.identities.person_of(one), *_state(client, world, pid)) for one in _named(events)}
        gone, rows = before[record.of][1] if record.of in before else frozenset([record.of]), announced(client)
        snapshot = copy_of(client)

        world.apply(record)
        swept(world, client)

        kept = {one: members for one, (_, members, _) in before.items() if one not in gone}
        stays = {before[one][0] for one, members in kept.items() if _members(world, one) == members}
        for one in kept:
            pid, members, state = before[one]
            if pid in stays:
                assert told_of(client, members, pid) == state, f"seed {seed}: {one}"
        fresh = [item for key, item in dump(client).items() if key[0] == "outbox" and key[2] not in rows]
        assert not [row for row in fresh if row["pk"].removeprefix("main#") in stays], f"seed {seed}"
        lists = [{key for key in dump(one) if "#S#" in key[1] and key[2] in stays} for one in (snapshot, client)]
        assert lists[0] == lists[1], f"seed {seed}"

        for one in events:  # what an erasure's replay of timelines does: what is left of the erased events is learnt
            world.consume([one])
        told = [one._replace(ts=START + one.ts) for one in events]
        after = resolve([*told, record], DEFAULT).of
        for one in kept:
            assert _members(world, one) == after.get(one, frozenset([one])), f"seed {seed}: {one}"


def _members(world: MemoryWorld, one: Identifier) -> frozenset[Identifier]:
    return frozenset(world.identities.load(world.identities.person_of(one)).identifiers) or frozenset([one])


def _named(events: list[Evidence]) -> set[Identifier]:
    return {one for event in events for one in (event.hub, *event.ids)}


def _state(client: MemoryDynamo, world: MemoryWorld, pid: str) -> tuple[frozenset[Identifier], dict[Any, Any]]:
    header = world.identities.load(pid)
    members = frozenset(header.identifiers)
    if not members:
        fid = header.fragments[0]
        members = frozenset(
            Identifier(*item["hub"])
            for key, item in dump(client).items()
            if key[1] == f"main#F#{fid}" and "hub" in item
        )
    return members, told_of(client, members, pid)
