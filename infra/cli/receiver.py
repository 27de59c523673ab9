"""A receiver of webhooks on the laptop: it stands for an ads platform's audience.

It checks each signature as Standard Webhooks says, keeps the people of the audience and writes what it was told to a
file.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hoso.activate import signing


@dataclass(slots=True)
class Audience:
    """What the receiver holds: the people in the audience, and every message in the order of its arrival."""

    url: str
    members: set[str] = field(default_factory=set[str])
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _seen: set[str] = field(default_factory=set[str])

    def take(self, message_id: str, message: dict[str, Any]) -> None:
        """Apply a verified message; a message id that was seen before changes nothing."""
        if message_id in self._seen:
            return
        self._seen.add(message_id)
        self.messages.append(message)
        data = message["data"]
        change = {"add": self.members.add, "remove": self.members.discard}.get(data.get("action", ""))
        if change is not None:
            change(data["profile_id"])


@contextmanager
def audience(secret: str, log: Path, port: int = 0) -> Generator[Audience, None, None]:
    """A running receiver on the loopback address; it stops at the end."""
    held = Audience(url="")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Check, apply, log."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            good = _signed(secret, {name.lower(): value for name, value in self.headers.items()}, body)
            if good:
                message = json.loads(body)
                held.take(self.headers["webhook-id"], message)
                with log.open("a") as stream:
                    stream.write(json.dumps(message, ensure_ascii=False) + "\n")
            self.send_response(204 if good else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is http.server's
            """Keep the terminal for the story."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    held.url = f"http://127.0.0.1:{server.server_address[1]}/audience"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()


def _signed(secret: str, given: Mapping[str, str], body: bytes) -> bool:
    """Whether the signature is ours. The timestamp is not compared with a clock: the twin's may have been moved."""
    try:
        at_ms = int(given["webhook-timestamp"]) * 1_000
        expected = signing.headers(given["webhook-id"], at_ms, body, [secret])["webhook-signature"]
    except (KeyError, TypeError, ValueError):
        return False
    return any(hmac.compare_digest(expected, one) for one in given["webhook-signature"].split(" "))
