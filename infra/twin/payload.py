"""HTTP API payload format 2.0: from a request to a function's event, and from its answer to the response.

Source: "Create AWS Lambda proxy integrations for HTTP APIs" of the API Gateway guide.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from infra.twin.assembly import ACCOUNT

_TEXT = re.compile(r"(text/.*|application/(json|javascript|xml|.*\+(json|xml)))$")
INTERNAL_ERROR = b'{"message":"Internal Server Error"}'


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came. ``target`` is the path with its query, undecoded."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    protocol: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        """The path, decoded, as HTTP APIs hand it on."""
        return unquote(self.target.partition("?")[0])

    def header(self, name: str) -> str | None:
        """The first header of a name (lower case)."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer to send."""

    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, status: int, value: Any) -> HttpResponse:
        """A JSON answer."""
        body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        return cls(status, body, [("content-type", "application/json")])


@dataclass(frozen=True, slots=True)
class Matched:
    """The route of a request: its API, its key, the path parameters, and the claims of its token, if any."""

    api: str
    route_key: str
    parameters: Mapping[str, str]
    claims: Mapping[str, str] | None = None


def event_of(request: HttpRequest, matched: Matched, request_id: str, now_ms: int) -> dict[str, Any]:
    """The event that the function gets."""
    path, _, query = request.target.partition("?")
    headers, cookies = _joined(request.headers)
    host = headers.get("host", "localhost")
    context: dict[str, Any] = {
        "accountId": ACCOUNT,
        "apiId": matched.api,
        "domainName": host,
        "domainPrefix": host.split(".")[0].split(":")[0],
        "http": {
            "method": request.method,
            "path": unquote(path),
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": matched.route_key,
        "stage": "$default",
        "time": datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": now_ms,
    }
    if matched.claims is not None:
        context["authorizer"] = {"jwt": {"claims": dict(matched.claims), "scopes": None}}
    headers.setdefault("x-forwarded-for", request.source_ip)
    headers.setdefault("x-forwarded-port", host.rpartition(":")[2] if ":" in host else "80")
    headers.setdefault("x-forwarded-proto", "http")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": matched.route_key,
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    parameters = _query(query)
    if parameters:
        event["queryStringParameters"] = parameters
    if matched.parameters:
        event["pathParameters"] = dict(matched.parameters)
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request.body, headers)
    return event


def response_of(answer: Any) -> HttpResponse:
    """The response of a function's answer; a plain value becomes 200 JSON, a malformed one 500."""
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return HttpResponse.of(200, answer)
    result = cast("dict[str, Any]", answer)
    try:
        status = int(result["statusCode"])
        given = cast("dict[str, Any]", result.get("headers") or {})
        headers = [(name.lower(), _header_text(value)) for name, value in given.items()]
        headers += [("set-cookie", str(cookie)) for cookie in cast("list[Any]", result.get("cookies") or [])]
        text = result.get("body")
        if not 100 <= status <= 599 or not (text is None or isinstance(text, str)):
            return HttpResponse.of(500, INTERNAL_ERROR)
        body = base64.b64decode(text or "", validate=True) if result.get("isBase64Encoded") else (text or "").encode()
    except (ValueError, TypeError, AttributeError):
        return HttpResponse.of(500, INTERNAL_ERROR)
    if text is not None and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=UTF-8"))
    return HttpResponse(status, body, headers)


def cors_headers(cors: Mapping[str, Any], origin: str | None) -> list[tuple[str, str]]:
    """What an API with built-in CORS adds to an answer for this origin; nothing for one that may not call it."""
    origins: list[str] = cors.get("AllowOrigins", [])
    if origin is None or not ("*" in origins or origin in origins):
        return []
    headers = [("access-control-allow-origin", "*" if "*" in origins else origin)]
    if "*" not in origins:
        headers.append(("vary", "origin"))
    if cors.get("AllowCredentials"):
        headers.append(("access-control-allow-credentials", "true"))
    exposed = cors.get("ExposeHeaders")
    return [*headers, ("access-control-expose-headers", ",".join(exposed))] if exposed else headers


def preflight(cors: Mapping[str, Any], origin: str | None) -> HttpResponse:
    """The answer to a preflight request; without CORS headers if the origin may not call."""
    headers = cors_headers(cors, origin)
    if headers:
        for name, setting in (("methods", "AllowMethods"), ("headers", "AllowHeaders")):
            if cors.get(setting):
                headers.append((f"access-control-allow-{name}", ",".join(cors[setting])))
        if "MaxAge" in cors:
            headers.append(("access-control-max-age", str(cors["MaxAge"])))
    return HttpResponse(204, b"", headers)


def _joined(headers: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Headers in lower case, values of one name joined by commas; cookies apart."""
    joined: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in headers:
        key = name.lower()
        if key == "cookie":
            cookies += [part.strip() for part in value.split(";")]
        elif key != "transfer-encoding":
            joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined, cookies


def _query(query: str) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _body(body: bytes, headers: Mapping[str, str]) -> tuple[str, bool]:
    """The body as text where its type is text and nothing is encoded; base64 otherwise."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if _TEXT.match(kind) and "content-encoding" not in headers:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _header_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
