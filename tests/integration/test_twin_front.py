"""The twin's HTTP address: routes of two APIs, tokens, CORS, bodies, limits, and its own endpoints."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests

from infra.twin import Twin
from tests.twin_world import attribute, function, resource, write_assembly

CODE = {
    "handlers": """
        import json

        def echo(event, context):
            headers = {"content-type": "application/json", "access-control-allow-origin": "wrong"}
            return {"statusCode": 200, "headers": headers, "body": json.dumps(event), "cookies": ["a=1"]}

        def odd(event, context):
            mode = event["rawPath"].rsplit("/", 1)[-1]
            if mode == "raise":
                raise ValueError("secret detail")
            number = {"statusCode": 200, "body": 1}
            return {"plain": {"a": 1}, "bad": {"statusCode": "x"}, "decimal": number, "set": {1, 2}}[mode]
    """
}
ISSUER = {"Fn::GetAtt": ["Users", "ProviderURL"]}
CORS = {
    "AllowOrigins": ["*"],
    "AllowMethods": ["GET", "POST", "OPTIONS"],
    "AllowHeaders": ["content-type"],
    "MaxAge": 86400,
}


def resources() -> dict[str, Any]:
    def api(**more: Any) -> dict[str, Any]:
        return resource("AWS::ApiGatewayV2::Api", Name="n", ProtocolType="HTTP", **more)

    def integration(of: str, name: str) -> dict[str, Any]:
        uri = attribute(name)
        return resource(
            "AWS::ApiGatewayV2::Integration",
            ApiId={"Ref": of},
            IntegrationType="AWS_PROXY",
            IntegrationUri=uri,
            PayloadFormatVersion="2.0",
        )

    def route(of: str, key: str, target: str, **more: Any) -> dict[str, Any]:
        joined = {"Fn::Join": ["", ["integrations/", {"Ref": target}]]}
        return resource("AWS::ApiGatewayV2::Route", ApiId={"Ref": of}, RouteKey=key, Target=joined, **more)

    locked = {"AuthorizationType": "JWT", "AuthorizerId": {"Ref": "Authorizer"}}
    return {
        "Users": resource("AWS::Cognito::UserPool"),
        "Client": resource("AWS::Cognito::UserPoolClient", UserPoolId={"Ref": "Users"}),
        "Echo": function("handlers.echo"),
        "Odd": function("handlers.odd"),
        "Ingest": api(CorsConfiguration=CORS),
        "IngestStage": resource("AWS::ApiGatewayV2::Stage", ApiId={"Ref": "Ingest"}, StageName="$default"),
        "IngestTo": integration("Ingest", "Echo"),
        "IngestRoute": route("Ingest", "$default", "IngestTo"),
        "Admin": api(
            CorsConfiguration={
                "AllowOrigins": ["https://console.vn"],
                "AllowMethods": ["GET"],
                "AllowHeaders": ["authorization"],
            }
        ),
        "Authorizer": resource(
            "AWS::ApiGatewayV2::Authorizer",
            ApiId={"Ref": "Admin"},
            Name="users",
            AuthorizerType="JWT",
            IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Issuer": ISSUER, "Audience": [{"Ref": "Client"}]},
        ),
        "AdminTo": integration("Admin", "Echo"),
        "AdminRoute": route("Admin", "GET /v1/things/{key}", "AdminTo", **locked),
        "OddTo": integration("Admin", "Odd"),
        "OddRoute": route("Admin", "GET /odd/{mode}", "OddTo"),
    }


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    folder = tmp_path_factory.mktemp("front")
    with Twin(data=folder / "data", assembly=write_assembly(folder / "cdk.out", resources(), CODE)) as twin:
        yield twin


def test_the_default_route_takes_what_no_other_route_has(twin: Twin) -> None:
    event = requests.post(f"{twin.url}/v1/batch?a=1", data=b"\x1f\x8b\0", headers={"Content-Type": "text/plain"}).json()

    assert event["routeKey"] == "$default"
    assert (event["rawPath"], event["rawQueryString"]) == ("/v1/batch", "a=1")
    assert base64.b64decode(event["body"]) == b"\x1f\x8b\0"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


def test_a_locked_route_wants_a_token_of_the_issuer(twin: Twin) -> None:
    url = f"{twin.url}/v1/things/a%20b"
    token = twin.admin_token(["viewer", "admin"])
    forged = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "x" * 32, "HS256")

    assert requests.get(url).status_code == 401
    assert requests.get(url, headers={"Authorization": f"Bearer {forged}"}).json() == {"message": "Unauthorized"}
    event = requests.get(url, headers={"Authorization": f"Bearer {token}"}).json()
    assert event["pathParameters"] == {"key": "a b"}
    assert event["requestContext"]["authorizer"]["jwt"]["claims"]["cognito:groups"] == "[viewer admin]"


def test_tokens_verify_against_the_published_keys_and_for_their_audience_only(twin: Twin) -> None:
    keys = jwt.PyJWKSet.from_dict(requests.get(f"{twin.url}/_twin/jwks").json())
    token = twin.admin_token(["viewer"])

    claims = jwt.decode(token, keys["twin"].key, ["RS256"], audience="client")

    assert claims["iss"].startswith("https://cognito-idp.")
    for wrong in ({"aud": "other"}, {"iss": "https://other"}, {"exp": 1}):
        foreign = jwt.encode({**claims, **wrong}, twin._issuer._key, "RS256")
        answer = requests.get(f"{twin.url}/v1/things/x", headers={"Authorization": f"Bearer {foreign}"})
        assert answer.status_code == 401, wrong


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/odd/plain", 200, {"a": 1}),
        ("/odd/bad", 500, {"message": "Internal Server Error"}),
        ("/odd/decimal", 500, {"message": "Internal Server Error"}),
        ("/odd/set", 500, {"message": "Internal Server Error"}),
        ("/odd/raise", 500, {"message": "Internal Server Error"}),
    ],
)
def test_what_a_function_answers_becomes_what_api_gateway_sends(twin: Twin, path: str, status: int, body: Any) -> None:
    answer = requests.get(twin.url + path)

    assert (answer.status_code, answer.json()) == (status, body)


def test_cors_is_that_of_the_api_whose_route_it_is(twin: Twin) -> None:
    def preflight(path: str, method: str, origin: str) -> requests.Response:
        return requests.options(twin.url + path, headers={"Origin": origin, "Access-Control-Request-Method": method})

    ingest = preflight("/v1/batch", "POST", "https://shop.vn")
    assert ingest.status_code == 204
    assert ingest.headers["access-control-allow-origin"] == "*"
    assert ingest.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-origin" not in preflight("/v1/things/x", "GET", "https://shop.vn").headers
    assert (
        preflight("/v1/things/x", "GET", "https://console.vn").headers["access-control-allow-origin"]
        == "https://console.vn"
    )
    answer = requests.post(f"{twin.url}/v1/batch", headers={"Origin": "https://shop.vn"})
    assert answer.headers["access-control-allow-origin"] == "*"  # the function's own CORS headers are replaced
    assert answer.headers["set-cookie"] == "a=1"


def test_a_body_may_come_in_chunks_on_a_kept_connection_without_stalls(twin: Twin) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", twin.server.port)
    seconds: list[float] = []
    for _ in range(10):
        started = time.perf_counter()
        connection.request(
            "POST", "/v1/t", iter([b'{"a":', b'"x"}']), {"Content-Type": "application/json"}, encode_chunked=True
        )
        event = json.loads(connection.getresponse().read())
        seconds.append(time.perf_counter() - started)

    assert event["body"] == '{"a":"x"}'
    assert "transfer-encoding" not in event["headers"]
    assert sorted(seconds)[2] < 0.03  # each would stall
    connection.close()


def test_a_body_over_ten_megabytes_is_refused(twin: Twin) -> None:
    with socket.create_connection(("127.0.0.1", twin.server.port)) as plain:
        plain.sendall(b"POST /v1/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485761\r\n\r\n")

        assert b" 413 " in plain.recv(1_000).split(b"\r\n")[0]


def test_who_sends_too_much_can_still_read_the_answer(twin: Twin) -> None:
    size = 11 * 1024 * 1024
    with socket.create_connection(("127.0.0.1", twin.server.port), timeout=20) as plain:
        plain.sendall(b"POST /v1/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
        plain.sendall(b"x" * size)

        assert b" 413 " in plain.recv(1_000).split(b"\r\n")[0]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW"])
def test_methods_that_no_gateway_knows_are_refused_in_json(twin: Twin, method: str) -> None:
    answer = requests.request(method, f"{twin.url}/v1/t", timeout=20)

    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/json")
    assert answer.json()["message"]


def test_a_broken_length_is_refused(twin: Twin) -> None:
    with socket.create_connection(("127.0.0.1", twin.server.port)) as plain:
        plain.sendall(b"POST /v1/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: ten\r\n\r\n")

        assert b" 400 " in plain.recv(1_000).split(b"\r\n")[0]


def test_a_payload_over_six_megabytes_never_reaches_the_function(twin: Twin) -> None:
    before = twin.runtime.figures()["Echo"].invocations

    answer = requests.post(f"{twin.url}/v1/t", data=b"x" * (6 * 1024 * 1024), headers={"Content-Type": "text/plain"})

    assert answer.status_code == 413
    assert twin.runtime.figures()["Echo"].invocations == before


def test_the_own_endpoints_answer(twin: Twin) -> None:
    assert requests.get(f"{twin.url}/health").status_code == 200
    assert requests.post(f"{twin.url}/_twin/drain", json={"timeout_s": 5}).json() == {"stuck": []}
    now = requests.get(f"{twin.url}/_twin/clock").json()
    moved = requests.post(f"{twin.url}/_twin/clock", json={"advance_ms": 60_000}).json()
    assert moved["offset_ms"] - now["offset_ms"] == 60_000
    assert requests.post(f"{twin.url}/_twin/clock", json={"advance_ms": -1}).status_code == 400
    assert "functions" in requests.get(f"{twin.url}/_twin/status").json()
    assert requests.post(f"{twin.url}/_twin/invoke/Odd", json={"rawPath": "/plain"}).json() == {"a": 1}
    assert requests.get(f"{twin.url}/_twin/nothing").status_code == 404


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.vn"}, {"Host": "evil.vn:8787"}])
def test_a_foreign_page_cannot_use_the_own_endpoints(twin: Twin, headers: dict[str, str]) -> None:
    assert requests.post(f"{twin.url}/_twin/clock", json={"advance_ms": 1}, headers=headers).status_code == 403


def test_a_second_twin_in_the_process_is_refused(twin: Twin) -> None:
    with pytest.raises(RuntimeError, match="already runs"), Twin():
        pass
