"""The only outbound HTTP client (security S20–S24, S27; reliability R42).

A destination's address is set by a user, so it is hostile until shown otherwise: the name is resolved at the send,
every answer of the resolver must be public, the connection goes to the address that was checked (no second look-up that
could answer otherwise), redirects are answers like any other, proxies of the environment are not known here, and one
wall-clock deadline covers resolving, connecting, TLS, sending and reading. Time-outs per socket operation, as HTTP
libraries have them, never end while a server drips a byte now and then.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from hoso.model.errors import HosoError, InvalidInput, Transient
from hoso.platform.addresses import is_public

MAX_ANSWER_BYTES = 64 * 1024
MAX_URL = 2_000
DEADLINE_S = 10.0
USER_AGENT = "Hoso/1"
_MAX_HEAD_BYTES = 64 * 1024
_ADDRESSES_TRIED = 3
_PORTS = {"https": 443, "http": 80}
_VISIBLE = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~]*")


class Target(NamedTuple):
    """Where a URL points to. ``host`` has no brackets; ``path`` begins with ``/`` and keeps the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Blocked(HosoError):
    """The target may not be called; no packet was sent to it."""

    code = "blocked_target"


class NoAnswer(Transient):
    """No usable HTTP answer came before the deadline; the request may or may not have arrived."""

    code = "no_answer"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: status, ``Retry-After`` as sent, the begin of the body, never decompressed, and the headers with
    their names in lower case."""

    status: int
    retry_after: str | None
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Resolved(NamedTuple):
    """One answer of the resolver: the family, the address as text, what ``socket.connect`` takes."""

    family: int
    address: str
    sockaddr: Any


Resolver = Callable[[str, int], list[Resolved]]


def system_resolver(host: str, port: int) -> list[Resolved]:
    """All addresses of a name. Raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [Resolved(family, str(sockaddr[0]), sockaddr) for family, _, _, _, sockaddr in found]


def target_of(url: str, *, local: bool = False) -> Target:
    """The target of a URL, parsed once.

    ``local`` (the twin only) also allows http, any port and private addresses.

    Raises:
        InvalidInput: ``bad_url``; what is wrong with it.
    """
    if len(url) > MAX_URL or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise _bad_url("the URL is too long or holds characters that a URL cannot hold")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_url("the URL cannot be parsed") from error
    if parts.scheme not in (_PORTS if local else ("https",)):
        raise _bad_url("the URL must begin with https://")
    if not host or "@" in parts.netloc:
        raise _bad_url("the URL needs a host and no user name")
    if port is None:
        port = _PORTS[parts.scheme]
    if not local and port != _PORTS["https"]:
        raise _bad_url("only port 443 is allowed")
    if ":" in host:
        _check_literal(host)
    elif not _NAME.fullmatch(host):
        raise _bad_url("the host is not a valid name")
    if not local and _is_closed_literal(host):
        raise _bad_url("the host is not a public address")
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.scheme, host, port, (parts.path or "/") + query)


class Outbound:
    """Calls the world. ``deadline_s`` covers one call as a whole."""

    def __init__(
        self,
        *,
        local: bool = False,
        deadline_s: float = DEADLINE_S,
        resolver: Resolver = system_resolver,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._local = local
        self._deadline_s = deadline_s
        self._resolver = resolver
        self._context = context

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The answer to a POST, whatever its status. Raises as ``call`` does."""
        return self.call("POST", url, headers, body)

    def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, most: int = MAX_ANSWER_BYTES
    ) -> Reply:
        """The answer to a request, whatever its status, with up to ``most`` bytes of its body.

        Raises:
            InvalidInput: ``bad_url`` or ``bad_header``.
            Blocked: the name resolves to an address that may not be called.
            NoAnswer: nothing usable came before the deadline.
        """
        target = target_of(url, local=self._local)
        request = _request(method, target, headers, body)
        deadline = time.monotonic() + self._deadline_s
        try:
            addresses = self._resolve(target, deadline)
            with self._connect(target, addresses, deadline) as connection:
                _send(connection, request, deadline)
                return _read(connection, deadline, method, most)
        except (OSError, HTTPException) as error:
            raise NoAnswer(f"no answer: {type(error).__name__}") from error

    def _resolve(self, target: Target, deadline: float) -> list[Resolved]:
        """The checked addresses. The system's resolver cannot be interrupted, so it runs beside the deadline."""
        found: list[Resolved] = []
        failure: list[OSError | UnicodeError] = []

        def look_up() -> None:
            try:
                found.extend(self._resolver(target.host, target.port))
            except (OSError, UnicodeError) as error:
                failure.append(error)

        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(_left(deadline))
        if thread.is_alive() or failure or not found:
            raise NoAnswer("the host's name does not resolve")
        if not self._local and not all(is_public(resolved.address) for resolved in found):
            raise Blocked("the host's name resolves to an address that is not public")
        return found[:_ADDRESSES_TRIED]

    def _connect(self, target: Target, addresses: list[Resolved], deadline: float) -> socket.socket:
        problem: OSError = OSError("no address")
        for resolved in addresses:
            plain = socket.socket(resolved.family, socket.SOCK_STREAM)
            try:
                plain.settimeout(_left(deadline))
                plain.connect(resolved.sockaddr)
                if target.scheme == "http":
                    return plain
                plain.settimeout(_left(deadline))
                return (self._context or _tls()).wrap_socket(plain, server_hostname=target.host)
            except OSError as error:
                plain.close()
                problem = error
        raise problem


class _Wire(io.RawIOBase):
    """What comes from a socket, until a deadline and up to a number of bytes."""

    def __init__(self, connection: socket.socket, deadline: float, most: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left = most

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Bytes as they arrive; none once the allowance is used up. Raises ``TimeoutError`` at the deadline."""
        if self._left <= 0:
            return 0
        self._connection.settimeout(_left(self._deadline))
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What ``HTTPResponse`` asks of a socket."""
        return io.BufferedReader(self)


@cache
def _tls() -> ssl.SSLContext:
    """The system's trust, names checked. Loading it takes milliseconds, so once per process."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _request(method: str, target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {target.path} HTTP/1.1"]
    own = {
        "host": target.authority,
        "user-agent": USER_AGENT,
        "accept-encoding": "identity",
        "connection": "close",
        "content-length": str(len(body)),
    }
    for name, value in ({name.lower(): value for name, value in headers.items()} | own).items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidInput("a header has characters that a header cannot hold", code="bad_header")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _send(connection: socket.socket, request: bytes, deadline: float) -> None:
    rest = memoryview(request)
    while rest:
        connection.settimeout(_left(deadline))
        rest = rest[connection.send(rest[:16_384]) :]


def _read(connection: socket.socket, deadline: float, method: str, most: int) -> Reply:
    """The answer. Once its head is here the outcome is known, so a body that breaks off or drips is no failure."""
    wire = _Wire(connection, deadline, _MAX_HEAD_BYTES + most)
    response = HTTPResponse(cast("socket.socket", wire), method=method)
    response.begin()
    body = bytearray()
    try:
        while len(body) < most:
            piece = response.read1(most - len(body))
            if not piece:
                break
            body += piece
    except (OSError, HTTPException):
        pass
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, headers.get("retry-after"), bytes(body), headers)


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline is over")
    return seconds


def _check_literal(host: str) -> None:
    try:
        ip_address(host)
    except ValueError as error:
        raise _bad_url("the host is not a valid address") from error


def _is_closed_literal(host: str) -> bool:
    """Whether the host is spelt as an address, and not a public one. Odd spellings are found when they resolve."""
    try:
        ip_address(host)
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
    return not is_public(host)


def _bad_url(message: str) -> InvalidInput:
    return InvalidInput(message, code="bad_url", hint="give an https address on the public internet")
