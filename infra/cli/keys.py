"""``hoso keys``: write keys, and the sources that send with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hoso.model.time import format_instant
from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect

app = typer.Typer()
SourceArgument = Annotated[str, typer.Argument(help="The source's key, such as local-web.")]
LimitOption = Annotated[int, typer.Option("--limit", help="Events a minute; 0 for the default of 600,000.")]
_SHOWN_ONCE = "this is the only time that the key is shown"


@app.callback(invoke_without_command=True)
def known_keys(
    context: typer.Context, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False
) -> None:
    """Write keys of the twin's first sources and an admin token; with a command: manage keys."""
    if context.invoked_subcommand is not None:
        return
    with connect(data, url) as connection:
        if not connection.write_keys:
            raise CommandError("keys are shown once, when they are made; this address keeps none here")
        if json_:
            show.value(connection.write_keys)
        else:
            show.rows(({"name": n, "key": k} for n, k in connection.write_keys.items()), ["name", "key"], as_json=False)


@app.command("list")
def list_keys(
    source: Annotated[str, typer.Argument(help="Only this source's.")] = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """All keys by their public beginnings: when they were made, and until when they are good."""
    with connect(data, url) as connection:
        columns = ["source", "prefix", "made", "revoked"]
        show.rows(_keys(connection, source), columns, as_json=json_, title="keys")


@app.command("new")
def new_key(source: SourceArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """A further write key; a source has at most two that are good."""
    with connect(data, url) as connection:
        _told(connection.call("POST", f"{_path(source)}/keys", {}), json_)


@app.command("rotate")
def rotate_key(
    source: SourceArgument,
    revoke_at: Annotated[
        str | None, typer.Option("--revoke-at", help="Until when the old keys are good, ISO 8601; a day if left out.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """A new key now; the old ones stay good until the chosen time, so that nothing is lost in between."""
    with connect(data, url) as connection:
        body = {"revoke_at": revoke_at} if revoke_at else {}
        _told(connection.call("POST", f"{_path(source)}/rotate", body), json_)


@app.command("revoke")
def revoke_key(
    source: SourceArgument,
    prefix: Annotated[str, typer.Argument(help="The key's public beginning, as hoso keys list shows it.")],
    at: Annotated[str | None, typer.Option("--at", help="From when, ISO 8601; now if left out.")] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Take a key out of use; every process refuses it within a minute."""
    with connect(data, url) as connection:
        answer = connection.call("DELETE", f"{_path(source)}/keys/{quote(prefix[:11], safe='')}", at=at)
    if json_:
        show.value(answer)
    else:
        show.console.print("out of use within a minute" if at is None else f"out of use from {at} on")


@app.command("sources")
def list_sources(data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """All sources with their budgets and the beginnings of their keys."""
    with connect(data, url) as connection:
        items = connection.pages("/v1/sources")
        show.rows(items, ["key", "name", "kind", "enabled", "events_per_minute"], as_json=json_, title="sources")


@app.command("create")
def create_source(
    source: SourceArgument,
    kind: Annotated[str, typer.Option(help="web, mobile or server: whose connection it is.")] = "server",
    name: Annotated[str, typer.Option(help="For people; the key if left out.")] = "",
    limit: LimitOption = 0,
    consent: Annotated[
        str, typer.Option("--consent", help="granted, denied or unset: what holds before a visitor was asked.")
    ] = "unset",
    category: Annotated[
        list[str] | None, typer.Option("--category", help="NAME=granted or NAME=denied; may be repeated.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Make a source that sends with write keys, or change its settings."""
    body: dict[str, Any] = {"name": name or source, "kind": kind, "consent": _consent(consent, category or [])}
    if limit:
        body["events_per_minute"] = limit
    with connect(data, url) as connection:
        made = connection.call("PUT", _path(source), body)
    if json_:
        show.value(made)
    else:
        show.rows([made], ["key", "name", "kind", "enabled", "events_per_minute"], as_json=False)


@app.command("disable")
def disable_source(source: SourceArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Switch a source off: its keys are refused within a minute, and good again when it is switched on."""
    _switch(source, data, url, on=False)


@app.command("enable")
def enable_source(source: SourceArgument, data: DataOption = None, url: UrlOption = None) -> None:
    """Switch a source on again."""
    _switch(source, data, url, on=True)


def _switch(source: str, data: DataOption, url: UrlOption, *, on: bool) -> None:
    with connect(data, url) as connection:
        held = next((one for one in connection.pages("/v1/sources") if one["key"] == source), None)
        if held is None:
            raise CommandError(f"no source has the key {source}; look with: hoso keys sources")
        settings = {name: value for name, value in held.items() if name not in ("key", "keys")}
        connection.call("PUT", _path(source), {**settings, "enabled": on})
    show.console.print(f"{source} is switched {'on' if on else 'off'}")


def _keys(connection: Connection, source: str) -> Iterator[dict[str, Any]]:
    for one in connection.pages("/v1/sources"):
        for key in one["keys"] if source in ("", one["key"]) else ():
            gone = key["revoked_at"]
            yield {
                "source": one["key"],
                "prefix": key["prefix"],
                "made": format_instant(key["at"]),
                "revoked": None if gone is None else format_instant(gone),
            }


def _consent(default: str, categories: list[str]) -> dict[str, Any]:
    """The state of consent that a source's settings tell to sites and apps."""
    pairs = [pair.rpartition("=") for pair in categories]
    if not all(name and state for name, _, state in pairs):
        raise CommandError("a category is NAME=granted or NAME=denied")
    return {"default": default, "categories": {name: state for name, _, state in pairs}}


def _told(made: dict[str, Any], json_: bool) -> None:
    if json_:
        show.value(made)
        return
    show.console.print(f"[bold]{made['key']}[/bold]", highlight=False)
    until = f"; the old keys are good until {made['old_keys_until']}" if "old_keys_until" in made else ""
    show.console.print(_SHOWN_ONCE + until)


def _path(source: str) -> str:
    return f"/v1/sources/{quote(source, safe='')}"
