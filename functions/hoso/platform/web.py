"""Admin API in a few lines: a table of routes, typed errors as JSON answers.

A handler module makes its table once and answers each request from it::

    ROUTES = Router({"GET /v1/things/{key}": show_thing})

    def show_thing(request: Request) -> dict[str, Any]:
        request.require("engineer")
        return load(request.path["key"])

    def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
        return answer(event, context, ROUTES)

What a route returns is the JSON body of a 200; an ``Answer`` carries another status or headers. Errors of
``hoso.model.errors`` become 4xx and 503 with ``code``, ``message``, ``hint`` and ``requestId``; anything else becomes
a 500 that tells nothing about the inside (security S8).
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson

from hoso.model.errors import (
    Conflict,
    Forbidden,
    HosoError,
    InvalidInput,
    NotFound,
    Transient,
    Unauthorized,
    UnsupportedMediaType,
)
from hoso.model.time import parse_instant
from hoso.platform.access import Actor, actor_of, require

if TYPE_CHECKING:
    from pydantic import BaseModel

M = TypeVar("M", bound="BaseModel")
LIMIT_DEFAULT = 50
LIMIT_MAX = 500
RETRY_AFTER_S = 2
_STATUS: tuple[tuple[type[HosoError], int], ...] = (
    (InvalidInput, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (UnsupportedMediaType, 415),
    (Transient, 503),
)


@dataclass(frozen=True)
class Request:
    """One admin request. ``path`` holds the path parameters, ``query`` the (first) query values."""

    event: Mapping[str, Any]
    route: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    request_id: str

    def require(self, *roles: str) -> Actor:
        """The caller, if a role allows it (none named: any role). Raises ``Forbidden``."""
        return require(self.event, *roles)

    @cached_property
    def actor(self) -> Actor:
        """The caller, whatever its roles."""
        return actor_of(self.event)

    @cached_property
    def json(self) -> Any:
        """The body parsed; ``None`` when there is none.

        Raises:
            UnsupportedMediaType: the body is not declared as ``application/json``.
            InvalidInput: ``invalid_json``.
        """
        body: str | None = self.event.get("body")
        if not body:
            return None
        headers: Mapping[str, str] = self.event.get("headers") or {}
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            # another site's form cannot declare JSON without a preflight (security S10)
            raise UnsupportedMediaType("the body must be application/json", hint="set Content-Type: application/json")
        try:
            return orjson.loads(b64decode(body) if self.event.get("isBase64Encoded") else body)
        except ValueError as error:
            raise InvalidInput("the body is not valid JSON", code="invalid_json") from error

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; an absent body is an empty one. Raises ``InvalidInput``."""
        body = self.json
        if body is None:
            return {}
        if not isinstance(body, dict):
            raise InvalidInput("the body must be a JSON object")
        return cast("dict[str, Any]", body)

    def parse(self, model: type[M]) -> M:
        """The body as a pydantic model. Raises ``InvalidInput`` that names each wrong field, never its value."""
        from pydantic import ValidationError

        try:
            return model.model_validate(self.document)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()]
            raise InvalidInput("; ".join(faults[:20])) from error

    def limit(self, default: int = LIMIT_DEFAULT, most: int = LIMIT_MAX) -> int:
        """The ``limit`` of a list, 1 to ``most``. Raises ``InvalidInput``."""
        text = self.query.get("limit")
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
            raise InvalidInput("limit must be a whole number of at least 1")
        return min(int(text), most)

    def instant(self, name: str) -> int | None:
        """A time in the query (UTC ms): an instant, or a day (its begin in UTC); None when it is not there.

        Raises:
            InvalidInput: it is neither.
        """
        text = self.query.get(name)
        if text is None:
            return None
        instant = parse_instant(f"{text}T00:00:00Z" if len(text) == 10 else text.replace(" ", "+"))
        if instant is None:
            raise InvalidInput(f"{name} must be a date-time", hint="write such as 2026-11-22T19:00:00Z")
        return instant

    @property
    def cursor(self) -> Any:
        """The value that ``encode_cursor`` packed for the next page, None on the first. Raises ``InvalidInput``."""
        text = self.query.get("cursor")
        return None if not text else decode_cursor(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """A result with another status than 200, or with more headers. A body of bytes or text goes out as it is."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Route = Callable[[Request], Any]


class Router:
    """Functions by route key (``"GET /v1/segments/{key}"``), as API Gateway names them in ``routeKey``."""

    __slots__ = ("routes",)

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.routes = dict(routes)

    def dispatch(self, request: Request) -> Any:
        """The result of the route. Raises ``NotFound`` for a route that is not in the table."""
        function = self.routes.get(request.route)
        if function is None:
            raise NotFound("no such route")
        return function(request)


def answer(event: Mapping[str, Any], context: object, router: Router) -> dict[str, Any]:
    """The HTTP API answer (payload 2.0) to one request. Never raises."""
    request = request_of(event, context)
    try:
        result = router.dispatch(request)
    except HosoError as error:
        return _refusal(error, request)
    except Exception as error:  # the last line: the caller gets a request id, the log the place
        return _breakdown(error, request)
    reply = result if isinstance(result, Answer) else Answer(body=result)
    return respond(reply)


def request_of(event: Mapping[str, Any], context: object) -> Request:
    """The request in an HTTP API event."""
    gateway: Mapping[str, Any] = event.get("requestContext") or {}
    return Request(
        event=event,
        route=str(event.get("routeKey", "")),
        path=event.get("pathParameters") or {},
        query=event.get("queryStringParameters") or {},
        request_id=str(gateway.get("requestId") or getattr(context, "aws_request_id", "")),
    )


def respond(reply: Answer) -> dict[str, Any]:
    """The wire form of an answer."""
    headers = {"content-type": "application/json", "cache-control": "no-store", "x-content-type-options": "nosniff"}
    body = reply.body
    text = body if isinstance(body, str) else (body if isinstance(body, bytes) else orjson.dumps(body)).decode()
    return {"statusCode": reply.status, "headers": {**headers, **reply.headers}, "body": text}


def encode_cursor(value: Any) -> str:
    """An opaque, URL-safe text for any JSON value that says where the next page starts."""
    return urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def decode_cursor(text: str) -> Any:
    """The value that ``encode_cursor`` packed. Raises ``InvalidInput`` for other text."""
    try:
        return orjson.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except ValueError as error:
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again") from error


def status_of(error: HosoError) -> int:
    """The HTTP status of a typed error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _refusal(error: HosoError, request: Request) -> dict[str, Any]:
    status = status_of(error)
    if status == 500:
        return _breakdown(error, request)
    headers = {"retry-after": str(RETRY_AFTER_S)} if status == 503 else {}
    return respond(Answer(status, _problem(error.code, error.message, error.hint, request), headers))


def _breakdown(error: Exception, request: Request) -> dict[str, Any]:
    """A 500. The log gets the kind and the place of the error, not its text: that may hold a customer's data."""
    from hoso.platform.log import logger

    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    logger("web").error(
        "request failed",
        extra={"route": request.route, "request_id": request.request_id, "error": type(error).__name__, "at": place},
    )
    hint = "try again; if it stays, search the log for the request id"
    return respond(Answer(500, _problem("internal_error", "something broke on our side", hint, request)))


def _problem(code: str, message: str, hint: str, request: Request) -> dict[str, Any]:
    return {"success": False, "code": code, "message": message, "hint": hint, "requestId": request.request_id}
