"""The admin router: roles, typed errors as answers, bodies, paging."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hoso.model.errors import Conflict, Forbidden, InvalidInput, Misconfigured, NotFound, Transient
from hoso.platform.access import actor_of, require
from hoso.platform.web import Answer, Request, Router, answer, encode_cursor


def call(function: Any, *, roles: object = "[viewer]", body: str | None = None, **event: Any) -> dict[str, Any]:
    claims = {"sub": "someone", "cognito:groups": roles}
    request = {
        "routeKey": "GET /v1/things/{key}",
        "pathParameters": {"key": "a b"},
        "headers": {"content-type": "application/json; charset=utf-8"},
        "body": body,
        "requestContext": {"requestId": "r-1", "authorizer": {"jwt": {"claims": claims}}},
        **event,
    }
    return answer(request, None, Router({"GET /v1/things/{key}": function}))


def test_the_result_of_a_route_is_the_body_of_a_200() -> None:
    reply = call(lambda request: {"key": request.path["key"]})

    assert (reply["statusCode"], json.loads(reply["body"])) == (200, {"key": "a b"})
    assert reply["headers"]["content-type"] == "application/json"


def test_an_answer_carries_its_own_status_and_headers() -> None:
    reply = call(lambda request: Answer(202, {"name": "x"}, {"location": "/x"}))

    assert (reply["statusCode"], reply["headers"]["location"]) == (202, "/x")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("m"), 400),
        (Forbidden("m"), 403),
        (NotFound("m"), 404),
        (Conflict("m"), 409),
        (Transient("m"), 503),
        (Misconfigured("m"), 500),
        (ValueError("an@example.vn"), 500),
    ],
)
def test_s8_errors_have_code_and_request_id_and_tell_nothing_of_the_inside(error: Exception, status: int) -> None:
    def broken(request: Request) -> None:
        raise error

    reply = call(broken)

    body = json.loads(reply["body"])
    assert reply["statusCode"] == status
    assert (body["success"], body["requestId"]) == (False, "r-1")
    assert body["code"]
    assert "an@example.vn" not in reply["body"]
    assert ("retry-after" in reply["headers"]) == (status == 503)


def test_an_unknown_route_is_404() -> None:
    assert call(lambda request: {}, routeKey="GET /v1/other")["statusCode"] == 404


@pytest.mark.parametrize("claim", ["[engineer viewer]", "engineer", ["engineer"], "[viewer, engineer]"])
def test_s11_roles_are_read_in_every_form_the_gateway_gives(claim: object) -> None:
    reply = call(lambda request: {"who": request.require("engineer").subject}, roles=claim)

    assert json.loads(reply["body"]) == {"who": "someone"}


@pytest.mark.parametrize("claim", ["[viewer]", "[]", "", None, "[engineers]", 7])
def test_s11_other_roles_are_forbidden(claim: object) -> None:
    assert call(lambda request: request.require("engineer"), roles=claim)["statusCode"] == 403


def test_s11_an_admin_may_do_everything_and_a_stranger_nothing() -> None:
    assert call(lambda request: request.require("privacy").subject, roles="[admin]")["statusCode"] == 200
    assert call(lambda request: request.require(), roles="[stranger]")["statusCode"] == 403


def test_s1_a_request_that_passed_no_authorizer_is_401() -> None:
    assert call(lambda request: request.require(), requestContext={})["statusCode"] == 401
    with pytest.raises(Forbidden):
        require({"requestContext": {"authorizer": {"jwt": {"claims": {}}}}})
    assert actor_of({"requestContext": {"authorizer": {"jwt": {"claims": {}}}}}).roles == frozenset()


def test_a_body_is_parsed_whether_base64_or_not() -> None:
    assert json.loads(call(lambda request: request.document, body='{"a":1}')["body"]) == {"a": 1}
    encoded = call(lambda request: request.document, body="eyJhIjoxfQ==", isBase64Encoded=True)
    assert json.loads(encoded["body"]) == {"a": 1}
    assert json.loads(call(lambda request: request.document)["body"]) == {}


@pytest.mark.parametrize("body", ["{", "[1]", "7"])
def test_a_body_that_is_no_json_object_is_400(body: str) -> None:
    assert call(lambda request: request.document, body=body)["statusCode"] == 400


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_s10_a_body_that_is_not_declared_as_json_is_415(kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert call(lambda request: request.document, body="{}", headers=headers)["statusCode"] == 415


def test_a_wrong_field_is_named_without_its_value() -> None:
    from pydantic import BaseModel

    class Thing(BaseModel):
        size: int

    reply = call(lambda request: request.parse(Thing).size, body='{"size": "an@example.vn"}')

    assert reply["statusCode"] == 400
    assert "size:" in json.loads(reply["body"])["message"]
    assert "an@example.vn" not in reply["body"]


def test_cursors_come_back_as_they_were_given() -> None:
    query = {"cursor": encode_cursor(["a#b", 7]), "limit": "9999"}
    reply = call(lambda request: [request.cursor, request.limit()], queryStringParameters=query)

    assert json.loads(reply["body"]) == [["a#b", 7], 500]


@pytest.mark.parametrize("query", [{"cursor": "é"}, {"cursor": "!!"}, {"limit": "0"}, {"limit": "-1"}, {"limit": "²"}])
def test_a_bad_cursor_or_limit_is_400(query: dict[str, str]) -> None:
    reply = call(lambda request: [request.cursor, request.limit()], queryStringParameters=query)

    assert reply["statusCode"] == 400
