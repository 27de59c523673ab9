"""``hoso review``: pairs of records that matching is not sure about."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.connection import DataOption, JsonOption, UrlOption, connect

app = typer.Typer(no_args_is_help=True)
_PATH = "/v1/likeness/reviews"
PairArgument = Annotated[str, typer.Argument(help="Id of a pair, as the list shows it.")]


@app.command("list")
def list_pairs(
    status: Annotated[str, typer.Option(help="open, linked, withdrawn, accepted or rejected.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Pairs of a status, the likeliest first."""
    with connect(data, url) as connection:
        found = connection.pages(_PATH, limit, status=status)
        if json_:
            show.rows(found, [], as_json=True)
            return
        columns = ["id", "probability", "a", "b", "agreed"]
        show.rows((_row(one) for one in found), columns, as_json=False, title=f"{status} pairs")


@app.command("show")
def show_pair(pair: PairArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """One pair: what was compared, and what each outcome is worth."""
    with connect(data, url) as connection:
        _print(connection.call("GET", f"{_PATH}/{pair}"), as_json=json_)


@app.command()
def accept(pair: PairArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """They are one person: link them now. The next fit learns from it."""
    _decide(pair, "accept", data, url, as_json=json_)


@app.command()
def reject(pair: PairArgument, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """They are two people: never link them by likeness, and take a link back. The next fit learns from it."""
    _decide(pair, "reject", data, url, as_json=json_)


def _decide(pair: str, decision: str, data: DataOption, url: UrlOption, *, as_json: bool) -> None:
    with connect(data, url) as connection:
        _print(connection.call("POST", f"{_PATH}/{pair}", {"decision": decision}), as_json=as_json)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show.value(found)
        return
    show.console.print(f"{found['id']}: {found['status']} by {found['by']}, probability {found['probability']:.3f}")
    columns = ["comparison", "level", "one", "other", "against_others", "against_family"]
    show.rows(found["why"].get("reasons", []), columns, as_json=False)
    if found["why"].get("asked"):
        show.console.print(f"not linked without asking: {found['why']['asked']}")


def _row(found: dict[str, Any]) -> dict[str, Any]:
    reasons = found["why"].get("reasons", [])
    agreed = [reason["level"] for reason in reasons if reason["against_others"] > 1]
    return {
        "id": found["id"],
        "probability": f"{found['probability']:.3f}",
        "a": f"{found['a']['type']}:{found['a']['value']}",
        "b": f"{found['b']['type']}:{found['b']['value']}",
        "agreed": ", ".join(agreed),
    }
