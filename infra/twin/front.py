"""The twin's HTTP address: API Gateway's routing, CORS, authorizers and limits in front of the functions.

All HTTP APIs share one port: explicit routes of any of them come first, then a ``$default`` route.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from infra.twin.lambdas import PAYLOAD_BYTES, Runtime
from infra.twin.payload import (
    INTERNAL_ERROR,
    HttpRequest,
    HttpResponse,
    Matched,
    cors_headers,
    event_of,
    preflight,
    response_of,
)
from infra.twin.registry import Deployment, Route
from infra.twin.serving import BadBody, BodyTooLarge, Handler, Server
from infra.twin.tokens import Issuer

REQUEST_BYTES = 10 * 1024 * 1024
_PARAMETER = re.compile(r"\\\{([^}+]+?)(\\\+)?\\\}")
Control = Callable[[HttpRequest], HttpResponse | None]


class Router:
    """Finds the route of a request as HTTP APIs do: full paths before parameters before greedy ones."""

    def __init__(self, routes: list[Route]) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        self._default: Route | None = None
        for route in sorted(routes, key=lambda route: (route.key.count("+}"), route.key.count("{"))):
            if route.key == "$default":
                self._default = route
                continue
            method, path = route.key.split(" ", 1)
            pattern = _PARAMETER.sub(_group, re.escape(path))
            self._routes.append((method, re.compile(pattern + r"/?\Z"), route))

    def find(self, method: str, raw_path: str) -> tuple[Route, Mapping[str, str]] | None:
        """The route and its (decoded) path parameters; None when no API has one."""
        for allowed, pattern, route in self._routes:
            match = pattern.match(raw_path) if allowed in (method, "ANY") else None
            if match:
                names = re.findall(r"\{([^}+]+)\+?\}", route.key)
                return route, {name: unquote(value) for name, value in zip(names, match.groups(), strict=True)}
        return (self._default, {}) if self._default else None


def _group(match: re.Match[str]) -> str:
    return "(.+)" if match[2] else "([^/]+)"


class Gateway:
    """Answers requests."""

    def __init__(self, deployment: Deployment, runtime: Runtime, issuer: Issuer, now_ms: Callable[[], int]) -> None:
        self._deployment = deployment
        self._runtime = runtime
        self._issuer = issuer
        self._now_ms = now_ms
        self._router = Router(deployment.routes)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """The response to a request."""
        raw_path = request.target.partition("?")[0]
        origin = request.header("origin")
        wanted = request.header("access-control-request-method")
        asks_first = request.method == "OPTIONS" and origin is not None and wanted is not None
        found = self._router.find(wanted if asks_first and wanted else request.method, raw_path)
        if found is None:
            return HttpResponse.of(404, {"message": "Not Found"})
        route, parameters = found
        cors = self._deployment.cors.get(route.api)
        if cors is None:
            return self._through(request, route, parameters)
        if asks_first:
            return preflight(cors, origin)
        answer = self._through(request, route, parameters)
        # An API with CORS settings replaces what the function says about CORS.
        own = [(name, value) for name, value in answer.headers if not name.startswith("access-control-")]
        return HttpResponse(answer.status, answer.body, [*own, *cors_headers(cors, origin)])

    def _through(self, request: HttpRequest, route: Route, parameters: Mapping[str, str]) -> HttpResponse:
        claims = None
        if route.authorizer is not None:
            authorizer = self._deployment.authorizers[route.authorizer]
            claims = self._issuer.claims(authorizer, request.header("authorization"))
            if claims is None:
                return HttpResponse.of(401, {"message": "Unauthorized"})
        matched = Matched(route.api, route.key, parameters, claims)
        request_id = str(uuid.uuid4())
        event = event_of(request, matched, request_id, self._now_ms())
        payload = json.dumps(event, ensure_ascii=False).encode()
        if len(payload) > PAYLOAD_BYTES:
            return HttpResponse.of(413, {"message": _REFUSAL[True]})
        outcome = self._runtime.invoke(self._deployment.integrations[route.integration], payload)
        answer = HttpResponse.of(500, INTERNAL_ERROR) if outcome.failed else response_of(outcome.value)
        return HttpResponse(answer.status, answer.body, [*answer.headers, ("apigw-requestid", request_id)])


def listen(gateway: Gateway, control: Control, port: int) -> Server:
    """Serve on the loopback address; ``control`` may answer a request before the APIs do."""

    class Front(Handler):
        def do(self) -> None:
            """Answer one request."""
            try:
                body = self.body(REQUEST_BYTES)
            except (BodyTooLarge, BadBody) as error:
                self.close_connection = True
                large = isinstance(error, BodyTooLarge)
                self._send(HttpResponse.of(413 if large else 400, {"message": _REFUSAL[large]}))
                self.drain()
                return
            request = HttpRequest(
                method=self.command,
                target=self.path,
                headers=self.headers.items(),
                body=body,
                source_ip=self.client_address[0],
                protocol=self.request_version,
            )
            self._send(control(request) or gateway.answer(request))

        def _send(self, answer: HttpResponse) -> None:
            skipped = ("content-length", "connection", "transfer-encoding")
            kept = [(name, value) for name, value in answer.headers if name.lower() not in skipped]
            self.reply(answer.status, answer.body, kept)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do  # noqa: N815

    return Server(Front, port)


_REFUSAL = {True: "Request Entity Too Large", False: "Bad Request"}
