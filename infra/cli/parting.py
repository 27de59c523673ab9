"""``hoso why``, ``merges``, ``unmerge``, ``block`` and ``allow``: one person, explained and undone."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from infra.cli import show
from infra.cli.connection import CommandError, DataOption, JsonOption, UrlOption, connect

PersonArgument = Annotated[str, typer.Argument(help="TYPE:VALUE, or a profile id.")]
EdgeOption = Annotated[
    tuple[str, str] | None, typer.Option("--edge", help="The two ends of a link.", metavar="A B", show_default=False)
]
ReasonOption = Annotated[str | None, typer.Option(help="Kept with the record.", show_default=False)]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``hoso``."""
    for command in (why, merges, unmerge, block, allow):
        app.command()(command)


def why(
    one: Annotated[str, typer.Argument(help="An identifier, TYPE:VALUE.")],
    other: Annotated[str | None, typer.Argument(help="Another one; without it, all links of the person.")] = None,
    graph: Annotated[str | None, typer.Option(help="Print the links as mermaid or dot.", show_default=False)] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Why two identifiers are one person: the path of links, each with its event, source and time."""
    if graph not in (None, "mermaid", "dot"):
        raise CommandError("--graph is mermaid or dot")
    query = {"from": one, "to": other} if other else {}
    with connect(data, url) as connection:
        found = connection.call("GET", _path(one, "why"), **query)
    if json_:
        show.value(found)
        return
    if graph:
        typer.echo(found["graph"][graph])
        return
    if other and not found["connected"]:
        show.console.print(f"{one} and {other} are two people")
        show.rows(found.get("refused", []), ["from", "to", "meaning"], as_json=False)
        return
    rows = found["path"] if other else found["edges"]
    show.rows(rows, ["from", "to", "kind", "first", "last", "source", "message_id"], as_json=False)


def merges(
    person: PersonArgument,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default=False)] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """The merge log of a person, the newest first: who, when, by which evidence, and how it was before."""
    with connect(data, url) as connection:
        rows = list(connection.pages(_path(person, "merges"), limit))
    if json_:
        show.rows(rows, [], as_json=True)
        return
    for row in rows:
        cause = row.get("message_id") or row.get("record") or ""
        told = " ".join(str(row[name]) for name in ("source", "by") if row.get(name))
        show.console.print(f"[bold]{row['effect']}[/bold] {row['at']} {row['rule']} {cause} {told}", soft_wrap=True)
        show.console.print(f"  [dim]entry {row['id']}[/dim]", soft_wrap=True, highlight=False)
    if not rows:
        show.console.print(f"[dim]{person} was never merged[/dim]")


def unmerge(
    person: PersonArgument,
    edge: EdgeOption = None,
    identifier: Annotated[str | None, typer.Option(help="Take this one out.", show_default=False)] = None,
    event: Annotated[str | None, typer.Option(help="Take back what this message id told.", show_default=False)] = None,
    merge: Annotated[str | None, typer.Option(help="Take back this entry of the log.", show_default=False)] = None,
    reason: ReasonOption = None,
    dry_run: DryOption = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Take a merge back: both people end as if the link had never been seen, and stay apart."""
    wish = {"edge": edge, "identifier": identifier, "event": event, "merge": merge}
    _wish("unmerge", person, wish, reason, dry_run, data, url, json_)


def block(
    person: PersonArgument,
    edge: EdgeOption = None,
    value: Annotated[str | None, typer.Option(help="Never join anybody by this one.", show_default=False)] = None,
    reason: ReasonOption = None,
    dry_run: DryOption = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Keep a link, or all links of a value, from joining people."""
    _wish("block", person, {"edge": edge, "value": value}, reason, dry_run, data, url, json_)


def allow(
    person: PersonArgument,
    edge: EdgeOption = None,
    value: Annotated[str | None, typer.Option(help="Let this one join again.", show_default=False)] = None,
    record: Annotated[str | None, typer.Option(help="Take this record back.", show_default=False)] = None,
    reason: ReasonOption = None,
    dry_run: DryOption = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Take a block or an unmerge back."""
    _wish("allow", person, {"edge": edge, "value": value, "record": record}, reason, dry_run, data, url, json_)


def _wish(
    action: str,
    person: str,
    wish: dict[str, Any],
    reason: str | None,
    dry_run: bool,
    data: DataOption,
    url: UrlOption,
    as_json: bool,
) -> None:
    given = {name: value for name, value in wish.items() if value is not None}
    if len(given) != 1:
        raise CommandError(f"name one of {', '.join('--' + name for name in wish)}")
    body = {**given, "reason": reason, "dry_run": dry_run}
    with connect(data, url) as connection:
        found = connection.call("POST", _path(person, action), body)
    if as_json:
        show.value(found)
        return
    would = "would become" if dry_run else "now"
    for one in found.get("after", []):
        show.console.print(f"{would}: [bold]{one['profile_id']}[/bold]  {', '.join(one['identifiers'])}")
    for one in found.get("still_connected", []):
        show.console.print(f"still connected by {one['from']} – {one['to']} ({one['message_id']})")
    show.console.print(
        f"record {found['record']}" + ("" if dry_run else f"; undo: hoso allow … --record {found['record']}")
    )


def _path(person: str, what: str) -> str:
    return f"/v1/people/{quote(person, safe='')}/{what}"
