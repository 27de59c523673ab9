"""``hoso plan``: the tracking plan as a file in git, compared with what is in force, put in force, and as types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

import typer

from hoso.collect.plan_document import read_plan
from hoso.model.errors import InvalidInput
from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect
from infra.cli.plan_python import python_module
from infra.cli.plan_types import types_of
from infra.cli.plan_typescript import typescript_module

app = typer.Typer(no_args_is_help=True)
FileArgument = Annotated[Path, typer.Argument(help="JSON: the plan. Its name without .json is the plan's key.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="The plan's key, if the file's name is not it.")]
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]


@app.command("list")
def list_plans(
    data: DataOption = None, url: UrlOption = None, json_: JsonOption = False, limit: LimitOption = 50
) -> None:
    """All tracking plans and the sources that follow them."""
    with connect(data, url) as connection:
        items = connection.pages("/v1/plans", limit)
        show.rows(items, ["key", "name", "revision", "events", "sources"], as_json=json_, title="plans")


@app.command("show")
def show_plan(
    key: Annotated[str, typer.Argument(help="The plan's key.")],
    revision: Annotated[
        int | None, typer.Option("--revision", help="As it was then; the current one if left out.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """A plan: its document alone, or with --json also its revision."""
    with connect(data, url) as connection:
        plan = connection.call("GET", f"/v1/plans/{quote(key, safe='')}", revision=revision)
    show.value(plan if json_ else plan["document"])


@app.command()
def revisions(
    key: Annotated[str, typer.Argument(help="The plan's key.")],
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 50,
) -> None:
    """The revisions of a plan, newest first."""
    with connect(data, url) as connection:
        items = connection.pages(f"/v1/plans/{quote(key, safe='')}/revisions", limit)
        show.rows(items, ["revision", "at", "name", "events", "sources"], as_json=json_, title=key)


@app.command()
def diff(
    file: FileArgument,
    key: KeyOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """What the file would change. Exit 1 when it breaks: it refuses what the plan in force takes."""
    document = _document(file)
    with connect(data, url) as connection:
        found = _preview(connection, key or _key(file), document)
    if json_:
        show.value(found)
    elif found["unchanged"]:
        show.console.print(f"{found['key']}: revision {found['revision']} is the same")
    elif not found["revision"]:
        show.console.print(f"{found['key']}: new plan of {len(document.get('events', {}))} events")
    else:
        _print(found)
    if found["breaking"]:
        raise typer.Exit(1)


@app.command()
def apply(
    file: FileArgument,
    key: KeyOption = None,
    breaking: Annotated[
        bool, typer.Option("--breaking", help="Confirm that it refuses what the plan in force takes.")
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Put the file in force as the plan's next revision; the same file again changes nothing."""
    document, name = _document(file), key or _key(file)
    with connect(data, url) as connection:
        found = _preview(connection, name, document)
        if found["breaking"] and not breaking:
            _print(found)
            raise CommandError(f"{found['breaking']} changes break those who send events; confirm with --breaking")
        stored = connection.call("PUT", f"/v1/plans/{quote(name, safe='')}", {**document, "breaking": breaking})
    if json_:
        show.value(stored)
    else:
        same = " (unchanged)" if found["unchanged"] else ""
        show.console.print(f"{stored['key']}: revision {stored['revision']} is in force{same}")


@app.command()
def generate(
    file: FileArgument,
    language: Annotated[Literal["python", "typescript"], typer.Option("--language", help="python or typescript")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; printed if left out.")] = None,
) -> None:
    """Typed declarations of the plan's events, for those who send them."""
    try:
        document = read_plan(_document(file))
    except InvalidInput as error:
        raise CommandError(f"{file}: {error.message}") from error
    write = python_module if language == "python" else typescript_module
    text = write(types_of(document), f"Events of the tracking plan {document['name']}.")
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")


def _preview(connection: Connection, key: str, document: dict[str, Any]) -> dict[str, Any]:
    return connection.call("POST", f"/v1/plans/{quote(key, safe='')}/preview", document)


def _print(found: dict[str, Any]) -> None:
    show.rows(found["changes"], ["breaking", "kind", "text"], as_json=False, title=f"{found['key']}")


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{file} is no JSON file that can be read: {error}") from error
    if not isinstance(document, dict):
        raise CommandError(f"{file} must hold a JSON object")
    return cast("dict[str, Any]", document)


def _key(file: Path) -> str:
    return file.name.removesuffix(".json")
