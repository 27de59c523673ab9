"""Who may call what: every route of the templates under every kind of credential, preflights and media types."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from infra.twin import Twin
from infra.twin.tokens import Issuer

ROLES = ("admin", "engineer", "analyst", "marketer", "privacy", "viewer")
ORIGIN = "https://shop.example.vn"
INGEST = {
    "POST /v1/batch": {"batch": [{"type": "track", "event": "E", "userId": "u-1"}]},
    "POST /v1/b": {"batch": [{"type": "track", "event": "E", "userId": "u-1"}]},
    "POST /v1/import": {"batch": [{"type": "track", "event": "E", "userId": "u-1"}]},
    "POST /beacon/v1/batch": {"batch": [{"type": "track", "event": "E", "userId": "u-1"}]},
    **{
        f"POST {prefix}{kind}": {"event": "E", "userId": "u-1", "previousId": "u-0", "groupId": "g-1"}
        for prefix in ("/v1/", "/api/s/", "/api/s/s2s/")
        for kind in ("identify", "track", "page", "screen", "group", "alias")
    },
    **{f"POST /v1/{kind}": {"event": "E", "userId": "u-1", "previousId": "u-0", "groupId": "g-1"} for kind in "itpsga"},
    "GET /sourceConfig": None,
}
"""The addresses behind the default route that take a key in the header, with what they are sent."""


BY_ACCESS_TOKEN = (
    "GET /v1/spaces/{space}/collections/{collection}/profiles/{id}/{part}",
    "GET /v1/spaces/{space}/host/{store}/greeting",
)
"""Routes whose function itself checks an access token of a server or a tablet."""


class Place:
    """A twin with a source, a live key, a revoked key, and tokens of several makers."""

    def __init__(self, twin: Twin, folder: Path) -> None:
        self.twin = twin
        self.url = twin.url
        (self.authorizer,) = twin.deployment.authorizers.values()
        self.admin = twin.admin_token(ROLES)
        assert self.ask("PUT /v1/sources/web", self.bearer(self.admin), {"name": "web", "kind": "web"}).ok
        self.key = self.new_key()
        revoked = self.new_key()
        path = f"DELETE /v1/sources/web/keys/{revoked[:11]}"
        assert self.ask(path, self.bearer(self.admin)).ok
        stranger = Issuer(folder / "stranger.pem")
        now = int(time.time())
        claims = {"sub": "x", "iss": self.authorizer.issuer, "exp": now + 60, "cognito:groups": list(ROLES)}
        self.credentials: dict[str, dict[str, str]] = {
            "none": {},
            "garbage": {"Authorization": "garbage"},
            "garbage token": self.bearer("a.b.c"),
            "empty": {"Authorization": ""},
            "write key": self.basic(self.key),
            "write key as a token": self.bearer(self.key),
            "revoked write key": self.basic(revoked),
            "other workspace's admin": self.bearer(stranger.token(self.authorizer, ROLES)),
            "token without signature": self.bearer(
                jwt.encode({**claims, "aud": self.authorizer.audience[0]}, "", "none")
            ),
            "token for another client": self.bearer(self.token(claims | {"aud": "another"})),
            "token that ended": self.bearer(self.token(claims | {"aud": self.authorizer.audience[0], "exp": now - 60})),
        }

    def token(self, claims: dict[str, Any]) -> str:
        """These claims under the right signature."""
        return jwt.encode(claims, (self.twin.data / "issuer.pem").read_bytes(), "RS256", headers={"kid": "twin"})

    def new_key(self) -> str:
        return self.ask("POST /v1/sources/web/keys", self.bearer(self.admin), {}).json()["key"]

    @staticmethod
    def basic(key: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}

    @staticmethod
    def bearer(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    def ask(self, route: str, headers: dict[str, str], body: Any = None, **more: Any) -> requests.Response:
        method, path = route.split(" ", 1)
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=30, **more)

    @property
    def admin_routes(self) -> list[str]:
        """Every route that has an authorizer, with values for its parameters."""
        keys = [route.key for route in self.twin.deployment.routes if route.authorizer is not None]
        return [re.sub(r"\{[^}]+\}", "user_id:x", key) for key in keys]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Twin(data=tmp_path_factory.mktemp("access")) as twin:
        yield Place(twin, tmp_path_factory.mktemp("stranger"))


def test_s1_every_route_has_an_authorizer_or_takes_its_own_credentials(place: Place) -> None:
    open_routes = {route.key for route in place.twin.deployment.routes if route.authorizer is None}

    hooks = {key for key in open_routes if re.search(r" /v1/hooks/\{", key)}  # an address is a secret
    assert open_routes - hooks - set(BY_ACCESS_TOKEN) == {"$default"}
    assert len(place.admin_routes) > 20


@pytest.mark.parametrize("key", BY_ACCESS_TOKEN)
def test_s1_what_servers_and_tablets_read_asks_for_its_own_credential(place: Place, key: str) -> None:
    route = re.sub(r"\{[^}]+\}", "x", key)
    tokens = {**place.credentials, "admin": place.bearer(place.admin)}

    opened = {name: place.ask(route, headers).status_code for name, headers in tokens.items()}

    assert set(opened.values()) == {401}, opened


def test_s1_admin_routes_are_closed_to_all_but_admins(place: Place) -> None:
    wrong = {
        (route, name): status
        for route in place.admin_routes
        for name, headers in place.credentials.items()
        if (status := place.ask(route, headers, {}).status_code) != 401
    }

    assert wrong == {}


def test_s1_an_admin_s_token_opens_every_admin_route(place: Place) -> None:
    headers = place.bearer(place.admin)

    refused = {
        route: answer.status_code
        for route in place.admin_routes
        if (answer := place.ask(route, headers, {"wrong": 1})).status_code in {401, 403} or answer.status_code >= 500
    }

    assert refused == {}


def test_s11_a_token_without_a_role_opens_no_admin_route(place: Place) -> None:
    nobody = place.bearer(place.twin.admin_token(("none",)))

    opened = {
        route: answer.status_code
        for route in place.admin_routes
        if (answer := place.ask(route, nobody, {})).status_code != 403
    }

    assert opened == {}


@pytest.mark.parametrize("route", INGEST)
def test_s1_a_write_key_opens_the_addresses_of_events_and_nothing_else_does(place: Place, route: str) -> None:
    place_credentials = {**place.credentials, "admin": place.bearer(place.admin)}

    found = {name: place.ask(route, headers, INGEST[route]) for name, headers in place_credentials.items()}

    assert {name for name, answer in found.items() if answer.status_code == 200} == {"write key"}
    refused = {name: answer for name, answer in found.items() if name != "write key"}
    assert {answer.status_code for answer in refused.values()} == {401}
    for name, answer in refused.items():
        missing = name in {"none", "empty"}
        assert answer.json()["code"] == ("missing_write_key" if missing else "invalid_write_key")
        assert "invalid write key" in answer.json()["message"]


def test_s1_a_write_key_reads_nothing_but_the_settings_of_its_source(place: Place) -> None:
    answer = place.ask(f"GET /v1/projects/{place.key}/settings", {})

    assert answer.status_code == 200
    assert place.ask("GET /v1/projects/unknown/settings", {}).status_code == 404
    for path in ("/v1/batch", "/v1/track", "/v1/t", "/v1/m", "/rsaMetrics", "/api/s/track"):
        assert place.ask(f"GET {path}", place.basic(place.key)).status_code == 405


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000", "null", "https://evil.vn"])
@pytest.mark.parametrize("path", [*sorted({route.split(" ")[1] for route in INGEST}), "/v1/m", "/rsaMetrics", "/none"])
def test_s5_preflights_of_the_tracking_api_allow_any_site_and_no_credentials(
    place: Place, path: str, origin: str
) -> None:
    asked = "authorization, content-type, x-retry-count, anonymousid, sentat, rsa-retry-attempt, x-write-key"
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}

    answer = requests.options(place.url + path, headers=headers, timeout=10)

    allowed = answer.headers["access-control-allow-headers"].split(",")
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert {"GET", "POST"} <= set(answer.headers["access-control-allow-methods"].split(","))
    assert set(asked.split(", ")) <= set(allowed)
    assert "*" not in allowed
    assert int(answer.headers["access-control-max-age"]) >= 900


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b'{"batch":[]}', 401),
        ({"key": "yes"}, b"{", 400),
        ({"key": "yes", "Content-Type": "image/png"}, b"{}", 415),
        ({"key": "yes", "Content-Encoding": "zstd"}, b"{}", 415),
        ({"key": "yes"}, b'{"batch":[]}', 200),
    ],
)
def test_s5_every_answer_can_be_read_by_the_page_that_asked(
    place: Place, headers: dict[str, str], body: bytes, status: int
) -> None:
    sent = {name: value for name, value in headers.items() if name != "key"} | {"Origin": ORIGIN}
    if "key" in headers:
        sent |= place.basic(place.key)

    answer = requests.post(f"{place.url}/v1/batch", data=body, headers=sent, timeout=10)

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] in {"*", ORIGIN}
    assert "retry-after" in answer.headers["access-control-expose-headers"].lower()
    assert answer.headers["content-type"] == "application/json"
    if status >= 400:
        assert {"code", "message"} <= answer.json().keys()
        assert all(type(answer.json()[name]) is str for name in ("code", "message"))


@pytest.mark.parametrize("origin", ["null", "https://evil.vn", "http://localhost:8787.evil.vn", ORIGIN])
def test_s5_the_admin_api_allows_its_own_sites_only(place: Place, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}

    for route in place.admin_routes:
        answer = requests.options(
            place.url + route.split(" ", 1)[1],
            headers=headers | {"Access-Control-Request-Method": route.split(" ")[0]},
            timeout=10,
        )
        assert "access-control-allow-origin" not in answer.headers, route


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_s10_the_admin_api_reads_json_only(place: Place, kind: str) -> None:
    headers = {**place.bearer(place.admin), "Content-Type": kind}

    read = {
        route: answer.status_code
        for route in place.admin_routes
        if route.startswith(("POST", "PUT"))
        and (
            answer := requests.request(
                *route.replace(" ", f" {place.url}", 1).split(" ", 1), data=b"{}", headers=headers, timeout=30
            )
        ).status_code
        != 415
    }

    # these read no body: all that counts is in their address
    bodiless = ("/keys", "/secrets", "/addresses", "/backfill", "/stop")
    pieces = "/pieces/user_id:x"  # bytes of a file
    assert {route: status for route, status in read.items() if not route.endswith((*bodiless, pieces))} == {}
