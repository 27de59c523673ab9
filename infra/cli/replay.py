"""``hoso replay``: send a range of the archive again, or rebuild it in a shadow and compare. ``hoso replays``: look."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hoso.model.time import format_instant
from infra.cli import show
from infra.cli.connection import Connection, DataOption, JsonOption, UrlOption, connect

_LOOK_S = 0.5
_ENDS = ("done", "stopped", "failed")
_LIVE_TIMEOUT_S = 120

FromOption = Annotated[str, typer.Option("--from", help="Events received at or after this instant, ISO 8601.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Events received before this instant; now if left out.")]


copies = typer.Typer(help="Messages that came under several identifiers: look, repair.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(replay)
    app.command()(replays)
    app.add_typer(copies, name="duplicates")


def replay(
    since: FromOption,
    until: ToOption = None,
    source: Annotated[str, typer.Option(help="Only events of this source.")] = "",
    into: Annotated[str, typer.Option(help="shadow: rebuild apart and compare; live: send again.")] = "shadow",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    rate: Annotated[int, typer.Option(help="At most so many events a second.")] = 2_000,
    restore: Annotated[
        bool, typer.Option("--restore", help="The tables hold nothing of the range: allow it to be of any age.")
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Replay stored events; nobody is sent anything, what is known is passed over. Exit 1 if a shadow differs."""
    order: dict[str, Any] = {"from": since, "source": source, "into": into, "rate": rate, "restore": restore}
    with connect(data, url) as connection:
        order["to"] = until or _now(connection)
        if dry_run:
            show.value(connection.call("POST", "/v1/replays", {**order, "dry_run": True}))
            return
        started = connection.call("POST", "/v1/replays", order)
        ended = _follow(connection, started, quiet=json_)
        if into == "live" and connection.data is not None:
            ended["stuck"] = connection.drain(_LIVE_TIMEOUT_S)["stuck"]
    if json_:
        show.value(ended)
    else:
        show.console.print_json(data=ended)
    if ended["status"] != "done" or (ended["report"] is not None and not ended["report"]["equal"]):
        raise typer.Exit(1)


def replays(
    stop: Annotated[str, typer.Option(help="Stop the replay with this id.")] = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many.")] = 20,
) -> None:
    """Replays, newest first, with their progress."""
    with connect(data, url) as connection:
        if stop:
            show.value(connection.call("POST", f"/v1/replays/{stop}/stop", {}))
            return
        items = connection.pages("/v1/replays", limit)
        show.rows(items, ["id", "status", "into", "events", "aside", "source"], as_json=json_, title="replays")


@copies.callback(invoke_without_command=True)
def duplicates(
    context: typer.Context,
    since: Annotated[str, typer.Option("--from", help="Events received at or after this instant, ISO 8601.")] = "",
    until: ToOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many.")] = 50,
) -> None:
    """Messages that came under several identifiers in a range of at most 31 days: each copy counts where it came."""
    if context.invoked_subcommand is not None:
        return
    if not since:
        raise typer.BadParameter("say where to begin: --from 2026-11-28T00:00:00Z")
    with connect(data, url) as connection:
        query = {"from": since, "to": until or _now(connection)}
        items = connection.pages("/v1/duplicates", limit, **query)
        columns = ["message_id", "source", "same_content", "copies"]
        show.rows(items, columns, as_json=json_, title="duplicates")


@copies.command("repair")
def repair_duplicates(
    since: FromOption,
    until: ToOption = None,
    source: Annotated[str, typer.Option(help="Only messages of this source.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without, only count.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Take all copies but the first out of state: figures, memberships and timelines are then as if each message had
    come once. Without --apply it only counts. Safe to repeat. Exit 1 if some are too old to be taken out."""
    counts: dict[str, Any] = {}
    with (
        connect(data, url) as connection,
        Progress(TextColumn("{task.description}"), console=show.errors, disable=json_) as progress,
    ):
        task = progress.add_task("looking")
        order: dict[str, Any] = {"from": since, "to": until or _now(connection), "source": source}
        order |= {"dry_run": not apply}
        while True:
            answer = connection.call("POST", "/v1/duplicates/repair", order)
            for name, value in answer["counts"].items():
                counts[name] = counts.get(name, 0) + value
            progress.update(task, description=f"{counts['messages']} messages, {counts['struck']} copies")
            if answer["next"] is None:
                break
            order["cursor"] = answer["next"]
    show.value({"dry_run": not apply, **counts})
    if counts["expired"]:
        raise typer.Exit(1)


def _follow(connection: Connection, started: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Watch a replay to its end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=quiet) as progress:
        task = progress.add_task(started["status"], total=started["total"])
        while True:
            held = connection.call("GET", f"/v1/replays/{started['id']}")
            progress.update(task, completed=held["events"], description=held["status"])
            if held["status"] in _ENDS:
                return held
            time.sleep(_LOOK_S)


def _now(connection: Connection) -> str:
    """The time of the deployment; on the twin after all that was accepted is archived."""
    if connection.data is not None:
        connection.drain(_LIVE_TIMEOUT_S)
        answer = connection.request("GET", "/_twin/clock")
        if answer.status_code == 200:
            return format_instant(answer.json()["now_ms"] + 1)
    return format_instant(int(time.time() * 1_000))
