"""From the bytes of a request to the bytes of its JSON, never more than a fixed number of them.

Neither ``Content-Type`` nor ``Content-Encoding`` is trusted alone: gateways unpack bodies without removing the
header, and SDKs send gzip as a form (tracking API, sections 1, 5 and 16). Decompression streams into a hard limit:
300 KB can hold 300 MB.
"""

from __future__ import annotations

import binascii
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from hoso.collect.scan import BLANKS
from hoso.model.errors import InvalidInput, UnsupportedMediaType

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Decompressed bytes of a request (tracking API, section 6)."""

_MEDIA_TYPES = frozenset(
    {
        "",
        "application/json",
        "text/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "application/gzip",
        "application/x-gzip",
        "application/x-ndjson",
        "application/ndjson",
        "text/csv",
    }
)
_PLAIN = frozenset({"", "identity"})
_GZIP_NAMES = frozenset({"gzip", "x-gzip"})
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 256 * 1024
_BOM = b"\xef\xbb\xbf"


def decode(body: str | None, *, is_base64: bool, headers: Mapping[str, str]) -> bytes:
    """The JSON bytes of a request, without a byte order mark.

    ``headers`` have lower-case names, as in HTTP API events; ``body`` is as the gateway hands it over.

    Raises:
        UnsupportedMediaType: ``unsupported_media_type`` or ``unsupported_encoding``.
        InvalidInput: ``bad_gzip``, ``bad_brotli``, ``body_too_large`` or ``empty_body``.
    """
    check_media_type(headers.get("content-type", ""))
    encoding = check_encoding(headers.get("content-encoding", ""))
    sent = sent_bytes(body, is_base64=is_base64)
    if encoding == "br" and sent and not _looks_like_json(sent):
        sent = _joined(_unpacked_brotli(sent))
    elif sent.startswith(_GZIP_MAGIC):
        sent = _joined(_inflated(sent, _GZIP_WINDOW))
    elif encoding == "deflate" and not _looks_like_json(sent):
        sent = _joined(_inflated(sent, zlib.MAX_WBITS if sent[:1] == b"\x78" else -zlib.MAX_WBITS))
    elif encoding == "gzip" and not _looks_like_json(sent):
        raise InvalidInput("the body is not gzip, as its Content-Encoding says", code="bad_gzip")
    if len(sent) > MAX_BODY_BYTES:
        raise _too_large()
    sent = sent.removeprefix(_BOM)
    if not sent or sent.isspace():
        raise InvalidInput("the body is empty", code="empty_body")
    return sent


def sent_bytes(body: str | None, *, is_base64: bool) -> bytes:
    """What came over the wire. Raises ``InvalidInput`` when the gateway's base64 is broken."""
    if not body:
        return b""
    if not is_base64:
        return body.encode("utf-8", "surrogatepass")
    try:
        return b64decode(body)
    except binascii.Error as error:
        raise InvalidInput("the body is not base64", code="invalid_json") from error


@lru_cache(maxsize=256)
def check_media_type(header: str) -> None:
    """Raise ``UnsupportedMediaType`` for a media type that cannot be JSON; none at all is fine."""
    kind = header.partition(",")[0].partition(";")[0].strip().lower()
    if kind not in _MEDIA_TYPES and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType("this media type is not read here; send application/json")


@lru_cache(maxsize=256)
def check_encoding(header: str) -> str:
    """``gzip``, ``deflate``, ``br`` or empty. An encoding applied twice is refused: it hides bombs (security S6)."""
    name = header.strip().lower()
    if name in _PLAIN:
        return ""
    if name in _GZIP_NAMES:
        return "gzip"
    if name in ("deflate", "br"):
        return name
    raise UnsupportedMediaType("this encoding is not read here; send gzip or none", code="unsupported_encoding")


def _joined(parts: Iterator[bytes]) -> bytes:
    """The unpacked bytes, which never grow past the limit."""
    taken: list[bytes] = []
    size = 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            taken.clear()  # the error's traceback would keep them
            raise _too_large()
    return b"".join(taken)


def _inflated(packed: bytes, window: int) -> Iterator[bytes]:
    """The unpacked bytes, piece by piece; several gzip members are read in a row."""
    rest = packed
    while rest:
        decoder = zlib.decompressobj(window)
        waiting = rest
        while waiting and not decoder.eof:
            try:
                part = decoder.decompress(waiting, _PIECE_BYTES)
            except zlib.error as error:
                raise InvalidInput("the compressed body is damaged", code="bad_gzip") from error
            yield part
            waiting = decoder.unconsumed_tail
        if not decoder.eof:
            raise InvalidInput("the compressed body is cut off", code="bad_gzip")
        rest = decoder.unused_data.lstrip(b"\0")


def _unpacked_brotli(packed: bytes) -> Iterator[bytes]:
    """The unpacked bytes, piece by piece; nothing may follow the stream."""
    brotli: Any = import_module("brotli")  # few clients send it: no part of every cold start; it has no types
    decoder = brotli.Decompressor()
    waiting = packed
    while not decoder.is_finished():
        try:
            part: bytes = decoder.process(waiting, output_buffer_limit=_PIECE_BYTES)
        except brotli.error as error:
            raise InvalidInput("the compressed body is damaged", code="bad_brotli") from error
        if not part and not decoder.is_finished():
            raise InvalidInput("the compressed body is cut off", code="bad_brotli")
        yield part
        waiting = b""


def _looks_like_json(sent: bytes) -> bool:
    return sent[:64].removeprefix(_BOM).lstrip(BLANKS)[:1] in (b"{", b"[")


def _too_large() -> InvalidInput:
    return InvalidInput(f"the body holds more than {MAX_BODY_BYTES} bytes; send smaller batches", code="body_too_large")
