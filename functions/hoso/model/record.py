"""The packed record: what collect puts on the stream and unify, archive and the timeline read.

One record holds the events of one request that share a primary identifier (their *hub*): compact JSON, compressed
with zstd. The compressed bytes travel unchanged from the stream into the timeline page, so nothing is packed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import zstandard

from hoso.model.errors import InvalidInput

VERSION = 1
MAX_RAW_BYTES = 200_000
"""Upper bound of a record's JSON before compression: it always fits a Kinesis record and a timeline page."""

_MAX_UNPACKED = 8 * 1024 * 1024


class Event(NamedTuple):
    """One accepted event.

    ``name`` is the track call's event, or ``$page``, ``$screen``, ``$identify``, ``$group``, ``$alias``.
    ``ts`` is the corrected time, ``original_ts`` the client's own reading (None when it sent none): both UTC ms.
    ``ids`` are the event's identifiers beside its hub, normalised, as ``[type, value]`` pairs.
    ``body`` is the event as it was sent, less the write key, with ``messageId`` filled in.
    """

    message_id: str
    ts: int
    original_ts: int | None
    name: str
    ids: list[list[str]]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """Events of one hub from one request.

    ``origin`` holds what the connection told (``ip`` truncated, ``user_agent``); empty for server sources.
    """

    workspace: str
    source: str
    received_at: int
    hub: tuple[str, str]
    events: Sequence[Event]
    origin: dict[str, str] = field(default_factory=dict[str, str])


def pack(record: Record) -> bytes:
    """Compressed bytes of a record. Raises ``TypeError`` for values JSON cannot hold (checked at the door)."""
    raw = orjson.dumps(
        {
            "v": VERSION,
            "w": record.workspace,
            "s": record.source,
            "r": record.received_at,
            "h": record.hub,
            "o": record.origin,
            "e": [tuple(event) for event in record.events],
        }
    )
    return zstandard.ZstdCompressor(level=1).compress(raw)


def unpack(blob: bytes) -> Record:
    """The record in these bytes.

    Raises:
        InvalidInput: ``bad_record`` when the bytes are not a record of a version this code reads.
    """
    try:
        raw = orjson.loads(zstandard.ZstdDecompressor().decompress(blob, max_output_size=_MAX_UNPACKED))
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
        )
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"not a packed record: {type(error).__name__}", code="bad_record") from error
