"""The outbound client against hostile local servers: every call ends in time, with little memory, at one place."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hoso.platform.http import MAX_ANSWER_BYTES, NoAnswer, Outbound, Resolved

DEADLINE_S = 0.6
SLACK_S = 5
"""For a busy machine; far below what the servers here would hold a client for."""
HANG_S = 20
Server = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextmanager
def serving(behaviour: Server, wrap: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[int]]]:
    """A local server; yields its port and a list that grows with each connection."""
    connections: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(1)
                with connection, suppress(OSError):
                    behaviour(wrap.wrap_socket(connection, server_side=True) if wrap else connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1], connections
        listener.shutdown(socket.SHUT_RDWR)


def reading(connection: socket.socket) -> bytes:
    """The whole request."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < size:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def answering(answer: bytes) -> Server:
    def behaviour(connection: socket.socket) -> None:
        reading(connection)
        connection.sendall(answer)

    return behaviour


def dripping(head: bytes, drop: bytes, pause_s: float = 0.05) -> Server:
    def behaviour(connection: socket.socket) -> None:
        reading(connection)
        connection.sendall(head)
        for _ in range(int(HANG_S / pause_s)):
            connection.sendall(drop)
            time.sleep(pause_s)

    return behaviour


def silent(connection: socket.socket) -> None:
    time.sleep(HANG_S)


def endless(connection: socket.socket) -> None:
    reading(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


def deaf(connection: socket.socket) -> None:
    """Accepts, and never reads: a large request cannot be sent."""
    time.sleep(HANG_S)


def post(port: int, body: bytes = b"{}") -> tuple[int | None, float, bytes]:
    """Status (None: no answer), seconds, body."""
    client = Outbound(local=True, deadline_s=DEADLINE_S)
    begin = time.monotonic()
    try:
        reply = client.post(f"http://127.0.0.1:{port}/hook?a=b", {"content-type": "application/json"}, body)
    except NoAnswer:
        return None, time.monotonic() - begin, b""
    return reply.status, time.monotonic() - begin, reply.body


@pytest.mark.parametrize(
    "behaviour",
    [
        dripping(b"", b"H"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"x-drip: drop\r\n"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        silent,
        answering(b""),
        answering(b"not http at all\r\n\r\n"),
        answering(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\n"),
        answering(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n"),
    ],
    ids=["dripped status", "dripped headers", "endless 100", "silence", "hang-up", "nonsense", "many", "long header"],
)
def test_r42_a_server_that_gives_no_answer_is_left_at_the_deadline(behaviour: Server) -> None:
    with serving(behaviour) as (port, _):
        status, seconds, _ = post(port)

    assert status is None
    assert seconds < DEADLINE_S + SLACK_S


def test_r42_a_request_that_nobody_reads_ends_at_the_deadline() -> None:
    with serving(deaf) as (port, _):
        status, seconds, _ = post(port, b"x" * 20_000_000)

    assert status is None
    assert seconds < DEADLINE_S + SLACK_S


@pytest.mark.parametrize(
    "behaviour",
    [
        dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort"),
        answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n"),
    ],
    ids=["dripped body", "dripped chunks", "cut body", "bad chunk"],
)
def test_r42_a_status_counts_though_the_body_does_not_end(behaviour: Server) -> None:
    with serving(behaviour) as (port, _):
        status, seconds, _ = post(port)

    assert status == 200
    assert seconds < DEADLINE_S + SLACK_S


def test_r42_s22_an_endless_body_is_read_up_to_the_cap() -> None:
    with serving(endless) as (port, _):
        status, seconds, body = post(port)

    assert (status, len(body)) == (200, MAX_ANSWER_BYTES)
    assert seconds < DEADLINE_S + SLACK_S


def test_r42_a_gzip_bomb_stays_packed() -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    with serving(answering(head + bomb)) as (port, _):
        status, _, body = post(port)

    assert status == 200
    assert body == bomb[:MAX_ANSWER_BYTES]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_r42_s22_redirects_are_answers_and_are_not_followed(status: int) -> None:
    with serving(answering(OK)) as (other, touched):
        head = f"HTTP/1.1 {status} Moved\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n"
        with serving(answering(head.encode())) as (port, _):
            answered, _, _ = post(port)

    assert answered == status
    assert touched == []


def test_s22_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(OK)) as (proxy, touched), serving(answering(OK)) as (port, reached):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        assert post(port)[0] == 200

    assert (touched, reached) == ([], [1])


def test_the_request_is_well_formed_and_asks_for_no_compression() -> None:
    seen: list[bytes] = []

    def behaviour(connection: socket.socket) -> None:
        seen.append(reading(connection))
        connection.sendall(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n")

    with serving(behaviour) as (port, _):
        reply = Outbound(local=True).post(f"http://127.0.0.1:{port}/a?b=c", {"X-One": "1", "Host": "evil"}, b"body")

    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert (lines[0], body) == ("POST /a?b=c HTTP/1.1", b"body")
    assert f"host: 127.0.0.1:{port}" in lines
    assert {"x-one: 1", "accept-encoding: identity", "connection: close", "content-length: 4"} <= set(lines)
    assert (reply.status, reply.retry_after) == (429, "7")


def test_a_resolver_that_hangs_ends_at_the_deadline() -> None:
    def hanging(host: str, port: int) -> list[Resolved]:
        time.sleep(HANG_S)
        return []

    begin = time.monotonic()
    with pytest.raises(NoAnswer):
        Outbound(deadline_s=DEADLINE_S, resolver=hanging).post("https://example.com/", {}, b"")
    assert time.monotonic() - begin < DEADLINE_S + SLACK_S


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of hooks.example.test, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    return path


def tls_server(certificate: Path, names: list[str | None]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda connection, name, _: names.append(name)
    return context


@pytest.mark.parametrize(("host", "good"), [("hooks.example.test", True), ("other.example.test", False)])
def test_s21_the_checked_address_is_called_while_tls_checks_the_name(certificate: Path, host: str, good: bool) -> None:
    names: list[str | None] = []
    trust = ssl.create_default_context(cafile=str(certificate))
    here = [Resolved(socket.AF_INET, "127.0.0.1", ("127.0.0.1", 0))]
    with serving(answering(OK), tls_server(certificate, names)) as (port, _):
        client = Outbound(
            local=True, context=trust, resolver=lambda _, port: [here[0]._replace(sockaddr=("127.0.0.1", port))]
        )
        url = f"https://{host}:{port}/"
        if good:
            assert client.post(url, {}, b"").status == 200
        else:
            with pytest.raises(NoAnswer):
                client.post(url, {}, b"")

    assert names == [host]


def test_r42_a_tls_handshake_that_drips_ends_at_the_deadline() -> None:
    def behaviour(connection: socket.socket) -> None:
        connection.recv(10)
        for _ in range(HANG_S * 20):
            connection.sendall(b"\x16")
            time.sleep(0.05)

    with serving(silent) as (port, _):
        begin = time.monotonic()
        with pytest.raises(NoAnswer):
            Outbound(local=True, deadline_s=DEADLINE_S).post(f"https://127.0.0.1:{port}/", {}, b"")
    assert time.monotonic() - begin < DEADLINE_S + SLACK_S
    with serving(behaviour) as (port, _):
        begin = time.monotonic()
        with pytest.raises(NoAnswer):
            Outbound(local=True, deadline_s=DEADLINE_S).post(f"https://127.0.0.1:{port}/", {}, b"")
    assert time.monotonic() - begin < DEADLINE_S + SLACK_S
