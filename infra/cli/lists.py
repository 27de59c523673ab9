"""``hoso lists`` and ``hoso suppress``: who is on a list, who must not be written to."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import Progress

from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect

AT_ONCE = 200
"""Identifiers in one request: a few seconds of work on the other side."""
_NAMED = ("id", "identifier", "profile_id")

app = typer.Typer()
suppress_app = typer.Typer()
KeyArgument = Annotated[str, typer.Argument(help="The list's key.")]
IdsArgument = Annotated[list[str], typer.Argument(help="TYPE:VALUE, or profile ids.")]
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is shown with the entry.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only read and check the file.")]
ChannelOption = Annotated[str, typer.Option("--channel", help="A channel such as email, or * for all.")]

Json = dict[str, Any]


@app.callback(invoke_without_command=True)
def lists(context: typer.Context, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Uploaded and hand-kept lists of people."""
    if context.invoked_subcommand is None:
        list_lists(data, url, json_)


@app.command("list")
def list_lists(data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """All lists."""
    with connect(data, url) as connection:
        show.rows(connection.pages("/v1/lists"), ["key", "name", "description", "at"], as_json=json_, title="lists")


@app.command("show")
def show_list(
    key: KeyArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False, limit: LimitOption = 50
) -> None:
    """A list and who is on it."""
    with connect(data, url) as connection:
        found = connection.call("GET", _path(key))
        items = connection.pages(f"{_path(key)}/members", limit)
        if not json_:
            show.console.print(f"[bold]{found['key']}[/bold] {found['name']} {found['description']}")
        show.rows(items, ["profile_id", "type", "since", "reason"], as_json=json_, title=key)


@app.command()
def make(
    key: KeyArgument,
    name: Annotated[str | None, typer.Option("--name", help="What people call it.")] = None,
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Make a list, or name it anew."""
    with connect(data, url) as connection:
        made = connection.call("PUT", _path(key), {"name": name or key, "description": description})
    show.console.print(f"{made['key']} is there")


@app.command()
def add(
    key: KeyArgument,
    ids: IdsArgument,
    reason: ReasonOption = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Put people on a list."""
    with connect(data, url) as connection:
        _tell(_sent(connection, f"{_path(key)}/members", "add", ids, {"reason": reason}, quiet=True), json_)


@app.command()
def remove(
    key: KeyArgument, ids: IdsArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False
) -> None:
    """Take people off a list."""
    with connect(data, url) as connection:
        _tell(_sent(connection, f"{_path(key)}/members", "remove", ids, {}, quiet=True), json_)


@app.command()
def upload(
    key: KeyArgument,
    file: Annotated[
        Path,
        typer.Argument(help="CSV with a header, NDJSON, or one TYPE:VALUE a line.", exists=True, dir_okay=False),
    ],
    column: Annotated[
        str | None, typer.Option("--column", help="The column or member; id (TYPE:VALUE) when it is not told.")
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Type of the column's values; its name when it is not told.")
    ] = None,
    take_off: Annotated[bool, typer.Option("--remove", help="Take them off the list.")] = False,
    dry_run: DryOption = False,
    reason: ReasonOption = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Put everybody in a file on a list, which is made when it is not there."""
    with connect(data, url) as connection:
        if not dry_run and not any(one["key"] == key for one in connection.pages("/v1/lists")):
            connection.call("PUT", _path(key), {"name": key})
        side = "remove" if take_off else "add"
        more = {"reason": reason} if reason else {}
        ids = list(read_ids(file, column, type_))
        path = f"{_path(key)}/members"
        _tell(_sent(connection, path, side, ids, more, dry_run=dry_run, quiet=json_), json_)


@app.command()
def delete(key: KeyArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Empty a list and take it out of use. No segment may ask for it."""
    removed = 0
    with connect(data, url) as connection, show.errors.status("taking people off …"):
        while True:
            found = connection.call("DELETE", _path(key))
            removed += found["removed"]
            if found["deleted"]:
                break
    if json_:
        show.value({"key": key, "removed": removed, "deleted": True})
    else:
        show.console.print(f"{key} is gone, {removed} were on it")


@suppress_app.command("add")
def suppress_add(
    ids: IdsArgument,
    channel: ChannelOption = "*",
    reason: ReasonOption = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Send nothing to these people on a channel."""
    with connect(data, url) as connection:
        more = {"channel": channel, "reason": reason}
        _tell(_sent(connection, "/v1/suppressions", "add", ids, more, quiet=True), json_)


@suppress_app.command("remove")
def suppress_remove(
    ids: IdsArgument,
    channel: ChannelOption = "*",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Lift what was suppressed by hand. Addresses that bounced or complained stay suppressed."""
    with connect(data, url) as connection:
        _tell(_sent(connection, "/v1/suppressions", "remove", ids, {"channel": channel}, quiet=True), json_)


@suppress_app.command("list")
def suppress_list(
    channel: ChannelOption = "*",
    told: Annotated[bool, typer.Option("--told", help="What the channel itself told of: bounces, complaints.")] = False,
    limit: LimitOption = 50,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Who is suppressed on a channel, by hand or because the channel told so."""
    with connect(data, url) as connection:
        items = connection.pages("/v1/suppressions", limit, channel=channel, by="channel" if told else "hand")
        show.rows(items, ["profile_id", "type", "since", "reason"], as_json=json_, title=f"suppressed on {channel}")


def read_ids(file: Path, column: str | None, kind: str | None) -> Iterator[str]:
    """The identifiers in a file: NDJSON (objects, or texts), CSV with a header, or one identifier a line.

    Raises:
        CommandError: a line is not JSON, or the column is not there.
    """
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if file.suffix in (".ndjson", ".jsonl"):
            yield from _of_json(lines, column, kind)
        elif file.suffix == ".csv":
            rows = csv.DictReader(lines)
            name = _column(rows.fieldnames or (), column)
            yield from (_named(row[name], name, kind) for row in rows if row.get(name))
        else:
            yield from (line.strip() for line in lines if line.strip())


def _of_json(lines: Iterable[str], column: str | None, kind: str | None) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise CommandError(f"line {number} is not JSON") from error
        if isinstance(row, dict):
            name = _column(row, column)  # pyright: ignore[reportUnknownArgumentType]
            yield _named(str(row[name]), name, kind)  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield str(row)


def _column(names: Iterable[str], wanted: str | None) -> str:
    known = list(names)
    for name in (wanted,) if wanted else _NAMED:
        if name in known:
            return name
    told = wanted or " or ".join(_NAMED)
    raise CommandError(f"the file has no column {told}; name one of its columns with --column")


def _named(value: str, column: str, kind: str | None) -> str:
    """TYPE:VALUE as the API takes it."""
    if column in _NAMED and kind is None:
        return value
    return f"{kind or column}:{value}"


def _sent(
    connection: Connection,
    path: str,
    side: str,
    ids: list[str],
    more: Json,
    *,
    dry_run: bool = False,
    quiet: bool,
) -> Json:
    """Send identifiers in parts; the sums of the answers, faults by their place in the whole."""
    told: Json = {"dry_run": dry_run, "added": 0, "removed": 0, "refused": 0, "faults": list[Json]()}
    rest = iter(ids)
    with Progress(console=show.errors, transient=True, disable=quiet) as bar:
        task = bar.add_task("checking" if dry_run else "sending", total=len(ids))
        sent = 0
        while part := list(islice(rest, AT_ONCE)):
            given = {**more, side: part}
            found = connection.call("POST", path, given, dry_run="true" if dry_run else None)
            for name in ("added", "removed", "refused"):
                told[name] += found[name]
            told["faults"] += [{**fault, "position": fault["position"] + sent} for fault in found["faults"]]
            sent += len(part)
            bar.update(task, completed=sent)
    return told


def _tell(told: Json, as_json: bool) -> None:
    if as_json:
        show.value(told)
    else:
        would = "would be " if told["dry_run"] else ""
        show.console.print(f"{told['added']} {would}added, {told['removed']} {would}removed, {told['refused']} refused")
        if told["faults"]:
            show.rows(told["faults"], ["position", "code", "message"], as_json=False, title="refused (places from 0)")
    if told["refused"]:
        raise typer.Exit(1)


def _path(key: str) -> str:
    return f"/v1/lists/{quote(key, safe='')}"
