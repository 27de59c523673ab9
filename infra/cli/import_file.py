"""``hoso import``: a file of customers' data, tried out line by line or handed in piece by piece, resumable."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hoso.collect.events import Frame, admit
from hoso.collect.imports.mapping import Mapping, parse_mapping
from hoso.collect.imports.pieces import Opened, cut, map_piece, open_rows
from hoso.collect.imports.rows import Row, format_of, parquet_rows, text_rows
from hoso.collect.imports.store import pack
from hoso.model.errors import HosoError, InvalidInput
from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect

SHOWN_EVENTS = 20
_CHUNK = 1 << 20
_TRIES = 6
_POLL_S = 0.5

Json = dict[str, Any]


@dataclass(slots=True)
class Trial:
    """What an import would do: rows, the events of all of them, the first ones, and every problem by line."""

    layout: str
    rows: int = 0
    events: int = 0
    first: list[Json] = field(default_factory=list[Json])
    problems: list[Json] = field(default_factory=list[Json])


imports = typer.Typer(help="Imports that were: list, show.", no_args_is_help=True)


@imports.command("list")
def list_imports(
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many.")] = 50,
) -> None:
    """Imports, newest first, with their progress."""
    with connect(data, url) as connection:
        items = connection.pages("/v1/imports", limit)
        columns = ["id", "source", "file", "status", "rows", "accepted", "rejected"]
        show.rows(items, columns, as_json=json_, title="imports")


@imports.command("show")
def show_import(
    name: Annotated[str, typer.Argument(help="Id of the import.")], data: DataOption = None, url: UrlOption = None
) -> None:
    """One import: its progress, or its report with the first rejected rows."""
    with connect(data, url) as connection:
        show.value(connection.call("GET", f"/v1/imports/{quote(name, safe='')}"))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_file)
    app.add_typer(imports, name="imports")


def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV, NDJSON, JSON array (all also .gz) or Parquet.", exists=True, dir_okay=False)
    ],
    source: Annotated[str, typer.Option("--source", help="Key of the source that the events belong to.")],
    mapping: Annotated[Path | None, typer.Option("--mapping", help="Mapping file (JSON), see docs/imports.md.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the first events and all problems.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Import a file; goes on where a cut run stopped, and doing it twice is harmless. Exit 2 if rows were refused."""
    try:
        document = None if mapping is None else _document(mapping)
        told = None if document is None else parse_mapping(document)
        if dry_run:
            tried = try_file(file, source, told, quiet=json_)
            _show_trial(tried, as_json=json_)
            rejected = len(tried.problems)
        else:
            with connect(data, url) as connection:
                report = send_import(connection, file, source, document, quiet=json_)
            _show_report(report, as_json=json_)
            rejected = int(report.get("rejected", 0))
            if report["status"] not in ("done",):
                raise typer.Exit(1)
    except InvalidInput as error:
        raise CommandError(f"{error.code}: {error.message}" + (f"\n  → {error.hint}" if error.hint else "")) from error
    if rejected:
        raise typer.Exit(2)


def try_file(file: Path, source: str, mapping: Mapping | None, *, quiet: bool = True) -> Trial:
    """Read and map the whole file without sending anything. Raises ``InvalidInput`` for a file that nothing fits."""
    with _Bytes(file, "trying", quiet=quiet) as chunks:
        opened = open_rows(_rows(file, mapping, chunks), mapping, source)
        tried = Trial(opened.layout.name)
        now = int(time.time() * 1_000)
        frame = Frame(now, lambda: "m")
        for _, piece in cut(opened.rows, opened.layout.group_of):
            found = map_piece(piece, opened.layout)
            tried.rows += found.rows
            bad = [(line, code, reason) for line, code, reason, _ in found.bad]
            for line, event in zip(found.lines, found.events, strict=True):
                try:
                    admit(orjson.loads(orjson.dumps(event)), frame)
                except HosoError as error:
                    bad.append((line, error.code, error.message))
                    continue
                tried.events += 1
                if len(tried.first) < SHOWN_EVENTS:
                    tried.first.append(event)
            tried.problems += [{"row": line, "code": code, "message": reason} for line, code, reason in sorted(bad)]
    return tried


def send_import(connection: Connection, file: Path, source: str, mapping: Json | None, *, quiet: bool = True) -> Json:
    """Hand the file in and wait for its report. Raises ``CommandError``, ``InvalidInput``."""
    told = None if mapping is None else parse_mapping(mapping)
    with _Bytes(file, "reading", quiet=True) as chunks:
        opened = open_rows(_rows(file, told, chunks), told, source)
    asked = {
        "source": source,
        "file": file.name,
        "digest": _digest(file),
        "columns": opened.columns,
        "mapping": mapping,
    }
    state: Json = connection.call("POST", "/v1/imports", asked)
    if state["status"] not in ("receiving", "running", "partial"):
        return {**state, "known": True}
    received = set(state["received"])
    rows = number = 0
    with _Bytes(file, f"sending {file.name}", quiet=quiet) as chunks:
        fresh = open_rows(_rows(file, told, chunks), told, source)
        for count, piece in cut(fresh.rows, fresh.layout.group_of):
            number += 1
            rows += count
            if number not in received:
                _put(connection, state["id"], number, pack(piece))
    state = connection.call("POST", f"/v1/imports/{state['id']}/start", {"pieces": number, "rows": rows})
    return _finished(connection, state, number, quiet=quiet)


def _finished(connection: Connection, state: Json, pieces: int, *, quiet: bool) -> Json:
    """Wait until all pieces are done."""
    with Progress(
        TextColumn("importing"), BarColumn(), TimeRemainingColumn(), disable=quiet, console=show.errors
    ) as bar:
        task = bar.add_task("importing", total=max(1, pieces))
        still = time.monotonic() + 900
        done = 0
        while state["status"] in ("receiving", "running"):
            if state.get("pieces_done", 0) > done:
                done, still = state["pieces_done"], time.monotonic() + 900
            if time.monotonic() > still:
                raise CommandError(f"import {state['id']} makes no progress; run the command again to go on")
            bar.update(task, completed=done)
            time.sleep(_POLL_S)
            state = connection.call("GET", f"/v1/imports/{state['id']}")
        bar.update(task, completed=max(1, pieces))
    return state


def _put(connection: Connection, name: str, number: int, packed: bytes) -> None:
    headers = {"Content-Type": "application/octet-stream", "Authorization": f"Bearer {connection.token}"}
    for attempt in range(_TRIES):
        answer = connection.request("PUT", f"/v1/imports/{name}/pieces/{number}", data=packed, headers=headers)
        if answer.status_code == 200:
            return
        if answer.status_code not in (429, 500, 502, 503, 504):
            raise CommandError(f"piece {number}: answered {answer.status_code} {answer.text[:200]}")
        time.sleep(min(2**attempt, 15))
    raise CommandError(f"piece {number} was not taken; run the command again to go on")


def _rows(file: Path, mapping: Mapping | None, chunks: Iterator[bytes]) -> Iterator[Row]:
    form = (mapping and mapping.format) or format_of(file.name)
    if form is None:
        raise InvalidInput(
            "the file's name says no format", code="unknown_format", hint="name it .csv, .ndjson or .parquet"
        )
    if form == "parquet":
        return parquet_rows(file)
    told = mapping or Mapping()
    return text_rows(chunks, form, told.encoding, told.delimiter)


class _Bytes:
    """The bytes of a file in chunks, with a progress bar by bytes."""

    def __init__(self, file: Path, title: str, *, quiet: bool) -> None:
        self._file = file
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), disable=quiet, console=show.errors
        )
        self._task = self._bar.add_task(title, total=file.stat().st_size)

    def __enter__(self) -> Iterator[bytes]:
        self._bar.start()
        self._stream = self._file.open("rb")
        return self._chunks()

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._bar.stop()

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._stream.read(_CHUNK):
            self._bar.advance(self._task, len(chunk))
            yield chunk


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _document(mapping: Path) -> Json:
    try:
        document = orjson.loads(mapping.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise CommandError(f"{mapping} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise CommandError(f"{mapping} is no JSON object")
    return document  # pyright: ignore[reportUnknownVariableType]


def _show_trial(tried: Trial, *, as_json: bool) -> None:
    if as_json:
        shown = {"layout": tried.layout, "rows": tried.rows, "events": tried.events}
        show.value({**shown, "first": tried.first, "problems": tried.problems})
        return
    for event in tried.first:
        show.console.print_json(data=event, indent=None)
    show.console.print(f"{tried.layout}: {tried.rows} rows, {tried.events} events, {len(tried.problems)} problems")
    if tried.problems:
        show.rows(tried.problems, ["row", "code", "message"], as_json=False, title="problems")


def _show_report(report: Json, *, as_json: bool) -> None:
    if as_json:
        show.value(report)
        return
    if report["status"] == "refused":
        show.console.print(f"the file is refused: {report['code']}: {report['message']}")
        return
    again = "done before: " if report.get("known") else ""
    show.console.print(
        f"{again}{report.get('accepted', 0)} events accepted of {report.get('rows', 0)} rows, "
        f"{report.get('rejected', 0)} rejected ({report['file']}, import {report['id']})"
    )
    if report.get("first_rejects"):
        show.rows(report["first_rejects"], ["row", "code", "message"], as_json=False, title="rejected")
        show.console.print("all of them, with their rows: hoso quarantine list")


__all__ = ["Opened", "import_file", "register", "send_import", "try_file"]
