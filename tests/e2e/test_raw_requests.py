"""Hostile and odd requests over real HTTP: never a 5xx, neighbours stored, every refusal an object with a code."""

from __future__ import annotations

import base64
import gzip
import json
import random
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import orjson
import pytest

from infra.cli.connection import Connection
from infra.cli.serve import open_twin
from tests.e2e.conftest import assert_permitted
from tests.integration.test_collect_hostile import REFUSED, TAKEN

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with open_twin(tmp_path_factory.mktemp("raw"), port=0) as connection:
        yield connection
        assert_permitted(connection)


def wire(twin: Connection, head: bytes, body: bytes = b"") -> Answer:
    """Send bytes as they are and read one answer."""
    host, port = twin.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as plain:
        plain.sendall(head + b"\r\n\r\n" + body)
        file = plain.makefile("rb")
        status = int(file.readline().split(b" ")[1])
        while status == 100:
            file.readline()
            status = int(file.readline().split(b" ")[1])
        headers: dict[str, str] = {}
        while (line := file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, file.read(int(headers.get("content-length", "0")))


def head(twin: Connection, path: str, *lines: str, method: str = "POST") -> bytes:
    basic = base64.b64encode(f"{twin.write_keys['local-web']}:".encode()).decode()
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Basic {basic}", *lines]).encode()


def post(twin: Connection, body: bytes, *lines: str, path: str = "/v1/batch") -> Answer:
    return wire(twin, head(twin, path, f"Content-Length: {len(body)}", *lines), body)


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "E", "userId": "u-raw", "messageId": name, **more}


def batch(*names: str) -> bytes:
    return orjson.dumps({"batch": [event(name) for name in names]})


def stored(twin: Connection, like: str) -> list[str]:
    assert twin.drain(60)["stuck"] == []
    query = f"SELECT message_id FROM events WHERE message_id LIKE '{like}' ORDER BY message_id"
    return [row["message_id"] for row in twin.call("POST", "/v1/sql", {"query": query, "limit": 5000})["items"]]


def assert_refused(answer: Answer, *statuses: int) -> None:
    status, headers, body = answer
    assert status in statuses, answer
    assert headers["content-type"] == "application/json"
    told = json.loads(body)
    assert told["success"] is False
    assert type(told["code"]) is str
    assert type(told["message"]) is str


def test_r5_the_hostile_corpus_over_http_costs_no_neighbour_and_is_never_a_fault(twin: Connection) -> None:
    for place, (bad, _) in enumerate(REFUSED.values()):
        good = [orjson.dumps(event(f"corpus-{place:03d}-{n}")) for n in (1, 2)]
        status, _, body = post(twin, b'{"batch":[%s,%s,%s]}' % (good[0], bad, good[1]))
        assert (status, json.loads(body)["accepted"]) == (200, 2)
        assert_refused(post(twin, b'{"batch":[%s]}' % bad), 400)
    for odd in TAKEN.values():
        status, _, body = post(twin, b'{"batch":[%s]}' % odd)
        assert (status, body) == (200, b'{"success":true}')

    assert len(stored(twin, "corpus-%")) == 2 * len(REFUSED)


GOOD = batch("wire-ok")
PACKED = gzip.compress(GOOD, mtime=0)
BAD_BODIES = {
    "gzip of gzip": (gzip.compress(PACKED, mtime=0), ["Content-Encoding: gzip"], 400),
    "cut gzip": (PACKED[:-9], ["Content-Encoding: gzip"], 400),
    "gzip and garbage": (PACKED + b"garbage", ["Content-Encoding: gzip"], 400),
    "gzip header alone": (PACKED[:10], ["Content-Encoding: gzip"], 400),
    "wrong checksum": (PACKED[:-8] + b"\0" * 4 + PACKED[-4:], ["Content-Encoding: gzip"], 400),
    "not gzip": (b"hello", ["Content-Encoding: gzip"], 400),
    "not deflate": (b"\x78\x9c" + b"hello", ["Content-Encoding: deflate"], 400),
    "twice": (gzip.compress(PACKED, mtime=0), ["Content-Encoding: gzip", "Content-Encoding: gzip"], 415),
    "list": (gzip.compress(PACKED, mtime=0), ["Content-Encoding: gzip, gzip"], 415),
    "zstd": (GOOD, ["Content-Encoding: zstd"], 415),
    "unknown": (GOOD, ["Content-Encoding: x-own"], 415),
    "multipart": (b"--x\r\n\r\n", ["Content-Type: multipart/form-data; boundary=x"], 415),
    "xml": (b"<a/>", ["Content-Type: application/xml"], 415),
    "image": (b"\x89PNG", ["Content-Type: image/png"], 415),
    "utf-16": (GOOD.decode().encode("utf-16"), ["Content-Type: application/json; charset=utf-16"], 400),
    "latin-1": ('{"batch":[{"x":"é"}]}'.encode("latin-1"), ["Content-Type: application/json"], 400),
    "form": (b"batch=1&writeKey=2", ["Content-Type: application/x-www-form-urlencoded"], 400),
    "empty": (b"", [], 400),
    "list at the top": (b"[%s]" % GOOD, [], 400),
    "deep": (b'{"batch":' * 1_000 + b"1" + b"}" * 1_000, [], 400),
    "very deep": (b"[" * 200_000, [], 400),
    "5 MB": (orjson.dumps({"batch": [event(f"big-{n}", text="x" * 20_000) for n in range(250)]}), [], 400),
    "random": (random.Random(5).randbytes(5_000), ["Content-Type: application/octet-stream"], 400),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_s6_bodies_that_cannot_be_used_are_refused_with_a_code(twin: Connection, name: str) -> None:
    body, lines, status = BAD_BODIES[name]
    kind = [] if any(line.startswith("Content-Type") for line in lines) else ["Content-Type: application/json"]

    assert_refused(post(twin, body, *lines, *kind), status)


def test_s6_a_bomb_is_refused(twin: Connection) -> None:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(b" " * 1_000_000) for _ in range(100)), packer.flush()])

    assert_refused(post(twin, bomb, "Content-Encoding: gzip"), 400)


@pytest.mark.parametrize(
    ("name", "lines", "body"),
    [
        ("plain", [], lambda raw: raw),
        ("gzip", ["Content-Encoding: gzip"], gzip.compress),
        ("gzip-form", ["Content-Encoding: gzip", "Content-Type: application/x-www-form-urlencoded"], gzip.compress),
        ("gzip-text", ["content-encoding: GZIP", "content-type: Text/Plain"], gzip.compress),
        ("gzip-silent", ["Content-Type: application/json"], gzip.compress),
        ("unpacked", ["Content-Encoding: gzip", "Content-Type: application/json"], lambda raw: raw),
        ("deflate", ["Content-Encoding: deflate"], zlib.compress),
        ("brotli", ["Content-Encoding: br"], brotli.compress),
        ("charset", ["Content-Type: APPLICATION/JSON;charset=UTF-8"], lambda raw: raw),
        ("bom", ["Content-Type: application/json"], lambda raw: b"\xef\xbb\xbf" + raw),
        ("expect", ["Expect: 100-continue"], lambda raw: raw),
    ],
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_r5_every_framing_and_packing_of_a_good_body_is_stored(
    twin: Connection, name: str, lines: list[str], body: Any, in_chunks: bool
) -> None:
    message_id = f"framed-{name}-{in_chunks}"
    raw = body(batch(message_id))

    if in_chunks:
        answer = wire(twin, head(twin, "/v1/b/", "Transfer-Encoding: chunked", *lines), chunked(raw, 7))
    else:
        answer = post(twin, raw, *lines, path="/v1/import/")

    assert (answer[0], answer[2]) == (200, b'{"success":true}')
    assert stored(twin, message_id) == [message_id]


@pytest.mark.parametrize(
    ("lines", "statuses"),
    [
        (["Content-Length: -5"], {400}),
        (["Content-Length: five"], {400}),
        (["Content-Length: 1e3"], {400}),
        (["Transfer-Encoding: chunked", "X: y"], {400}),
        (["Authorization: Basic \xff\xfe", "Content-Length: 2"], {401}),
        (["Authorization: Basic a b c", "Content-Length: 2"], {401}),
        ([f"X-Long: {'x' * 70_000}", "Content-Length: 2"], {431}),
        ([f"Authorization: Basic {'QQ' * 4_000}", "Content-Length: 2"], {401}),
    ],
)
def test_odd_headers_are_refused_without_a_fault(twin: Connection, lines: list[str], statuses: set[int]) -> None:
    start = "\r\n".join(["POST /v1/batch HTTP/1.1", "Host: x", *lines]).encode("latin-1")

    status, headers, body = wire(twin, start, b"{}\r\n")

    assert status in statuses
    assert headers["content-type"] == "application/json"
    assert type(json.loads(body)["message"]) is str


@pytest.mark.parametrize("size", [3_000_000, 4 * 1024 * 1024])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", ""])
def test_r3_a_batch_of_up_to_4_mib_is_taken_under_every_media_type(twin: Connection, size: int, kind: str) -> None:
    text = "ế" * 300
    events = [event(f"size-{size}-{kind}-{n:04d}", text=text) for n in range(1_000)]
    raw = orjson.dumps({"batch": events})
    raw += b" " * (size - len(raw))

    answer = post(twin, raw, *([f"Content-Type: {kind}"] if kind else []))

    assert (answer[0], answer[2]) == (200, b'{"success":true}')


def test_r8_messages_of_one_batch_that_are_equal_count_once(twin: Connection) -> None:
    twice = {**event("same"), "userId": "u-same"}
    post(twin, orjson.dumps({"batch": [twice, twice]}))
    post(twin, orjson.dumps({"batch": [twice]}))

    assert stored(twin, "same") == ["same"]
    assert twin.call("GET", "/v1/profiles/user_id:u-same")["totals"]["events"] == 1


def test_p2_two_sources_may_use_the_same_message_id(twin: Connection) -> None:
    body = orjson.dumps({"batch": [{**event("shared"), "userId": "u-shared"}]})
    server = base64.b64encode(f"{twin.write_keys['local-server']}:".encode()).decode()
    for _ in range(2):
        assert post(twin, body)[0] == 200
        start = f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {server}\r\nContent-Length: {len(body)}"
        assert wire(twin, start.encode(), body)[0] == 200

    assert stored(twin, "shared") == ["shared", "shared"]
    assert twin.call("GET", "/v1/profiles/user_id:u-shared")["totals"]["events"] == 2


def test_an_id_that_is_a_number_is_the_same_as_its_text(twin: Connection) -> None:
    post(twin, orjson.dumps({"batch": [{**event("number"), "userId": 40_817}, {**event("text"), "userId": "40817"}]}))

    assert stored(twin, "number") == ["number"]
    assert twin.call("GET", "/v1/profiles/user_id:40817")["totals"]["events"] == 2
