"""A small HTTP/1.1 server on the loopback address: keep-alive without stalls, chunked bodies, bounded sizes."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"
_LINE_LIMIT = 1_024
_DRAINED_BYTES = 64 * 1024 * 1024
_DRAINED_S = 1.0
_PIECE_BYTES = 256 * 1024


class BodyTooLarge(Exception):
    """The body is over the limit; the connection cannot be used further."""


class BadBody(Exception):
    """The body is not framed as HTTP says."""


class Handler(BaseHTTPRequestHandler):
    """Base of the twin's handlers."""

    protocol_version = "HTTP/1.1"
    # Unbuffered writes with Nagle's algorithm cost 44 ms a call on a kept connection.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 120

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        """Requests are not logged."""

    def body(self, limit: int) -> bytes:
        """The request's body, chunked or with a length.

        Raises:
            BodyTooLarge: it is over ``limit`` bytes.
            BadBody: its framing is broken.
        """
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks(limit)
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise BadBody
        if int(length) > limit:
            raise BodyTooLarge
        return self.rfile.read(int(length))

    def drain(self) -> None:
        """Read on after a refusal, for a while: a client that is still sending would meet a reset, not the answer."""
        left = _DRAINED_BYTES
        self.connection.settimeout(_DRAINED_S)
        with contextlib.suppress(OSError):
            while left > 0 and (piece := self.rfile.read1(_PIECE_BYTES)):
                left -= len(piece)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse what is no HTTP, or a method that no gateway knows: in JSON, and never with a page."""
        self.close_connection = True
        known = code != HTTPStatus.NOT_IMPLEMENTED
        status = HTTPStatus(code) if known else HTTPStatus.METHOD_NOT_ALLOWED
        body = json.dumps({"code": status.phrase.lower().replace(" ", "_"), "message": status.phrase}).encode()
        self.reply(status, body, {"content-type": "application/json", "connection": "close"})

    def _chunks(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            size_text = self.rfile.readline(_LINE_LIMIT).split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError:
                raise BadBody from None
            if size < 0:
                raise BadBody
            total += size
            if total > limit:
                raise BodyTooLarge
            if size == 0:
                while self.rfile.readline(_LINE_LIMIT) not in (b"\r\n", b"\n", b""):
                    pass
                return b"".join(parts)
            parts.append(self.rfile.read(size))
            self.rfile.readline(_LINE_LIMIT)

    def reply(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        """Send an answer."""
        self.send_response(status)
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        for name, value in pairs:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """A running server; ``close`` stops it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[Handler], port: int = 0) -> None:
        super().__init__((HOST, port), handler)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""

    def close(self) -> None:
        """Stop taking connections."""
        self.shutdown()
        self.server_close()
