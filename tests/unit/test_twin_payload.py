"""HTTP API payload 2.0 and built-in CORS, as API Gateway makes them."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest

from infra.twin.front import Router
from infra.twin.payload import HttpRequest, Matched, cors_headers, event_of, preflight, response_of
from infra.twin.registry import Route

JSON = ("Content-Type", "application/json; charset=utf-8")


def event(
    target: str = "/v1/t", headers: list[tuple[str, str]] | None = None, body: bytes = b"", **more: Any
) -> dict[str, Any]:
    request = HttpRequest("POST", target, [("Host", "localhost:8787"), *(headers or [])], body, "10.0.0.7")
    return event_of(
        request, Matched("api", "$default", more.get("parameters", {}), more.get("claims")), "rid", 1_700_000_000_123
    )


def test_the_path_is_decoded_and_the_query_is_raw() -> None:
    made = event("/v1/profiles/email%3Aa%40b.vn?x=a%20b&x=c&empty=")

    assert made["rawPath"] == "/v1/profiles/email:a@b.vn"
    assert made["rawQueryString"] == "x=a%20b&x=c&empty="
    assert made["queryStringParameters"] == {"x": "a b,c", "empty": ""}


def test_absent_parts_are_left_out() -> None:
    made = event()

    assert not {"body", "cookies", "queryStringParameters", "pathParameters"} & set(made)
    assert made["isBase64Encoded"] is False
    assert made["version"] == "2.0"


def test_headers_are_lower_case_and_joined_and_cookies_apart() -> None:
    made = event(headers=[("X-Many", "1"), ("x-many", "2"), ("Cookie", "a=1; b=2"), ("User-Agent", "test")])

    assert made["headers"]["x-many"] == "1,2"
    assert made["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in made["headers"]
    assert made["requestContext"]["http"] == {
        "method": "POST",
        "path": "/v1/t",
        "protocol": "HTTP/1.1",
        "sourceIp": "10.0.0.7",
        "userAgent": "test",
    }
    assert made["requestContext"]["time"] == "14/Nov/2023:22:13:20 +0000"


@pytest.mark.parametrize(
    ("headers", "body", "encoded"),
    [
        ([JSON], '{"a":"ế"}'.encode(), False),
        ([("Content-Type", "text/plain")], b"{}", False),
        ([("Content-Type", "application/cloudevents+json")], b"{}", False),
        ([JSON, ("Content-Encoding", "gzip")], gzip.compress(b"{}", mtime=0), True),
        ([("Content-Type", "text/plain")], gzip.compress(b"{}", mtime=0), True),
        ([("Content-Type", "application/x-www-form-urlencoded")], b"a=1", True),
        ([("Content-Type", "application/octet-stream")], b"abc", True),
        ([], b"{}", True),
    ],
)
def test_a_body_that_is_not_text_travels_as_base64(headers: list[tuple[str, str]], body: bytes, encoded: bool) -> None:
    made = event(headers=headers, body=body)

    assert made["isBase64Encoded"] is encoded
    assert (base64.b64decode(made["body"]) if encoded else made["body"].encode()) == body


def test_claims_stand_in_the_authorizer() -> None:
    made = event(claims={"sub": "a", "cognito:groups": "[admin]"}, parameters={"key": "a b"})

    assert made["requestContext"]["authorizer"]["jwt"]["claims"]["cognito:groups"] == "[admin]"
    assert made["pathParameters"] == {"key": "a b"}


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ({"statusCode": 204}, 204, b""),
        ({"statusCode": "201", "body": "ế"}, 201, "ế".encode()),
        ({"statusCode": 200, "body": "AAE=", "isBase64Encoded": True}, 200, b"\0\1"),
        ({"hello": "world"}, 200, b'{"hello": "world"}'),
        ("plain", 200, b'"plain"'),
        (None, 200, b"null"),
        ({"statusCode": 99}, 500, b'{"message":"Internal Server Error"}'),
        ({"statusCode": "x"}, 500, b'{"message":"Internal Server Error"}'),
        ({"statusCode": 200, "body": {"a": 1}}, 500, b'{"message":"Internal Server Error"}'),
        ({"statusCode": 200, "body": "%", "isBase64Encoded": True}, 500, b'{"message":"Internal Server Error"}'),
    ],
)
def test_an_answer_becomes_a_response(answer: Any, status: int, body: bytes) -> None:
    response = response_of(answer)

    assert (response.status, response.body) == (status, body)


def test_response_headers_and_cookies_are_sent() -> None:
    response = response_of(
        {"statusCode": 200, "headers": {"X-A": 1, "x-b": True}, "cookies": ["a=1", "b=2"], "body": ""}
    )

    assert response.headers == [
        ("x-a", "1"),
        ("x-b", "true"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-type", "text/plain;charset=UTF-8"),
    ]


OPEN = {
    "AllowOrigins": ["*"],
    "AllowMethods": ["GET", "POST"],
    "AllowHeaders": ["content-type"],
    "MaxAge": 60,
    "ExposeHeaders": ["retry-after"],
}


def test_a_preflight_is_answered_with_the_settings_of_the_template() -> None:
    response = preflight(OPEN, "https://shop.vn")

    assert response.status == 204
    assert dict(response.headers) == {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "retry-after",
        "access-control-allow-methods": "GET,POST",
        "access-control-allow-headers": "content-type",
        "access-control-max-age": "60",
    }


def test_a_foreign_origin_gets_no_cors_headers() -> None:
    closed = {"AllowOrigins": ["https://console.vn"], "AllowCredentials": True}

    assert cors_headers(closed, "https://evil.vn") == []
    assert preflight(closed, "https://evil.vn").headers == []
    assert ("access-control-allow-origin", "https://console.vn") in cors_headers(closed, "https://console.vn")


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/v1/things", "GET /v1/things", {}),
        ("GET", "/v1/things/", "GET /v1/things", {}),
        ("GET", "/v1/things/special", "GET /v1/things/special", {}),
        ("GET", "/v1/things/a%2Fb", "GET /v1/things/{key}", {"key": "a/b"}),
        ("DELETE", "/v1/files/a/b/c", "ANY /v1/files/{path+}", {"path": "a/b/c"}),
        ("POST", "/v1/things", "$default", {}),
        ("GET", "/elsewhere", "$default", {}),
    ],
)
def test_the_most_exact_route_is_taken(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    keys = ["$default", "GET /v1/things/{key}", "ANY /v1/files/{path+}", "GET /v1/things", "GET /v1/things/special"]
    router = Router([Route("api", entry, "integration", None) for entry in keys])

    found = router.find(method, path)

    assert found is not None
    assert (found[0].key, dict(found[1])) == (key, parameters)
