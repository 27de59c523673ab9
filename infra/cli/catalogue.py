"""``hoso catalogue`` and ``hoso live``: which events and properties were seen, and the latest ones as they come."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hoso.model.time import format_instant
from infra.cli import show
from infra.cli.connection import DataOption, JsonOption, UrlOption, connect

_MOST_LIVE = 200
_FOLLOW_S = 2.0
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (catalogue, live):
        app.command()(command)


def catalogue(
    event: Annotated[str | None, typer.Argument(help="One event, such as 'Order Completed' or $identify.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only what this source sent.")] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 2_000,
) -> None:
    """Every event that was seen, or one with its properties: types, when, how often, shapes of values."""
    with connect(data, url) as connection:
        if event is None:
            items = connection.pages("/v1/catalogue", limit, source=source)
            columns = ["event", "count", "first_seen", "last_seen", "sources", "properties", "violations"]
            show.rows(items if json_ else map(_readable, items), columns, as_json=json_, title="catalogue")
            return
        found = connection.call("GET", f"/v1/catalogue/{quote(event, safe='')}")
    if json_:
        show.value(found)
        return
    show.console.print(f"[bold]{found['event']}[/bold]: {found['count']} events, {found['sources']}")
    columns = ["path", "types", "count", "last_seen", "shapes", "values"]
    show.rows(map(_readable, found["properties"]), columns, as_json=False)
    if found["violations"]:
        show.rows(found["violations"], ["count", "reason"], as_json=False, title="against the plan")


def live(
    source: Annotated[str, typer.Argument(help="The source's key, such as web.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on and print what comes, until interrupted.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 200,
) -> None:
    """The latest events of a source, refused ones with their reason; customers' data as shapes."""
    path = f"/v1/sources/{quote(source, safe='')}/live"
    with connect(data, url) as connection:
        seen: set[tuple[Any, ...]] = set()
        while True:
            found = connection.call("GET", path, limit=min(limit, _MOST_LIVE))
            fresh = [item for item in reversed(found["items"]) if _mark(item) not in seen]
            seen = {_mark(item) for item in found["items"]}
            if follow or json_:
                for item in fresh:
                    _line(item, as_json=json_)
            else:
                columns = ["at", "status", "event", "message_id", "reason"]
                rows = ({**item, "at": format_instant(item["at"])} for item in fresh)
                show.rows(rows, columns, as_json=False, title=source)
            if not found["complete"]:
                show.errors.print("[dim]the stream is busy: some of the newest events may be missing[/dim]")
            if not follow:
                return
            time.sleep(_FOLLOW_S)


def _mark(item: dict[str, Any]) -> tuple[Any, ...]:
    return item["at"], item["status"], item["message_id"], item["reason"]


def _line(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(show.line(item), flush=True)
        return
    told = f" {item['reason']}" if item["reason"] else ""
    name = item["event"] or item["type"] or "?"
    show.console.print(
        f"{format_instant(item['at'])} {item['status']:8} {name} {item['message_id']}{told}", highlight=False
    )


def _readable(item: dict[str, Any]) -> dict[str, Any]:
    times = {name: format_instant(item[name])[:19] for name in ("first_seen", "last_seen") if name in item}
    return {**item, **times}
