"""``hoso quarantine``: what could not be processed: look, repair, replay, drop."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect

app = typer.Typer()
_PAGE = 200

StageOption = Annotated[str | None, typer.Option(help="collect, archive, consume, duplicate or flood.")]
CodeOption = Annotated[str | None, typer.Option(help="Only rows of this code, such as missing_event.")]
SourceOption = Annotated[str | None, typer.Option(help="Only of this source.")]
SinceOption = Annotated[str | None, typer.Option(help="Only what came at or after this instant, ISO 8601.")]
UntilOption = Annotated[str | None, typer.Option(help="Only what came before this instant, ISO 8601.")]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Do it; without this it is only shown.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be accepted.")]
RateOption = Annotated[float, typer.Option(help="At most so many rows a second.")]
EntryArgument = Annotated[str, typer.Argument(help="The entry's id; left out: all that the options choose.")]
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]


@app.callback(invoke_without_command=True)
def quarantine(
    context: typer.Context,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 50,
) -> None:
    """What could not be processed, with its reason."""
    if context.invoked_subcommand is None:
        list_entries(data=data, url=url, json_=json_, limit=limit)


@app.command("list")
def list_entries(
    stage: StageOption = None,
    code: CodeOption = None,
    source: SourceOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was replayed.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 50,
) -> None:
    """Entries that wait, newest first."""
    chosen = {"stage": stage, "code": code, "source": source, "state": "all" if everything else None}
    with connect(data, url) as connection:
        items = connection.pages("/v1/quarantine", limit, **chosen)
        # the id begins with the time of receipt and names the stage
        columns = ["id", "code", "source", "rows", "open"]
        show.rows(items, columns, as_json=json_, title="quarantine")


@app.command("show")
def show_entry(
    entry: Annotated[str, typer.Argument(help="The entry's id.")],
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """An entry with its payloads."""
    del json_  # it is JSON in any case
    with connect(data, url) as connection:
        show.value(connection.call("GET", f"/v1/quarantine/{quote(entry, safe='')}"))


@app.command("repair")
def repair(
    entry: EntryArgument = "",
    map_: Annotated[
        str, typer.Option("--map", help="JMESPath over the payload, a JSON Patch, or @FILE with either.")
    ] = "",
    stage: StageOption = None,
    code: CodeOption = None,
    source: SourceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    apply: ApplyOption = False,
    rate: RateOption = 500,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 20,
) -> None:
    """Map payloads and show each before and after, and what would be accepted now; --apply sends those."""
    order = _order(entry, stage, code, source, since, until) | {"dry_run": not apply, "map": mapping_of(map_)}
    _work(order, data, url, json_=json_, rate=rate, limit=None if apply else limit)


@app.command("replay")
def replay(
    entry: EntryArgument = "",
    stage: StageOption = None,
    code: CodeOption = None,
    source: SourceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All that waits.")] = False,
    dry_run: DryOption = False,
    rate: RateOption = 500,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Send rows again as they are; what is refused again stays."""
    order = _order(entry, stage, code, source, since, until) | {"dry_run": dry_run}
    if not everything and len(order) == 1:
        raise CommandError("say which: hoso quarantine replay ID, --stage, --code, --source, or --all")
    _work(order, data, url, json_=json_, rate=rate, limit=None)


@app.command("drop")
def drop(
    entry: EntryArgument = "",
    stage: StageOption = None,
    code: CodeOption = None,
    source: SourceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    apply: ApplyOption = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Take rows off the list for good; they stay stored until they expire (list --all)."""
    order = _order(entry, stage, code, source, since, until)
    if not order:
        raise CommandError("say which: hoso quarantine drop ID, --stage, --code or --source")
    _work(order | {"dry_run": not apply, "drop": True}, data, url, json_=json_, rate=5_000, limit=None)


def mapping_of(text: str) -> Any:
    """The mapping that ``--map`` means: an expression, or the operations of a JSON Patch; None for an empty text.

    Raises:
        CommandError: the file cannot be read, or its JSON is no list.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text().strip()
        except OSError as error:
            raise CommandError(f"cannot read {text[1:]}: {error.strerror}") from error
    if text.startswith("[{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise CommandError(f"--map is no JSON Patch: {error}") from error
    return text or None


def _order(
    entry: str, stage: str | None, code: str | None, source: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    chosen = {"stage": stage, "code": code, "source": source, "since": since, "until": until}
    order: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    return {**order, "ids": [entry]} if entry else order


def _work(
    order: dict[str, Any], data: DataOption, url: UrlOption, *, json_: bool, rate: float, limit: int | None
) -> None:
    """Go through all that is chosen, page by page; print a table, or rows and a last line as NDJSON."""
    matched = accepted = shown = 0
    with connect(data, url) as connection:
        if "ids" in order:
            connection.call("GET", f"/v1/quarantine/{quote(order['ids'][0], safe='')}")  # says so if there is none
        for page in _pages(connection, order, rate):
            matched, accepted = matched + page["matched"], accepted + page["accepted"]
            rows = page["rows"] if limit is None else page["rows"][: max(0, limit - shown)]
            shown += len(rows)
            if json_:
                show.rows(rows, [], as_json=True)
            elif order["dry_run"]:
                for row in rows:
                    _print(row, dropping=order.get("drop", False))
    summary = {"matched": matched, "accepted": accepted, "dry_run": order["dry_run"]}
    if json_:
        print(json.dumps(summary))
        return
    done = "dropped" if order.get("drop") else "accepted"
    tense = f"would be {done}; --apply does it" if order["dry_run"] else f"{done}"
    show.console.print(f"{matched} rows looked at, {accepted} {tense}")


def _pages(connection: Connection, order: dict[str, Any], rate: float) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        began = time.monotonic()
        page = connection.call("POST", "/v1/quarantine/repair", {**order, "cursor": cursor, "limit": _PAGE})
        yield page
        cursor = page["next"]
        if cursor is None:
            return
        if not order["dry_run"]:
            time.sleep(max(0.0, page["accepted"] / rate - (time.monotonic() - began)))


def _print(row: dict[str, Any], *, dropping: bool) -> None:
    verdict = "[yellow]would be dropped[/yellow]" if dropping else "[green]would be accepted[/green]"
    if not row["accepted"] and not dropping:
        verdict = f"[red]{row['code']}[/red]: {row['message']}"
    show.console.print(f"[bold]{row['id']}[/bold] row {row['index']}  {verdict}", highlight=False)
    show.console.print(f"  before {_text(row['before'])}", highlight=False, markup=False)
    if row["after"] != row["before"]:
        show.console.print(f"  after  {_text(row['after'])}", highlight=False, markup=False)


def _text(payload: Any) -> str:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return text if len(text) <= 1_000 else text[:1_000] + " …"
