"""The profile API in full: sections, many at once, a past moment, sessions, relations, computed values, greetings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hoso.model.time import DAY_MS, MINUTE_MS, format_instant
from hoso.unify.computed import Computed
from hoso.unify.handlers import profiles
from tests.unify_world import NOW, Context, World, unify_world

HABIT_AT = NOW - NOW % DAY_MS - 10 * DAY_MS + 60 * MINUTE_MS
"""Ten days ago at 8 in the morning in Vietnam."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        yield made


def call(
    route: str, path: dict[str, str] | None = None, *, body: Any = None, roles: str = "[engineer]", **more: Any
) -> tuple[int, Any, dict[str, str]]:
    event = {
        "routeKey": route,
        "pathParameters": path,
        "queryStringParameters": more.get("query"),
        "headers": {"content-type": "application/json", **more.get("headers", {})},
        "body": None if body is None else json.dumps(body),
        "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "op", "cognito:groups": roles}}}},
    }
    answer = profiles.handler(event, Context())
    text = answer["body"]
    return answer["statusCode"], json.loads(text) if text else None, answer["headers"]


def identify(n: int, ts: int, traits: dict[str, Any], **ids: Any) -> dict[str, Any]:
    stamp = format_instant(ts)
    return {"type": "identify", "messageId": f"id{n}", "timestamp": stamp, "traits": traits, **ids}


def bought(n: int, ts: int, card: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"o{card}{n}",
        "userId": card,
        "timestamp": format_instant(ts),
        "properties": {"order_id": f"{card}-{n}", "store_id": "A", **properties},
    }


def get(who: str, **query: str) -> Any:
    status, body, _ = call("GET /v1/profiles/{id}", {"id": quote(who, safe="")}, query=query or None)
    assert status == 200, body
    return body


def test_only_the_asked_sections_are_shown(world: World) -> None:
    world.consume(identify(1, NOW, {"city": "Huế", "tier": "gold"}, userId="u1"))

    assert get("user_id:u1", fields="traits.city,segments") == {
        "profile_id": world.profile("user_id:u1")["profile_id"],
        "traits": {"city": {**world.profile("user_id:u1")["traits"]["city"]}},
        "segments": {},
    }
    assert call("GET /v1/profiles/{id}", {"id": "user_id:u1"}, query={"fields": "password"})[0] == 400


def test_an_etag_spares_the_second_answer_until_something_changes(world: World) -> None:
    world.consume(identify(1, NOW, {"city": "Huế"}, userId="u1"))
    path = {"id": "user_id:u1"}
    status, _, headers = call("GET /v1/profiles/{id}", path)
    again = call("GET /v1/profiles/{id}", path, headers={"if-none-match": f'"x", W/{headers["etag"]}'})
    world.consume(identify(2, NOW + 1, {"city": "Vinh"}, userId="u1"))
    changed = call("GET /v1/profiles/{id}", path, headers={"if-none-match": headers["etag"]})

    assert (status, again[0], again[1], changed[0]) == (200, 304, None, 200)
    assert again[2]["etag"] == headers["etag"] != changed[2]["etag"]


def test_a_former_profile_id_says_where_it_led_from(world: World) -> None:
    world.consume({"type": "track", "event": "Seen", "messageId": "m1", "anonymousId": "a1"})
    former = get("anonymous_id:a1")["profile_id"]
    world.consume(
        identify(1, NOW, {}, anonymousId="a1", crmId="c"), identify(2, NOW, {}, userId="u1", anonymousId="a1")
    )
    world.consume(identify(3, NOW, {"crmId": "C1"}, userId="u1"))

    found = get(former)
    assert (found["redirected_from"], found["profile_id"]) == (former, get("user_id:u1")["profile_id"])
    assert "redirected_from" not in get("user_id:u1")


def test_a_hundred_people_are_one_call_with_one_answer_each(world: World) -> None:
    world.consume(*(identify(n, NOW, {"n": n}, userId=f"u{n}") for n in range(4)))
    pid = get("user_id:u3")["profile_id"]
    ids = ["user_id:u0", "user_id:nobody", "nonsense", pid, "user_id:u0"]
    status, body, _ = call("POST /v1/profiles/batch", body={"ids": ids, "fields": ["traits"]})

    assert status == 200
    assert [item["id"] for item in body["items"]] == ids
    assert [item["profile"] and item["profile"]["traits"]["n"]["value"] for item in body["items"]] == [
        0,
        None,
        None,
        3,
        0,
    ]
    assert [item["error"] and item["error"]["code"] for item in body["items"]] == [
        *(None, "not_found", "invalid_input", None, None)
    ]
    assert set(body["items"][0]["profile"]) == {"profile_id", "traits"}


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": ["user_id:x"] * 101}, {"ids": [1]}, {"ids": "x"}])
def test_a_wrong_batch_is_a_clear_400(world: World, body: Any) -> None:
    assert call("POST /v1/profiles/batch", body=body)[0] == 400


def test_the_history_of_a_trait_tells_who_said_what(world: World) -> None:
    world.consume(identify(1, NOW - 2, {"tier": "gold"}, userId="u1"), source="crm")
    world.consume(identify(2, NOW - 1, {"tier": "silver"}, userId="u1"), source="web")

    told = get("user_id:u1", fields="trait_history")["trait_history"]["tier"]
    assert [(write["value"], write["source"], write["message_id"]) for write in told] == [
        ("silver", "web", "id2"),
        ("gold", "crm", "id1"),
    ]


def test_a_policy_holds_for_what_was_said_before_it_and_for_segments(world: World) -> None:
    world.consume(identify(1, NOW - 2, {"tier": "gold"}, userId="u1"), source="crm")
    world.consume(identify(2, NOW - 1, {"tier": "silver"}, userId="u1"), source="web")
    world.segment("gold", {"kind": "trait", "name": "tier", "op": "is", "value": "gold"})
    policies = {"policies": {"tier": {"merge": "source_rank", "sources": ["crm", "web"]}}}
    status, held, _ = call("PUT /v1/traits/policies", body=policies, roles="[engineer]")
    world.consume(identify(3, NOW, {"tier": "basic"}, userId="u1"), source="web")

    assert (status, held["revision"]) == (200, 1)
    shown = get("user_id:u1")
    assert (shown["traits"]["tier"]["value"], shown["traits"]["tier"]["policy"]) == ("gold", "source_rank")
    assert shown["segments"]["gold"]["reason"] == {"kind": "event", "event": "$identify", "message_id": "id3"}


@pytest.mark.parametrize(
    ("roles", "allowed"), [("[viewer]", False), ("[marketer analyst]", False), ("[engineer]", True), ("[admin]", True)]
)
def test_s11_only_engineers_change_policies(world: World, roles: str, allowed: bool) -> None:
    assert (call("PUT /v1/traits/policies", body={"policies": {}}, roles=roles)[0] == 200) is allowed


@pytest.mark.parametrize("route", sorted(profiles.ROUTES.routes))
def test_s1_every_route_needs_a_role(world: World, route: str) -> None:
    assert call(route, {"id": "user_id:u1", "store": "A"}, body={}, roles="[]", query={"token": "tttt"})[0] == 403


def test_a_proven_identifier_says_how(world: World) -> None:
    world.consume(identify(1, NOW - 1, {"phone": "0901234567"}, userId="u1"))
    proof = {"type": "track", "event": "OTP Verified", "messageId": "v", "userId": "u1"}
    world.consume({**proof, "properties": {"phone": "0901 234 567"}, "timestamp": format_instant(NOW)}, source="app")

    shown = {entry["type"]: entry.get("verification") for entry in get("user_id:u1")["identifiers"]}
    assert shown["user_id"] is None
    assert (shown["phone"]["state"], shown["phone"]["method"], shown["phone"]["source"]) == ("verified", "otp", "app")


def seen(n: int, ts: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Seen",
        "messageId": f"s{n:03d}",
        "userId": "u1",
        "timestamp": format_instant(ts),
        **more,
    }


def timeline(**query: str) -> list[str]:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        status, body, _ = call(
            "GET /v1/profiles/{id}/timeline", {"id": "user_id:u1"}, query={**query, **cursor, "limit": "2"}
        )
        assert status == 200, body
        found += [item["message_id"] for item in body["items"]]
        if body["next"] is None:
            return found
        cursor = {"cursor": body["next"]}


def test_a_timeline_can_be_filtered(world: World) -> None:
    for n in range(8):
        kind: dict[str, Any] = {"event": "Bought"} if n % 2 else {}
        world.consume(seen(n, NOW - n * MINUTE_MS, **kind), source="app" if n < 4 else "web")
    world.consume(identify(1, NOW - 3 * MINUTE_MS, {}, userId="u1"))

    assert timeline(event="Bought") == ["s001", "s003", "s005", "s007"]
    assert timeline(type="identify") == ["id1"]
    assert timeline(type="track", source="app") == ["s000", "s001", "s002", "s003"]
    start, end = format_instant(NOW - 5 * MINUTE_MS), format_instant(NOW - 2 * MINUTE_MS)
    assert timeline(**{"from": start, "to": end}) == ["s003", "id1", "s004", "s005"]


@pytest.mark.parametrize("query", [{"from": "yesterday"}, {"to": "x"}, {"type": "nonsense"}])
def test_a_wrong_filter_is_a_clear_400(world: World, query: dict[str, str]) -> None:
    world.consume(seen(1, NOW))

    assert call("GET /v1/profiles/{id}/timeline", {"id": "user_id:u1"}, query=query)[0] == 400


def test_sessions_are_paged_and_a_late_event_joins_two(world: World) -> None:
    web = {"context": {"page": {"path": "/"}}}
    for n in range(4):
        world.consume(seen(n, NOW - n * 50 * MINUTE_MS, **web))

    def starts(**query: str) -> tuple[list[int], str | None]:
        _, body, _ = call("GET /v1/profiles/{id}/sessions", {"id": "user_id:u1"}, query={"limit": "3", **query})
        return [item["events"] for item in body["items"]], body["next"]

    first, following = starts()
    assert (first, starts(cursor=str(following))) == ([1, 1, 1], ([1], None))
    world.consume(seen(9, NOW - 25 * MINUTE_MS, **web))
    assert starts() == ([3, 1, 1], None)


def test_as_of_shows_what_had_happened_and_been_received_by_then(world: World) -> None:
    world.segment("gold", {"kind": "trait", "name": "tier", "op": "is", "value": "gold"})
    world.now = NOW
    world.consume({**seen(1, NOW - 60_000), "userId": None, "anonymousId": "a1"})
    world.consume(identify(1, NOW - 50_000, {"tier": "gold"}, userId="u1"))
    world.now = NOW + DAY_MS
    world.consume(identify(2, world.now - 10, {"tier": "basic"}, userId="u1", anonymousId="a1"))
    world.consume(seen(2, NOW - 55_000))
    world.now = NOW + 2 * DAY_MS
    then = get("user_id:u1", as_of=format_instant(NOW))

    assert then["traits"]["tier"]["value"] == "gold"
    assert list(then["segments"]) == ["gold"]
    assert [entry["type"] for entry in then["identifiers"]] == ["user_id"]
    assert (then["totals"]["events"], [item["message_id"] for item in then["timeline"]["items"]]) == (1, ["id1"])
    assert then["as_of"] == {"at": format_instant(NOW), "complete": True, "identity": "then"}
    now = get("user_id:u1")
    assert (now["traits"]["tier"]["value"], now["totals"]["events"], now["segments"]) == ("basic", 4, {})
    assert get("user_id:u1", as_of=format_instant(world.now))["totals"]["events"] == 4
    path = {"id": "user_id:u1"}
    assert call("GET /v1/profiles/{id}", path, query={"as_of": format_instant(NOW - DAY_MS)})[0] == 404
    assert call("GET /v1/profiles/{id}", path, query={"as_of": format_instant(NOW + 9 * DAY_MS)})[0] == 400


def test_computed_values_are_shown_and_segments_see_them(world: World) -> None:
    world.segment("likely", {"kind": "score", "name": "propensity", "op": "gte", "value": 0.5})
    world.segment("fans", {"kind": "trait", "name": "favourite", "op": "is", "value": "tea"})
    world.consume({**seen(1, NOW), "userId": None, "anonymousId": "a1"})
    people = world.parts.people
    pid = get("anonymous_id:a1")["profile_id"]
    values = {
        "propensity": Computed("score", 0.8, NOW, "bgnbd-3", {"orders": 4}, NOW),
        "favourite": Computed("trait", "tea", NOW, "7", None, NOW),
    }
    assert people.put_computed("main", pid, values) is True
    assert people.put_computed("main", pid, values) is False
    assert (
        people.put_computed("main", pid, {"propensity": Computed("score", 0.1, NOW - 1, "bgnbd-3", None, NOW)}) is False
    )
    people.reevaluate("main", pid, NOW + 1)
    world.consume(identify(1, NOW, {"favourite": "coffee"}, userId="u1", anonymousId="a1"))

    shown = get("user_id:u1")
    assert shown["scores"]["propensity"] == {
        "value": 0.8,
        "at": format_instant(NOW),
        "since": format_instant(NOW),
        "revision": "bgnbd-3",
        "reason": {"orders": 4},
    }
    assert shown["computed_traits"]["favourite"]["value"] == "tea"
    assert set(shown["segments"]) == {"likely", "fans"}


def regular(world: World, card: str, name: str, *, consent: bool = True, **properties: Any) -> None:
    """Somebody who takes a latte at the window at eight, with somebody else on the same bills."""
    traits = {"firstName": name, "phone": f"09012345{ord(card):02d}"}
    token = {"externalIds": [{"type": "presence_token", "id": f"token-{card}"}]}
    world.consume({**identify(0, NOW - DAY_MS, traits, userId=card, context=token), "messageId": f"id-{card}"})
    say(world, card, "granted" if consent else "denied", NOW - DAY_MS)
    for n in range(5):
        world.consume(
            bought(
                n,
                HABIT_AT - n * DAY_MS,
                card,
                products=[{"name": "latte"}],
                table_or_seat="window 3",
                **{"party_ref": f"party{n}", **properties},
            )
        )


def say(world: World, card: str, state: str, ts: int) -> None:
    body = {"type": "track", "event": "Consent Updated", "messageId": f"c{card}{state}", "userId": card}
    told = {"purpose": "personalization", "state": state}
    world.consume({**body, "timestamp": format_instant(ts), "properties": told})


def greeting(token: str = "token-A", at: int = HABIT_AT + 10 * DAY_MS, store: str = "A") -> tuple[int, Any]:
    query = {"token": token, "at": format_instant(at)}
    status, body, _ = call("GET /v1/host/{store}/greeting", {"store": store}, query=query)
    return status, body


def test_the_host_knows_what_is_usual_and_who_comes_along(world: World) -> None:
    regular(world, "A", "An")
    regular(world, "B", "Bình")
    status, body = greeting()

    assert status == 200
    assert (body["known"], body["name"], body["companion"]) == (True, "An", {"name": "Bình", "support": 5})
    assert body["usual"]["item"] == {"value": "latte", "share": 1.0, "support": 5, "of": 5}
    assert (body["usual"]["seat"]["value"], body["usual"]["time"]["value"]) == ("window 3", "08:00")


def test_a_stranger_is_404_with_an_empty_greeting(world: World) -> None:
    regular(world, "A", "An")

    for token in ("token-Z", "data:image/png;base64,iVBOR", "0.12,0.55,0.91"):
        status, body = greeting(token)
        assert (status, body["reason"]) == (404, "unknown_token")
        assert {body[part] for part in ("profile_id", "name", "usual", "companion")} == {None}


def test_s50_nothing_personal_without_consent(world: World) -> None:
    regular(world, "A", "An")
    say(world, "A", "denied", NOW)
    status, body = greeting()

    assert (status, body["known"], body["reason"]) == (200, False, "no_consent")
    assert {body[part] for part in ("profile_id", "name", "usual", "companion")} == {None}
    assert "An" not in json.dumps(body)


def test_s50_a_companion_without_consent_is_not_named(world: World) -> None:
    regular(world, "A", "An")
    regular(world, "B", "Bình", consent=False)

    assert (greeting()[1]["known"], greeting()[1]["companion"]) == (True, None)


def test_at_another_hour_there_is_no_habit(world: World) -> None:
    regular(world, "A", "An")
    body = greeting(at=HABIT_AT + 10 * DAY_MS + 300 * MINUTE_MS)[1]

    assert (body["known"], body["usual"], body["reason"]) == (True, None, "no_habit_at_this_time")


def test_in_another_shop_there_is_no_habit(world: World) -> None:
    regular(world, "A", "An")

    assert greeting(store="B")[1]["usual"] is None


def related(who: str) -> dict[str, Any]:
    return {found["profile_id"]: found for found in get(who, fields="relations")["relations"]["items"]}


def test_relations_come_from_bills_cards_and_addresses(world: World) -> None:
    home = {"street": "12 Lê Lợi", "city": "Huế"}
    world.consume(identify(1, NOW, {"address": home}, userId="A"), identify(2, NOW, {"address": home}, userId="B"))
    world.consume(identify(3, NOW, {"loyalty_id": "L9"}, userId="C"))
    for n in range(3):
        world.consume(bought(n, NOW - n * DAY_MS, "A", party_ref=f"p{n}", paired_card="L9"))
    world.consume(bought(7, NOW, "B", party_ref="p1"), bought(8, NOW, "D", party_ref="p1", store_id="other"))
    mine, c = related("user_id:A"), get("user_id:C")["profile_id"]
    b = get("user_id:B")["profile_id"]

    assert mine[b] == {
        "profile_id": b,
        "kinds": ["companion", "household"],
        "support": 2,
        "by": {"address": 1, "bill": 1},
        "last": format_instant(NOW - DAY_MS),
    }
    assert (mine[c]["by"], mine[c]["kinds"]) == ({"card": 3}, ["companion"])
    assert related("user_id:C")[get("user_id:A")["profile_id"]]["by"] == {"card": 3}
    assert set(mine) == {b, c}


def test_a_relation_ends_with_its_evidence(world: World) -> None:
    home = {"street": "12 Lê Lợi", "city": "Huế"}
    world.consume(identify(1, NOW - 1, {"address": home}, userId="A"), identify(2, NOW, {"address": home}, userId="B"))
    assert len(related("user_id:A")) == 1
    world.consume(identify(3, NOW, {"address": {"street": "9 Hai Bà Trưng", "city": "Huế"}}, userId="B"))

    assert related("user_id:A") == related("user_id:B") == {}


def test_nobody_is_related_to_a_fragment_of_their_own(world: World) -> None:
    device = {**bought(2, NOW, "x", party_ref="p1"), "userId": None, "anonymousId": "a1"}
    world.consume(bought(1, NOW, "A", party_ref="p1"), device)
    assert len(related("user_id:A")) == 1

    world.consume(identify(1, NOW, {}, userId="A", anonymousId="a1"))
    assert related("user_id:A") == {}


def test_an_address_of_very_many_means_no_household(world: World) -> None:
    home = {"street": "1 Quảng Trường", "city": "Huế"}
    world.consume(*(identify(n, NOW, {"address": home}, userId=f"u{n}") for n in range(40)))
    (index,) = world.items(kind="R")

    assert len(index["f"]) == 30
    assert related("user_id:u1") == {}


def test_the_reason_of_a_membership_survives_a_merge(world: World) -> None:
    world.segment("seen", {"kind": "event", "event": ["Seen"]})
    world.consume({**seen(1, NOW), "userId": None, "anonymousId": "a1"})
    why = get("anonymous_id:a1")["segments"]["seen"]["reason"]
    world.consume(identify(1, NOW, {}, userId="u1", anonymousId="a1"))

    assert why == {"kind": "event", "event": "Seen", "message_id": "s001"}
    assert get("user_id:u1")["segments"]["seen"]["reason"] == why


def test_a_live_value_made_anew_is_no_change_of_the_profile(world: World) -> None:
    definition = {
        "schema": "trait/1",
        "key": "visits",
        "name": "Visits",
        "of": {"kind": "measure", "event": ["Seen"], "measure": {"agg": "count"}},
    }
    world.parts.control.put("main", "computed_trait", "visits", definition)
    world.consume(seen(1, NOW))
    path = {"id": "user_id:u1"}
    _, first, headers = call("GET /v1/profiles/{id}", path)
    world.now += MINUTE_MS
    assert call("GET /v1/profiles/{id}", path, headers={"if-none-match": headers["etag"]})[0] == 304
    world.consume(seen(2, NOW))

    _, second, changed = call("GET /v1/profiles/{id}", path)
    assert (first["computed_traits"]["visits"]["value"], second["computed_traits"]["visits"]["value"]) == (1, 2)
    assert changed["etag"] != headers["etag"]
