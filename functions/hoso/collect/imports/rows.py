"""From lines to rows: CSV with whatever delimiter, NDJSON, and Parquet; every problem keeps its line number."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

from hoso.collect.imports.text import Line, ahead, begins_array, lines, texts
from hoso.collect.scan import loads
from hoso.model.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("csv", "ndjson", "parquet")
MAX_COLUMNS = 2_000
MAX_FIELD = 262_144
_DELIMITERS = ",;\t|"
_BATCH = 2_000
_QUOTED = re.compile(r'"(?:[^"]|"")*"')

Json = dict[str, Any]


class Row(NamedTuple):
    """A row of a file. ``line`` is where it begins; ``code`` and ``reason`` tell why it has no ``data``."""

    line: int
    data: Json | None
    code: str = ""
    reason: str = ""
    text: str = ""


def format_of(name: str) -> str | None:
    """The format that a file's name says, or None.

    >>> format_of("a/b.CSV.gz"), format_of("x.jsonl"), format_of("x.parquet"), format_of("x.pdf")
    ('csv', 'ndjson', 'parquet', None)
    """
    ending = name.lower().removesuffix(".gz").rpartition(".")[2]
    known = {"csv": "csv", "tsv": "csv", "txt": "csv", "ndjson": "ndjson", "jsonl": "ndjson", "json": "ndjson"}
    return "parquet" if ending == "parquet" else known.get(ending)


def text_rows(
    chunks: Iterable[bytes], form: str, encoding: str | None = None, delimiter: str | None = None
) -> Iterator[Row]:
    """The rows of a CSV, NDJSON or JSON file (one array) from its bytes.

    Raises:
        InvalidInput: the file as a whole cannot be read: no header, two columns of one name, too many columns.
    """
    if form == "csv":
        return csv_rows(lines(chunks, encoding), delimiter)
    head, stream = ahead(chunks)
    if not begins_array(head):
        return ndjson_rows(lines(stream, encoding))
    from hoso.collect.imports.arrays import array_rows

    return array_rows(texts(stream, encoding))


def csv_rows(found: Iterable[Line], delimiter: str | None = None) -> Iterator[Row]:
    """Rows of RFC 4180 with a header line; the delimiter is told, or found in the header. Raises ``InvalidInput``."""
    feed = _Feed(found)
    header = feed.first()
    if header is not None and re.fullmatch(r"sep=.\r?\n", header.text, re.IGNORECASE):  # a spreadsheet's own hint
        delimiter = delimiter or header.text[4]
        header = feed.first()
    if header is None:
        raise InvalidInput("the file has no header line", code="no_header")
    delimiter = delimiter or _delimiter(header.text)
    feed.put_back(header)
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        begin = feed.number
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield _bad(begin + 1, "bad_csv", f"lines {begin + 1} to {feed.number}: {_why(error)}", feed.text())
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            continue
        if feed.fault:
            yield _bad(begin + 1, feed.fault, f"line {feed.number} cannot be used: {feed.fault}", feed.text())
            feed.fault = ""
            continue
        if names is None:
            names = _columns(cells)
            continue
        if not any(cells):
            continue
        if len(cells) != len(names):
            if len(cells) < len(names) or any(cells[len(names) :]):
                reason = f"{len(cells)} cells where the header has {len(names)} columns"
                yield _bad(begin + 1, "ragged_row", reason, feed.text())
                continue
            del cells[len(names) :]
        data: Json = dict(zip(names, cells, strict=True))
        if _unreadable(cells):
            yield _bad(begin + 1, "bad_encoding", "the row has bytes that are not of the file's encoding", feed.text())
            continue
        yield Row(begin + 1, data)
    if feed.fault:
        yield _bad(feed.number, feed.fault, "the compressed file ends too early: rows after this are lost", feed.text())


def ndjson_rows(found: Iterable[Line]) -> Iterator[Row]:
    """Rows of JSON objects, one a line."""
    for line in found:
        text = line.text.strip().removeprefix("\ufeff")
        if line.fault:
            yield _bad(line.number, line.fault, f"the line cannot be used: {line.fault}", text)
            continue
        if not text:
            continue
        try:
            data = loads(text.encode())
        except (ValueError, UnicodeEncodeError):
            yield _bad(line.number, "invalid_json", "the line is no JSON", text)
            continue
        if type(data) is not dict:
            yield _bad(line.number, "invalid_json", "the line is no JSON object", text)
            continue
        yield Row(line.number, cast("Json", data))


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file on this machine; ``line`` is the number of the row. Raises ``InvalidInput``."""
    import duckdb

    with duckdb.connect(":memory:", config={"memory_limit": "512MB", "threads": "1"}) as connection:
        try:
            result = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        except duckdb.Error as error:
            raise InvalidInput("the file is no Parquet file that can be read", code="bad_parquet") from error
        names = [str(column[0]) for column in result.description or []]
        number = 0
        while True:
            try:
                batch = result.fetchmany(_BATCH)
            except duckdb.Error:
                yield _bad(number + 1, "bad_parquet", "the file is damaged from this row on", "")
                return
            if not batch:
                return
            for cells in batch:
                number += 1
                try:
                    data = orjson.loads(orjson.dumps(dict(zip(names, cells, strict=True)), default=_plain))
                except TypeError:
                    yield _bad(number, "bad_value", "the row holds bytes or another value that is no text", "")
                    continue
                yield Row(number, data)


def _plain(value: object) -> Any:
    """Decimals as text, so that no digit is lost; everything else that JSON lacks is refused."""
    from decimal import Decimal
    from uuid import UUID

    if isinstance(value, (Decimal, UUID)):
        return str(value)
    raise TypeError


class _Feed:
    """Lines for the CSV reader, with a look at where it is and at the text of the row that it reads."""

    def __init__(self, found: Iterable[Line]) -> None:
        self._lines = iter(found)
        self._back: list[Line] = []
        self._read: list[str] = []
        self.number = 0
        self.fault = ""

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._lines)
        self.number = line.number
        self._read.append(line.text)
        if line.fault:
            self.fault = line.fault
            return '""\n' if line.text.count('"') % 2 else line.text.replace("\n", "") + "\n"
        return line.text

    def first(self) -> Line | None:
        """The next line that is not empty."""
        return next((line for line in self._lines if line.text.strip("\r\n\ufeff ")), None)

    def put_back(self, line: Line) -> None:
        """Read this one next."""
        self._back.append(line._replace(text=line.text.lstrip("\ufeff")))
        self.number = line.number - 1

    def begin(self) -> None:
        """A row begins."""
        self._read.clear()

    def text(self) -> str:
        """The text of the row so far, at most 8,000 characters."""
        return "".join(self._read)[:8_000].rstrip("\r\n").encode("utf-8", "replace").decode()


def _delimiter(header: str) -> str:
    bare = _QUOTED.sub("", header)
    return max(_DELIMITERS, key=lambda sign: (bare.count(sign), -_DELIMITERS.index(sign)))


def _columns(cells: list[str]) -> list[str]:
    names = [unicodedata.normalize("NFC", cell).strip() or f"column_{place}" for place, cell in enumerate(cells, 1)]
    while len(names) > 1 and not cells[len(names) - 1].strip():  # delimiters at the end of the header
        names.pop()
    if len(names) > MAX_COLUMNS:
        raise InvalidInput(f"a file has at most {MAX_COLUMNS} columns", code="too_many_columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"two columns are called {twice[:60]}", code="duplicate_column")
    return names


def _unreadable(cells: list[str]) -> bool:
    return any(not cell.isascii() and any("\udc80" <= sign <= "\udcff" for sign in cell) for cell in cells)


def _why(error: csv.Error) -> str:
    said = str(error)
    if "field larger" in said or "unexpected end" in said:
        return "a quote is not closed"
    return "a quote stands where none may" if "expected after" in said else "no CSV"


def _bad(line: int, code: str, reason: str, text: str) -> Row:
    return Row(line, None, code, reason, text)
