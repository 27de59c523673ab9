"""``hoso sources``: webhook sources, the addresses that their senders call, and their secrets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect

app = typer.Typer(no_args_is_help=False)
_ROOT = "/v1/webhook-sources"
KeyArgument = Annotated[str, typer.Argument(help="The source's key: small letters, digits, - and _.")]


@app.callback(invoke_without_command=True)
def sources(context: typer.Context, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Webhook sources: make them, give their addresses to the senders, exchange secrets."""
    if context.invoked_subcommand is None:
        list_sources(data, url, json_)


@app.command("list")
def list_sources(
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many; 0 means all.")] = 0,
) -> None:
    """All webhook sources; secrets and addresses are masked."""
    with connect(data, url) as connection:
        items = connection.pages(_ROOT, limit or None)
        show.rows(items, ["key", "kind", "name", "enabled", "missing"], as_json=json_, title="webhook sources")


@app.command("show")
def show_source(key: KeyArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """One source with the address that its sender calls."""
    with connect(data, url) as connection:
        _print(connection, connection.call("GET", _path(key)), as_json=json_)


@app.command()
def put(
    key: KeyArgument,
    kind: Annotated[str, typer.Option("--kind", help="The sender, such as vnpay, hubspot, webhook.")],
    name: Annotated[str, typer.Option("--name", help="For people; the key if left out.")] = "",
    settings: Annotated[str, typer.Option("--settings", help="JSON, or @FILE with JSON.")] = "",
    disabled: Annotated[bool, typer.Option("--disabled", help="Take nothing from it for now.")] = False,
    limit: Annotated[int, typer.Option("--events-per-minute", help="Budget; 0: as the platform sets it.")] = 0,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Make or change a webhook source; a new one gets an address. Its secret: hoso sources secret KEY."""
    body: dict[str, Any] = {"name": name or key, "kind": kind, "enabled": not disabled, "settings": _settings(settings)}
    if limit:
        body["events_per_minute"] = limit
    with connect(data, url) as connection:
        _print(connection, connection.call("PUT", _path(key), body), as_json=json_)


@app.command()
def secret(
    key: KeyArgument,
    value: Annotated[
        str, typer.Option("--value", help="What the sender gave; - reads it from the input; left out, one is made.")
    ] = "",
    use: Annotated[str, typer.Option("--use", help="What it is for.")] = "signing",
    revoke: Annotated[str, typer.Option("--revoke", help="Id of a secret to take out of use instead.")] = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Add a secret beside the live one, or revoke one. Two are live while one is exchanged."""
    given = sys.stdin.readline().rstrip("\n") if value == "-" else value
    with connect(data, url) as connection:
        if revoke:
            answer = connection.call("DELETE", f"{_path(key)}/secrets/{quote(revoke, safe='')}")
        else:
            answer = connection.call(
                "POST", f"{_path(key)}/secrets", {"use": use, **({"secret": given} if given else {})}
            )
    _tell(answer, as_json=json_)


@app.command()
def address(
    key: KeyArgument,
    revoke: Annotated[str, typer.Option("--revoke", help="Id of an address to take out of use instead.")] = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Add an address beside the live one, or revoke one."""
    with connect(data, url) as connection:
        if revoke:
            answer = connection.call("DELETE", f"{_path(key)}/addresses/{quote(revoke, safe='')}")
        else:
            answer = _with_url(connection, connection.call("POST", f"{_path(key)}/addresses", {}))
    _tell(answer, as_json=json_)


@app.command()
def pulls(key: KeyArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """What is fetched from this source on a schedule: up to when, when next, and what is wrong."""
    with connect(data, url) as connection:
        items = connection.pages(f"{_path(key)}/pulls", None)
        show.rows(items, ["object", "since", "until", "next", "files", "trouble"], as_json=json_, title="pulls")


def _path(key: str) -> str:
    return f"{_ROOT}/{quote(key, safe='')}"


def _settings(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise CommandError(f"--settings is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise CommandError("--settings is a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType]


def _with_url(connection: Connection, place: dict[str, Any]) -> dict[str, Any]:
    """The address with its host; where the deployment names none, that of the connection (a twin has one for all)."""
    return {**place, "url": place.get("url") or f"{connection.url}{place['path']}"}


def _print(connection: Connection, source: dict[str, Any], *, as_json: bool) -> None:
    shown = {**source, "addresses": [_with_url(connection, place) for place in source["addresses"]]}
    if as_json:
        show.value(shown)
        return
    show.console.print(f"[bold]{shown['key']}[/bold]  {shown['kind']}  {'' if shown['enabled'] else '(disabled)'}")
    for place in shown["addresses"]:
        show.console.print(f"  the sender calls {place['url']}  (id {place['id']})", highlight=False, soft_wrap=True)
    for held in shown["secrets"]:
        show.console.print(f"  secret for {held['use']}: {held['masked']}  (id {held['id']})", highlight=False)
    if shown.get("missing"):
        show.console.print(f"  missing: {shown['missing']}\n  → hoso sources secret {shown['key']} --value …")


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show.value(answer)
    else:
        for name, content in answer.items():
            show.console.print(f"{name}: {content}", highlight=False, soft_wrap=True)
