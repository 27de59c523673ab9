"""The packed record: what collect puts on the stream and unify, archive and the timeline read.

One record holds the events of one request that share a primary identifier (their *hub*): compact JSON, compressed
with zstd and a dictionary (``hoso.model.zstd``). The bytes travel unchanged from the stream into the timeline page, so
nothing is packed twice.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, cast

import orjson

from hoso.model.errors import InvalidInput
from hoso.model.zstd import compress_record, decompress

VERSION = 1
MAX_RAW_BYTES = 200_000
"""Upper bound of a record's JSON before compression: it always fits a Kinesis record and a timeline page."""

MAX_DEPTH = 36
"""Levels of objects and arrays in an event, the event itself being the first."""

_MAX_UNPACKED = 8 * 1024 * 1024
_ORJSON_DEPTH = 254
_LEVELS_ABOVE_BODY = 3
_SHELLS = _ORJSON_DEPTH - _LEVELS_ABOVE_BODY - MAX_DEPTH


class Event(NamedTuple):
    """One accepted event.

    ``name`` is the track call's event, or ``$page``, ``$screen``, ``$identify``, ``$group``, ``$alias``.
    ``ts`` is the corrected time, ``original_ts`` the client's own reading (None when it sent none): both UTC ms.
    ``ids`` are the event's identifiers beside its hub, normalised, as ``[type, value]`` pairs.
    ``body`` is the event as it was sent, less the write key, with ``messageId`` filled in and integers of more than
    64 bits as text.
    """

    message_id: str
    ts: int
    original_ts: int | None
    name: str
    ids: list[list[str]]
    body: dict[str, Any]


Flag = tuple[int, str, int, str]
"""What a tracking plan says of an event that is stored all the same: the event's place in the record, the plan's key
and revision, and the reason in words."""

Row = tuple[str, int, int | None, str, list[list[str]], dict[str, Any]]
"""An ``Event`` as the plain tuple that is written."""


@dataclass(frozen=True, slots=True)
class Record:
    """Events of one hub from one request.

    ``origin`` holds what the connection told (``ip`` truncated, ``user_agent``); empty for server sources.
    ``sent_at`` is the client's clock at the sending, as the batch or a header told it (UTC ms); an event's own
    ``sentAt`` comes before it. ``flags`` stand beside the events, which stay as they were sent.
    """

    workspace: str
    source: str
    received_at: int
    hub: tuple[str, str]
    events: Sequence[Event]
    origin: dict[str, str] = field(default_factory=dict[str, str])
    flags: Sequence[Flag] = ()
    sent_at: int | None = None


def pack(record: Record) -> bytes:
    """Compressed bytes of a record. Raises ``TypeError``, see ``encode``."""
    rows = [cast("Row", tuple(event)) for event in record.events]
    source, at, origin = record.source, record.received_at, record.origin
    raw = encode(record.workspace, source, at, record.hub, rows, origin, record.flags, record.sent_at)
    return compress_record(raw)


def encode(
    workspace: str,
    source: str,
    received_at: int,
    hub: tuple[str, str],
    rows: Sequence[Row],
    origin: Mapping[str, str],
    flags: Sequence[Flag] = (),
    sent_at: int | None = None,
    *,
    is_shallow: bool = False,
) -> bytes:
    """The JSON of a record, not yet compressed; ``rows`` are events as plain tuples. ``is_shallow``: it is known that
    no event nests too deep.

    Raises:
        TypeError: an event is nested deeper than ``MAX_DEPTH``, or holds what JSON cannot.
    """
    content: dict[str, Any] = {
        "v": VERSION,
        "w": workspace,
        "s": source,
        "r": received_at,
        "h": [hub[0], hub[1]],
        "o": origin,
        "e": rows,
    }
    if flags:
        content["f"] = flags
    if sent_at is not None:
        content["t"] = sent_at
    if is_shallow:
        return orjson.dumps(content)
    tools = _tools()
    tools.innermost[0] = content
    try:
        return orjson.dumps(tools.shells)[_SHELLS:-_SHELLS]
    finally:
        tools.innermost[0] = None


def nests_too_deep(event: dict[str, Any]) -> bool:
    """Whether an event has more than ``MAX_DEPTH`` levels."""
    tools = _tools()
    tools.innermost[0] = [[[event]]]
    try:
        orjson.dumps(tools.shells)
    except TypeError:
        return True
    finally:
        tools.innermost[0] = None
    return False


def any_nests_too_deep(events: Sequence[dict[str, Any]]) -> bool:
    """Whether one of these events has more than ``MAX_DEPTH`` levels; one look at all of them."""
    tools = _tools()
    tools.innermost[0] = [[events]]
    try:
        orjson.dumps(tools.shells)
    except TypeError:
        return True
    finally:
        tools.innermost[0] = None
    return False


def unpack(blob: bytes) -> Record:
    """The record in these bytes.

    Raises:
        InvalidInput: ``bad_record`` when the bytes are not a record of a version this code reads.
    """
    try:
        raw = orjson.loads(decompress(blob, _MAX_UNPACKED))
        if raw["v"] != VERSION:
            raise InvalidInput(f"record version {raw['v']} is not known here", code="bad_record")
        kind, value = raw["h"]
        return Record(
            workspace=raw["w"],
            source=raw["s"],
            received_at=raw["r"],
            hub=(kind, value),
            origin=raw["o"],
            events=[Event(*row) for row in raw["e"]],
            flags=[_flag(*flag) for flag in raw.get("f", ())],
            sent_at=raw.get("t"),
        )
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"not a packed record: {type(error).__name__}", code="bad_record") from error


def _flag(place: object, plan: object, revision: object, reason: object) -> Flag:
    if not (type(place) is int and type(plan) is str and type(revision) is int and type(reason) is str):
        raise InvalidInput("not a packed record: a flag", code="bad_record")
    return place, plan, revision, reason


class _Tools(threading.local):
    """``shells`` are nested lists around ``innermost``. orjson refuses to write more than 254 levels; with the shells
    around a record it refuses an event of more than ``MAX_DEPTH``, at no cost per value and however it is written.
    """

    def __init__(self) -> None:
        self.innermost: list[Any] = [None]
        self.shells: list[Any] = self.innermost
        for _ in range(_SHELLS - 1):
            self.shells = [self.shells]


@cache
def _tools() -> _Tools:
    return _Tools()
