"""``hoso segments show | preview | why | diff | plan | apply | backfill | pause | resume | archive``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import Progress
from rich.tree import Tree

from hoso.model.errors import InvalidInput
from hoso.segment.check import read_segment
from hoso.segment.describe import sentence
from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect

KeyArgument = Annotated[str, typer.Argument(help="The segment's key.")]
FileArgument = Annotated[Path, typer.Argument(help="A segment document (JSON).", exists=True, dir_okay=False)]
FilesArgument = Annotated[list[Path], typer.Argument(help="Segment documents (JSON), or folders of them.", exists=True)]
ConfirmOption = Annotated[bool, typer.Option("--confirm", help="Store it although it moves many people.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Read everybody now instead of last night's people.")]
_POLL_S = 0.5
_BLOCKS = "▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    """Add this module's commands to ``hoso segments``."""
    for command in (preview, why, diff, plan, apply, backfill, pause, resume, archive):
        app.command()(command)
    app.command("show")(show_segment)


def show_segment(key: KeyArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """One segment: what it says, its state, its document, its revisions."""
    with connect(data, url) as connection:
        found = connection.call("GET", f"/v1/segments/{_quoted(key)}")
        revisions = connection.call("GET", f"/v1/segments/{_quoted(key)}/revisions")["items"]
    if json_:
        show.value({**found, "revisions": revisions})
        return
    show.console.print(
        f"[bold]{found['key']}[/bold] revision {found['revision']}, {found['state']}: {found['sentence']}"
    )
    show.console.print(f"[dim]{found['sentence_vi']}[/dim]")
    show.value(found["document"])
    show.rows(revisions, ["revision", "at", "sentence"], as_json=False, title="revisions")


def preview(
    what: Annotated[str, typer.Argument(help="A document (JSON file), or the key of a stored segment.")],
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    history: Annotated[bool, typer.Option("--history/--no-history", help="How its size moved in 90 days.")] = True,
    fresh: FreshOption = False,
) -> None:
    """How many people a rule means now, twenty of them, how the size moved, what it shares with other segments."""
    with connect(data, url) as connection:
        document = _document(Path(what)) if Path(what).is_file() else _stored(connection, what)
        asked = {"document": document, "history": history, "fresh": fresh}
        with show.errors.status("asking the archive …"):
            found = connection.call("POST", "/v1/previews", asked)
    if json_:
        show.value(found)
        return
    show.console.print(found["sentence"], highlight=False)
    share = found["size"] / found["people"] if found["people"] else 0
    show.console.print(f"[bold]{found['size']}[/bold] of {found['people']} people ({share:.1%})")
    if history:
        show.console.print(
            f"90 days  {_curve([point['size'] for point in found['history']])}  ({found['history_note']})"
        )
    show.rows(found["overlap"], ["segment", "size", "shared", "share"], as_json=False, title="also in")
    show.rows(found["examples"], ["profile_id", "name", "email", "phone"], as_json=False, title="for example")


def why(
    key: KeyArgument,
    person: Annotated[str, typer.Argument(help="TYPE:VALUE, or a profile id.")],
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Why a person is in a segment, or what keeps it out: every condition with its figures and events."""
    with connect(data, url) as connection:
        found = connection.call("GET", f"/v1/segments/{_quoted(key)}/why/{_quoted(person)}")
    if json_:
        show.value(found)
        return
    until = f", to be looked at again at {found['until']}" if found["until"] else ""
    said = "[green]is in[/green]" if found["member"] else "[red]is not in[/red]"
    root = Tree(f"{found['profile_id']} {said} [bold]{key}[/bold] at {found['as_of']}{until}")
    _grow(root, found["tree"], frozenset(found["missing"]))
    show.console.print(root, highlight=False)
    if found["approximate"]:
        show.console.print("live: approximate, nightly exact: the answer of the last night stands")


def diff(
    file: FileArgument,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    fresh: FreshOption = False,
) -> None:
    """Who would enter and who would leave if this document took the place of the stored one."""
    with connect(data, url) as connection, show.errors.status("comparing …"):
        found = connection.call("POST", "/v1/differences", {"document": _document(file), "fresh": fresh})
    if json_:
        show.value(found)
        return
    show.console.print(
        f"{found['key']}: {found['before']} → {found['after']} people, "
        f"[green]+{found['enter']}[/green] [red]-{found['leave']}[/red]"
    )
    for side in ("entering", "leaving"):
        show.rows(found[side], ["profile_id", "name", "email", "phone"], as_json=False, title=side)


def plan(files: FilesArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """What applying these files would do: which segments are new, change, or stay. Exit 2 when something would."""
    with connect(data, url) as connection:
        steps = [_planned(connection, document) for document in _documents(files)]
    show.rows(steps, ["key", "does", "enter", "leave", "sentence"], as_json=json_, title="plan")
    if any(step["does"] != "nothing" for step in steps):
        raise typer.Exit(2)


def apply(
    files: FilesArgument,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    confirm: ConfirmOption = False,
    wait: Annotated[bool, typer.Option("--backfill/--no-backfill", help="Bring everybody up to date.")] = True,
) -> None:
    """Store these segments; new and changed ones are filled with everybody to whom they apply."""
    done: list[dict[str, Any]] = []
    with connect(data, url) as connection:
        try:
            for document in _ordered(_documents(files)):
                step = _planned(connection, document, compare=False)
                if step["does"] != "nothing":
                    stored = connection.call(
                        "PUT", f"/v1/segments/{_quoted(document['key'])}", document, confirm="true" if confirm else None
                    )
                    step |= {"revision": stored["revision"], "state": stored["state"]}
                done.append(step)
        finally:
            # all are stored first, so that they wait together until every process knows them; also before a refused one
            for step in done:
                if step.pop("state", None) == "active" and wait:
                    step["backfill"] = _filled(connection, step["key"], quiet=json_)["status"]
    show.rows(done, ["key", "does", "revision", "backfill", "sentence"], as_json=json_, title="applied")


def backfill(key: KeyArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Bring everybody's membership of a segment up to date, with progress."""
    with connect(data, url) as connection:
        run = _filled(connection, key, quiet=json_)
    if json_:
        show.value(run)
    else:
        report: dict[str, Any] = run.get("report") or {}
        show.console.print(f"{key}: {report.get('entered', 0)} entered, {report.get('exited', 0)} left")


def pause(key: KeyArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Leave a segment's memberships as they are: nobody enters, nobody leaves."""
    _switch(key, "paused", data, url)


def resume(key: KeyArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Take a segment up again and bring everybody up to date."""
    _switch(key, "active", data, url)
    with connect(data, url) as connection:
        _filled(connection, key, quiet=False)


def archive(key: KeyArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Take a segment out of use: its memberships end. Its document and revisions stay."""
    _switch(key, "archived", data, url)


def _switch(key: str, state: str, data: Path | None, url: str | None) -> None:
    with connect(data, url) as connection:
        found = connection.call("PUT", f"/v1/segments/{_quoted(key)}/state", {"state": state})
    show.console.print(f"{found['key']} is {found['state']}")


def _filled(connection: Connection, key: str, *, quiet: bool) -> dict[str, Any]:
    """Start a backfill and wait for its end. Raises ``CommandError`` when it fails."""
    name = connection.call("POST", f"/v1/segments/{_quoted(key)}/backfill")["name"]
    with Progress(console=show.errors, transient=True, disable=quiet) as bar:
        task = bar.add_task(f"backfill of {key}", total=None)
        while True:
            run = connection.call("GET", f"/v1/backfills/{_quoted(name)}")
            bar.update(task, total=run["progress"]["batches"] or None, completed=run["progress"]["done"])
            if run["status"] != "RUNNING":
                break
            time.sleep(_POLL_S)
    if run["status"] != "SUCCEEDED":
        raise CommandError(f"the backfill of {key} ended as {run['status']}: {run.get('cause') or run.get('error')}")
    return run


def _planned(connection: Connection, document: dict[str, Any], *, compare: bool = True) -> dict[str, Any]:
    key, said = document["key"], sentence(read_segment(document))
    held = {segment["key"]: segment for segment in connection.pages("/v1/segments", state="all")}.get(key)
    if held is None:
        return {"key": key, "does": "create", "sentence": said}
    if held["document"] == document:
        return {"key": key, "does": "nothing", "sentence": said}
    step = {"key": key, "does": "change", "sentence": said}
    if compare:
        found = connection.call("POST", "/v1/differences", {"document": document})
        step |= {"enter": found["enter"], "leave": found["leave"]}
    return step


def _documents(files: list[Path]) -> list[dict[str, Any]]:
    """The documents of files and folders, all of them read before anything is asked or stored.

    Raises ``CommandError`` for the first that is no segment.
    """
    found: list[dict[str, Any]] = []
    for file in (one for named in files for one in (sorted(named.glob("*.json")) if named.is_dir() else [named])):
        document = _document(file)
        try:
            read_segment(document)
        except InvalidInput as error:
            raise CommandError(f"{file}: {error.code}: {error.message}\n  → {error.hint}") from error
        found.append(document)
    return found


def _ordered(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Segments that others refer to come first; a cycle is left for the server to refuse."""
    waiting = {document["key"]: document for document in documents}
    done: list[dict[str, Any]] = []
    while waiting:
        free = [key for key, held in waiting.items() if not (_references(held["rule"]) & (waiting.keys() - {key}))]
        done += [waiting.pop(key) for key in free or list(waiting)]
    return done


def _references(rule: Any) -> set[str]:
    if not isinstance(rule, dict):
        return set()
    held: dict[str, Any] = rule  # pyright: ignore[reportUnknownVariableType]
    if held.get("kind") == "segment":
        return {str(held.get("key"))}
    inner = held.get("of")
    parts: list[Any] = inner if isinstance(inner, list) else [inner]  # pyright: ignore[reportUnknownVariableType]
    return set[str]().union(*(_references(part) for part in parts))


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text())
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict) or "key" not in document:
        raise CommandError(f"{file} is no segment document: it has no key")
    return document  # pyright: ignore[reportUnknownVariableType]


def _stored(connection: Connection, key: str) -> dict[str, Any]:
    return connection.call("GET", f"/v1/segments/{_quoted(key)}")["document"]


def _curve(sizes: list[int]) -> str:
    most = max(sizes, default=0) or 1
    return f"{sizes[0]} {''.join(_BLOCKS[round(7 * size / most)] for size in sizes)} {sizes[-1]}"


def _grow(tree: Tree, node: dict[str, Any], missing: frozenset[str]) -> None:
    mark = "[green]✓[/green]" if node["holds"] else "[red]✗[/red]"
    figures = [f"{name} {node[name]}" for name in ("value", "count", "since", "at") if node.get(name) is not None]
    tail = f" [dim]({', '.join(figures)})[/dim]" if figures else ""
    turns = f" [dim]until {node['until']}[/dim]" if node["until"] else ""
    blocks = " [red]← keeps out[/red]" if node["path"] in missing else ""
    branch = tree.add(f"{mark} {node['says']}{tail}{turns}{blocks}")
    for event in node.get("events", []):
        branch.add(f"[dim]{event['timestamp']} {event['event']} {event['message_id']}[/dim]")
    for part in node.get("of", []):
        _grow(branch, part, missing)


def _quoted(text: str) -> str:
    return quote(text, safe="")
