"""The twin's own endpoints on the HTTP front: ``/health`` and ``/_twin/…``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from infra.twin import memory, recorder
from infra.twin.payload import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from infra.twin.twin import Twin

_LOCAL = {"127.0.0.1", "localhost", "[::1]"}


class Control:
    """Answers what is meant for the twin itself; None for everything else."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._routes: dict[str, Callable[[Any], Any]] = {
            "GET /health": lambda _body: {"status": "ok", "stage": "twin"},
            "GET /_twin/clock": lambda _body: self._time(),
            "POST /_twin/clock": self._move,
            "POST /_twin/drain": lambda body: {"stuck": twin.drain(float(body.get("timeout_s", 60)))},
            "GET /_twin/status": lambda _body: self._status(),
            "GET /_twin/metrics": lambda _body: twin.figures.totals(),
            "GET /_twin/env": lambda _body: twin.env,
            "GET /_twin/jwks": lambda _body: twin.jwks(),
        }

    def __call__(self, request: HttpRequest) -> HttpResponse | None:
        """The answer, if the request is one of the twin's own."""
        url = urlsplit(request.target)
        if url.path != "/health" and not url.path.startswith("/_twin/"):
            return None
        if not _from_here(request):
            return HttpResponse.of(403, {"message": "the twin's own endpoints answer this machine's programs only"})
        try:
            body: Any = json.loads(request.body) if request.body else {}
            if url.path == "/_twin/calls":
                return HttpResponse.of(200, recorder.raw() if "raw" in parse_qs(url.query) else recorder.summary())
            if request.method == "POST" and url.path.startswith("/_twin/invoke/"):
                return self._invoke(url.path.removeprefix("/_twin/invoke/"), body)
            route = self._routes.get(f"{request.method} {url.path}")
            return (
                HttpResponse.of(404, {"message": "Not Found"}) if route is None else HttpResponse.of(200, route(body))
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return HttpResponse.of(400, {"message": f"{type(error).__name__}: {error}"})

    def _invoke(self, name: str, body: Any) -> HttpResponse:
        outcome = self._twin.runtime.invoke(name, json.dumps(body).encode())
        return HttpResponse.of(502 if outcome.failed else 200, outcome.payload)

    def _time(self) -> dict[str, int]:
        return {"now_ms": self._twin.clock.now_ms(), "offset_ms": self._twin.clock.offset_ms}

    def _move(self, body: dict[str, Any]) -> dict[str, int]:
        step_ms = int(body["set"]) - self._twin.clock.now_ms() if "set" in body else int(body["advance_ms"])
        self._twin.advance(step_ms)
        return self._time()

    def _status(self) -> dict[str, Any]:
        twin = self._twin
        queues = {arn.rpartition(":")[2]: memory.Queue(arn).depth() for arn in twin.deployment.queues}
        return {
            "stuck": twin.stuck(),
            "functions": {name: asdict(figures) for name, figures in twin.runtime.figures().items()},
            "lags": {f"{poller.source.key} {poller.shard.id}": poller.lag() for poller in twin.stream_pollers},
            "discarded": {poller.source.key: poller.discarded for poller in twin.stream_pollers if poller.discarded},
            "queues": {name: {"visible": visible, "all": everything} for name, (visible, everything) in queues.items()},
            "denied": [f"{entry.need}: {entry.reason}" for entry in twin.denied()],
            "given_up": dict(twin.courier.given_up),
            "executions": memory.running_executions(),
            "clock": self._time(),
        }


def _from_here(request: HttpRequest) -> bool:
    """No page of another site, and no other name that was made to point here."""
    host = (request.header("host") or "").rpartition(":")[0] or request.header("host")
    origin = request.header("origin")
    return host in _LOCAL and (origin is None or urlsplit(origin).netloc == request.header("host"))
