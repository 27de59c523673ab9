"""A sender's API on this machine, for look-ups."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LEAD = "444444444444"
FORM = {
    "created_time": "2026-01-05T06:59:59+0000",
    "id": LEAD,
    "form_id": "555555555555",
    "ad_id": "777",
    "is_organic": False,
    "field_data": [
        {"name": "email", "values": ["an.nguyen@example.com"]},
        {"name": "phone_number", "values": ["0912345678"]},
        {"name": "full_name", "values": ["Nguyễn Thị An"]},
        {"name": "cỡ_giày", "values": ["39"]},
    ],
    "custom_disclaimer_responses": [{"checkbox_key": "marketing", "is_checked": "1"}],
}


@dataclass
class Vendor:
    """A sender's API: ``answer`` makes status, headers and body of a request (method, path, headers, body)."""

    answer: Callable[[str, str, dict[str, str], bytes], tuple[int, dict[str, str], Any]]
    url: str = ""
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def vendor(answer: Callable[..., tuple[int, dict[str, str], Any]]) -> Iterator[Vendor]:
    held = Vendor(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = (self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            held.asked.append(asked)
            status, headers, told = held.answer(*asked)
            raw = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()


def told(body: Any, status: int = 200, **headers: str) -> Callable[..., tuple[int, dict[str, str], Any]]:
    return lambda *_: (status, headers, body)
