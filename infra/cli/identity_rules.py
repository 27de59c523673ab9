"""``hoso identity rules`` and ``hoso identity preview``: the identity rules of a workspace, tried before they hold."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect

app = typer.Typer(no_args_is_help=True)
FileArgument = Annotated[Path, typer.Argument(help="JSON: an identity/1 document.", exists=True, dir_okay=False)]
_PATH = "/v1/identity/rules"


@app.callback()
def rules() -> None:
    """Show, compare and apply identity rules."""


@app.command("show")
def show_rules(
    data: DataOption = None,
    url: UrlOption = None,
    revisions: Annotated[bool, typer.Option("--revisions", help="All revisions.")] = False,
    json_: JsonOption = False,
) -> None:
    """The rules in force, in full."""
    with connect(data, url) as connection:
        if revisions:
            show.rows(connection.pages(f"{_PATH}/revisions"), ["revision", "at", "document"], as_json=json_)
            return
        found = connection.call("GET", _PATH)
    if json_:
        show.value(found)
        return
    rows = [{"type": name, **rule} for name, rule in found["meaning"]["types"].items()]
    columns = ["type", "rank", "limit", "window_days", "fanout", "device"]
    show.rows(rows, columns, as_json=False, title=f"revision {found['revision']}")


@app.command()
def diff(file: FileArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """What a file would change in what the rules mean. Exit 1 where it changes anything."""
    with connect(data, url) as connection:
        now = connection.call("GET", _PATH)["meaning"]
        then = connection.call("POST", f"{_PATH}/preview", {"document": read_file(file)})["meaning"]
    lines = list(difflib.unified_diff(_lines(now), _lines(then), "in force", str(file), lineterm=""))
    for line in lines:
        typer.echo(line)
    if lines:
        raise typer.Exit(1)


@app.command()
def apply(
    file: Annotated[Path | None, typer.Argument(help="JSON: an identity/1 document.", show_default=False)] = None,
    revision: Annotated[int | None, typer.Option(help="A former revision instead.", show_default=False)] = None,
    data: DataOption = None,
    url: UrlOption = None,
    derive: Annotated[bool, typer.Option("--derive/--no-derive", help="Derive the people there are anew.")] = True,
    without_preview: Annotated[
        bool, typer.Option("--without-preview", help="Also rules that were not previewed on the people there are.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Put rules in force, and derive the people there are anew, with progress; it may be stopped and run again.

    Events stay under the identifier that they came under; ``hoso identity switch`` moves them too, after a comparison.
    """
    if (file is None) == (revision is None):
        raise CommandError("name a file, or --revision")
    with connect(data, url) as connection:
        body = {"revision": revision} if file is None else read_file(file)
        stored = connection.call("PUT", _PATH, body, without_preview="true" if without_preview else None)
        done = _derive(connection, stored["revision"], quiet=json_) if derive else {}
    if json_:
        show.value({"revision": stored["revision"], **done})
    else:
        show.console.print(f"revision {stored['revision']} is in force")


def preview(
    file: FileArgument,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """What rules would make of the recorded evidence: who would merge, who would part, with examples."""
    with connect(data, url) as connection:
        found = connection.call("POST", f"{_PATH}/preview", {"document": read_file(file)})
    if json_:
        show.value(found)
        return
    for name in ("people_before", "people_after", "people_that_merge", "people_that_split", "unchanged", "complete"):
        show.console.print(f"[bold]{name.replace('_', ' ')}[/bold] {found[name]}")
    rows = [
        {
            "effect": one["effect"],
            "person": ", ".join(one["person"]["identifiers"]),
            "parts": len(one["parts"]),
            "because": "; ".join(f"{why['from']} – {why['to']}: {why['reason']}" for why in one["because"]),
        }
        for one in found["examples"]
    ]
    show.rows(rows, ["effect", "parts", "person", "because"], as_json=False, title="examples")


def _derive(connection: Connection, revision: int, *, quiet: bool) -> dict[str, Any]:
    total = {"looked": 0, "changed": 0, "left": 0}
    cursor: Any = None
    while True:
        piece = connection.call("POST", f"{_PATH}/rederive", {"cursor": cursor, "revision": revision})
        for name in total:
            total[name] += piece[name]
        if not quiet:
            show.console.print(f"{total['looked']} components looked at, {total['changed']} people changed")
        cursor = piece["cursor"]
        if cursor is None:
            return total


def read_file(file: Path) -> Any:
    """A JSON file's content. Raises ``CommandError``."""
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}") from error


def _lines(meaning: dict[str, Any]) -> list[str]:
    return json.dumps(meaning, indent=2, sort_keys=True).splitlines()
