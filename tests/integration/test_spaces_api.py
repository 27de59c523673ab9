"""Segment's Profile API: paths, answers, errors and authentication as its clients know them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.model.time import DAY_MS, MINUTE_MS, format_instant
from hoso.unify.computed import Computed
from hoso.unify.handlers import profiles, spaces
from tests.unify_world import NOW, Context, World, unify_world

ROUTE = "GET /v1/spaces/{space}/collections/{collection}/profiles/{id}/{part}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for made in (spaces._parts, spaces._tokens, profiles._tokens):
        made.cache_clear()
    with unify_world(tmp_path) as made:
        made.consume(
            {
                "type": "identify",
                "messageId": "i",
                "userId": "u1",
                "timestamp": format_instant(NOW - 9 * MINUTE_MS),
                "traits": {"first_name": "An", "city": "Huế", "phone": "0901234567"},
            }
        )
        yield made
    for made in (spaces._parts, spaces._tokens, profiles._tokens):
        made.cache_clear()


def admin(route: str, body: Any = None, roles: str = "[engineer]", **path: str) -> tuple[int, Any]:
    event = {
        "routeKey": route,
        "pathParameters": path,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body) if body is not None else None,
        "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "op", "cognito:groups": roles}}}},
    }
    answer = profiles.handler(event, Context())
    return answer["statusCode"], json.loads(answer["body"])


def token() -> str:
    return admin("POST /v1/tokens", {"name": "site"})[1]["token"]


def ask(
    part: str = "traits",
    who: str = "user_id:u1",
    *,
    key: str | None = None,
    scheme: str = "Basic",
    space: str = "main",
    collection: str = "users",
    **query: str,
) -> tuple[int, Any]:
    user = token() if key is None else key
    basic = base64.b64encode(f"{user}:".encode()).decode()
    event = {
        "routeKey": ROUTE,
        "pathParameters": {"space": space, "collection": collection, "id": who, "part": part},
        "queryStringParameters": query or None,
        "headers": {"authorization": f"{scheme} {basic}"} if user else {},
        "requestContext": {"requestId": "r-7"},
    }
    answer = spaces.handler(event, Context())
    assert answer["headers"]["request-id"] == "r-7"
    return answer["statusCode"], json.loads(answer["body"])


def test_traits_are_plain_values_with_audiences_and_computed_traits(world: World) -> None:
    world.segment("hue", {"kind": "trait", "name": "city", "op": "is", "value": "Huế"})
    pid = world.profile("user_id:u1")["profile_id"]
    world.parts.people.put_computed("main", pid, {"orders_30d": Computed("trait", 3, NOW, "1", None, NOW)})
    world.parts.people.reevaluate("main", pid, NOW)
    url = f"/v1/spaces/main/collections/users/profiles/{pid}/traits"

    assert ask() == (
        200,
        {
            "traits": {"city": "Huế", "first_name": "An", "hue": True, "orders_30d": 3, "phone": "0901234567"},
            "cursor": {"url": url, "has_more": False, "next": ""},
        },
    )
    assert ask(**{"class": "audience"})[1]["traits"] == {"hue": True}
    assert ask(**{"class": "computed_trait"})[1]["traits"] == {"orders_30d": 3}
    assert ask(include="city,nothing", verbose="true")[1]["traits"] == {
        "city": {"value": "Huế", "source_id": "web", "updated_at": format_instant(NOW - 9 * MINUTE_MS)}
    }


def test_traits_are_paged_by_their_names(world: World) -> None:
    first = ask(limit="2")[1]

    assert (list(first["traits"]), first["cursor"]["has_more"], first["cursor"]["next"]) == (
        ["city", "first_name"],
        True,
        "phone",
    )
    assert ask(limit="2", next="phone")[1]["traits"] == {"phone": "0901234567"}


def test_external_ids_name_type_and_collection(world: World) -> None:
    data = ask("external_ids")[1]["data"]

    assert [(one["type"], one["id"], one["collection"], one["encoding"]) for one in data] == [
        ("user_id", "u1", "users", "none"),
        ("phone", "+84901234567", "users", "none"),
    ]
    assert data[0]["created_at"] == format_instant(NOW - 9 * MINUTE_MS)
    assert [one["type"] for one in ask("external_ids", include="phone")[1]["data"]] == ["phone"]


def visits(world: World) -> None:
    for n in range(4):
        world.consume(
            {
                "type": "track",
                "event": "Odd" if n % 2 else "Even",
                "messageId": f"m{n}",
                "userId": "u1",
                "anonymousId": "a1",
                "timestamp": format_instant(NOW - n * MINUTE_MS),
                "properties": {"n": n},
            }
        )


def test_events_are_paged_filtered_and_sorted(world: World) -> None:
    visits(world)

    def walk(**query: str) -> list[str]:
        found: list[str] = []
        place: dict[str, str] = {}
        while True:
            body = ask("events", **{"limit": "2", **query, **place})[1]
            found += [event["message_id"] for event in body["data"]]
            if not body["cursor"]["has_more"]:
                return found
            place = {"next": body["cursor"]["next"]}

    assert walk() == ["m0", "m1", "m2", "m3", "i"]
    assert walk(sort="asc") == ["i", "m3", "m2", "m1", "m0"]
    assert walk(include="Odd") == ["m1", "m3"]
    assert walk(exclude="Odd,$identify") == ["m0", "m2"]
    between = {"start": format_instant(NOW - 2 * MINUTE_MS), "end": format_instant(NOW)}
    assert walk(**between) == ["m1", "m2"]
    assert walk(**between, sort="asc") == ["m2", "m1"]
    newest = ask("events", limit="1")[1]["data"][0]
    assert (newest["event"], newest["type"], newest["properties"], newest["source_id"]) == (
        "Even",
        "track",
        {"n": 0},
        "web",
    )
    assert newest["external_ids"][1] == {"collection": "users", "type": "anonymous_id", "id": "a1", "encoding": "none"}


def test_metadata_names_first_and_last_message(world: World) -> None:
    visits(world)
    told = ask("metadata")[1]["metadata"]

    assert (told["first_message_id"], told["last_message_id"], told["expires_at"]) == ("i", "m0", None)
    assert (told["created_at"], told["updated_at"]) == (format_instant(NOW - 9 * MINUTE_MS), format_instant(NOW))


def test_links_are_the_accounts_of_group_calls(world: World) -> None:
    world.consume({"type": "group", "groupId": "g1", "userId": "u1", "messageId": "g"})

    (link,) = ask("links")[1]["data"]
    assert (link["to_collection"], link["external_ids"][0]["id"]) == ("accounts", "g1")


def test_a_phone_with_an_escaped_plus_and_segments_own_names_work(world: World) -> None:
    for who in ("phone:%2B84901234567", "phone_number:%2B84901234567", "phone:0901234567"):
        assert ask(who=who)[0] == 200


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"who": "user_id:nobody"}, 404, "not_found"),
        ({"who": "nonsense"}, 400, "validation_error"),
        ({"part": "secrets"}, 404, "not_found"),
        ({"collection": "accounts"}, 404, "not_found"),
        ({"class": "x"}, 400, "validation_error"),
        ({"limit": "-1"}, 400, "validation_error"),
        ({"part": "events", "next": "x"}, 400, "validation_error"),
        ({"part": "events", "sort": "up"}, 400, "validation_error"),
        ({"part": "events", "start": "x"}, 400, "validation_error"),
        ({"space": "other"}, 403, "forbidden"),
    ],
)
def test_errors_have_segments_shape(world: World, asked: dict[str, Any], status: int, code: str) -> None:
    found, body = ask(**asked)

    assert (found, body["error"]["code"], set(body)) == (status, code, {"error"})


@pytest.mark.parametrize("key", ["", "garbage", "pt_guessed", "wk_abcdefghijklmnop"])
def test_s1_without_a_live_token_nothing_is_shown(world: World, key: str) -> None:
    assert ask(key=key)[1] == {"error": {"code": "authentication_error", "message": "No valid Access Token provided."}}


def test_s1_a_token_in_another_scheme_is_none(world: World) -> None:
    assert ask(scheme="Bearer")[0] == 401


def test_s2_s3_a_token_is_shown_once_and_ends_when_it_is_revoked(world: World) -> None:
    made = admin("POST /v1/tokens", {"name": "site"})[1]
    assert ask(key=made["token"])[0] == 200
    assert made["token"] not in json.dumps(list(world.parts.control._table.scan()), default=str)
    assert [entry["name"] for entry in admin("GET /v1/tokens")[1]["items"]] == ["site"]

    assert admin("DELETE /v1/tokens/{prefix}", prefix=made["prefix"])[0] == 200
    world.now += DAY_MS
    assert ask(key=made["token"])[0] == 401
    assert admin("DELETE /v1/tokens/{prefix}", prefix="pt_nobody")[0] == 404


def door(key: str, token: str = "nobody-1") -> tuple[int, Any]:
    basic = base64.b64encode(f"{key}:".encode()).decode()
    event = {
        "routeKey": "GET /v1/spaces/{space}/host/{store}/greeting",
        "pathParameters": {"space": "main", "store": "A"},
        "queryStringParameters": {"token": token},
        "headers": {"authorization": f"Basic {basic}"},
        "requestContext": {"requestId": "r-8"},
    }
    answer = spaces.handler(event, Context())
    return answer["statusCode"], json.loads(answer["body"])


def test_s1_the_token_of_a_tablet_only_asks_how_to_greet(world: World) -> None:
    tablet = admin("POST /v1/tokens", {"name": "counter", "scope": "host"})[1]["token"]
    status, said = door(tablet)

    assert (status, said["known"], said["reason"]) == (404, False, "unknown_token")
    assert ask(key=tablet)[0] == 403
    assert (door(token())[0], door("")[0], door("wk_x")[0]) == (403, 401, 401)
    assert admin("POST /v1/tokens", {"name": "x", "scope": "everything"})[0] == 400


@pytest.mark.parametrize("roles", ["[viewer]", "[marketer]", "[analyst]"])
def test_s11_tokens_are_made_by_engineers(world: World, roles: str) -> None:
    assert admin("POST /v1/tokens", {"name": "x"}, roles)[0] == 403
    assert admin("DELETE /v1/tokens/{prefix}", None, roles, prefix="x")[0] == 403
