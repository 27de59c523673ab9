"""Personal data on every route that shows people: as it is for who has the right, as shapes for all others (S11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS, format_instant
from hoso.platform.access import ROLES
from hoso.segment.handlers import admin
from hoso.unify.computed import Computed
from hoso.unify.handlers import identity_rules, likeness, past, people, profiles
from hoso.unify.likeness.reviews import OPEN, Review
from tests.nightly_world import Night, night
from tests.unify_world import Context, World

CACHED = (
    *(admin._parts, admin._segments, admin._objects, admin._pictures, admin._runs),
    *(people.parts, likeness.parts, likeness._work, identity_rules.parts, past.objects),
)
SEE = ("engineer", "privacy", "admin")
DO_NOT_SEE = ("viewer", "marketer", "analyst")
SECRET = (
    "Quách",
    "Lang",
    "quachlang",
    "kho.vn",
    "912345",
    "1979",
    "Ngõ Gạch",
    "bring the cake",
    "c0ffee",
    "doorsecret",
)
"""Parts of all that tells who the person is."""
TRAITS = {
    "name": "Quách Lang",
    "firstName": "Quách",
    "email": "quachlang@kho.vn",
    "phone": "0912345678",
    "birthday": "1979-03-05",
    "address": {"street": "7 Ngõ Gạch"},
    "note": "bring the cake",
    "value": "Quách Lang",
    "points": 120,
    "vip": True,
}
WHO = {"id": "user_id:c0ffee"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    with night(tmp_path) as made:
        for one in CACHED:
            one.cache_clear()
        customer(made)
        yield made.world
    for one in CACHED:
        one.cache_clear()


def customer(made: Night) -> None:
    """One person of whom everything is known."""
    now = made.world.now

    def told(n: int, kind: str, **more: Any) -> dict[str, Any]:
        stamp = format_instant(now - (20 - n) * DAY_MS)
        return {"type": kind, "messageId": f"m{n}", "timestamp": stamp, "userId": "c0ffee", **more}

    consent = {"purpose": "personalization", "state": "granted"}
    door = {"externalIds": [{"id": "doorsecret1", "type": "presence_token"}]}
    made.consume(
        told(1, "identify", traits=TRAITS, context=door),
        told(6, "track", event="Consent Updated", properties=consent),
        told(2, "track", event="Email Verified", properties={"type": "email", "value": "quachlang@kho.vn"}),
        told(3, "page", name="Quách", properties={"path": "/p/quachlang@kho.vn", "title": "Lang"}),
        told(4, "track", event="Order Completed", properties={"order_id": "o1", "total": 90_000, "note": "Quách"}),
        told(5, "identify", anonymousId="c0ffee-browser", traits={"email": "quachlang@kho.vn"}),
    )
    parts, (profile,) = made.world.parts, [made.world.profile("user_id:c0ffee")]
    hub = Identifier("user_id", "c0ffee")
    parts.people.put_computed(
        "main", profile["profile_id"], {"last_buyer": Computed("trait", "Lang", now, "1", {"of": "Quách"}, now)}
    )
    likeness._reviews("main").tell(
        Review("pair", hub, Identifier("email", "quachlang@kho.vn"), OPEN, 0.8, {"reasons": []}, now, "night")
    )


def ask(handler: Any, route: str, role: str, body: Any = None, **query: str) -> Any:
    names = {"key": "buyers", **{name: quote(value, safe="") for name, value in WHO.items()}, "store": "A"}
    if "likeness" in route:
        names["id"] = "pair"
    event = {
        "routeKey": route,
        "pathParameters": names,
        "queryStringParameters": query or None,
        "headers": {"content-type": "application/json"},
        "body": None if body is None else json.dumps(body),
        "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "op", "cognito:groups": f"[{role}]"}}}},
    }
    answer = handler(event, Context())
    return answer["statusCode"], answer["body"]


EVERYBODY = {"kind": "everyone"}
NAMED = {"kind": "trait", "name": "note", "op": "exists"}
DOCUMENT = {"document": {"schema": "segment/1", "key": "buyers", "rule": EVERYBODY}}
NOBODY = {"document": {"schema": "segment/1", "key": "buyers", "rule": {"kind": "not", "of": EVERYBODY}}}
NO_EMAIL = {"schema": "identity/1", "types": {"email": None}}
EVERY_SECTION = "traits,trait_history,identifiers,normalised,computed_traits,timeline,habits,relations"
ROUTES: dict[str, tuple[Any, str, Any, dict[str, str]]] = {
    "profile": (profiles.handler, "GET /v1/profiles/{id}", None, {}),
    "sections": (profiles.handler, "GET /v1/profiles/{id}", None, {"fields": EVERY_SECTION}),
    "past": (profiles.handler, "GET /v1/profiles/{id}", None, {"as_of": "PAST"}),
    "archive": (past.handler, "GET /v1/profiles/{id}/past", None, {"at": "PAST"}),
    "batch": (profiles.handler, "POST /v1/profiles/batch", {"ids": ["p_hidden"]}, {}),
    "timeline": (profiles.handler, "GET /v1/profiles/{id}/timeline", None, {}),
    "sessions": (profiles.handler, "GET /v1/profiles/{id}/sessions", None, {}),
    "greeting": (profiles.handler, "GET /v1/host/{store}/greeting", None, {"token": "doorsecret1"}),
    "why": (people.handler, "GET /v1/people/{id}/why", None, {}),
    "path": (
        people.handler,
        "GET /v1/people/{id}/why",
        None,
        {"from": "user_id:c0ffee", "to": "anonymous_id:c0ffee-browser"},
    ),
    "erasures": (people.handler, "GET /v1/erasures", None, {}),
    "erase": (people.handler, "POST /v1/people/{id}/erase", {"dry_run": True}, {}),
    "merges": (people.handler, "GET /v1/people/{id}/merges", None, {}),
    "rules": (identity_rules.handler, "POST /v1/identity/rules/preview", {"document": NO_EMAIL}, {}),
    "reviews": (likeness.handler, "GET /v1/likeness/reviews", None, {}),
    "review": (likeness.handler, "GET /v1/likeness/reviews/{id}", None, {}),
    "preview": (admin.handler, "POST /v1/previews", {**DOCUMENT, "fresh": True}, {}),
    "difference": (admin.handler, "POST /v1/differences", {**NOBODY, "fresh": True}, {}),
    "member": (admin.handler, "GET /v1/segments/{key}/why/{id}", None, {}),
    "members": (admin.handler, "GET /v1/segments/{key}/members", None, {}),
}
WITHOUT = {"members", "erasures", "erase"}
"""Routes that name people by their profile id alone, to everybody."""


def test_s11_who_has_no_right_to_personal_data_sees_shapes_on_every_route(shop: World) -> None:
    assert {*SEE, *DO_NOT_SEE} == ROLES
    status, _ = ask(
        admin.handler, "PUT /v1/segments/{key}", "engineer", {"schema": "segment/1", "key": "buyers", "rule": NAMED}
    )
    assert status == 200
    pid = shop.profile("user_id:c0ffee")["profile_id"]
    answered: dict[str, set[str]] = {}
    for name, (handler, route, given_body, query) in ROUTES.items():
        given = {key: format_instant(shop.now) if value == "PAST" else value for key, value in query.items()}
        body = {"ids": [pid]} if name == "batch" else given_body
        for role in (*SEE, *DO_NOT_SEE):
            status, text = ask(handler, route, role, body, **given)
            assert status in (200, 403), (name, role, text)
            if status == 403:
                continue
            answered.setdefault(name, set()).add(role)
            seen = [word for word in SECRET if word in text]
            if role in SEE and name not in WITHOUT:
                assert seen, (name, role)
            if role in DO_NOT_SEE:
                assert not seen, (name, role, seen, text)
                assert "m1" in text or name not in ("profile", "past", "timeline"), "message ids stay"
    assert answered.keys() == ROUTES.keys()


def test_shapes_leave_figures_times_and_answers_in_place(shop: World) -> None:
    path = "GET /v1/profiles/{id}"
    whole, veiled = (json.loads(ask(profiles.handler, path, role)[1]) for role in ("engineer", "viewer"))

    for same in ("profile_id", "totals", "consent", "segments", "habits", "relations", "overflow"):
        assert veiled[same] == whole[same]
    assert veiled["traits"].keys() == whole["traits"].keys()
    assert veiled["traits"]["email"] == {**whole["traits"]["email"], "value": "xxx@xxx.xx"}
    assert veiled["traits"]["vip"]["value"] is True
    assert [one["type"] for one in veiled["identifiers"]] == [one["type"] for one in whole["identifiers"]]
    assert [one.get("verification") for one in veiled["identifiers"]] == [
        one.get("verification") for one in whole["identifiers"]
    ]
    assert [one["event"] for one in veiled["timeline"]["items"]] == [one["event"] for one in whole["timeline"]["items"]]


def test_a_veiled_graph_keeps_its_nodes_apart(shop: World) -> None:
    route = "GET /v1/people/{id}/why"
    whole, veiled = (json.loads(ask(people.handler, route, role)[1]) for role in ("engineer", "viewer"))

    assert len({node["label"] for node in veiled["graph"]["nodes"]}) == len(whole["graph"]["nodes"]) > 2
    assert len(veiled["edges"]) == len(whole["edges"])
    assert [edge["message_id"] for edge in veiled["edges"]] == [edge["message_id"] for edge in whole["edges"]]


def test_a_caller_with_several_roles_has_the_rights_of_all(shop: World) -> None:
    assert "kho.vn" in ask(profiles.handler, "GET /v1/profiles/{id}", "viewer privacy")[1]
