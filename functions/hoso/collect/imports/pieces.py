"""A file in pieces: some thousand rows each, with their line numbers, so that a piece can be done again alone.

A piece is NDJSON: ``[line, row]``, or ``[line, null, code, reason, text]`` for what is no row. Rows of one receipt
never lie in two pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson

from hoso.collect.imports.layouts import MAX_GROUP, Layout, layout_of
from hoso.collect.imports.mapping import Mapped, Mapping
from hoso.collect.imports.rows import Row

MAX_ROWS = 5_000
MAX_BYTES = 2_000_000
MAX_PIECE_BYTES = 16_000_000
"""Bound of a piece that somebody hands in, unpacked."""

Json = dict[str, Any]


@dataclass(slots=True)
class Opened:
    """A file that was begun: the layout and column names by its first good row, and all its rows."""

    layout: Layout
    columns: list[str]
    rows: Iterator[Row]


def open_rows(rows: Iterator[Row], mapping: Mapping | None, source: str) -> Opened:
    """Find out what the rows are. Raises ``InvalidInput``: ``unknown_layout``, or what the reader refuses."""
    ahead: list[Row] = []
    columns: list[str] = []
    for row in rows:
        ahead.append(row)
        if row.data is not None:
            columns = [str(name) for name in row.data]
            break
    layout = layout_of(mapping, columns, source)
    return Opened(layout, columns, _chained(ahead, rows))


def _chained(ahead: list[Row], rows: Iterator[Row]) -> Iterator[Row]:
    yield from ahead
    yield from rows


def cut(rows: Iterable[Row], group_of: Callable[[Json], Hashable | None] | None) -> Iterator[tuple[int, bytes]]:
    """Number of rows and bytes of one piece after the other.

    Rows of a group have to stand together in the file: one that comes later, after another, is refused
    (``split_receipt``), for the events of the first part are made already.
    """
    lines: list[bytes] = []
    size = 0
    group: Hashable | None = None
    members = 0
    closed: set[int] = set()
    for found in rows:
        row = found
        mine = None if group_of is None or row.data is None else group_of(row.data)
        if mine is not None and mine == group:
            members += 1
            if members > MAX_GROUP:
                row = _refuse(row, "receipt_too_long", f"a receipt has at most {MAX_GROUP} lines")
        else:
            if len(lines) >= MAX_ROWS or size >= MAX_BYTES:
                yield len(lines), b"\n".join(lines)
                lines, size = [], 0
            if group is not None:
                closed.add(hash(group))
            if mine is not None and hash(mine) in closed:
                row, mine = _refuse(row, "split_receipt", "the lines of a receipt have to stand together"), None
            group, members = mine, 1
        text = _line(row)
        lines.append(text)
        size += len(text)
    if lines:
        yield len(lines), b"\n".join(lines)


def _refuse(row: Row, code: str, reason: str) -> Row:
    text = orjson.dumps(row.data).decode("utf-8", "replace")[:8_000]
    return Row(row.line, None, code, reason, text)


def _line(row: Row) -> bytes:
    if row.data is None:
        return orjson.dumps([row.line, None, row.code, row.reason, row.text])
    try:
        return orjson.dumps([row.line, row.data])
    except TypeError:  # lone surrogates, numbers beyond 64 bits
        return orjson.dumps([row.line, None, "bad_value", "the row holds what JSON cannot", ""])


@dataclass(slots=True)
class Events:
    """What a piece became. ``lines`` are those of ``events``; ``bad`` are (line, code, reason, payload)."""

    rows: int = 0
    events: list[Json] = field(default_factory=list[Json])
    lines: list[int] = field(default_factory=list[int])
    bad: list[tuple[int, str, str, Any]] = field(default_factory=list[tuple[int, str, str, Any]])


def map_piece(piece: bytes, layout: Layout) -> Events:
    """The events of a piece's rows, and every problem with its line."""
    found = Events()
    good: list[tuple[int, Json]] = []
    for text in piece.split(b"\n"):
        line, data, *why = orjson.loads(text)
        found.rows += 1
        if data is None:
            found.bad.append((line, why[0], why[1], why[2]))
        else:
            good.append((line, data))
    for rows in _together(good, layout):
        mapped = Mapped()
        layout.map_rows(rows, mapped)
        found.events += mapped.events
        found.lines += [rows[0][0]] * len(mapped.events)
        for line, code, reason in mapped.problems:
            payload = rows[0][1] if len(rows) == 1 else [row for _, row in rows]
            found.bad.append((line, code, reason, payload))
    found.bad.sort(key=lambda bad: bad[0])
    return found


def _together(rows: list[tuple[int, Json]], layout: Layout) -> Iterator[list[tuple[int, Json]]]:
    group_of = layout.group_of
    if group_of is None:
        for row in rows:
            yield [row]
        return
    for group, members in groupby(rows, key=lambda row: group_of(row[1])):
        if group is None:
            for row in members:
                yield [row]
        else:
            yield list(members)
