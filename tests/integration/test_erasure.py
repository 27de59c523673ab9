"""Erasing a person: what goes, what stays out by whatever way it comes, and who is left alone (S51, S52, S59, R48)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hoso.collect.handlers import archive
from hoso.insight.handlers import sql
from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS, MINUTE_MS, format_instant
from hoso.platform.aws import client
from hoso.segment.handlers import due
from hoso.unify.compare import prints_of
from hoso.unify.eraser import Eraser
from hoso.unify.erasures import Erasures
from hoso.unify.handlers import past, people, rewind
from hoso.unify.listings import Listing, suppression
from hoso.unify.lookup import Asked
from hoso.unify.store import ProfileStore
from tests.admin_calls import admin_event, answered
from tests.faults import Faults
from tests.integration.test_rewind import receive, replay, sent_again
from tests.nightly_world import make_segments, night, store_of_people
from tests.unify_world import Context, World, packed, shadow_table, unify_world

MARKER = "zq7marker"
BUYERS = {"kind": "event", "event": ["Bought"], "op": "gte", "value": 1}
CACHED = (archive._tools, rewind.parts, rewind.objects, people.parts, due._parts, sql._source, past.objects)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        for cached in CACHED:
            cached.cache_clear()
        shadow_table(monkeypatch)
        client("kinesis").create_stream(StreamName="events", ShardCount=1)
        made.segment("buyers", BUYERS)
        yield made
        for cached in CACHED:
            cached.cache_clear()


def event(world: World, message: str, kind: str = "track", ago: int = DAY_MS, **more: Any) -> dict[str, Any]:
    """An event of a day ago."""
    body = {"type": kind, "messageId": message, "timestamp": format_instant(world.now - ago), **more}
    return {"event": "Bought", **body} if kind == "track" else body


def shop(world: World) -> None:
    """A person with the marker in every place, and a neighbour."""
    traits = {"email": f"{MARKER}@kho.vn", "name": f"An {MARKER}", "phone": "0901234567"}
    receive(
        world,
        [
            event(world, "m1", anonymousId=f"{MARKER}-browser", properties={"note": MARKER}),
            event(world, "m2", "identify", userId=f"{MARKER}-1", anonymousId=f"{MARKER}-browser", traits=traits),
            event(world, "m3", userId=f"{MARKER}-1", properties={"order_id": MARKER, "total": 5}),
            event(world, "n1", anonymousId="b-browser"),
            event(world, "n2", "identify", userId="binh", anonymousId="b-browser", traits={"email": "binh@kho.vn"}),
        ],
    )
    world.now += MINUTE_MS


def call(route: str, who: str = "", body: Any = None, roles: str = "[admin]", **query: str) -> tuple[int, Any]:
    path = {"id": quote(who, safe="")} if who else None
    return answered(people.handler(admin_event(route, path, body, roles=roles, query=query), Context()))


def erase(who: str = f"user_id:{MARKER}-1", **body: Any) -> tuple[int, Any]:
    return call("POST /v1/people/{id}/erase", who, body)


def settled(world: World, erasure: str) -> Any:
    """Let the sweeper take its second look; the receipt."""
    world.now += 16 * MINUTE_MS
    due.handler({}, Context())
    status, receipt = call("GET /v1/erasures/{id}", erasure)
    assert status == 200
    return receipt


def raw(*tables: str) -> str:
    """All that the tables hold, as DynamoDB sends it, with what is packed unpacked; not by the code under test."""
    import zlib

    import zstandard

    from hoso.model.zstd import decompress

    found: list[str] = []

    def opened(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                opened(inner)
        elif isinstance(value, list):
            for inner in value:
                opened(inner)
        elif isinstance(value, bytes):
            found.append(value.decode("latin-1"))
            for unpack in (
                zlib.decompress,
                zstandard.ZstdDecompressor().decompress,
                lambda one: decompress(one, 10**7),
            ):
                try:
                    found.append(unpack(value).decode("latin-1"))
                except Exception:
                    continue
        else:
            found.append(str(value))

    for table in tables:
        for page in client("dynamodb").get_paginator("scan").paginate(TableName=table):
            opened(page["Items"])
    return "\n".join(found)


def items_of(world: World, fids: set[str], *pids: str) -> list[Any]:
    return [one for one in world.items() if any(name in one["pk"] or name == one["sk"] for name in (*fids, *pids))]


def neighbour(world: World) -> list[Any]:
    fids = {world.fid("user_id", "binh"), world.fid("anonymous_id", "b-browser"), world.fid("email", "binh@kho.vn")}
    return items_of(world, fids, *(f"p_{fid}" for fid in fids))


def query(world: World, text: str) -> list[Any]:
    asked = {"routeKey": "POST /v1/sql", "headers": {"content-type": "application/json"}}
    claims = {"sub": "operator", "cognito:groups": "[admin]"}
    body = json.dumps({"query": text, "fresh": True})
    answer = sql.handler({**asked, "body": body, "requestContext": {"authorizer": {"jwt": {"claims": claims}}}}, None)
    assert answer["statusCode"] == 200, answer
    return json.loads(answer["body"])["items"]


def test_s51_the_marker_of_an_erased_person_is_in_no_table_and_the_neighbour_is_untouched(world: World) -> None:
    shop(world)
    delivery = world.parts.store.delivery
    pid = world.profile(f"user_id:{MARKER}-1")["profile_id"]
    fid = world.fid("user_id", f"{MARKER}-1")
    delivery.put(
        {
            "pk": f"main#A#{pid}",
            "sk": "d1",
            "at": world.now - 5,
            "detail": MARKER,
            "status": "sent",
            "activation": "ads",
        }
    )
    delivery.put({"pk": f"main#K#{fid}", "sk": "L#crm"})
    before, other = raw("profiles", "outbox", "delivery"), neighbour(world)
    assert before.count(MARKER) > 20
    assert f'"note":"{MARKER}"' in before
    assert {world.fid("email", f"{MARKER}@kho.vn"), pid} <= {one.rpartition("#")[2] for one in before.split("\n")}

    status, receipt = erase()

    assert (status, receipt["state"], receipt["counts"]["events"]) == (202, "settling", 3)
    assert receipt["counts"]["identifiers"] == 4
    assert MARKER not in raw("profiles", "outbox", "delivery")
    assert MARKER not in raw("control")
    assert world.get("GET /v1/profiles/{id}", f"user_id:{MARKER}-1")[0] == 404
    assert world.get("GET /v1/profiles/{id}", pid)[0] == 404
    assert neighbour(world) == other
    assert world.members("buyers") == {world.profile("user_id:binh")["profile_id"]}
    told = next(one for one in receipt["stores"] if one["store"] == "destinations")
    assert (told["state"], told["activations"]) == ("pending", ["ads", "crm"])
    # and the second look makes it done, as far as the tables go; it takes what a worker left that died at its commit
    orphan = {"pk": f"main#F#{fid}", "sk": "T#000000000009000#0badcafe", "d": [MARKER.encode()], "at": world.now + 5}
    world.parts.profiles.put(orphan)
    receipt = settled(world, receipt["id"])
    assert receipt["state"] == "partial"
    states = {one["store"]: one["state"] for one in receipt["stores"]}
    assert (states["timeline"], states["archive"]) == ("done", "pending")
    assert MARKER not in raw("profiles", "outbox", "delivery", "control")
    assert neighbour(world) == other
    assert not [row for row in world.items("outbox") if row["at"] > world.now - 17 * MINUTE_MS]


def test_s52_what_comes_late_is_passed_over_and_counted_and_what_is_new_makes_somebody_new(world: World) -> None:
    shop(world)
    receipt = erase()[1]
    late = [
        event(world, "l1", userId=f"{MARKER}-1"),
        event(world, "l2", anonymousId=f"{MARKER}-browser"),
        event(world, "l3", "identify", userId=f"{MARKER}-1", anonymousId="new-browser", traits={"x": 1}),
    ]
    world.now += MINUTE_MS
    batch = world.kinesis(packed(late, world.now))
    from hoso.unify.handlers import consume

    tally = consume.consumer().consume(batch["Records"], lambda: 60_000)

    assert (tally.erased, tally.fresh, tally.aside, tally.failed) == (3, 0, 0, set())
    assert MARKER not in raw("profiles")
    assert world.quarantined() == []
    # one request with an event of before and one of after: the first does not get into the timeline
    mixed = [
        event(world, "l4", userId=f"{MARKER}-1", properties={"old": f"old-{MARKER}"}),
        event(world, "f1", userId=f"{MARKER}-1", ago=0, properties={"fresh": 1}),
    ]
    tally = consume.consumer().consume(world.kinesis(packed(mixed, world.now))["Records"], lambda: 60_000)
    assert (tally.erased, tally.fresh, tally.failed) == (1, 1, set())
    mail = event(world, "f2", "identify", ago=0, userId=f"{MARKER}-1", traits={"email": f"{MARKER}@kho.vn"})
    world.consume(mail)
    fresh = world.profile(f"email:{MARKER}@kho.vn")
    assert fresh["totals"]["events"] == 2
    assert {one["message_id"] for one in fresh["timeline"]["items"]} == {"f1", "f2"}
    assert {one["type"] for one in fresh["identifiers"]} == {"user_id", "email"}
    assert f"old-{MARKER}" not in raw("profiles")
    assert [*fresh["segments"]] == ["buyers"]
    # the second look leaves who is new alone
    before = [one for one in world.items() if "#D#" not in one["pk"]]
    assert settled(world, receipt["id"])["state"] == "partial"
    assert [one for one in world.items() if "#D#" not in one["pk"]] == before


def test_s52_a_worker_that_read_the_person_before_the_erasure_writes_nothing_after_it(world: World) -> None:
    shop(world)
    commit, waiting = ProfileStore.commit, [True]

    def late(self: ProfileStore, writes: Any) -> None:
        if waiting and waiting.pop():
            assert erase()[1]["state"] == "settling"
        commit(self, writes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProfileStore, "commit", late)
        world.consume(event(world, "m9", userId=f"{MARKER}-1", ago=MINUTE_MS, properties={"note": MARKER}))

    assert not waiting
    assert world.get("GET /v1/profiles/{id}", f"user_id:{MARKER}-1")[0] == 404
    settled(world, call("GET /v1/erasures")[1]["items"][0]["id"])
    assert MARKER not in raw("profiles", "outbox", "delivery")


def test_r48_the_archive_brings_nobody_back_who_was_erased_into_empty_tables(world: World) -> None:
    shop(world)
    ahead = event(world, "m4", userId=f"{MARKER}-1", ago=-12 * 60 * MINUTE_MS)  # of a client whose clock is ahead
    receive(world, [ahead])
    world.now += MINUTE_MS
    receipt = erase()[1]
    settled(world, receipt["id"])
    kept = prints_of(world.parts.profiles.scan(), "main")
    assert replay(world, "shadow")["report"]["equal"]
    assert MARKER not in raw("shadow")
    world.wipe()

    replay(world, "live")
    sent_again(world)

    assert prints_of(world.parts.profiles.scan(), "main") == kept
    assert MARKER not in raw("profiles", "outbox", "delivery")
    assert world.get("GET /v1/profiles/{id}", f"user_id:{MARKER}-1")[0] == 404
    # the address is somebody new's from now on, whom the archive gives no past
    world.now += MINUTE_MS
    receive(world, [event(world, "f1", "identify", ago=0, userId=f"{MARKER}-1", traits={"name": "new"})])
    assert world.profile(f"user_id:{MARKER}-1")["totals"]["events"] == 1
    replay(world, "live")
    sent_again(world)
    assert world.profile(f"user_id:{MARKER}-1")["totals"]["events"] == 1
    found = query(world, "SELECT message_id FROM events ORDER BY 1")
    assert [one["message_id"] for one in found] == ["f1", "n1", "n2"]
    asked = {
        "routeKey": "GET /v1/profiles/{id}/past",
        "pathParameters": {"id": f"user_id:{MARKER}-1"},
        "queryStringParameters": {"at": format_instant(world.now)},
        "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "op", "cognito:groups": "[admin]"}}}},
    }
    answer = past.handler(asked, Context())
    assert (answer["statusCode"], json.loads(answer["body"])["totals"]["events"]) == (200, 1)


def test_r48_a_link_of_before_the_erasure_does_not_join_after_the_tables_were_lost(world: World) -> None:
    receive(world, [event(world, "m1", "identify", userId="an", anonymousId="a-tab")])
    receive(world, [event(world, "m2", "identify", userId="binh", traits={"email": "home@kho.vn"})])
    world.now += MINUTE_MS
    erase("user_id:an")
    world.wipe()
    receive(world, [event(world, "m3", userId="binh", anonymousId="a-tab")])
    assert {one["value"] for one in world.profile("user_id:binh")["identifiers"]} == {"binh"}
    world.now += MINUTE_MS
    receive(world, [event(world, "m4", ago=0, userId="binh", anonymousId="a-tab")])
    assert {one["value"] for one in world.profile("user_id:binh")["identifiers"]} == {"binh", "a-tab"}


def test_r48_the_night_counts_nothing_of_who_was_erased_for_who_has_the_address_now(tmp_path: Path) -> None:
    with night(tmp_path) as made:
        for cached in (people.parts, due._parts):
            cached.cache_clear()
        store_of_people(made)
        make_segments(made)
        made.world.now += MINUTE_MS
        assert erase("anonymous_id:binh")[0] == 202
        made.world.now += MINUTE_MS
        made.consume(made.event("binh", "Product Viewed"))
        made.world.now += MINUTE_MS

        report = made.run()

        pid = made.world.profile("anonymous_id:binh")["profile_id"]
        assert (report["people"], report["differences"], report["lagging"]) == (3, 0, 0)
        assert made.memberships()[f"main#P#{pid}"] == ["viewed-not-bought"]


def test_the_consumer_reads_nothing_more_for_people_it_knows_and_once_in_a_while_for_new_ones(world: World) -> None:
    shop(world)
    erase()
    known = [event(world, f"k{number}", userId="binh", anonymousId="b-browser", ago=0) for number in range(3)]
    world.now += MINUTE_MS
    world.consume(known[0])
    faults = Faults({"dynamodb"}, {"Query"})
    asked = Erasures.hashes
    looks: list[str] = []

    def counted(self: Erasures, workspace: str) -> Any:
        looks.append(workspace)
        return asked(self, workspace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Erasures, "hashes", counted)
        world.consume(*known[1:])
        assert looks == []
        world.consume(*(event(world, f"x{number}", anonymousId=f"x{number}", ago=0) for number in range(40)))
        assert looks == ["main"]
    erased = Erasures(world.parts.control_table, lambda: world.now, MINUTE_MS)
    with faults.watch() as seen:
        for _ in range(5):
            assert len(erased.hashes("main")) == 4
    assert seen.calls == 1


def test_s59_erasing_one_of_a_household_leaves_the_other(world: World) -> None:
    for who in ("an", "binh"):
        receive(world, [event(world, who, "identify", userId=who, traits={"email": "home@kho.vn", "name": who})])
    receive(world, [event(world, "b2", userId="binh", properties={"total": 5})])
    world.now += MINUTE_MS
    before = world.profile("user_id:binh")

    erase("user_id:an")

    after = world.profile("user_id:binh")
    for section in ("totals", "traits", "segments", "timeline"):
        assert after[section] == before[section], section
    assert world.get("GET /v1/profiles/{id}", "user_id:an")[0] == 404


def test_r29_erasure_reaches_all_ids_that_ever_led_to_the_person_and_the_logs_of_others(world: World) -> None:
    shop(world)
    receive(world, [event(world, "m5", anonymousId="tab2")])
    receive(world, [event(world, "m6", "identify", userId=f"{MARKER}-1", anonymousId="tab2")])
    former = [f"p_{world.fid('anonymous_id', one)}" for one in ("tab2", f"{MARKER}-browser")]
    pid = world.profile(former[0])["profile_id"]
    assert {world.profile(one)["profile_id"] for one in former} == {pid}
    assert call("POST /v1/people/{id}/unmerge", pid, {"identifier": "anonymous_id:tab2"})[0] == 200
    assert MARKER in json.dumps(call("GET /v1/people/{id}/merges", "anonymous_id:tab2")[1])
    world.now += MINUTE_MS

    receipt = erase(f"email:{MARKER}@kho.vn")[1]

    assert world.get("GET /v1/profiles/{id}", former[1])[0] == 404
    assert MARKER not in json.dumps(call("GET /v1/people/{id}/merges", "anonymous_id:tab2")[1])
    left = [one for one in raw("profiles").split("\n") if MARKER in one]
    assert left == []
    assert world.profile(former[0])["totals"]["events"] == 1
    assert erase(f"anonymous_id:{MARKER}-browser")[1]["id"] == receipt["id"]


def test_s51_an_erased_person_is_on_no_list_but_stays_suppressed(world: World) -> None:
    shop(world)
    asked = Asked(Identifier("email", f"{MARKER}@kho.vn"), None)
    for name in ("vip", suppression("email")):
        assert world.parts.listed.change("main", name, [asked], Listing(on=True, at=world.now, reason="asked")) == 1
    world.now += MINUTE_MS

    erase()

    lists = [one["pk"].split("#")[2] for one in world.items(kind="L")]
    assert lists == ["!email"]
    world.now += MINUTE_MS
    world.consume(event(world, "f1", "identify", ago=0, userId="new", traits={"email": f"{MARKER}@kho.vn"}))
    profile = world.parts.people.load_person("main", world.profile("user_id:new")["profile_id"])
    assert (profile.lists, profile.blocked) == ((), ("email",))


def test_r29_what_an_operator_parted_and_joined_again_is_not_left_in_the_record(world: World) -> None:
    shop(world)
    who = f"user_id:{MARKER}-1"
    parted = call("POST /v1/people/{id}/unmerge", who, {"identifier": f"anonymous_id:{MARKER}-browser"})[1]
    assert call("POST /v1/people/{id}/allow", who, {"record": parted["record"]})[0] == 200
    world.now += MINUTE_MS

    assert erase(who)[1]["counts"]["identifiers"] == 4

    assert MARKER not in raw("profiles", "outbox", "delivery")


def test_r29_an_identifier_that_joins_while_the_erasure_begins_is_erased_too(world: World) -> None:
    shop(world)
    near, waiting = Eraser._near, [True]

    def late(self: Eraser, members: Any) -> Any:
        if waiting and waiting.pop():
            world.consume(event(world, "m9", "identify", userId=f"{MARKER}-1", anonymousId=f"{MARKER}-tab"))
        return near(self, members)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Eraser, "_near", late)
        receipt = erase()[1]

    assert (receipt["counts"]["identifiers"], receipt["counts"]["events"]) == (5, 4)
    assert MARKER not in raw("profiles", "outbox", "delivery")


def test_a_dry_run_tells_what_would_go_and_a_repeated_request_answers_the_same_document(world: World) -> None:
    shop(world)
    before = raw("profiles", "control")
    status, plan = erase(dry_run=True)
    assert (status, plan["counts"]["fragments"], plan["counts"]["events"]) == (200, 2, 3)
    assert plan["identifiers"] == {"anonymous_id": 1, "email": 1, "phone": 1, "user_id": 1}
    assert raw("profiles", "control") == before
    assert call("POST /v1/people/{id}/erase", "user_id:nobody", {})[0] == 404
    assert call("GET /v1/erasures/{id}", "e1")[0] == 404
    for roles in ("[privacy]", "[engineer]", "[viewer]"):
        assert call("POST /v1/people/{id}/erase", f"user_id:{MARKER}-1", {}, roles)[0] == 403
        assert call("GET /v1/erasures", roles=roles)[0] == (200 if roles == "[privacy]" else 403)

    first = erase()[1]
    again = [erase(who)[1]["id"] for who in (f"email:{MARKER}@kho.vn", first["profile_id"], f"user_id:{MARKER}-1")]

    assert set(again) == {first["id"]}
    world.now += MINUTE_MS
    world.consume(event(world, "f1", ago=0, userId=f"{MARKER}-1"))
    world.now += MINUTE_MS
    second = erase()[1]
    assert second["id"] != first["id"]
    assert world.get("GET /v1/profiles/{id}", f"user_id:{MARKER}-1")[0] == 404
    page = call("GET /v1/erasures", limit="1")[1]
    rest = call("GET /v1/erasures", limit="1", cursor=page["next"])[1]
    assert [page["items"][0]["id"], rest["items"][0]["id"]] == [second["id"], first["id"]]
    trail = [one for one in client("dynamodb").scan(TableName="control")["Items"] if "#audit" in one["pk"]["S"]]
    assert [one["action"]["S"] for one in trail] == ["person.erase", "person.erase"]
