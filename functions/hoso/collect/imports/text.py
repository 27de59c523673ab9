"""From the bytes of a file, in whatever encoding, to its lines, at a bounded use of memory."""

from __future__ import annotations

import codecs
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

MAX_LINE = 1_048_576
"""Longest line in characters; what is longer is cut off and refused as a row."""

_SAMPLE = 65_536
_GZIP = b"\x1f\x8b"
_STEP = 1 << 18
_HEADER = 18
_BLANK = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"
"""What may stand before the first sign of a text: blanks, byte-order marks, and the zeros of UTF-16."""
TRUNCATED = "file_truncated"


class Line(NamedTuple):
    """One line with its number (from 1) and its end, as in the file. ``fault`` says why it cannot be used."""

    number: int
    text: str
    fault: str | None = None


def plain_bytes(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a file without gzip; several members in a row are read, and what follows the last is not.

    Raises:
        EOFError: the compressed file ends too early. All that could be read came before.
        zlib.error: the compressed bytes are damaged.
    """
    stream = iter(chunks)
    head = b""
    for chunk in stream:
        head += chunk
        if len(head) >= len(_GZIP):
            break
    if not head.startswith(_GZIP):
        if head:
            yield head
        yield from stream
        return
    yield from _inflated(chain([head], stream))


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        pending = chunk
        while pending:
            if inflater.eof:  # another member, or what some programs write behind the last
                if pending[:2] != _GZIP[: len(pending[:2])]:
                    return
                inflater = zlib.decompressobj(wbits=31)
            made = inflater.decompress(pending, _STEP)
            if made:
                yield made
            pending = inflater.unconsumed_tail or inflater.unused_data
    if not inflater.eof:
        raise EOFError(TRUNCATED)


def encoding_of(sample: bytes, *, whole: bool) -> str:
    """The encoding of a text by its beginning: a byte-order mark, zero bytes, UTF-8, or else Windows-1258.

    >>> encoding_of("Nguyễn".encode("utf-16"), whole=True), encoding_of(b"Nguy\\xean", whole=True)
    ('utf-16', 'cp1258')
    """
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    half = len(sample) // 2
    if half > 1:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        if odd > half * 0.3 and even < half * 0.05:
            return "utf-16-le"
        if even > half * 0.3 and odd < half * 0.05:
            return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, whole)
    except UnicodeDecodeError:
        return "cp1258"
    return "utf-8"


def ahead(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The beginning of a file without gzip, and the file, still to be read."""
    stream = iter(chunks)
    taken: list[bytes] = []
    head = b""
    for chunk in stream:
        taken.append(chunk)
        whole = b"".join(taken)
        head = whole
        if whole.startswith(_GZIP):
            head = zlib.decompressobj(wbits=31).decompress(whole, _SAMPLE) if len(whole) > _HEADER else b""
        if head.strip(_BLANK):
            break
        if len(whole) > _SAMPLE:
            break
    return head, chain(taken, stream)


def begins_array(head: bytes) -> bool:
    """Whether a text that begins so, in whatever encoding, is a JSON array."""
    return head.lstrip(_BLANK)[:1] == b"["


def texts(chunks: Iterable[bytes], encoding: str | None = None) -> Iterator[str]:
    """The text of a file in parts. Raises as ``plain_bytes``."""
    return _decoded(plain_bytes(chunks), encoding)


def lines(chunks: Iterable[bytes], encoding: str | None = None) -> Iterator[Line]:
    """The lines of a file; the last one is marked ``file_truncated`` if a compressed file ends too early.

    Bytes that are not of the encoding come as lone surrogates in their line.
    """
    number = 0
    rest = ""
    dropping = False
    fault: str | None = None
    pieces = _decoded(plain_bytes(chunks), encoding)
    while True:
        try:
            text = next(pieces, None)
        except (EOFError, zlib.error):
            fault = TRUNCATED
            break
        if text is None:
            break
        rest += text
        if "\n" not in rest and len(rest) <= MAX_LINE:
            continue
        found = rest.split("\n")
        rest = found.pop()
        for line in found:
            if dropping:  # the rest of a line that was too long
                dropping = False
                continue
            number += 1
            too_long = len(line) > MAX_LINE
            yield Line(number, line[:MAX_LINE] if too_long else line + "\n", "line_too_long" if too_long else None)
        if len(rest) > MAX_LINE:
            if not dropping:
                number += 1
                yield Line(number, rest[:MAX_LINE], "line_too_long")
            rest, dropping = "", True
    if fault is not None:
        yield Line(number + 1, "" if dropping else rest, fault)
    elif rest and not dropping:
        yield Line(number + 1, rest)


def _decoded(chunks: Iterable[bytes], encoding: str | None) -> Iterator[str]:
    stream = iter(chunks)
    sample = b""
    fault: Exception | None = None
    while len(sample) < _SAMPLE:
        try:
            chunk = next(stream, None)
        except (EOFError, zlib.error) as error:
            fault = error
            break
        if chunk is None:
            break
        sample += chunk
    name = encoding or encoding_of(sample, whole=len(sample) < _SAMPLE)
    decoder = codecs.getincrementaldecoder(name)("surrogateescape" if name.startswith(("utf-8", "cp")) else "replace")
    texts = _composed if name.startswith("cp") else iter
    yield from texts(_read(decoder, sample, stream, fault))


def _read(
    decoder: codecs.IncrementalDecoder, sample: bytes, stream: Iterator[bytes], fault: Exception | None
) -> Iterator[str]:
    yield decoder.decode(sample)
    if fault is not None:
        raise fault
    for chunk in stream:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", True)


def _composed(texts: Iterator[str]) -> Iterator[str]:
    """NFC, line by line: code page 1258 has letters and tones apart."""
    rest = ""
    for text in texts:
        whole, end, rest = (rest + text).rpartition("\n")
        yield unicodedata.normalize("NFC", whole) + end
        if len(rest) > MAX_LINE:
            yield rest
            rest = ""
    yield unicodedata.normalize("NFC", rest)
