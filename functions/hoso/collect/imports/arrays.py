"""The elements of one large JSON array, one after the other: as much is held as the longest element takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import cast
from zlib import error as zlib_error

from hoso.collect.imports.rows import Json, Row
from hoso.collect.imports.text import MAX_LINE, TRUNCATED
from hoso.collect.scan import loads

_MARKS = re.compile(r'[\\"{}\[\],]')
_SHOWN = 8_000


class _Element:
    """The text of an element as far as it has come."""

    def __init__(self) -> None:
        self.number = 0
        self._parts: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """More of it; of what is too long only the beginning is kept."""
        self._size += len(text)
        if self._size <= MAX_LINE or not self._parts:
            self._parts.append(text[: MAX_LINE + 1])

    def take(self, *, last: bool = False) -> Row | None:
        """The element as a row, None for nothing at the end of the array."""
        text, size = "".join(self._parts).strip(), self._size
        self._parts, self._size = [], 0
        if not text and last:
            return None
        self.number += 1
        if size > MAX_LINE:
            return self._bad("line_too_long", f"an element has at most {MAX_LINE} characters", text)
        try:
            data = loads(text.encode())
        except (ValueError, UnicodeEncodeError):
            return self._bad("invalid_json", "the element is no JSON", text)
        if type(data) is not dict:
            return self._bad("invalid_json", "the element is no JSON object", text)
        return Row(self.number, cast("Json", data))

    def end(self, code: str, reason: str) -> Row:
        """What is wrong behind the last element."""
        self.number += 1
        return self._bad(code, reason, "".join(self._parts))

    def _bad(self, code: str, reason: str, text: str) -> Row:
        return Row(self.number, None, code, reason, text[:_SHOWN].encode("utf-8", "replace").decode())


class _Signs:
    """The brackets and commas of a text that comes in parts, those in strings left out."""

    def __init__(self) -> None:
        self._skip = 0
        self._quoted = False

    def of(self, text: str) -> Iterator[tuple[int, str]]:
        """Places and signs in the next part; it has to be read to its end."""
        for mark in _MARKS.finditer(text):
            place, sign = mark.start(), mark.group()
            if place < self._skip:
                continue
            if sign == "\\":
                self._skip = place + 2  # the sign behind it, which may be in the next part
            elif sign == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                yield place, sign
        self._skip = max(0, self._skip - len(text))


def array_rows(texts: Iterable[str]) -> Iterator[Row]:
    """Rows of the objects in a JSON array; ``line`` of a row is the number of its element.

    The array may be written on one line or on many. What is no object is a bad row and the rest goes on; an array that
    is not closed, or followed by something, ends with a bad row.
    """
    element, signs, depth, closed = _Element(), _Signs(), 0, False
    stream = iter(texts)
    text: str | None = ""
    start = 0
    while not closed:
        try:
            text = next(stream, None)
        except (EOFError, zlib_error):
            text = None
        if text is None:
            yield element.end(TRUNCATED, "the array is not closed: what follows is lost")
            return
        start, began = 0, depth
        for place, sign in signs.of(text):
            depth += (sign in "[{") - (sign in "]}")
            if depth == 1 and sign == "[" and not began:
                start = began = place + 1
            elif (depth == 1 and sign == ",") or depth == 0:
                element.add(text[start:place])
                start, closed = place + 1, depth == 0
                row = element.take(last=closed)
                if row is not None:
                    yield row
                if closed:
                    break
        if not closed and (depth or began):
            element.add(text[start:])
    if (text or "")[start:].strip() or _more(stream):
        yield element.end("invalid_json", "something follows the array")


def _more(texts: Iterator[str]) -> bool:
    """Whether anything but blanks follows."""
    try:
        return any(text.strip() for text in texts)
    except (EOFError, zlib_error):
        return True
