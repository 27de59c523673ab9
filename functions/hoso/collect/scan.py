"""Where the events of a batch begin and end in the raw text, how deep they nest, and which numbers are long.

The quick way through collect parses a batch at once and needs none of this. This scanner serves the rest: it finds
the events of a batch that a parser refuses, so that one bad event never costs its neighbours (reliability R8), and
it measures events by their bytes as sent. It does not recurse and reads every byte once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from hoso.model.errors import InvalidInput

MAX_DIGITS = 38
"""Longest run of digits in a number: what DynamoDB can hold."""

# possessive, and closed by the end of the text: an unclosed string is met once, not once per quote in it
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_TOKEN = re.compile(_STRING + rb"|[\[\]{},]", re.DOTALL)
_STRINGS = re.compile(_STRING, re.DOTALL)
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))
_BETWEEN_KEY_AND_VALUE = re.compile(rb"\s*:\s*\Z")
_LARGEST = b"18446744073709551615"
"""The largest integer that the parser keeps; of a longer one only a double would be left."""
_INTEGERS = re.compile(
    _STRING + rb"|(?<![^\s,:\[])-?[1-9][0-9]{%d,}+(?=\s*(?:[,\]}]|\Z))" % (len(_LARGEST) - 1), re.DOTALL
)
_DIGITS_AS_ZERO = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG_RUN = b"0" * len(_LARGEST)
BLANKS = b" \t\r\n"
"""White space of JSON."""


@dataclass(frozen=True, slots=True)
class Span:
    """One event of a batch in the raw text; ``depth`` counts its levels, itself being the first."""

    start: int
    end: int
    depth: int

    @property
    def size(self) -> int:
        """Bytes as sent."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Layout:
    """The events of a batch, and where their array stands (its brackets included)."""

    array_start: int
    array_end: int
    spans: list[Span]


def find_events(raw: bytes, most: int) -> Layout:
    """The elements of the array ``batch`` at the top of the body; of a repeated key the last counts.

    Raises:
        InvalidInput: ``invalid_batch`` without such an array, ``too_many_events`` for more than ``most`` elements.
    """
    found: Layout | None = None
    depth = 0
    spans: list[Span] | None = None
    array_start = start = deepest = 0
    key_end = -1
    for token in _TOKEN.finditer(raw):
        at = token.start()
        first = raw[at]
        if first == 34:  # a string
            if depth == 1:
                key_end = token.end() if token.group() == b'"batch"' else -1
        elif first in (91, 123):  # [ {
            depth += 1
            deepest = max(deepest, depth)
            if depth == 2 and first == 91 and key_end >= 0 and _BETWEEN_KEY_AND_VALUE.match(raw, key_end, at):
                spans, array_start, start, deepest = [], at, at + 1, 2
        elif spans is not None and depth == 2 and (first in (44, 93)):  # , ]
            _add(spans, raw, start, at, deepest - 2, last=first == 93)
            if len(spans) > most:
                raise InvalidInput(f"a batch holds at most {most} events", code="too_many_events")
            start, deepest = at + 1, 2
            if first == 93:
                found, spans, depth = Layout(array_start, at + 1, spans), None, 1
        elif first != 44:  # ] }
            depth -= 1
            key_end = -1
    if found is None:
        raise InvalidInput("the body needs an array named batch", code="invalid_batch")
    return found


def depth_of(raw: bytes) -> int:
    """How many levels of objects and arrays a JSON text has."""
    depth = deepest = 0
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        if first in (91, 123):
            depth += 1
            deepest = max(deepest, depth)
        elif first in (93, 125):
            depth -= 1
    return deepest


def may_hold_long_number(raw: bytes) -> bool:
    """Whether a run of digits stands anywhere, also in strings, that 64 bits may not hold. Fast."""
    return _LONG_RUN in raw.translate(_DIGITS_AS_ZERO)


def loads(raw: bytes) -> Any:
    """The parsed JSON text; an integer beyond 64 bits comes as the text of its digits (decision 0081).

    >>> loads(b'{"card": 98765432109876543210, "n": 18446744073709551615}')
    {'card': '98765432109876543210', 'n': 18446744073709551615}

    Raises:
        orjson.JSONDecodeError: it is none.
    """
    return orjson.loads(_INTEGERS.sub(_kept, raw) if may_hold_long_number(raw) else raw)


def holds_integer_beyond_64_bits(raw: bytes) -> bool:
    """Whether ``loads`` makes text of a number."""
    return any(_kept(found) != found.group() for found in _INTEGERS.finditer(raw))


def holds_long_number(raw: bytes) -> bool:
    """Whether a number of more than ``MAX_DIGITS`` digits in a row stands outside the strings."""
    return may_hold_long_number(raw) and _LONG_NUMBER.search(_STRINGS.sub(b'""', raw)) is not None


def _kept(found: re.Match[bytes]) -> bytes:
    token = found.group()
    is_kept = token.startswith(b'"') or (len(token) == len(_LARGEST) and token[0] != 45 and token <= _LARGEST)
    return token if is_kept else b'"%s"' % token


def _add(spans: list[Span], raw: bytes, start: int, end: int, depth: int, *, last: bool) -> None:
    """Add an element without the blanks around it; nothing between the brackets is no element."""
    text = raw[start:end]
    inner = text.strip(BLANKS)
    if not inner and last and not spans:
        return
    first = start + len(text) - len(text.lstrip(BLANKS))
    spans.append(Span(first, first + len(inner), depth))
