"""Bodies and limits of the ingestion API, through the real handler."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Iterator

import brotli
import orjson
import pytest

from hoso.collect.body import MAX_BODY_BYTES
from hoso.collect.handlers import ingest
from tests.collect_world import World, gateway_event, says, track, world


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        made.source("web", "web")
        yield made


def stored(place: World, *wanted: str) -> list[str]:
    """Message ids on the stream among these."""
    return [event["messageId"] for event in place.events() if event["messageId"] in wanted]


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "application/json",
        "Application/JSON; charset=UTF-8",
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_json_is_read_under_every_media_type_that_sdks_use(shared: World, kind: str | None, zipped: bool) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    reply = shared.send("/v1/batch", {"batch": [track()]}, key=shared.keys["web"], headers=headers, zipped=zipped)

    assert reply["statusCode"] == 200


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/xml", "image/png", "text/html"])
def test_other_media_types_are_415(shared: World, kind: str) -> None:
    reply = shared.send("/v1/batch", {"batch": []}, key=shared.keys["web"], headers={"Content-Type": kind})

    assert (reply["statusCode"], says(reply)["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["zstd", "br, gzip", "gzip, gzip", "gzip,gzip", "compress", "gzip, identity"])
def test_s6_unknown_and_repeated_encodings_are_415(shared: World, encoding: str) -> None:
    raw = gzip.compress(orjson.dumps({"batch": [track()]}), mtime=0)
    reply = shared.send("/v1/batch", raw, key=shared.keys["web"], headers={"Content-Encoding": encoding})

    assert (reply["statusCode"], says(reply)["code"]) == (415, "unsupported_encoding")


JSON = orjson.dumps({"batch": [track()]})


@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        ({}, gzip.compress(JSON, mtime=0)),
        ({"Content-Encoding": "gzip"}, JSON),
        ({"Content-Encoding": "GZIP"}, gzip.compress(JSON, mtime=0)),
        ({"Content-Encoding": "gzip"}, gzip.compress(JSON[:20], mtime=0) + gzip.compress(JSON[20:], mtime=0)),
        ({"Content-Encoding": "deflate"}, zlib.compress(JSON)),
        ({"Content-Encoding": "br"}, brotli.compress(JSON)),
        ({"Content-Encoding": "BR"}, JSON),
        ({"Content-Encoding": "identity"}, JSON),
        ({}, b"\xef\xbb\xbf" + JSON),
        ({}, b" \n" + JSON + b"\n"),
    ],
    ids=[
        "no-header",
        "unpacked-by-gateway",
        "case",
        "members",
        "deflate",
        "brotli",
        "brotli-unpacked",
        "identity",
        "bom",
        "blanks",
    ],
)
def test_bodies_are_known_by_their_bytes(shared: World, headers: dict[str, str], raw: bytes) -> None:
    assert shared.send("/v1/batch", raw, key=shared.keys["web"], headers=headers)["statusCode"] == 200


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (gzip.compress(JSON, mtime=0)[:-12], "bad_gzip"),
        (gzip.compress(JSON, mtime=0)[:20], "bad_gzip"),
        (gzip.compress(JSON, mtime=0)[:30] + b"xxxx" + gzip.compress(JSON, mtime=0)[34:], "bad_gzip"),
        (b"\x1f\x8b", "bad_gzip"),
        (gzip.compress(JSON, mtime=0) + b"garbage", "bad_gzip"),
        (b"no gzip at all", "bad_gzip"),
        (gzip.compress(b"", mtime=0), "empty_body"),
    ],
)
def test_damaged_gzip_is_400(shared: World, raw: bytes, code: str) -> None:
    reply = shared.send("/v1/batch", raw, key=shared.keys["web"], headers={"Content-Encoding": "gzip"})

    assert (reply["statusCode"], says(reply)["code"]) == (400, code)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (brotli.compress(JSON)[:-4], "bad_brotli"),
        (brotli.compress(JSON) + b"garbage", "bad_brotli"),
        (b"no brotli at all", "bad_brotli"),
        (gzip.compress(JSON, mtime=0), "bad_brotli"),
        (brotli.compress(b""), "empty_body"),
        (b"", "empty_body"),
    ],
)
def test_damaged_brotli_is_400(shared: World, raw: bytes, code: str) -> None:
    reply = shared.send("/v1/batch", raw, key=shared.keys["web"], headers={"Content-Encoding": "br"})

    assert (reply["statusCode"], says(reply)["code"]) == (400, code)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty_body"),
        (b"  \n", "empty_body"),
        (b"{", "invalid_json"),
        (b'{"batch": [', "invalid_batch"),
        (b'{"batch": [{}', "invalid_batch"),
        (JSON[:-1], "invalid_json"),
        (JSON + b"x", "invalid_json"),
        (b"[1]", "invalid_json"),
        (b"7", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"null", "invalid_json"),
        (b"{}", "invalid_batch"),
        (b'{"batch": {}}', "invalid_batch"),
        (b'{"batch": null}', "invalid_batch"),
        (b'{"batch": "x"}', "invalid_batch"),
        (b'{"batch": [1]}', "invalid_event"),
        (b'{"batch": [null]}', "invalid_event"),
        (b"<xml/>", "invalid_batch"),
        (b'{"x": "\xff", "batch": []}', "invalid_utf8"),
        (b'{"a": NaN, "batch": []}', "invalid_json"),
        (b'{"a": "\\ud800", "batch": []}', "invalid_json"),
    ],
)
def test_bodies_that_cannot_be_used_are_400(shared: World, raw: bytes, code: str) -> None:
    reply = shared.send("/v1/batch", raw, key=shared.keys["web"])

    assert reply["statusCode"] == 400
    assert says(reply)["code"] in (code, "invalid_json"), reply


def test_an_empty_batch_is_nothing_to_store(shared: World) -> None:
    assert says(shared.send("/v1/batch", {"batch": []}, key=shared.keys["web"])) == {"success": True}


def test_batch_members_go_under_those_of_each_event(shared: World) -> None:
    body = {
        "batch": [track() | {"messageId": "under-1", "context": {"locale": "vi"}}, track() | {"messageId": "under-2"}],
        "context": {"locale": "en", "app": {"name": "shop"}},
        "integrations": {"All": False},
        "sequence": 4,
        "unknown": [1],
    }
    assert shared.send("/v1/batch", body, key=shared.keys["web"])["statusCode"] == 200

    first, second = [event for event in shared.events() if event["messageId"].startswith("under-")]
    assert first["context"] == {"locale": "vi", "app": {"name": "shop"}}
    assert second["context"] == {"locale": "en", "app": {"name": "shop"}}
    assert first["integrations"] == {"All": False}


def test_a_large_shared_context_cannot_be_multiplied_without_end(shared: World) -> None:
    body = {"batch": [track(n) for n in range(1_000)], "context": {"x": "y" * 100_000}}
    reply = shared.send("/v1/batch", body, key=shared.keys["web"])

    assert (reply["statusCode"], says(reply)["code"]) == (400, "body_too_large")


def test_s6_a_gzip_bomb_costs_neither_time_nor_memory(shared: World) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(b" " * 1_000_000) for _ in range(200)), packer.flush()])
    assert len(bomb) > 190_000
    shared.send(
        "/v1/batch", b"no gzip", key=shared.keys["web"], headers={"Content-Encoding": "gzip"}
    )  # modules are loaded now
    event = gateway_event("POST", "/v1/batch", bomb, {"x-write-key": shared.keys["web"], "content-encoding": "gzip"})
    tracemalloc.start()
    started = time.process_time()

    reply = ingest.handler(event, None)

    spent, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (reply["statusCode"], says(reply)["code"]) == (400, "body_too_large")
    assert spent < 0.5
    assert peak < 10_000_000


def bomb_of(encoding: str) -> bytes:
    """300 MB of blanks, packed."""
    if encoding == "br":
        return brotli.compress(b" " * 300_000_000, quality=4)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return b"".join([*(packer.compress(b" " * 1_000_000) for _ in range(300)), packer.flush()])


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_s6_a_bomb_of_300_mb_is_refused_within_100_ms(shared: World, encoding: str) -> None:
    bomb = bomb_of(encoding)
    headers = {"x-write-key": shared.keys["web"], "content-encoding": encoding}
    event = gateway_event("POST", "/v1/batch", bomb, headers)
    ingest.handler(event, None)  # modules are loaded now
    rounds: list[float] = []

    for _ in range(3):  # the best: a collection of garbage is not what is measured
        started = time.process_time()
        reply = ingest.handler(event, None)
        rounds.append(time.process_time() - started)

    assert min(rounds) < 0.1
    assert (reply["statusCode"], says(reply)["code"]) == (400, "body_too_large")


def sized(size: int, char: str = "x") -> bytes:
    """An event of exactly this many bytes."""
    event = orjson.dumps(track() | {"properties": {"text": "@"}})
    left = size - len(event) + 1
    width = len(char.encode())
    return event.replace(b"@", (char * (left // width) + "x" * (left % width)).encode())


@pytest.mark.parametrize("char", ["x", "ế", "漢", "🌸"])
@pytest.mark.parametrize(("size", "fits"), [(32_767, True), (32_768, True), (32_769, False), (40_000, False)])
@pytest.mark.parametrize("batch", [True, False])
def test_r3_one_event_holds_32_kb_of_utf8(shared: World, size: int, fits: bool, char: str, batch: bool) -> None:
    event = sized(size, char)
    raw = b'{"batch":[%s]}' % event if batch else event

    reply = shared.send("/v1/batch" if batch else "/v1/t", raw, key=shared.keys["web"])

    assert reply["statusCode"] == (200 if fits else 400)
    assert fits or says(reply)["code"] == "event_too_large"


@pytest.mark.parametrize("fill", [b" " * 33_000, b'"e":"%s",' % (b"\\u0065" * 5_500)])
def test_r3_the_size_of_an_event_is_that_of_its_bytes_as_sent(shared: World, fill: bytes) -> None:
    good = orjson.dumps(track() | {"messageId": "small"})
    large = good.replace(b"{", b"{" + fill, 1).replace(b"small", b"large")
    reply = shared.send("/v1/batch", b'{"batch":[%s,%s]}' % (large, good), key=shared.keys["web"])

    assert says(reply)["rejected"][0]["code"] == "event_too_large"
    assert says(reply)["rejected"][0]["messageId"] == "large"


@pytest.mark.parametrize(
    ("size", "fits"), [(MAX_BODY_BYTES - 1, True), (MAX_BODY_BYTES, True), (MAX_BODY_BYTES + 1, False)]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_r3_a_body_holds_4_mib(shared: World, size: int, fits: bool, zipped: bool) -> None:
    raw = orjson.dumps({"batch": [track() | {"messageId": f"4mib-{size}-{zipped}"}]})
    raw += b" " * (size - len(raw))
    reply = shared.send("/v1/batch", raw, key=shared.keys["web"], zipped=zipped)

    assert reply["statusCode"] == (200 if fits else 400)
    assert fits or says(reply)["code"] == "body_too_large"


@pytest.mark.parametrize(("keys", "fits"), [(1_990, True), (2_001, False)])
def test_s6_an_event_has_at_most_2000_keys(shared: World, keys: int, fits: bool) -> None:
    event = track() | {"properties": {f"k{n}": 1 for n in range(keys)}}
    reply = shared.send("/v1/t", event, key=shared.keys["web"])
    both = shared.send("/v1/batch", {"batch": [event, track()]}, key=shared.keys["web"])

    assert reply["statusCode"] == (200 if fits else 400)
    assert fits or says(reply)["code"] == "too_many_keys"
    assert len(says(both).get("rejected", [])) == (0 if fits else 1)


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


@pytest.mark.parametrize(
    ("levels", "fits"),
    [(30, True), (34, True), (35, False), (300, False), (1_000, False), (1_100, False), (200_000, False)],
)
@pytest.mark.parametrize("shape", ["objects", "arrays"])
def test_s6_nesting_is_limited_before_any_parser_overflows(shared: World, levels: int, fits: bool, shape: str) -> None:
    value = nested(levels) if shape == "objects" else b"[" * levels + b"]" * levels
    good = orjson.dumps(track() | {"messageId": f"deep-{levels}-{shape}"})
    deep = b'{"type":"track","event":"E","userId":"u","properties":{"x":%s}}' % value
    if len(deep) > 32_768:
        fits_size = False
    else:
        fits_size = True

    single = shared.send("/v1/t", deep, key=shared.keys["web"])
    both = shared.send("/v1/batch", b'{"batch":[%s,%s]}' % (deep, good), key=shared.keys["web"])

    assert single["statusCode"] == (200 if fits else 400)
    assert fits or says(single)["code"] == ("too_deep" if fits_size else "event_too_large")
    assert both["statusCode"] == 200
    assert len(says(both).get("rejected", [])) == (0 if fits else 1)
    assert stored(shared, f"deep-{levels}-{shape}") == [f"deep-{levels}-{shape}"]
