"""Addresses, credentials and settings documents of the ingestion API, through the real handler."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from hoso.collect.handlers import ingest
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
        ("POST", "/v1/pixel/nothing", 405),
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


def test_a_host_with_a_slash_at_its_end_loses_nothing(shared: World) -> None:
    reply = shared.send("//v1/batch", {"batch": [track() | {"messageId": "two-slashes"}]}, key=shared.keys["web"])

    assert (reply["statusCode"], says(reply)) == (200, {"success": True})
    assert stored(shared, "two-slashes") == ["two-slashes"]


def test_source_config_is_never_kept_for_another_key(shared: World) -> None:
    headers = shared.send("/sourceConfig", method="GET", key=shared.keys["web"])["headers"]

    assert headers["cache-control"].startswith("private")
    assert headers["vary"] == "authorization"


def test_a_fault_of_the_platform_has_an_error_body_that_every_client_understands(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hoso.collect.reception.take", lambda *_: 1 / 0)

    reply = shared.send("/v1/t", track(), key=shared.keys["web"])

    assert (reply["statusCode"], says(reply)["code"]) == (503, "unavailable")
    assert reply["headers"]["retry-after"].isdigit()
    assert "ZeroDivision" not in reply["body"]


def pixel_data(raw: bytes) -> str:
    return "data=" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


PIXELS = {
    "/v1/pixel/track": lambda key: pixel_data(
        orjson.dumps({"writeKey": key, "userId": "u-px", "event": "Email Opened", "messageId": "px-data"})
    ),
    "/pixel/v1/track": lambda key: (
        f"writeKey={key}&userId=u-px&event=Email+Opened&messageId=px-query&properties.campaign=tet"
    ),
    "/pixel/v1/page": lambda key: f"writeKey={key}&anonymousId=a-px&messageId=px-page",
}


@pytest.mark.parametrize("path", PIXELS)
def test_a_pixel_stores_its_event_and_is_an_image(shared: World, path: str) -> None:
    before = len(shared.events())

    reply = shared.send(path, method="GET", query=PIXELS[path](shared.keys["web"]))

    assert (reply["statusCode"], reply["headers"]["content-type"]) == (200, "image/gif")
    assert base64.b64decode(reply["body"]).startswith(b"GIF89a")
    (event,) = shared.events()[before:]
    assert event["type"] == path.rpartition("/")[2]
    assert "writeKey" not in event


@pytest.mark.parametrize("path", ["/v1/pixel/nothing", "/pixel/v1/t/"])
def test_a_pixel_of_any_address_is_an_image(shared: World, path: str) -> None:
    reply = shared.send(path, method="GET", query="data=e30=")

    assert (reply["statusCode"], reply["headers"]["content-type"]) == (200, "image/gif")


BAD_PIXELS = {
    "no base64": ("data=%25", False),
    "no JSON": (pixel_data(b'{"writeKey": "@", '), True),
    "no object": (pixel_data(b"[]"), False),
    "too deep": (pixel_data(b'{"writeKey":"@","userId":"u","event":"E","x":%s}' % (b"[" * 60 + b"]" * 60)), True),
    "long number": (pixel_data(b'{"writeKey":"@","userId":"u","event":"E","x":%s}' % (b"9" * 40)), True),
    "no id": (pixel_data(b'{"writeKey":"@","event":"E"}'), True),
    "no key": (pixel_data(b'{"userId":"u","event":"E"}'), False),
}


@pytest.mark.parametrize("name", BAD_PIXELS)
def test_r5_a_bad_pixel_is_an_image_all_the_same_and_is_kept_aside(shared: World, name: str) -> None:
    query, quarantined = BAD_PIXELS[name]
    if query.startswith("data=") and "%" not in query:
        raw = query.removeprefix("data=")
        text = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
        query = pixel_data(text.replace(b"@", shared.keys["web"].encode()))
    before, _ = len(shared.events()), shared.quarantined()

    reply = shared.send("/v1/pixel/track", method="GET", query=query)

    assert (reply["statusCode"], reply["headers"]["content-type"]) == (200, "image/gif")
    assert len(shared.events()) == before
    assert len(shared.quarantined()) == quarantined


def test_blanks_around_a_single_event_are_no_part_of_its_size(shared: World) -> None:
    event = orjson.dumps(track() | {"messageId": "padded"})

    reply = shared.send("/v1/t", b"\n" * 20_000 + event + b" " * 20_000, key=shared.keys["web"])

    assert reply["statusCode"] == 200
    assert stored(shared, "padded") == ["padded"]


def consenting(place: World, consent: dict[str, Any]) -> str:
    body = {"name": "shop", "kind": "web", "consent": consent}
    assert place.manage("PUT /v1/sources/{key}", body, path={"key": "consenting"})[0] == 200
    if "consenting" not in place.keys:
        made = place.manage("POST /v1/sources/{key}/keys", {}, path={"key": "consenting"})[1]
        place.keys["consenting"] = made["key"]
    ingest.reception.cache_clear()
    return place.keys["consenting"]


def test_the_settings_tell_the_state_of_consent_before_anybody_was_asked(shared: World) -> None:
    consent = {"default": "denied", "categories": {"marketing": "denied", "functional": "granted"}}
    key = consenting(shared, consent)

    settings = says(shared.send(f"/v1/projects/{key}/settings", method="GET"))
    config = says(shared.send("/sourceConfig", method="GET", query=f"writeKey={key}"))

    assert settings["consent"] == consent
    assert settings["consentSettings"] == {
        "allCategories": ["functional", "marketing"],
        "hasUnmappedDestinations": False,
    }
    assert settings["integrations"]["Segment.io"]["consentSettings"] == {"categories": ["functional", "marketing"]}
    assert list(settings["integrations"]) == ["Segment.io"]
    assert config["source"]["config"]["consent"] == consent


def test_a_source_without_consent_settings_says_unset(shared: World) -> None:
    settings = says(shared.send(f"/v1/projects/{shared.keys['web']}/settings", method="GET"))

    assert settings["consent"] == {"default": "unset", "categories": {}}
    assert "consentSettings" not in settings


@pytest.mark.parametrize(
    "consent", [{"default": "maybe"}, {"categories": {"": "granted"}}, {"categories": {"x": "unset"}}, {"other": 1}]
)
def test_consent_settings_that_mean_nothing_are_refused(shared: World, consent: dict[str, Any]) -> None:
    body = {"name": "shop", "kind": "web", "consent": consent}

    status, said = shared.manage("PUT /v1/sources/{key}", body, path={"key": "wrong"})

    assert (status, said["code"]) == (400, "invalid_input")
