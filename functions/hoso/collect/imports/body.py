"""Receipts in the body of a request (``POST /v1/import/pos``, connectors reference 2.10), as in dropped files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hoso.collect.imports.pieces import Events, cut, map_piece, open_rows
from hoso.collect.imports.rows import text_rows
from hoso.model.errors import InvalidInput

Json = dict[str, Any]
MAX_LISTED = 1_000
"""Rejected rows that an answer lists; it counts all of them, and the quarantine has them all."""


@dataclass(slots=True)
class Receipts:
    """What became of a body. ``events`` have their ``lines``; ``bad`` are (line, code, reason, payload)."""

    rows: int = 0
    found: Events = field(default_factory=Events)


def receipts_of(raw: bytes, media_type: str, source: str) -> Receipts:
    """The events of a body: CSV, NDJSON or a JSON array, by its media type or its first character.

    Raises:
        InvalidInput: the body as a whole cannot be used; ``unknown_layout``: it holds no receipts.
    """
    first = raw.lstrip()[:1]
    form = "csv" if "csv" in media_type or first not in b"[{" else "ndjson"
    opened = open_rows(text_rows([raw], form), None, source)
    if opened.layout.name != "pos":
        raise InvalidInput(
            "the rows are no receipts", code="unknown_layout", hint="they need receipt_id, store_id and occurred_at"
        )
    made = Receipts()
    for count, piece in cut(opened.rows, opened.layout.group_of):
        part = map_piece(piece, opened.layout)
        made.rows += count
        made.found.events += part.events
        made.found.lines += part.lines
        made.found.bad += part.bad
    return made
