"""Rows of a CSV file on this machine, read strictly: a quote that is not closed may not swallow the rows after it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from infra.cli.connection import CommandError


def strict_rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """The rows of RFC 4180 lines (read with ``newline=""``).

    Raises:
        CommandError: a quoted value is not closed, or goes on after its closing quote; names the line that opens it.
        csv.Error: a value is too long.
    """
    feed = _Feed(lines)
    reader = csv.reader(feed, strict=True)
    while True:
        begin = reader.line_num + 1
        feed.row.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            opened = _opened(feed.row)
            if opened is None:
                raise
            raise CommandError(
                f"line {begin + opened}: the quote that opens a value here is not closed where the value ends; write a "
                'quote within a value as "" or take it out'
            ) from error
        yield row


class _Feed:
    """Lines for the CSV reader, which remembers those of the row that is being read (the reader bounds a value)."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.row: list[str] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.row.append(line)
        return line


def _opened(row: list[str]) -> int | None:
    """Which line of a row that cannot be read opens the quoted value that is wrong, counted from 0; None for none."""
    opened: int | None = None
    begins, ended = True, False  # whether a value begins here, and whether the sign before may have ended a quoted one
    for place, line in enumerate(row):
        for sign in line:
            if opened is None:
                opened = place if sign == '"' and begins else None
                begins = sign == ","
            elif sign == '"':
                ended = not ended  # two of them are one quote of the value
            elif ended:
                if sign not in ",\r\n":
                    return opened  # it goes on after its end
                opened, begins, ended = None, True, False
    return opened
