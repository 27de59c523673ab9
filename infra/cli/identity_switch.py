"""``hoso identity switch``: rules rebuilt in the shadow, compared, confirmed, taken over, and checked."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from infra.cli import show
from infra.cli.connection import Connection, DataOption, JsonOption, UrlOption, connect
from infra.cli.identity_rules import FileArgument, read_file

_PATH = "/v1/identity/switches"
_LOOK_S = 0.5
_RESTS = ("ready", "done", "stopped", "failed")
_LAG_S = 180
_TWIN_LAG_S = 5
_DRAIN_S = 120

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The switch's id; of none, the newest.")]


class _FileFirst(TyperGroup):
    """``switch FILE`` is ``switch start FILE``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that these words mean, and what is left of them."""
        if args and args[0] not in self.commands:
            args = ["start", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(no_args_is_help=True, cls=_FileFirst)


@app.callback()
def switch() -> None:
    """Switch identity rules: rebuild in the shadow, compare, confirm, take over. ``switch FILE`` begins."""


@app.command()
def start(file: FileArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Rebuild everybody in the shadow under these rules and compare; nothing live changes. Then: ``switch commit``."""
    with connect(data, url) as connection:
        _drain(connection)
        started = connection.call("POST", _PATH, {"document": read_file(file)})
        ended = _follow(connection, started["id"], quiet=json_)
    _tell(ended, as_json=json_)
    if ended["status"] != "ready":
        raise typer.Exit(1)
    if not json_:
        show.console.print(f"nothing has changed yet; to switch: hoso identity switch commit {ended['id']}")


@app.command()
def status(
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many replays are looked at.")] = 50,
) -> None:
    """Switches, newest first, with their progress."""
    columns = ["id", "status", "phase", "events", "adopted", "moved", "evaluated", "left", "revision"]
    with connect(data, url) as connection:
        show.rows(connection.pages(_PATH, limit), columns, as_json=json_, title="switches")


@app.command()
def report(id_: IdArgument = "", data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """What a switch would change, or changed, and what its check found."""
    with connect(data, url) as connection:
        found = connection.call("GET", f"{_PATH}/{id_ or _newest(connection)}")
    _tell(found, as_json=json_)


@app.command()
def commit(
    id_: IdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Also when many people change.")] = False,
    silent: Annotated[bool, typer.Option("--silent", help="Tell nobody of what changes.")] = False,
    lag_s: Annotated[
        int | None, typer.Option("--lag-s", help="How long events take to be archived.", show_default=False)
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Put the rules in force and let everybody follow. Exit 1 if the check finds a difference; ``settle`` mends it."""
    with connect(data, url) as connection:
        on_twin = _drain(connection)
        body = {"confirm": yes, "silent": silent, "lag_s": _lag(lag_s, on_twin=on_twin)}
        connection.call("POST", f"{_PATH}/{id_}/commit", body)
        ended = _follow(connection, id_, quiet=json_)
    _tell(ended, as_json=json_, examples=False)
    _judge(ended)


@app.command()
def settle(id_: IdArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Let a switch that was confirmed settle once more: after a difference, or a failure."""
    with connect(data, url) as connection:
        _drain(connection)
        connection.call("POST", f"{_PATH}/{id_}/settle", {})
        ended = _follow(connection, id_, quiet=json_)
    _tell(ended, as_json=json_, examples=False)
    _judge(ended)


@app.command()
def stop(id_: IdArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Stop a switch at its next step."""
    with connect(data, url) as connection:
        show.value(connection.call("POST", f"{_PATH}/{id_}/stop", {}))


def _drain(connection: Connection) -> bool:
    """On a twin, let all that was accepted be archived first. Answers whether it is one."""
    if connection.data is None:
        return False
    connection.drain(_DRAIN_S)
    return True


def _lag(given: int | None, *, on_twin: bool) -> int:
    if given is not None:
        return given
    return _TWIN_LAG_S if on_twin else _LAG_S


def _newest(connection: Connection) -> str:
    for one in connection.pages(_PATH, 50):
        return one["id"]
    raise typer.BadParameter("there is no switch; hoso identity switch FILE begins one")


def _follow(connection: Connection, switch_id: str, *, quiet: bool) -> dict[str, Any]:
    """Watch a switch until it waits or has ended."""
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=show.errors, disable=quiet) as progress:
        task = progress.add_task("starting")
        while True:
            held = connection.call("GET", f"{_PATH}/{switch_id}")
            progress.update(task, description=f"{held['status']}, {held['events']} events")
            if held["status"] in _RESTS:
                return held
            time.sleep(_LOOK_S)


def _tell(held: dict[str, Any], *, as_json: bool, examples: bool = True) -> None:
    if as_json:
        show.value(held)
        return
    show.console.print(f"[bold]{held['id']}[/bold] {held['status']} {held.get('reason', '')}")
    found = held["report"]
    if found is not None:
        for name in ("people", "people_changed", "share_changed", "people_that_merge", "people_that_split"):
            show.console.print(f"[bold]{name.replace('_', ' ')}[/bold] {found[name]}")
        segments = [{"segment": key, **counts} for key, counts in found["memberships"]["segments"].items()]
        show.rows(segments, ["segment", "enter", "leave"], as_json=False, title="memberships")
        if examples:
            _tell_examples(found["examples"])
    if held["check"] is not None:
        show.console.print("live against the rebuild:")
        show.value(held["check"])


def _tell_examples(examples: list[dict[str, Any]]) -> None:
    rows = [
        {
            "effect": one["effect"],
            "parts": len(one["parts"]),
            "person": ", ".join(one["person"]["identifiers"]),
            "because": "; ".join(f"{why['from']} – {why['to']}: {why['reason']}" for why in one["because"]),
        }
        for one in examples
    ]
    show.rows(rows, ["effect", "parts", "person", "because"], as_json=False, title="examples")


def _judge(held: dict[str, Any]) -> None:
    if held["status"] != "done" or not held["check"]["equal"]:
        raise typer.Exit(1)
