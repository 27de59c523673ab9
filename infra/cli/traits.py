"""``hoso traits``: computed traits and scores, as files in git and as the nights made them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from infra.cli import show
from infra.cli.connection import CommandError, DataOption, JsonOption, UrlOption, connect

app = typer.Typer()
KeyArgument = Annotated[str, typer.Argument(help="The definition's key.")]
FilesArgument = Annotated[
    list[Path], typer.Argument(help="Definitions (JSON: one, or several by key), or folders of them.", exists=True)
]
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]
_WIDTH = 30

Json = dict[str, Any]


@app.callback(invoke_without_command=True)
def traits(context: typer.Context, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Computed traits and scores: definitions, freshness, quality."""
    if context.invoked_subcommand is None:
        list_traits(data, url, json_)


@app.command("list")
def list_traits(data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """All definitions, each with what the last night said of it."""
    with connect(data, url) as connection:
        items = [{**one, "quality": _in_short(one["report"])} for one in connection.pages("/v1/computed-traits")]
    columns = ["key", "kind", "makes", "outputs", "freshness", "quality"]
    show.rows(items, columns, as_json=json_, title="computed traits")


@app.command("show")
def show_trait(key: KeyArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """One definition with its document and last report."""
    with connect(data, url) as connection:
        found = connection.call("GET", _path(key))
    if json_:
        show.value(found)
        return
    show.console.print(
        f"[bold]{key}[/bold] revision {found['revision']}, {found['freshness']}, makes {found['makes']}: "
        + ", ".join(found["outputs"])
    )
    show.value(found["document"])
    _chart(found)


@app.command()
def apply(files: FilesArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Store these definitions; ranks come after what they rank. Values come live, or with the next night."""
    documents = sorted(_documents(files), key=lambda one: one.get("of", {}).get("kind") == "rank")
    done: list[Json] = []
    with connect(data, url) as connection:
        held = {one["key"]: one for one in connection.pages("/v1/computed-traits")}
        for document in documents:
            key = document["key"]
            known = held.get(key)
            if known is not None and known["document"] == document:
                done.append({"key": key, "does": "nothing", "revision": known["revision"]})
                continue
            stored = connection.call("PUT", _path(key), document)
            does = "create" if known is None else "change"
            done.append({"key": key, "does": does, "revision": stored["revision"], "freshness": stored["freshness"]})
    show.rows(done, ["key", "does", "revision", "freshness"], as_json=json_, title="applied")


@app.command()
def delete(key: KeyArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Take a definition out of use; its values go with the next night."""
    with connect(data, url) as connection:
        connection.call("DELETE", _path(key))
    show.console.print(f"{key} is out of use")


@app.command()
def report(
    key: KeyArgument,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 14,
) -> None:
    """How good a score is: calibration and lift on a hold-out, and how that moved over the nights."""
    with connect(data, url) as connection:
        found = connection.call("GET", _path(key))
        nights = list(connection.pages(f"{_path(key)}/history", limit))
    if json_:
        show.value({"key": key, "report": found["report"], "history": nights})
        return
    _chart(found)
    rows = [{"as_of": night["as_of"], "quality": _in_short(night)} for night in nights]
    show.rows(rows, ["as_of", "quality"], as_json=False, title="nights")


def _chart(found: Json) -> None:
    """Predicted and actual shares by tenths of people, as bars."""
    report: Json = found["report"] or {}
    show.console.print(f"as of {found['as_of']}: {_in_short(report) or 'no night has run yet'}", highlight=False)
    held_out: Json = report.get("hold_out") or {}
    bins: list[Json] = held_out.get("calibration") or []
    most = max([one[side] for one in bins for side in ("predicted", "actual")], default=0) or 1
    for number, one in enumerate(bins, 1):
        for side, mark in (("predicted", "░"), ("actual", "█")):
            bar = mark * round(_WIDTH * one[side] / most)
            label = f"{number:>2}. tenth, {one['n']} people" if side == "predicted" else ""
            show.console.print(f"{label:<26} {side:<9} {one[side]:7.2%} {bar}", highlight=False)


def _in_short(report: Json | None) -> str:
    if not report:
        return ""
    if "withheld" in report:
        return f"withheld: {report['withheld']}"
    held_out: Json = report.get("hold_out") or {}
    figures = {"people": report.get("people"), "AUC": held_out.get("auc"), "lift": held_out.get("lift_first_tenth")}
    return ", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)


def _documents(files: list[Path]) -> Iterator[Json]:
    for file in files:
        for path in sorted(file.glob("*.json")) if file.is_dir() else [file]:
            for document in _in_file(path):
                if "key" not in document:
                    raise CommandError(f"{path} holds no definition: it has no key")
                yield document


def _in_file(path: Path) -> list[Json]:
    """The one definition in a file, or several by key."""
    try:
        held: Json = json.loads(path.read_text())
    except ValueError as error:
        raise CommandError(f"{path} is not JSON: {error}") from error
    return [held] if "schema" in held else list(held.values())


def _path(key: str) -> str:
    return f"/v1/computed-traits/{quote(key, safe='')}"
