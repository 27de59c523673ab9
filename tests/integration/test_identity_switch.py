"""A switch of the identity rules: rebuilt in the shadow, compared, confirmed, taken over (promise 4, decision 0064)."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from hoso.model.errors import HosoError
from hoso.model.identifiers import Identifier, extract
from hoso.model.identity_rules import config_in
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.segment.handlers import nightly
from hoso.unify.archive_range import Range
from hoso.unify.evidence import Apart, Cut, Probable, pair
from hoso.unify.handlers import rewind, switches
from hoso.unify.identity_writes import Cause
from tests.faults import Faults
from tests.nightly_world import Night
from tests.switch_world import (
    DAY,
    OTHER,
    PLAIN,
    archive_agrees,
    arrival,
    ask,
    compared,
    fill,
    members_as_evaluated,
    prints,
    rebuilt,
    receive,
    settled,
    some_rules,
    store_of,
    switch_world,
    switched,
    to_its_end,
    told,
    with_names,
)
from tests.unify_world import Context, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with switch_world(tmp_path, monkeypatch) as made:
        yield made


def test_p4_after_a_switch_live_is_what_a_fresh_rebuild_is_and_a_switch_back_gives_the_former_dump(
    world: World,
) -> None:
    fill(world, 1)
    settled(world)
    before, announced = prints(world), told(world)

    done = switched(world, OTHER)

    assert (done["status"], done["check"]["equal"], done["check"]["later"]) == ("done", True, 0)
    assert done["moved"] > 0
    assert done["report"]["people_that_split"] > 0
    assert prints(world) != before
    assert rebuilt(world)["equal"]
    assert members_as_evaluated(world)
    fresh = Counter(told(world)) - Counter(announced)
    assert {one[3] for one in fresh} == {"rule"}
    predicted = done["report"]["memberships"]["segments"]
    for segment in ("buyers", "lookers"):
        for kind, name in (("segment.entered", "enter"), ("segment.exited", "leave")):
            count = sum(one[1:3] == (kind, segment) for one in fresh.elements())
            assert count == predicted.get(segment, {}).get(name, 0), (segment, kind)

    back = switched(world, PLAIN)

    assert back["check"]["equal"]
    assert prints(world) == before
    assert rebuilt(world)["equal"]


def test_p4_a_parting_is_explained_by_a_link_of_a_type_that_the_rebuild_does_not_keep(world: World) -> None:
    for number, browser in enumerate("ab"):
        event = {"messageId": f"m{number}", "timestamp": "2026-11-02T10:00:00Z", "anonymousId": browser}
        receive(world, [{"type": "track", "event": "Viewed", **event, "context": {"device": {"id": "d"}}}])

    report = compared(world, {**PLAIN, "types": {"device_id": None}})["report"]

    (split,) = report["examples"]
    assert (split["effect"], split["person"]["size"]) == ("split", 3)
    assert {why["to"] for why in split["because"]} | {why["from"] for why in split["because"]} > {"device_id:d"}
    assert {why["reason"] for why in split["because"]} == {"shared"}


def test_p4_a_comparison_changes_nothing_and_tells_who_would_merge_and_part_with_examples(world: World) -> None:
    fill(world, 1)
    people, rows = world.items(), world.items("outbox")

    ready = compared(world, OTHER)

    assert (world.items(), world.items("outbox")) == (people, rows)
    report = ready["report"]
    assert report["people_changed"] == round(report["share_changed"] * report["people"])
    assert report["compared"]["equal"] is False
    assert 0 < len(report["examples"]) <= 20
    split = next(one for one in report["examples"] if one["effect"] == "split")
    assert len(split["parts"]) > 1
    assert {why["reason"] for why in split["because"]} & {"shared", "limit:anonymous_id"}
    assert report["largest_before"][0] >= report["largest_after"][0]["size"]
    assert [one["status"] for one in ask("GET", "")[1]["items"]] == ["ready"]
    # and who has no right to personal data sees the same with shapes (S11)
    known = [str(name) for one in report["examples"] for name in one["person"]["identifiers"] if name[-1].isdigit()]
    veiled = ask("GET", "/{id}", roles="[analyst]", id=ready["id"])[1]["report"]
    assert veiled["examples"][0]["parts"][0]["size"] == report["examples"][0]["parts"][0]["size"]
    assert known and not [name for name in known if f'"{name}"' in json.dumps(veiled)]


def test_p4_a_switch_to_the_rules_in_force_changes_nothing(world: World) -> None:
    fill(world, 2, 30)
    settled(world)
    before = prints(world)

    ready = compared(world, PLAIN)
    assert ready["report"]["compared"]["equal"]
    assert (ready["report"]["people_changed"], ready["report"]["examples"]) == (0, [])
    assert ask("POST", "/{id}/commit", {"lag_s": 1}, id=ready["id"])[0] == 202
    done = to_its_end(world, ready["id"])

    assert (done["check"]["equal"], done["moved"], done["adopted"]) == (True, 0, 0)
    assert prints(world) == before


@pytest.mark.parametrize("seed", range(int(os.environ.get("SWITCH_PAIRS", "2"))))
def test_p4_between_any_two_rules_a_switch_gives_what_a_rebuild_gives_and_back(world: World, seed: int) -> None:
    chance = random.Random(seed + 100)
    one, other = some_rules(chance), some_rules(chance)
    world.parts.control.put("main", "identity", "rules", one)
    receive(world, [event for event in with_names(store_of(seed, 60), chance) if extract(event, config_in(one))])
    settled(world)
    before, fresh = prints(world), rebuilt(world)["equal"]

    done = switched(world, other)

    assert done["check"]["equal"], (one, other, done["check"])
    world.now += 1
    assert rebuilt(world)["equal"], (one, other)
    assert members_as_evaluated(world)
    assert archive_agrees(world)
    world.now += 1
    assert switched(world, one)["check"]["equal"], (one, other)
    assert not fresh or prints(world) == before, (one, other)
    assert archive_agrees(world)


@pytest.mark.parametrize("seed", range(int(os.environ.get("SWITCH_RACES", "2"))))
def test_p4_events_that_race_the_switch_are_in_the_outcome(world: World, seed: int) -> None:
    """Events come at every step, made by the former rules too, and reach state or archive long after the other."""
    fill(world, seed, 30)
    chance, late = random.Random(seed), iter(store_of(seed, 400, first=100))
    waiting: list[Callable[[], None]] = []
    former = True

    def come(status: str) -> None:
        nonlocal former
        former = former and status != "replacing"  # from then on all processes have met the new rules
        if chance.random() < 0.6:
            rules = config_in(PLAIN if former and chance.random() < 0.5 else OTHER)
            events = [next(late) for _ in range(chance.randrange(1, 5))]
            ways = arrival(world, events, rules)
            first = chance.randrange(2)
            ways[first]()
            waiting.append(ways[1 - first])
        while waiting and chance.random() < 0.5:
            waiting.pop(0)()

    done = switched(world, OTHER, come)
    for arrive in waiting:
        arrive()
    world.now += 1

    assert ask("POST", "/{id}/settle", {}, id=done["id"])[0] == 202
    done = to_its_end(world, done["id"])
    assert (done["check"]["equal"], done["check"]["later"]) == (True, 0), done["check"]
    settled(world)
    assert rebuilt(world)["equal"]
    assert members_as_evaluated(world)
    assert archive_agrees(world)


def test_r9_a_switch_killed_at_any_call_goes_on_and_tells_nothing_twice(world: World) -> None:
    fill(world, 0, 24)
    settled(world)
    ready = compared(world, OTHER)
    before, faults = dumped(world), Faults()
    with faults.watch() as seen:
        settle_through(world, ready["id"])
    right, announced = prints(world), told(world)
    assert ask("GET", "/{id}", id=ready["id"])[1]["moved"] > 0

    chance = random.Random(int(os.environ.get("SWITCH_SEED", "1")))
    for number in sorted(chance.sample(range(1, seen.calls + 1), int(os.environ.get("SWITCH_KILLS", "6")))):
        restore(world, before)
        with chance.choice((faults.fail_before, faults.fail_after))(number) as struck:
            settle_through(world, ready["id"])
        assert struck.hit
        assert prints(world) == right, number
        assert told(world) == announced, number


def test_p4_what_operators_and_likeness_told_holds_after_a_switch(world: World) -> None:
    identify(world, 1, userId="u1", traits={"email": "a@x.vn", "phone": "0901234567"})
    identify(world, 2, userId="u2", traits={"email": "b@x.vn"})
    identify(world, 3, userId="u3", traits={"phone": "0901234568"})
    u1, u3 = Identifier("user_id", "u1"), Identifier("user_id", "u3")
    email, other = Identifier("email", "a@x.vn"), Identifier("email", "b@x.vn")
    identities = world.parts.identities("main")
    identities.apply(Cut("r1", world.now, [pair(u1, email)]), Apart("r2", world.now, [pair(u1, email)]))
    identities.apply(Probable("r3", world.now, email, other, 0.99))

    rules = {**PLAIN, "types": {"phone": {"rank": 0.5, "limit": 5}}}
    done = switched(world, rules)

    assert done["check"]["equal"], done["check"]
    people = world.parts.identities("main").people_of([u1, email, other, u3])
    assert people[u1] != people[email] == people[other]
    assert people[u1] != people[u3]


def test_p4_what_a_value_let_go_of_when_it_was_shared_is_its_own_again(world: World) -> None:
    narrow = {**PLAIN, "types": {"email": {"rank": 4, "limit": 5, "fanout": 1}}}
    wide = {**PLAIN, "types": {"email": {"rank": 4, "limit": 5, "fanout": 90}, "user_id": {"rank": 1, "limit": 90}}}
    world.parts.control.put("main", "identity", "rules", narrow)
    for number in range(40):
        identify(world, number, userId=f"u{number:02d}", traits={"email": "team@x.vn"})
    item = next(one for one in world.items(kind="I") if one["val"] == "team@x.vn")
    assert item["sh"] == 1

    done = switched(world, wide)

    assert done["check"]["equal"], done["check"]
    users = [Identifier("user_id", f"u{number:02d}") for number in range(40)]
    assert len(set(world.parts.identities("main").people_of(users).values())) == 1


def test_p4_a_new_type_is_found_in_the_events_that_are_there(world: World) -> None:
    mine = {"externalIds": [{"type": "member_no", "id": "77"}]}
    identify(world, 1, anonymousId="a1", context=mine)
    identify(world, 2, anonymousId="a2", context=mine)

    done = switched(world, {**PLAIN, "types": {"member_no": {"rank": 2, "limit": 1}}})

    assert done["check"]["equal"], done["check"]
    assert world.profile("member_no:77")["totals"]["events"] == 2
    assert len({world.profile(who)["profile_id"] for who in ("anonymous_id:a1", "anonymous_id:a2")}) == 1


def test_p4_the_night_after_a_switch_finds_nothing_to_put_right(world: World) -> None:
    fill(world, 1, 40)
    settled(world)
    nightly.steps_of.cache_clear()
    tonight = Night(world)
    aside = tonight.run()["lagging"]  # events in quarantine are in the archive all the same
    switched(world, OTHER)
    announced = told(world)

    receive(world, store_of(1, 1, first=400))  # a day of the archive has to be made anew
    world.now += DAY
    report = tonight.run(execution="two")

    assert (report["differences"], report["lagging"]) == (0, aside)
    assert [one for one in told(world) if one[3] == "nightly" and one not in announced] == []
    assert archive_agrees(world)
    nightly.steps_of.cache_clear()


def test_p4_rules_that_were_applied_without_a_switch_leave_events_where_they_came(world: World) -> None:
    event = {"userId": "u1", "traits": {"phone": "0901234567"}}
    identify(world, 1, **event)
    world.parts.control.put("main", "identity", "rules", {**PLAIN, "types": {"phone": {"rank": 0.5, "limit": 5}}})

    replayed = rewind.rewinds("main").create("r-1", Range(0, world.now + 1), "live", 20_000, "test")
    world.deliver(world.kinesis(replayed_records(world, replayed["sk"])))

    assert [(item["hub"], item["n"]) for item in hots(world)] == [(["user_id", "u1"], 1)]
    assert archive_agrees(world)


def test_p4_a_replay_into_live_sends_a_moved_event_to_where_it_stands(world: World) -> None:
    identify(world, 1, userId="u1", traits={"phone": "0901234567"})
    switched(world, {**PLAIN, "types": {"phone": {"rank": 0.5, "limit": 5}}})
    before = prints(world)
    for table in (world.parts.profiles, world.parts.outbox):
        table.batch_write((), [(item["pk"], item["sk"]) for item in table.scan()])

    rewind.rewinds("main").create("r-1", Range(0, world.now + 1), "live", 20_000, "test")
    world.deliver(world.kinesis(replayed_records(world, "r-1")))

    assert prints(world) == before


def test_p4_an_event_that_moved_is_known_where_it_was(world: World) -> None:
    event = {"userId": "u1", "traits": {"phone": "0901234567"}}
    identify(world, 1, **event)
    switched(world, {**PLAIN, "types": {"phone": {"rank": 0.5, "limit": 5}}})
    assert [fragment["n"] for fragment in hots(world)] == [1]
    before = prints(world)

    receive(world, [{"type": "identify", "messageId": "m1", **event}], identity=config_in(PLAIN))

    assert prints(world) == before


def test_p4_what_former_rules_let_in_after_the_last_catch_up_stays_where_it_came_until_it_settles_again(
    world: World,
) -> None:
    event = {"userId": "u1", "traits": {"phone": "0901234567"}}
    identify(world, 1, **event)

    def straggle(status: str) -> None:
        if status == "moving":
            world.now += 10
            late = {"type": "identify", "messageId": "m2", **event}
            receive(world, [late], identity=config_in(PLAIN))

    done = switched(world, {**PLAIN, "types": {"phone": {"rank": 0.5, "limit": 5}}}, straggle)

    assert done["check"]["later"] > 0
    assert sorted((item["hub"][0], item["n"]) for item in hots(world)) == [("phone", 1), ("user_id", 1)]
    assert archive_agrees(world)
    ask("POST", "/{id}/settle", {}, id=done["id"])
    assert to_its_end(world, done["id"])["check"] == {**done["check"], "later": 0, "same": 3}
    assert [(item["hub"][0], item["n"]) for item in hots(world)] == [("phone", 2)]
    assert archive_agrees(world)


def test_p4_whoever_lost_evidence_forgets_that_it_was_known(world: World) -> None:
    for number in (1, 2):
        identify(world, number, userId="u1", traits={"phone": "0901234567"})
    ready = compared(world, PLAIN)
    shadow = Table("shadow", client("dynamodb"))
    shadow.batch_write((), [(item["pk"], item["sk"]) for item in shadow.scan()])
    assert hots(world)[0]["k"]
    adopter = switches.switcher("main", rewind.rewinds("main").get(ready["id"]))._adopter

    adopter.adopt(Identifier("user_id", "u1"), Cause("test", world.now, "rules", None), replace=True)

    assert hots(world)[0]["k"] == b""
    users = [Identifier("user_id", "u1"), Identifier("phone", "+84901234567")]
    assert len(set(world.parts.identities("main").people_of(users).values())) == 2
    identify(world, 3, userId="u1", traits={"phone": "0901234567"})
    assert len(set(world.parts.identities("main").people_of(users).values())) == 1


def test_p4_a_silent_switch_is_told_to_nobody(world: World) -> None:
    fill(world, 1)
    settled(world)
    announced, rows = told(world), {row["sk"] for row in world.items("outbox")}

    switched(world, OTHER, silent=True)

    fresh = Counter(told(world)) - Counter(announced)
    assert fresh
    assert all(one[4] for one in fresh)
    news = [json.loads(row["detail"]) for row in world.items("outbox") if row["sk"] not in rows]
    assert all(one["silent"] for one in news)


def test_p4_a_commit_is_refused_when_many_change_when_it_is_old_and_when_the_rules_moved(world: World) -> None:
    fill(world, 1)
    ready = compared(world, OTHER)

    def commit(**body: Any) -> tuple[int, str]:
        status, answer = ask("POST", "/{id}/commit", body, id=ready["id"])
        return status, answer.get("code", "")

    assert commit() == (409, "too_many_change")
    assert ask("POST", "/{id}/settle", {}, id=ready["id"])[1]["code"] == "not_ready"
    assert ask("POST", "/{id}/commit", {"confirm": True}, roles="[analyst]", id=ready["id"])[0] == 403
    world.now += DAY + 1
    assert commit(confirm=True) == (409, "stale_report")
    world.now -= DAY
    world.parts.control.put("main", "identity", "rules", {**PLAIN, "max_ids": 77})
    assert commit(confirm=True) == (409, "rules_changed")
    assert world.parts.control.get("main", "identity", "rules").body["max_ids"] == 77


def test_p4_another_replay_takes_the_shadow_from_a_switch_that_waits_and_from_none_that_works(world: World) -> None:
    identify(world, 1, userId="u1")
    ready = compared(world, OTHER)
    rebuilt(world)
    assert ask("GET", "/{id}", id=ready["id"])[1]["status"] == "stopped"
    assert ask("POST", "/{id}/commit", {"confirm": True}, id=ready["id"])[1]["code"] == "not_ready"

    done = switched(world, OTHER)
    world.now += 1
    rebuilt(world)
    assert ask("POST", "/{id}/settle", {}, id=done["id"])[1]["code"] == "shadow_taken"
    ready = compared(world, PLAIN)
    ask("POST", "/{id}/commit", {"confirm": True, "lag_s": 1}, id=ready["id"])
    assert ask("POST", "", {"document": OTHER})[0] == 409


def test_p4_a_switch_whose_machine_gave_up_can_settle_again(world: World) -> None:
    identify(world, 1, userId="u1", traits={"phone": "0901234567"})
    ready = compared(world, OTHER)
    ask("POST", "/{id}/commit", {"confirm": True, "lag_s": 1}, id=ready["id"])
    switches.step({"workspace": "main", "replay": ready["id"], "error": "Transient"}, None)
    assert ask("GET", "/{id}", id=ready["id"])[1]["status"] == "failed"

    assert ask("POST", "/{id}/settle", {}, id=ready["id"])[0] == 202

    assert to_its_end(world, ready["id"])["check"]["equal"]
    assert ask("POST", "/{id}/commit", {}, id=ready["id"])[1]["status"] == "done", "a repeated commit is harmless"


@pytest.mark.parametrize(
    "document", [{"types": {"email": {"limit": 5}}}, {"max_ids": 1}, {"blocked": ["x" * 1000] * 200}]
)
def test_a_switch_to_what_is_no_document_is_400(world: World, document: Any) -> None:
    status, answer = ask("POST", "", {"document": document})
    assert (status, answer["code"]) == (400, "invalid_identity_rules")
    assert ask("GET", "/{id}", id="none")[0] == 404


def test_s20_each_step_of_a_switch_is_in_the_audit_trail(world: World) -> None:
    identify(world, 1, userId="u1")
    done = switched(world, OTHER)
    ask("POST", "/{id}/settle", {}, id=done["id"])

    entries = Table("control", client("dynamodb")).query_all("main#audit")
    assert {(one["action"], one["subject"]) for one in entries} == {
        ("identity.switch", done["id"]),
        ("identity.switch.commit", done["id"]),
        ("identity.switch.settle", done["id"]),
    }


def identify(world: World, number: int, **more: Any) -> None:
    receive(world, [{"type": "identify", "messageId": f"m{number}", **more}])


def replayed_records(world: World, replay: str) -> list[bytes]:
    """What a live replay puts on the stream."""
    client("kinesis").create_stream(StreamName="events", ShardCount=1)
    while not switches.step({"workspace": "main", "replay": replay}, Context())["done"]:
        pass
    kinesis = client("kinesis")
    shard = kinesis.list_shards(StreamName="events")["Shards"][0]["ShardId"]
    start = kinesis.get_shard_iterator(StreamName="events", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return [record["Data"] for record in kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]]


def hots(world: World) -> list[dict[str, Any]]:
    return [item for item in world.items(kind="F") if item["sk"] == "H" and item.get("n")]


def settle_through(world: World, replay: str) -> None:
    """Confirm a switch and let it settle, over every fault."""
    for _ in range(40):
        status, _ = ask("POST", "/{id}/commit", {"confirm": True, "lag_s": 1}, id=replay)
        try:
            if status == 202:
                assert to_its_end(world, replay)["check"]["equal"]
                return
        except (HosoError, BotoCoreError, ClientError):
            continue
    raise AssertionError("it does not end")


Dump = tuple[int, dict[str, list[dict[str, Any]]]]


def dumped(world: World) -> Dump:
    names = ("profiles", "outbox", "delivery", "control", "shadow")
    return world.now, {name: list(Table(name, client("dynamodb")).scan()) for name in names}


def restore(world: World, dump: Dump) -> None:
    world.now, tables = dump
    for prefix in ("nightly/", "archive-compact/"):
        for key in list(rewind.objects().keys(prefix)):
            rewind.objects().delete(key)
    for name, items in tables.items():
        table = Table(name, client("dynamodb"))
        kept = {(item["pk"], item["sk"]) for item in items}
        table.batch_write(items, [key for one in table.scan() if (key := (one["pk"], one["sk"])) not in kept])
