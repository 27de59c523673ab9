"""A proxy in front of the twin that makes the faults which clients meet on the way.

An event says in its own name which fault it wants: the first request that holds the event ``fault lost`` is stored
and its connection is cut before the answer. Every event is refused once, so that a client has to send it again.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from infra.twin.serving import Handler, Server

FAULTS = ("429", "500", "lost", "cut")
FAULT_EVENTS = tuple(f"fault {fault}" for fault in FAULTS)
_WANTED = re.compile(rb'"event"\s*:\s*"fault (429|500|lost|cut)"')
_USER = re.compile(rb'"run"\s*:\s*"([^"]+)"')
_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


@dataclass(slots=True)
class Seen:
    """One request: what came, and which fault it met (``status`` 0: the connection was cut)."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    fault: str = ""


@dataclass(slots=True)
class FaultProxy:
    """A running proxy. ``seen`` are the requests in the order of their end."""

    url: str
    seen: list[Seen] = field(default_factory=list[Seen])
    _met: set[tuple[bytes, bytes]] = field(default_factory=set[tuple[bytes, bytes]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, run: str) -> list[Seen]:
        """The POST requests that hold events of this run."""
        return [one for one in self.seen if one.method == "POST" and f'"run":"{run}"'.encode() in _compact(one.body)]

    def next_fault(self, body: bytes) -> str:
        """The fault that one of the events asks for, and did not meet yet; one fault a request."""
        user = _USER.search(body)
        if user is None:
            return ""
        with self._lock:
            for wanted in _WANTED.findall(body):
                if (user[1], wanted) not in self._met:
                    self._met.add((user[1], wanted))
                    return wanted.decode()
        return ""


@contextlib.contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy in front of the address ``http://host:port``."""
    host = upstream.removeprefix("http://")
    proxy = FaultProxy("")

    class Front(Handler):
        def do(self) -> None:
            raw = self.body(10 * 1024 * 1024)
            text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
            fault = proxy.next_fault(text) if self.command == "POST" else ""
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            status, body, answered = 0, b"", []
            if fault in {"429", "500"}:
                status, body = int(fault), b'{"success":false,"code":"made","message":"made by the proxy"}'
                answered = [
                    ("content-type", "application/json"),
                    ("access-control-allow-origin", "*"),
                    ("access-control-expose-headers", "retry-after"),
                    *([("retry-after", "1")] if fault == "429" else []),
                ]
            elif fault != "cut":
                status, body, answered = forward(host, self.command, self.path, headers, raw)
            lost = fault in {"lost", "cut"}
            proxy.seen.append(Seen(self.command, self.path, headers, text, 0 if lost else status, fault))
            if lost:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.reply(status, body, answered)

        do_GET = do_POST = do_OPTIONS = do  # noqa: N815

    server = Server(Front)
    proxy.url = f"http://127.0.0.1:{server.port}"
    try:
        yield proxy
    finally:
        server.close()


def forward(
    host: str, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, bytes, list[tuple[str, str]]]:
    """The upstream's answer, unchanged."""
    upstream = http.client.HTTPConnection(host, timeout=30)
    try:
        upstream.request(method, path, body or None, headers)
        answer = upstream.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        return answer.status, answer.read(), kept
    finally:
        upstream.close()


def _compact(body: bytes) -> bytes:
    return body.replace(b'"run": "', b'"run":"')
