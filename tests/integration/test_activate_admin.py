"""Documents of activation over the admin API: roles, validation, secrets that are shown once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hoso.activate.handlers import admin
from tests.activate_world import AUDIENCE, OTHER_SECRET, PRICE_DROP, SECRET, World, activate_world

HOOK = {"kind": "webhook", "url": "https://hooks.example.com/x"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with activate_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def world(fresh: World) -> World:
    fresh.reset()
    fresh.shop()
    return fresh


@pytest.mark.parametrize("route", sorted(admin.ROUTES.routes))
def test_s1_s11_every_route_needs_a_role_and_changes_need_the_right_one(world: World, route: str) -> None:
    body = None if route.startswith("GET") else {}
    for roles in ("[]", "[stranger]"):
        assert world.call(route, {"key": "x"}, body, roles=roles)[0] == 403
    if not route.startswith("GET"):
        assert world.call(route, {"key": "x"}, body, roles="[viewer]")[0] == 403
    assert world.call(route, {"key": "x"}, body, roles="[admin]")[0] != 403


def test_s25_a_signing_secret_is_made_and_shown_once(world: World) -> None:
    made = world.put("destinations", "hook", HOOK)
    (secret,) = made["secrets"]
    _, shown = world.call("GET /v1/destinations/{key}", {"key": "hook"})
    again = world.put("destinations", "hook", {**HOOK, "name": "Other"})

    assert secret.startswith("whsec_")
    assert shown["secrets"] == again["secrets"] == [f"whsec_…{secret[-4:]}"]


def test_s26_secrets_and_header_values_are_in_no_document_and_no_answer(world: World) -> None:
    body = {
        **HOOK,
        "secrets": [SECRET, OTHER_SECRET],
        "headers": {"authorization": "Bearer tok-123", "x-team": "t-456"},
    }
    answers = [world.put("destinations", "hook", body), *world.call("GET /v1/destinations")[1]["items"]]
    answers.append(world.call("GET /v1/destinations/{key}", {"key": "hook"})[1])
    documents = [item for item in world.unify.parts.control._table.scan() if "doc" in item]

    for text in map(json.dumps, (answers, documents)):
        assert not any(secret in text for secret in (SECRET, OTHER_SECRET, "tok-123", "t-456"))
    assert answers[-1]["headers"] == {"authorization": "…", "x-team": "…"}


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil"},
        {"Host": "evil"},
        {"connection": "close"},
        {"transfer-encoding": "chunked"},
        {"content-length": "1"},
        {"cookie": "a=b"},
        {"webhook-id": "x"},
        {"webhook-signature": "x"},
        {"x-forwarded-for": "10.0.0.1"},
        {"x-amz-target": "x"},
        {"x-a": "b\r\nc: d"},
        {"x-a\n": "b"},
        {"x-a": "é"},
        {"x-a": ""},
        {f"x-{n}": "v" for n in range(11)},
    ],
)
def test_s26_headers_outside_the_allowlist_are_refused(world: World, headers: dict[str, str]) -> None:
    world.put("destinations", "hook", {**HOOK, "headers": headers}, status=400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "fax"},
        {**HOOK, "url": "https://user@example.com/"},
        {**HOOK, "url": "ftp://example.com/"},
        {**HOOK, "url": "https://example.com/\r\n"},
        {**HOOK, "secrets": []},
        {**HOOK, "secrets": ["short"]},
        {**HOOK, "secrets": [SECRET] * 3},
        {**HOOK, "types": ["everything"]},
        {**HOOK, "unknown": 1},
        {"kind": "email", "sender": "a@example.com, b@example.com"},
        {"kind": "email", "sender": "a@example.com\r\nBcc: b@example.com"},
        {"kind": "email", "sender_name": "Shop\r\nBcc: b@example.com"},
        {"kind": "email", "reply_to": "no address"},
        {"kind": "email", "unsubscribe": "javascript:alert(1)"},
        {"kind": "email", "unsubscribe": "https://x>\r\n"},
        {"kind": "email", "secrets": [SECRET]},
    ],
)
def test_s16_s20_bad_destinations_are_refused(world: World, body: dict[str, Any]) -> None:
    world.put("destinations", "bad", body, status=400)


def test_s20_outside_the_twin_a_destination_must_be_public_https(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSO_OUTBOUND_HTTP", "false")
    admin._administration.cache_clear()

    for url in ("http://example.com/", "https://127.0.0.1/", "https://localhost/", "https://example.com:8443/"):
        world.put("destinations", "bad", {"kind": "webhook", "url": url}, status=400)
    world.put("destinations", "good", HOOK)


@pytest.mark.parametrize(
    "change",
    [
        {"destination": "nowhere"},
        {"template": "nothing"},
        {"template": None},
        {"audience": "nobody"},
        {"audience": None},
        {"purpose": None},
        {"trigger": {"kind": "full.moon"}},
        {"trigger": {"kind": "product.price_changed", "drop_percent": 0}},
        {"trigger": {"kind": "product.price_changed", "match": {"within": "soon"}}},
        {"trigger": {"kind": "segment.changed", "segment": "viewed"}},
        {"max_age": "0d"},
        {"max_age": "1mo"},
        {"cap": {"count": 0, "per": "1d"}},
        {"cap": {"count": 1, "per": "61d"}},
        {"quiet_hours": {"start": "25:00"}},
        {"quiet_hours": {"zone": "Nowhere/Land"}},
        {"holdout_percent": 60},
        {"surprise": True},
    ],
)
def test_bad_activations_are_refused_with_what_is_wrong(world: World, change: dict[str, Any]) -> None:
    answer = world.put("activations", "bad", {**PRICE_DROP, **change}, status=400)

    assert answer["message"]
    assert world.call("GET /v1/activations/{key}", {"key": "bad"})[0] == 404


def test_an_audience_needs_a_webhook_without_a_template(world: World) -> None:
    world.put("destinations", "hook", HOOK)
    world.put("activations", "list", {**AUDIENCE, "destination": "hook"})
    world.put("activations", "list", {**AUDIENCE, "destination": "hook", "template": "price"}, status=400)


@pytest.mark.parametrize("key", ["", "A", "a b", "../x", "a#b", "a/b", "x" * 65, "-a", "é"])
def test_s12_keys_are_plain(world: World, key: str) -> None:
    world.put("destinations", key, HOOK, status=400)
    world.put("templates", key, {"subject": "x", "text": "x"}, status=400)
    world.put("activations", key, PRICE_DROP, status=400)


def test_documents_come_back_with_their_revision(world: World) -> None:
    assert world.call("GET /v1/templates/{key}", {"key": "price"})[1]["revision"] == 1
    world.put("activations", "price-drop", {**PRICE_DROP, "enabled": False})
    _, shown = world.call("GET /v1/activations/{key}", {"key": "price-drop"})
    assert (shown["revision"], shown["enabled"]) == (2, False)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "price": -1},
        {"name": "x", "price": "many"},
        {"name": "x", "price": True},
        {"name": "x", "price": 1e300},
        {"name": "x", "price": 0.00000001},
        {"name": "x", "price": None},
        {"name": "x"},
        {"price": 1},
        {"name": "x\r\n", "price": 1},
        {"name": "x", "price": 1, "currency": "dong"},
    ],
)
def test_bad_products_are_refused(world: World, body: dict[str, Any]) -> None:
    world.put("products", "p", body, status=400)


def test_a_price_that_fell_is_announced_once_in_the_same_transaction(world: World) -> None:
    world.price(500_000, url="https://shop.example.vn/dress")
    world.price(449_999.5)
    world.price(449_999.5)
    world.price(600_000)
    world.put("products", "dress", {"name": "x", "price": 20, "currency": "USD"})

    (row,) = world.unify.items("outbox")
    detail = json.loads(row["detail"])
    assert row["type"] == detail["type"] == "product.price_changed"
    assert (detail["old"], detail["new"], detail["drop_percent"]) == (500_000, 449_999.5, 10.0001)


def test_s12_product_keys_are_article_numbers(world: World) -> None:
    world.put("products", "DRESS-BLUE_M.1:2", {"name": "x", "price": 1})
    for key in ("a#b", "a/b", "../x", "", "x" * 129, "a b"):
        world.put("products", key, {"name": "x", "price": 1}, status=400)


@pytest.mark.parametrize(
    "body", [{"status": "sent"}, {"surprise": 1}, {"limit": 0}, {"limit": "many"}, {"destination": 7}, {"ids": "x"}]
)
def test_a_redrive_of_what_cannot_be_redriven_is_refused(world: World, body: dict[str, Any]) -> None:
    assert world.call("POST /v1/deliveries/redrive", body=body)[0] == 400
