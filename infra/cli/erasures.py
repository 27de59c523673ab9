"""``hoso erase``: take a person out of the tables, for good. ``hoso erasures``: the receipts."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from infra.cli import show
from infra.cli.connection import DataOption, JsonOption, UrlOption, connect


def register(app: typer.Typer) -> None:
    """Add the commands to ``hoso``."""
    app.command()(erase)
    app.command()(erasures)


def erase(
    person: Annotated[str, typer.Argument(help="TYPE:VALUE, or a profile id.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Erase a person: nothing of before comes back, by whatever way. It cannot be undone."""
    with connect(data, url) as connection:
        found = connection.call("POST", f"/v1/people/{quote(person, safe='')}/erase", {"dry_run": dry_run})
    if json_:
        show.value(found)
        return
    if "stores" not in found:
        show.console.print(f"would erase {found['profile_id']}: {_counted(found['counts'])}", highlight=False)
        return
    show.console.print(f"[bold]{found['state']}[/bold] {found['id']}: {_counted(found['counts'])}", highlight=False)
    show.rows(found["stores"], ["store", "state", "note"], as_json=False)


def erasures(
    erasure: Annotated[str, typer.Argument(help="The id of one, for its receipt.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Erasures, the newest first, or the receipt of one."""
    with connect(data, url) as connection:
        if erasure:
            show.value(connection.call("GET", f"/v1/erasures/{quote(erasure, safe='')}"))
            return
        columns = ["id", "state", "profile_id", "at", "hot_done_at", "by"]
        show.rows(connection.pages("/v1/erasures", limit), columns, as_json=json_, title="erasures")


def _counted(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
