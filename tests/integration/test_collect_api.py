"""Addresses, credentials and settings documents of the ingestion API, through the real handler."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.collect_world import World, says, track, world


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        made.source("web", "web")
        yield made


def stored(place: World, *wanted: str) -> list[str]:
    """Message ids on the stream among these."""
    return [event["messageId"] for event in place.events() if event["messageId"] in wanted]


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/v1/b", "/v1/batch/", "/v1/import/", "/beacon/v1/batch"])
def test_every_batch_address_takes_a_batch(shared: World, path: str) -> None:
    message_id = f"batch{path}"
    reply = shared.send(path, {"batch": [track() | {"messageId": message_id}]}, key=shared.keys["web"])

    assert (reply["statusCode"], says(reply)) == (200, {"success": True})
    assert stored(shared, message_id) == [message_id]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((f"/v1/{kind}", kind) for kind in ("identify", "track", "page", "screen", "group", "alias")),
        *((f"/v1/{kind[0]}", kind) for kind in ("identify", "track", "page", "screen", "group", "alias")),
        ("/v1/track/", "track"),
        ("/api/s/track", "track"),
        ("/api/s/s2s/page", "page"),
    ],
)
@pytest.mark.parametrize("said", [None, "other"])
def test_the_path_of_a_single_call_decides_its_type(shared: World, path: str, kind: str, said: str | None) -> None:
    message_id = f"single{path}{said}"
    event = {**track(), "userId": "u", "previousId": "p", "groupId": "g", "messageId": message_id, "type": said}
    if said is None:
        del event["type"]

    reply = shared.send(path, event, key=shared.keys["web"])

    assert reply["statusCode"] == 200, reply
    assert [event["type"] for event in shared.events() if event["messageId"] == message_id] == [kind]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/batch", 405),
        ("PUT", "/v1/track", 405),
        ("DELETE", "/v1/b", 405),
        ("POST", "/v1/projects/k/settings", 405),
        ("POST", "/v1/nothing", 404),
        ("GET", "/", 404),
        ("POST", "/v1/batch/extra", 404),
        ("POST", "/v1/pixel/nothing", 404),
        ("GET", "/v1/projects/a/b/settings", 404),
    ],
)
def test_other_addresses_and_methods_have_an_error_body(shared: World, method: str, path: str, status: int) -> None:
    reply = shared.send(path, {"batch": []}, key=shared.keys["web"], method=method)

    body = says(reply)
    assert reply["statusCode"] == status
    assert body["success"] is False
    assert body["code"]
    assert body["message"]


@pytest.mark.parametrize("path", ["/v1/m", "/rsaMetrics", "/v1/m/"])
def test_client_metrics_are_taken_and_dropped(shared: World, path: str) -> None:
    assert says(shared.send(path, {"series": []})) == {"success": True}


def test_a_key_is_found_in_every_place(shared: World) -> None:
    key = shared.keys["web"]
    event = track()
    places: list[dict[str, Any]] = [
        {"headers": basic(f"{key}:")},
        {"headers": basic(key)},
        {"headers": basic(f"{key}:password")},
        {"headers": {"Authorization": "basic " + base64.b64encode(f"{key}:".encode()).decode().rstrip("=")}},
        {"body": {"batch": [event], "writeKey": key}},
        {"query": f"writeKey={key}"},
        {"body": {"batch": [{**event, "writeKey": key}]}},
        {"headers": {"X-Write-Key": key}},
        {"headers": {"X-Write-Key": f"{key}:secret"}},
    ]
    for found in places:
        reply = shared.send(**{"path": "/v1/batch", "body": {"batch": [event]}, **found})
        assert reply["statusCode"] == 200, found


def test_a_single_call_carries_its_key_in_its_body_and_it_is_not_stored(shared: World) -> None:
    reply = shared.send("/v1/t", {**track(), "messageId": "own-key", "writeKey": shared.keys["web"]})

    assert reply["statusCode"] == 200
    (event,) = [event for event in shared.events() if event["messageId"] == "own-key"]
    assert "writeKey" not in event


def test_the_first_place_with_a_key_decides(shared: World) -> None:
    good = shared.keys["web"]
    body = {"batch": [track()], "writeKey": good}

    assert shared.send("/v1/batch", body, headers=basic("wrong:"))["statusCode"] == 401
    assert shared.send("/v1/batch", {**body, "writeKey": "wrong"}, query=f"writeKey={good}")["statusCode"] == 401
    assert shared.send("/v1/batch", {**body, "writeKey": "wrong"}, key=good)["statusCode"] == 200


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        (basic("unknown:"), None),
        (basic(":"), None),
        (basic(""), None),
        ({"Authorization": "Basic !!!"}, None),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:").decode()}, None),
        ({"Authorization": "Bearer token"}, "web"),
        ({"Authorization": "Bearer " + base64.b64encode(b"unknown:").decode()}, "web"),
        ({"Authorization": "Basic"}, None),
        ({"X-Write-Key": ":secret"}, None),
    ],
)
def test_s2_every_bad_credential_has_the_same_answer(shared: World, headers: dict[str, str], key: str | None) -> None:
    body = {"batch": [track()], **({"writeKey": shared.keys[key]} if key else {})}

    reply = shared.send("/v1/batch", body, headers=headers)

    assert reply["statusCode"] == 401
    assert says(reply) == {"success": False, "code": "invalid_write_key", "message": "invalid write key"}


def test_a_scheme_that_is_not_offered_is_refused_whatever_it_carries(shared: World) -> None:
    good = base64.b64encode(f"{shared.keys['web']}:".encode()).decode()
    reply = shared.send("/v1/batch", {"batch": [track()]}, headers={"Authorization": f"Bearer {good}"})

    assert reply["statusCode"] == 401


@pytest.mark.parametrize("given", [None, "", 7, [], {}])
def test_no_key_at_all_is_401(shared: World, given: object) -> None:
    reply = shared.send("/v1/batch", {"batch": [track()], "writeKey": given})

    assert reply["statusCode"] == 401
    assert says(reply)["code"] == ("missing_write_key" if given in (None, "") else "invalid_write_key")
    assert "invalid write key" in says(reply)["message"]


def test_segment_settings_steer_clients_to_this_host(shared: World) -> None:
    key = shared.keys["web"]
    reply = shared.send(f"/v1/projects/{key}/settings", method="GET", headers={"host": "cdp.example.com"})

    body = says(reply)
    assert reply["statusCode"] == 200
    assert body["integrations"] == {
        "Segment.io": {"apiKey": key, "apiHost": "cdp.example.com/v1", "versionSettings": {}}
    }
    assert body["metrics"] == {"sampleRate": 0}


def test_segment_settings_over_http_say_so(shared: World) -> None:
    headers = {"host": "localhost:8787", "x-forwarded-proto": "http"}
    reply = shared.send(f"/v1/projects/{shared.keys['web']}/settings/", method="GET", headers=headers)

    segment = says(reply)["integrations"]["Segment.io"]
    assert (segment["apiHost"], segment["protocol"]) == ("localhost:8787/v1", "http")


def test_settings_of_an_unknown_key_are_refused(shared: World) -> None:
    reply = shared.send("/v1/projects/unknown/settings", method="GET")

    assert reply["statusCode"] == 404
    assert says(reply)["code"] == "invalid_write_key"


@pytest.mark.parametrize("how", ["header", "query"])
def test_source_config_has_what_the_sdk_requires(shared: World, how: str) -> None:
    key = shared.keys["web"]
    query = "p=npm&v=3" + (f"&writeKey={key}" if how == "query" else "")
    reply = shared.send("/sourceConfig/", method="GET", query=query, key=key if how == "header" else None)

    source = says(reply)["source"]
    assert (source["id"], source["enabled"], source["destinations"]) == ("web", True, [])
    assert source["config"]["statsCollection"]["errors"]["enabled"] is False
    assert shared.send("/sourceConfig", method="GET", query="writeKey=unknown")["statusCode"] == 401
