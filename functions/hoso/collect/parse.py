"""From the JSON bytes of a request to its events, each of them parsed or refused by itself.

The quick way is one call of a fast parser for the whole body. A body that the parser refuses, or that may hold a
number that would be changed by parsing, goes the thorough way: the events are cut out of the raw text and parsed one
by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from hoso.collect.scan import (
    MAX_DIGITS,
    Layout,
    depth_of,
    find_events,
    holds_integer_beyond_64_bits,
    holds_long_number,
    loads,
    may_hold_long_number,
)
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.record import MAX_DEPTH, nests_too_deep

MAX_EVENTS = 2_500
MAX_EVENT_BYTES = 32_768
MAX_KEYS = 2_000
FEW_KEYS_BYTES = 8_000
"""An event, or a body, of fewer bytes cannot hold more than ``MAX_KEYS`` keys."""
_BATCH = b'"batch":['
_MESSAGE_ID = re.compile(rb'"messageId"\s*:\s*"([^"\\]{1,200})"')


class Refused:
    """Stands in a batch where an event was that is refused already."""


REFUSED = Refused()


@dataclass(slots=True)
class Batch:
    """A parsed body. ``events`` has an entry for each event that was sent: its JSON value, or ``REFUSED``."""

    envelope: dict[str, Any]
    events: list[Any]
    rejected: list[BadRow] = field(default_factory=lambda: [])
    layout: Layout | None = None


def parse_object(raw: bytes) -> dict[str, Any]:
    """The body as one JSON object (a single event).

    Raises:
        InvalidInput: ``invalid_json``, ``invalid_utf8``, ``too_deep``, ``number_too_long``, ``too_many_keys`` or
            ``event_too_large``.
    """
    fault = _fault(raw, len(raw))
    if fault is not None:
        raise fault
    event = _object(_loads(raw))
    if nests_too_deep(event):
        raise _too_deep()
    if len(raw) > FEW_KEYS_BYTES and has_too_many_keys(event):
        raise _many_keys()
    return event


def parse_batch(raw: bytes) -> Batch:
    """The body as a batch; events that cannot be parsed, or are too large, are in ``rejected``.

    Raises:
        InvalidInput: the body as a whole cannot be used: ``invalid_json``, ``invalid_utf8``, ``too_deep``,
            ``invalid_batch`` or ``too_many_events``.
    """
    try:
        envelope = _object(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return _parse_each(raw)
    given = envelope.pop("batch", None)
    if type(given) is not list:
        raise InvalidInput("the body needs an array named batch", code="invalid_batch")
    events = cast("list[Any]", given)
    if len(events) > MAX_EVENTS:
        raise InvalidInput(f"a batch holds at most {MAX_EVENTS} events", code="too_many_events")
    _check_envelope(envelope)
    batch = Batch(envelope, events)
    try:
        sizes, beside = ([], [raw]) if len(raw) <= FEW_KEYS_BYTES else _measured(raw, events)
    except TypeError:  # nested so deep that it cannot be written
        return _parse_each(raw)
    if any(map(may_hold_long_number, beside)) and (holds_integer_beyond_64_bits(raw) or holds_long_number(raw)):
        return _parse_each(raw)
    if sizes:
        _reject_large(raw, batch, sizes)
    return batch


def _measured(raw: bytes, events: list[Any]) -> tuple[list[int], list[bytes]]:
    """The lengths of the events in compact form, or of groups of them where all these are small; and the parts of the
    body in which a number may be too long.

    Most SDKs send the compact form. Events that are written as they came have no number that parsing changes, so that
    only what stands around them is left; the brackets keep numbers from reaching across the cuts.

    Raises:
        TypeError: an event is nested so deep that it cannot be written.
    """
    start = raw.find(_BATCH) + len(_BATCH)
    groups = _as_sent(raw, events, start)
    if not groups:
        return list(map(len, map(orjson.dumps, events))), [raw]
    beside = [raw[:start], raw[start + sum(groups) + len(groups) - 1 :]]
    if max(groups) > FEW_KEYS_BYTES:
        return list(map(len, map(orjson.dumps, events))), beside
    return groups, beside


def _as_sent(raw: bytes, events: list[Any], start: int) -> list[int]:
    """The lengths of groups of events, if the body has them from ``start`` on just as they are written; else empty."""
    each = FEW_KEYS_BYTES * 3 // 4 * len(events) // len(raw)
    if each < 2 or not raw.startswith(orjson.dumps(events[0]), start):
        return []
    found: list[int] = []
    for first in range(0, len(events), each):
        try:
            text = orjson.dumps(events[first : first + each])[1:-1]
        except TypeError:
            return []
        end = start + len(text)
        if not raw.startswith(text, start) or raw[end : end + 1] != (b"," if first + each < len(events) else b"]"):
            return []
        found.append(len(text))
        start = end + 1
    return found


def _reject_large(raw: bytes, batch: Batch, sizes: list[int]) -> None:
    """Refuse events that are longer, as sent, than ``MAX_EVENT_BYTES``, or have too many keys.

    ``sizes`` are the lengths of the events in compact form, or of small groups of them. The text is only scanned when
    an event may be too long: the bytes of the body beyond all compact forms are an upper bound of the blanks and
    escapes that any one can have.
    """
    largest = max(sizes, default=0)
    if largest > FEW_KEYS_BYTES:
        for index, event in enumerate(batch.events):
            if sizes[index] > FEW_KEYS_BYTES and has_too_many_keys(event):
                _reject(batch, index, orjson.dumps(event), _many_keys())
    slack = max(0, len(raw) - sum(sizes))
    if len(raw) <= MAX_EVENT_BYTES or largest + slack <= MAX_EVENT_BYTES:
        return
    batch.layout = find_events(raw, MAX_EVENTS)
    for index, span in enumerate(batch.layout.spans):
        if span.size > MAX_EVENT_BYTES and batch.events[index] is not REFUSED:
            _reject(batch, index, raw[span.start : span.end], _too_large())


def reject_too_deep(raw: bytes, batch: Batch) -> None:
    """Refuse the events of a batch that nest deeper than ``MAX_DEPTH``."""
    batch.layout = batch.layout or find_events(raw, MAX_EVENTS)
    for index, span in enumerate(batch.layout.spans):
        event = batch.events[index]
        if event is not REFUSED and nests_too_deep(event):
            _reject(batch, index, raw[span.start : span.end], _too_deep())


def has_too_many_keys(event: Any) -> bool:
    """Whether an event has more than ``MAX_KEYS`` keys, on all its levels together."""
    count = 0
    waiting: list[Any] = [event]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            held = cast("dict[str, Any]", value)
            count += len(held)
            waiting.extend(held.values())
        elif type(value) is list:
            waiting.extend(cast("list[Any]", value))
    return count > MAX_KEYS


def text_of(raw: bytes) -> str:
    """Raw bytes as text for the quarantine; bytes that are no UTF-8 are shown as ``\\xNN``."""
    return raw.decode("utf-8", "backslashreplace")


def _parse_each(raw: bytes) -> Batch:
    """The thorough way: every event by itself."""
    try:
        layout = find_events(raw, MAX_EVENTS)
    except InvalidInput:
        _loads(raw)  # what is wrong with the text comes before what is wrong with the batch
        raise
    rest = raw[: layout.array_start] + b"[]" + raw[layout.array_end :]
    if holds_long_number(rest):
        raise _long_number()
    envelope = _object(_loads(rest))
    envelope.pop("batch", None)
    _check_envelope(envelope)
    batch = Batch(envelope, [], layout=layout)
    for index, span in enumerate(layout.spans):
        text = raw[span.start : span.end]
        fault = _too_deep() if span.depth > MAX_DEPTH else _fault(text, span.size)
        batch.events.append(REFUSED)
        if fault is None:
            try:
                event = _loads(text)
                if span.size > FEW_KEYS_BYTES and has_too_many_keys(event):
                    raise _many_keys()
                batch.events[index] = event
            except InvalidInput as error:
                fault = error
        if fault is not None:
            _reject(batch, index, text, fault)
    return batch


def _fault(text: bytes, size: int) -> InvalidInput | None:
    """What makes the JSON text of an event unusable before it is parsed, or None."""
    if size > MAX_EVENT_BYTES:
        return _too_large()
    if holds_long_number(text):
        return _long_number()
    return None


def _loads(text: bytes) -> Any:
    """The parsed text. The parser stops at 1,024 levels by itself, without recursion into Python."""
    try:
        return loads(text)
    except orjson.JSONDecodeError as error:
        try:
            text.decode()
        except UnicodeDecodeError:
            raise InvalidInput("the body is not UTF-8", code="invalid_utf8") from error
        if depth_of(text) > MAX_DEPTH:
            raise _too_deep() from error
        raise InvalidInput("not valid JSON", code="invalid_json") from error


def _check_envelope(envelope: dict[str, Any]) -> None:
    """What a batch holds beside its events goes into each of them: it must not nest deeper than an event may."""
    if ("context" in envelope or "integrations" in envelope) and nests_too_deep(envelope):
        raise _too_deep()


def _object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidInput("the body must be a JSON object", code="invalid_json")
    return cast("dict[str, Any]", value)


def _reject(batch: Batch, index: int, text: bytes, fault: InvalidInput) -> None:
    named = _MESSAGE_ID.search(text)
    message_id = named.group(1).decode("utf-8", "replace") if named else None
    batch.events[index] = REFUSED
    batch.rejected.append(BadRow(index, message_id, fault.code, fault.message, text_of(text)))


def _too_large() -> InvalidInput:
    return InvalidInput(f"an event holds more than {MAX_EVENT_BYTES} bytes", code="event_too_large")


def _long_number() -> InvalidInput:
    return InvalidInput(f"a number has more than {MAX_DIGITS} digits; send it as text", code="number_too_long")


def _many_keys() -> InvalidInput:
    return InvalidInput(f"an event has more than {MAX_KEYS} keys", code="too_many_keys")


def _too_deep() -> InvalidInput:
    return InvalidInput(f"an event nests deeper than {MAX_DEPTH} levels", code="too_deep")
