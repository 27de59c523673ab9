"""``hoso redrive batches``: stream batches that were given up; list, show, replay, drop."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.connection import DataOption, JsonOption, UrlOption, connect

batches = typer.Typer(help="Stream batches that were given up: list, show, replay, drop.", no_args_is_help=True)
_Ids = Annotated[list[str], typer.Argument(help="Ids of batches.")]
_Function = Annotated[str, typer.Option(help="ConsumeFunction, ArchiveFunction or OutboxFunction; all if left out.")]


@batches.command("list")
def list_batches(
    function: _Function = "",
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many.")] = 50,
) -> None:
    """Batches that wait."""
    with connect(data, url) as connection:
        items = connection.pages("/v1/failed-batches", limit, function=function or None)
        show.rows(items, ["id", "function", "condition", "tries", "records", "at"], as_json=json_, title="batches")


@batches.command("show")
def show_batch(
    name: Annotated[str, typer.Argument(help="Id of the batch.")], data: DataOption = None, url: UrlOption = None
) -> None:
    """One batch with the records that the function got."""
    packed = base64.urlsafe_b64encode(json.dumps(name).encode()).rstrip(b"=").decode()
    with connect(data, url) as connection:
        show.value(connection.call("GET", f"/v1/failed-batches/{packed}"))


@batches.command("replay")
def replay_batches(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of batches; all if left out.")] = None,
    function: _Function = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name them.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Do batches again, each by the function that gave it up. Exit 1 if one failed again."""
    order: dict[str, Any] = {"ids": ids or [], "function": function, "dry_run": dry_run, "limit": 100}
    _redrive(order, data, url)


@batches.command("drop")
def drop_batches(
    ids: _Ids,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name them.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Forget batches: what they hold is lost, unless another consumer kept it."""
    _redrive({"ids": ids, "drop": True, "dry_run": dry_run}, data, url)


def _redrive(order: dict[str, Any], data: Any, url: Any) -> None:
    items: list[dict[str, Any]] = []
    with connect(data, url) as connection:
        while True:
            answer = connection.call("POST", "/v1/failed-batches/redrive", order)
            items += answer["items"]
            if not answer["left"]:
                break
            if order["ids"]:
                order["ids"] = order["ids"][len(answer["items"]) :]
            elif any(item["status"] == "failed" for item in answer["items"]):
                break
    show.value({"dry_run": answer["dry_run"], "items": items})
    if any(item.get("status") == "failed" for item in items):
        raise typer.Exit(1)
