"""Why, merge log, unmerge, block and allow: the two people end exactly as if the link had never been seen."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hoso.model.identifiers import Identifier
from hoso.unify.evidence import Cut, pair
from hoso.unify.handlers import people
from tests.admin_calls import admin_event, answered
from tests.unify_world import CACHED, Context, World, unify_world

DAY = "2026-11-0{}T08:00:00Z"
USER, BROWSER, OTHER = "user_id:u1", "anonymous_id:a1", "anonymous_id:a2"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        people.parts.cache_clear()
        yield made
    people.parts.cache_clear()


def call(route: str, who: str, body: Any = None, roles: str = "[engineer]", **query: str) -> tuple[int, Any]:
    path = {"id": quote(who, safe="")}
    event = admin_event(route.replace("{}", "{id}"), path, body, roles=roles, query=query)
    return answered(people.handler(event, Context()))


def post(action: str, who: str, body: Any, roles: str = "[engineer]") -> tuple[int, Any]:
    return call(f"POST /v1/people/{{}}/{action}", who, body, roles)


def track(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Viewed", "messageId": f"m{number}", "timestamp": DAY.format(number), **more}


def family(world: World) -> None:
    """One browser on which u1 signs in, and another one that the address of u1 was typed in."""
    world.consume(track(1, anonymousId="a1"), track(2, anonymousId="a2"))
    world.consume(
        {"type": "identify", "messageId": "m3", "timestamp": DAY.format(3), "userId": "u1", "anonymousId": "a1"},
        {
            "type": "identify",
            "messageId": "m4",
            "timestamp": DAY.format(4),
            "userId": "u1",
            "traits": {"email": "a@b.vn"},
        },
        source="shop",
    )
    world.consume(
        {
            "type": "identify",
            "messageId": "m5",
            "timestamp": DAY.format(5),
            "anonymousId": "a2",
            "traits": {"email": "a@b.vn"},
        }
    )


def test_why_gives_the_path_of_links_with_event_source_and_time(world: World) -> None:
    family(world)
    status, shown = call("GET /v1/people/{}/why", USER, **{"from": BROWSER, "to": OTHER})
    assert status == 200
    assert shown["connected"]
    steps = [(edge["message_id"], edge["source"], edge["first"]) for edge in shown["path"]]
    assert steps == [
        ("m3", "shop", "2026-11-03T08:00:00.000Z"),
        ("m4", "shop", "2026-11-04T08:00:00.000Z"),
        ("m5", "web", "2026-11-05T08:00:00.000Z"),
    ]
    assert {node["label"] for node in shown["graph"]["nodes"]} == {USER, BROWSER, OTHER, "email:a@b.vn"}
    assert shown["graph"]["mermaid"].startswith("graph LR")
    assert shown["graph"]["dot"].count("--") == 3


def test_why_two_people_are_not_one_names_the_refused_link(world: World) -> None:
    world.consume(track(1, userId="u1", anonymousId="a1"))
    world.consume(track(2, userId="u2", anonymousId="a1"))
    status, shown = call("GET /v1/people/{}/why", USER, **{"from": USER, "to": "user_id:u2"})
    assert (status, shown["connected"], shown["path"]) == (200, False, [])
    _, beside = call("GET /v1/people/{}/why", USER, **{"from": BROWSER, "to": "user_id:u2"})
    assert [row["reason"] for row in beside["refused"]] == ["limit:user_id"]


def test_r29_the_merge_log_tells_who_when_by_which_event_and_how_both_were_before(world: World) -> None:
    family(world)
    status, page = call("GET /v1/people/{}/merges", USER, limit="1")
    assert status == 200
    newest = page["items"][0]
    assert (newest["message_id"], newest["source"], newest["effect"]) == ("m5", "web", "merge")
    assert sorted(one for held in newest["before"].values() for one in held) == sorted(
        [USER, BROWSER, "email:a@b.vn", OTHER]
    )
    _, rest = call("GET /v1/people/{}/merges", USER, limit="1", cursor=page["next"])
    assert [entry["message_id"] for entry in rest["items"]] == ["m4"]
    assert rest["next"] is None


def test_r14_unmerge_by_edge_parts_both_and_new_evidence_does_not_join_them(world: World) -> None:
    family(world)
    edge = ["email:a@b.vn", OTHER]
    status, dry = post("unmerge", USER, {"edge": edge, "dry_run": True})
    assert (status, dry["cut"], len(dry["after"])) == (200, [sorted(edge)], 2)
    assert world.profile(OTHER)["profile_id"] == world.profile(USER)["profile_id"], "a dry run changes nothing"
    status, done = post("unmerge", USER, {"edge": edge, "reason": "a friend's tablet"})
    assert (status, done["still_connected"]) == (200, [])
    assert world.profile(OTHER)["totals"]["events"] == 1
    assert world.profile(USER)["totals"]["events"] == 4
    world.consume(track(6, anonymousId="a2", context={"traits": {"email": "a@b.vn"}}))
    world.consume(track(7, anonymousId="a2", userId="u1"))
    assert world.profile(OTHER)["profile_id"] != world.profile(USER)["profile_id"]
    (entry,) = [
        row for row in call("GET /v1/people/{}/merges", OTHER)[1]["items"] if row["by"] and row["effect"] == "split"
    ][:1]
    assert (entry["by"], entry["record"]) == ("operator", done["record"])


def test_r14_an_unmerge_is_undone_and_done_again(world: World) -> None:
    family(world)
    together = world.profile(USER)
    _, done = post("unmerge", USER, {"identifier": OTHER})
    assert world.profile(OTHER)["profile_id"] != together["profile_id"]
    status, _ = post("allow", USER, {"record": done["record"]})
    assert status == 200
    again = world.profile(USER)
    assert {name: again[name] for name in ("profile_id", "identifiers", "totals", "traits")} == {
        name: together[name] for name in ("profile_id", "identifiers", "totals", "traits")
    }
    assert post("unmerge", USER, {"identifier": OTHER})[0] == 200
    assert world.profile(OTHER)["profile_id"] != together["profile_id"]


def test_unmerge_by_event_and_by_entry_of_the_merge_log(world: World) -> None:
    family(world)
    _, by_event = post("unmerge", USER, {"event": "m5", "dry_run": True})
    _, log = call("GET /v1/people/{}/merges", USER)
    _, by_entry = post("unmerge", USER, {"merge": log["items"][0]["id"], "dry_run": True})
    assert by_event["cut"] == by_entry["cut"] == [sorted([OTHER, "email:a@b.vn"])]
    assert post("unmerge", USER, {"event": "m2", "dry_run": True})[0] == 404


def test_an_edge_beside_which_another_path_leads_says_what_still_connects(world: World) -> None:
    family(world)
    world.consume(track(6, userId="u1", anonymousId="a2"))
    _, done = post("unmerge", USER, {"edge": ["email:a@b.vn", OTHER], "dry_run": True})
    assert [edge["message_id"] for edge in done["still_connected"]]
    assert done["apart"] == []


def test_r9_a_blocked_value_joins_nobody_until_it_is_allowed(world: World) -> None:
    family(world)
    assert post("block", USER, {"value": "email:a@b.vn"})[0] == 200
    parted = {world.profile(one)["profile_id"] for one in (USER, OTHER, "email:a@b.vn")}
    assert len(parted) == 3
    world.consume(track(6, anonymousId="a3", context={"traits": {"email": "a@b.vn"}}))
    assert world.profile("anonymous_id:a3")["profile_id"] != world.profile("email:a@b.vn")["profile_id"]
    assert post("allow", "email:a@b.vn", {"value": "email:a@b.vn"})[0] == 200
    assert len({world.profile(one)["profile_id"] for one in (USER, OTHER, "email:a@b.vn", "anonymous_id:a3")}) == 1


def test_a_block_of_an_edge_that_was_never_seen_holds(world: World) -> None:
    world.consume(track(1, userId="u1"), track(2, anonymousId="a1"))
    assert post("block", USER, {"edge": [USER, BROWSER]})[0] == 200
    world.consume(track(3, userId="u1", anonymousId="a1"))
    assert world.profile(USER)["profile_id"] != world.profile(BROWSER)["profile_id"]


def test_memberships_follow_and_nobody_is_told_of_an_entry_that_never_was(world: World) -> None:
    world.segment("buyers", {"kind": "event", "event": ["Order Completed"]})
    world.segment("viewers", {"kind": "event", "event": ["Viewed"]})
    family(world)
    world.consume({**track(6, userId="u1"), "event": "Order Completed", "properties": {"order_id": "o1", "revenue": 5}})
    assert world.members("buyers") == {world.profile(USER)["profile_id"]}
    told = world.announced()
    assert post("unmerge", USER, {"edge": ["email:a@b.vn", OTHER]})[0] == 200
    user, other = (world.profile(one)["profile_id"] for one in (USER, OTHER))
    assert world.members("buyers") == {user}
    assert world.members("viewers") == {user, other}
    assert set(world.profile(OTHER)["segments"]) == {"viewers"}
    assert world.announced() == told, "both were viewers before, and only u1 ever was a buyer"


def test_a_repeated_request_takes_effect_once(world: World) -> None:
    family(world)
    body = {"identifier": OTHER, "request_id": "ticket-7"}
    first, again = post("unmerge", USER, body), post("unmerge", USER, body)
    assert (first[0], again[0], again[1]["repeated"]) == (200, 200, True)
    splits = [row for row in world.items(kind="P") if row["sk"].startswith("M#") and row["rule"] == "cut"]
    assert len({row["at"] for row in splits}) == 1


@pytest.mark.parametrize(
    ("body", "roles", "status"),
    [
        ({"identifier": OTHER}, "[viewer]", 403),
        ({}, "[engineer]", 400),
        ({"identifier": OTHER, "event": "m5"}, "[engineer]", 400),
        ({"identifier": "nonsense"}, "[privacy]", 400),
        ({"identifier": "user_id:u9"}, "[admin]", 400),
        ({"edge": [BROWSER, OTHER]}, "[admin]", 404),
        ({"edge": [OTHER, OTHER]}, "[admin]", 400),
    ],
)
def test_wishes_that_cannot_be_granted_are_explained(world: World, body: Any, roles: str, status: int) -> None:
    family(world)
    assert post("unmerge", USER, body, roles)[0] == status


def test_s41_who_took_a_merge_back_is_in_the_audit_trail_without_the_customer(world: World) -> None:
    family(world)
    _, done = post("unmerge", USER, {"identifier": OTHER})
    trail = list(world.parts.control._table.query_all("main#audit"))
    assert [(row["actor"], row["action"], row["subject"]) for row in trail] == [
        ("operator", "identity.unmerge", done["record"])
    ]


def _random_events(chance: random.Random) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for number in range(14):
        body: dict[str, Any] = {
            "type": "identify",
            "messageId": f"m{number}",
            "timestamp": f"2026-11-{chance.randrange(10, 28)}T08:00:00Z",
            "anonymousId": f"a{chance.randrange(4)}",
            "traits": {"plan": f"p{number}"},
        }
        if chance.random() < 0.4:
            body["userId"] = f"u{chance.randrange(2)}"
        if chance.random() < 0.5:
            body["traits"]["email"] = f"m{chance.randrange(3)}@x.vn"
        if chance.random() < 0.4:
            body |= {"type": "track", "event": "Order Completed", "context": {"traits": body.pop("traits")}}
            body["properties"] = {"order_id": f"o{number}", "revenue": number}
        events.append(body)
    return events


def _state(world: World, names: set[str]) -> dict[str, Any]:
    shown = {name: world.profile(name) for name in names}
    for profile in shown.values():
        profile.pop("split_id")  # drawn once, at the first evaluation: it may stay what it was
        for held in profile["segments"].values():
            held.pop("since")
            held.pop("message_id", None)
            held.pop("reason", None)
        for event in profile["timeline"]["items"]:
            event.pop("received_at")
    return shown


@pytest.mark.parametrize("seed", range(4))
def test_unmerge_equals_the_fold_of_the_evidence_without_the_link(tmp_path: Path, seed: int) -> None:
    """Profiles with traits, counters, timeline and memberships, and the lists of members, of everybody."""
    chance = random.Random(seed)
    events = _random_events(chance)
    states: list[Any] = []
    link: tuple[str, str] | None = None
    for never in (False, True):
        with unify_world(tmp_path) as world:
            people.parts.cache_clear()
            world.parts.control._table.put({"pk": "main#secret", "sk": "identity", "key": b"one key for both" * 2})
            world.segment("buyers", {"kind": "event", "event": ["Order Completed"], "op": "gte", "value": 2})
            if never and link is not None:
                ends = [Identifier(*name.split(":", 1)) for name in link]
                world.parts.identities("main").apply(Cut("never", 0, [pair(*ends)]))
            for event in events:
                world.consume(event)
            names = {
                f"{kind}:{value}"
                for item in world.items(kind="P")
                if item["sk"] == "P" and "ids" in item
                for kind, value in item["ids"]
            }
            if not never:
                known = [
                    edge
                    for name in sorted(names)
                    for edge in call("GET /v1/people/{}/why", name)[1]["edges"]
                    if edge["from"] != edge["to"]
                ]
                edge = chance.choice(known)
                link = (edge["from"], edge["to"])
                status, _ = post("unmerge", link[0], {"edge": list(link)})
                assert status == 200
            hubs = {f"{item['hub'][0]}:{item['hub'][1]}" for item in world.items(kind="F") if "n" in item}
            states.append((_state(world, hubs), world.members("buyers")))
        for made in CACHED:
            made.cache_clear()
    for name in states[1][0]:
        for part in states[1][0][name]:
            assert states[0][0][name][part] == states[1][0][name][part], f"{part} of {name} without {link}"
    assert states[0] == states[1]
