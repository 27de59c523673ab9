"""Lists and suppression lists: API, live and nightly, before the first event, over merge and un-merge (moto)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS
from hoso.segment.handlers import lists
from hoso.unify import people as people_module
from hoso.unify.evidence import pair
from hoso.unify.listings import Listing, suppression
from hoso.unify.parting import Parting, by_edge
from tests.nightly_world import Night, night
from tests.unify_world import Context

ON_VIP = {"kind": "list", "key": "vip"}
NO_EMAIL = {"kind": "suppressed", "channel": "email"}


class Desk:
    """The admin API of lists on the world of a night."""

    def __init__(self, night: Night) -> None:
        self.night = night
        self.world = night.world

    def call(self, route: str, body: Any = None, roles: str = "[marketer]", **given: Any) -> tuple[int, Any]:
        names = [name.strip("{}") for name in route.split("/") if name.startswith("{")]
        event = {
            "routeKey": route,
            "pathParameters": {name: quote(str(given[name]), safe="") for name in names},
            "queryStringParameters": {name: str(value) for name, value in given.items() if name not in names} or None,
            "headers": {"content-type": "application/json"},
            "body": None if body is None else json.dumps(body),
            "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "m", "cognito:groups": roles}}}},
        }
        answer = lists.handler(event, Context())
        return answer["statusCode"], json.loads(answer["body"])

    def make(self, key: str = "vip") -> None:
        assert self.call("PUT /v1/lists/{key}", {"name": key.title()}, key=key)[0] == 200

    def add(self, *ids: str, key: str = "vip") -> Any:
        return self._done({"add": list(ids)}, key)

    def remove(self, *ids: str, key: str = "vip") -> Any:
        return self._done({"remove": list(ids)}, key)

    def suppress(self, **body: Any) -> Any:
        status, found = self.call("POST /v1/suppressions", body)
        assert status == 200, found
        return found

    def segments_of(self, who: str) -> list[str]:
        return sorted(self.world.profile(who)["segments"])

    def _done(self, body: Any, key: str) -> Any:
        status, found = self.call("POST /v1/lists/{key}/members", body, key=key)
        assert status == 200, found
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with night(tmp_path) as world:
        for made in (lists._parts, lists._lists):
            made.cache_clear()
        yield Desk(world)
    for made in (lists._parts, lists._lists):
        made.cache_clear()


def signed_in(desk: Desk, who: str, email: str) -> None:
    """One person seen on a device and with an address."""
    desk.night.consume(
        {
            "type": "identify",
            "anonymousId": who,
            "userId": f"u-{who}",
            "messageId": f"i-{who}-{email}",
            "traits": {"email": email},
        }
    )


def test_a_list_takes_a_known_person_in_and_lets_it_go_at_once_and_says_why(desk: Desk) -> None:
    desk.make()
    desk.world.segment("vips", ON_VIP)
    signed_in(desk, "an", "an@example.vn")

    added = desk.add("email:AN@example.vn")

    assert (added["added"], added["refused"]) == (1, 0)
    assert desk.segments_of("anonymous_id:an") == ["vips"]
    assert desk.world.profile("anonymous_id:an")["lists"] == ["vip"]
    details = [json.loads(row["detail"]) for row in desk.world.items("outbox")]
    assert [one["reason"]["kind"] for one in details if one["type"] == "segment.entered"] == ["list"]

    desk.remove("email:an@example.vn")

    assert desk.segments_of("anonymous_id:an") == []
    assert desk.world.profile("anonymous_id:an")["lists"] == []


@pytest.mark.parametrize("listed", ["anonymous_id:an", "email:an@example.vn", "user_id:u-an"])
def test_an_identifier_that_nobody_knows_yet_takes_effect_with_the_first_event(desk: Desk, listed: str) -> None:
    desk.make()
    desk.world.segment("vips", ON_VIP)

    desk.add(listed)
    assert desk.call("GET /v1/lists/{key}/members", key="vip")[1]["items"][0]["type"] == listed.split(":")[0]
    signed_in(desk, "an", "an@example.vn")

    assert desk.segments_of("anonymous_id:an") == ["vips"]
    assert desk.night.run()["differences"] == 0


def test_a_visitor_who_was_listed_before_is_in_with_the_first_view(desk: Desk) -> None:
    desk.make()
    desk.world.segment("vips", ON_VIP)

    desk.add("anonymous_id:an")
    desk.night.consume(desk.night.event("an", "Product Viewed"))

    assert desk.segments_of("anonymous_id:an") == ["vips"]


def test_a_profile_id_names_its_person_also_after_a_merge(desk: Desk) -> None:
    desk.make()
    desk.world.segment("vips", ON_VIP)
    desk.night.consume(desk.night.event("an", "Product Viewed"))
    pid = desk.world.profile("anonymous_id:an")["profile_id"]

    desk.add(pid)
    assert desk.segments_of("anonymous_id:an") == ["vips"]
    signed_in(desk, "an", "an@example.vn")

    assert desk.world.profile("email:an@example.vn")["profile_id"] != pid
    assert desk.segments_of("email:an@example.vn") == ["vips"]


def test_a_merge_carries_a_listing_and_an_unmerge_gives_it_back_to_the_one_who_had_it(desk: Desk) -> None:
    desk.make()
    desk.world.segment("vips", ON_VIP)
    desk.night.consume(desk.night.event("an", "Product Viewed"))
    desk.night.consume(
        {"type": "identify", "userId": "u-an", "messageId": "i-1", "traits": {"name": "An"}},
    )
    desk.add("anonymous_id:an")
    assert desk.segments_of("user_id:u-an") == []

    desk.night.consume({"type": "identify", "userId": "u-an", "anonymousId": "an", "messageId": "i-2", "traits": {}})
    assert desk.segments_of("user_id:u-an") == ["vips"]

    parts = desk.world.parts
    link = pair(Identifier("user_id", "u-an"), Identifier("anonymous_id", "an"))
    plan = by_edge(parts.people.identity_facts("main", link[0]), parts.people.identity_config("main"), [link])
    note = {"by": "support", "action": "unmerge", "reason": "wrong"}
    parting = Parting(parts.identities("main"), parts.people, "main")
    parting.carry_out(lambda: plan.records("r-1", desk.world.now), note, desk.world.now, dry_run=False)

    assert desk.segments_of("anonymous_id:an") == ["vips"]
    assert desk.segments_of("user_id:u-an") == []
    assert desk.night.run()["differences"] == 0
    assert desk.segments_of("user_id:u-an") == []


def test_hand_kept_suppression_holds_for_its_channel_or_for_all(desk: Desk) -> None:
    desk.world.segment("silent", NO_EMAIL)
    for who in ("an", "binh", "chi"):
        signed_in(desk, who, f"{who}@example.vn")

    desk.suppress(channel="email", add=["email:an@example.vn"], reason="asked by phone")
    desk.suppress(add=["user_id:u-binh"])
    desk.suppress(channel="sms", add=["user_id:u-chi"])

    assert [desk.segments_of(f"user_id:u-{who}") for who in ("an", "binh", "chi")] == [["silent"], ["silent"], []]
    assert desk.world.profile("user_id:u-binh")["suppressed"] == ["*"]
    listed = desk.call("GET /v1/suppressions", channel="email")[1]["items"]
    assert [one["reason"] for one in listed] == ["asked by phone"]
    assert desk.call("GET /v1/lists")[1]["items"] == []
    assert desk.night.run()["differences"] == 0


def test_the_night_puts_right_what_people_carry_and_takes_in_what_channels_told(desk: Desk) -> None:
    desk.make()
    desk.world.segment("vips", ON_VIP)
    desk.world.segment("silent", NO_EMAIL)
    signed_in(desk, "an", "an@example.vn")
    signed_in(desk, "binh", "binh@example.vn")
    desk.add("user_id:u-an")
    desk.world.now += DAY_MS
    # as after a restore of one table: a copy without its entry, an entry without its copy
    listed, store = desk.world.parts.listed, desk.world.parts.store
    listed.mirror("main", "vip", Identifier("user_id", "u-binh"), Listing(on=True, at=desk.world.now))
    entry = next(item for item in desk.world.items(kind="L"))
    listed.mirror("main", "vip", Identifier("user_id", "u-an"), Listing(on=False, at=desk.world.now))
    told = store.fragment_id("main", ("email", "binh@example.vn"))
    store.delivery.put({"pk": "main#X#email", "sk": told, "reason": "bounce", "at": desk.world.now})
    assert (desk.segments_of("user_id:u-an"), desk.segments_of("user_id:u-binh")) == ([], ["vips"])
    assert entry["sk"] == store.fragment_id("main", ("user_id", "u-an"))

    desk.world.now += DAY_MS
    desk.night.run()

    assert desk.segments_of("user_id:u-an") == ["vips"]
    assert desk.segments_of("user_id:u-binh") == ["silent"]
    assert desk.world.profile("user_id:u-binh")["suppressed"] == ["email"]


def test_what_is_no_identifier_is_told_by_its_place_and_holds_up_nothing_else(desk: Desk) -> None:
    desk.make()

    found = desk.add("email:an@example.vn", "nonsense", "email:not-an-address", "p_short")

    assert (found["added"], found["refused"]) == (1, 3)
    assert [fault["position"] for fault in found["faults"]] == [1, 2, 3]
    assert "nonsense" not in json.dumps(found)


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    desk.make()

    status, found = desk.call(
        "POST /v1/lists/{key}/members", {"add": ["email:an@example.vn"]}, key="vip", dry_run="true"
    )

    assert (status, found["added"], found["dry_run"]) == (200, 1, True)
    assert desk.world.items(kind="L") == []


def test_members_come_page_by_page_and_no_value_is_stored(desk: Desk) -> None:
    desk.make()
    desk.add(*(f"email:person{number}@example.vn" for number in range(25)))

    pids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = desk.call("GET /v1/lists/{key}/members", key="vip", limit=7, cursor=cursor)[1]
        pids += [one["profile_id"] for one in page["items"]]
        cursor = page["next"]

    expected = {f"p_{desk.world.fid('email', f'person{number}@example.vn')}" for number in range(25)}
    assert (len(pids), set(pids)) == (25, expected)
    assert "example.vn" not in str(desk.world.items(kind="L"))


def test_adding_again_changes_nothing_and_taking_off_who_was_not_on_is_no_fault(desk: Desk) -> None:
    desk.make()
    desk.add("email:an@example.vn")
    before = desk.world.items()
    desk.world.now += 1_000

    assert desk.add("email:an@example.vn")["added"] == 0
    assert desk.remove("email:binh@example.vn")["removed"] == 0
    assert desk.world.items() == before


def test_a_list_that_a_segment_asks_for_stays_and_an_unused_one_goes_with_its_members(desk: Desk) -> None:
    desk.make()
    desk.make("old")
    desk.world.segment("vips", ON_VIP)
    signed_in(desk, "an", "an@example.vn")
    desk.add("email:an@example.vn", key="old")

    assert desk.call("DELETE /v1/lists/{key}", key="vip")[1]["code"] == "in_use"
    assert desk.call("DELETE /v1/lists/{key}", key="old")[1] == {"key": "old", "removed": 1, "deleted": True}
    assert desk.world.profile("email:an@example.vn")["lists"] == []
    assert desk.call("GET /v1/lists/{key}", key="old")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {"add": "email:an@example.vn"},
        {"add": ["email:a@example.vn"], "remove": ["email:a@example.vn"]},
        {"add": [f"user_id:u{number}" for number in range(1_001)]},
        {"members": []},
    ],
)
def test_changes_that_make_no_sense_are_refused(desk: Desk, body: Any) -> None:
    desk.make()
    assert desk.call("POST /v1/lists/{key}/members", body, key="vip")[0] == 400


def test_s59_viewers_cannot_read_or_change_who_is_on_a_list(desk: Desk) -> None:
    desk.make()
    assert desk.call("POST /v1/lists/{key}/members", {"add": []}, "[viewer]", key="vip")[0] == 403
    assert desk.call("GET /v1/lists/{key}/members", None, "[viewer]", key="vip")[0] == 403
    assert desk.call("POST /v1/suppressions", {"add": []}, "[analyst]")[0] == 403


def test_a_workspace_without_lists_reads_and_writes_nothing_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.world.segment("viewers", {"kind": "event", "event": "Product Viewed"})
    desk.night.consume(desk.night.event("warm", "Other"))
    store = desk.world.parts.store
    from hoso.unify.handlers import consume

    asked: list[Any] = []
    written: list[Any] = []
    table, commit = consume.consumer()._store.profiles, consume.consumer()._store.commit
    batch_get = type(table).batch_get

    def noted(self: Any, keys: Any, **more: Any) -> Any:
        asked.extend(wanted := list(keys))
        return batch_get(self, wanted, **more)

    monkeypatch.setattr(type(table), "batch_get", noted)
    monkeypatch.setattr(type(store), "commit", lambda _self, writes: (written.append(writes), commit(writes))[1])
    desk.night.consume(desk.night.event("an", "Something"))

    assert [key for key in asked if key[1] == "C"] == []
    assert [len(writes) for writes in written] == [1]


def test_a_listing_that_comes_between_the_read_and_the_commit_of_the_first_event_is_not_missed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.make()
    desk.world.segment("vips", ON_VIP)
    from hoso.unify.store import ProfileStore

    commit, raced = ProfileStore.commit, []

    def late(self: ProfileStore, writes: Any) -> None:
        if not raced:
            raced.append(True)
            desk.add("anonymous_id:an")
        commit(self, writes)

    monkeypatch.setattr(ProfileStore, "commit", late)
    desk.night.consume(desk.night.event("an", "Product Viewed"))

    assert desk.segments_of("anonymous_id:an") == ["vips"]
    assert people_module.ATTEMPTS > 1
    assert suppression("email", told=True) == "!email!told"
