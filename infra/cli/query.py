"""Commands that look: events, sql, deliveries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.connection import Connection, DataOption, JsonOption, UrlOption, connect

LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]
_EVENTS_PAGE = 2_000
_SAME_PICTURE_MS = 60_000


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (events, sql, deliveries):
        app.command()(command)


def events(
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many; 0 means all.")] = 0,
    derived: Annotated[
        bool, typer.Option("--derived", help="Add what they tell beyond their words: campaign, machine, bot.")
    ] = False,
) -> None:
    """Stored events in the order of their receipt, as sent plus profile_id and received_at."""
    with connect(data, url) as connection:
        if connection.data is not None:
            connection.drain()
        stored = stored_events(connection, limit, derived=derived)
        if json_:
            show.rows(stored, [], as_json=True)
        else:
            show.rows(map(_brief, stored), ["received_at", "type", "event", "profile_id", "messageId"], as_json=False)


def stored_events(connection: Connection, limit: int = 0, *, derived: bool = False) -> Iterator[dict[str, Any]]:
    """Events as they were sent, with ``profile_id`` and ``received_at`` added; pages by (received_at, message_id).
    With ``derived`` also that: readers that compare events with what they sent see nothing new unless they ask."""
    more = ", derived" if derived else ""
    after_ms, after_id, left = -1, "", limit or None
    while left is None or left > 0:
        size = min(_EVENTS_PAGE, left or _EVENTS_PAGE)
        query = (
            # literals are quoted by _literal, the rest are whole numbers
            f"SELECT message_id, received_at, profile_id, body{more} FROM events "  # noqa: S608
            f"WHERE received_at > {after_ms} OR (received_at = {after_ms} AND message_id > {_literal(after_id)}) "
            f"ORDER BY received_at, message_id LIMIT {size}"
        )
        # Only the first page reads the people anew; the others are of the same picture.
        age_ms = 0 if after_ms < 0 else _SAME_PICTURE_MS
        asked = {"query": query, "limit": size, "max_age_ms": age_ms}
        answer = connection.call("POST", "/v1/sql", asked)
        found = answer["items"]
        for row in found:
            told = {"derived": json.loads(row["derived"])} if derived else {}
            yield {
                **json.loads(row["body"]),
                "profile_id": row["profile_id"],
                "received_at": row["received_at"],
                **told,
            }
        if len(found) < size and not answer["cut"]:
            return
        after_ms, after_id = found[-1]["received_at"], found[-1]["message_id"]
        left = left - len(found) if left is not None else None


def sql(
    query: Annotated[str, typer.Argument(help="A SELECT over events, profiles, identities, memberships, deliveries.")],
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 1_000,
) -> None:
    """Run SQL (DuckDB) over everything that is stored."""
    with connect(data, url) as connection:
        answer = connection.call("POST", "/v1/sql", {"query": query, "limit": limit})
    if answer["cut"]:
        left = "the answer would be too large: only its first {} rows are here; ask for fewer columns, or by ranges"
        show.errors.print(left.format(len(answer["items"])))
    if json_:
        show.value(answer["items"])
        return
    found = answer["items"]
    show.rows(found, list(found[0]) if found else [], as_json=False)


def deliveries(
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 50,
    status: Annotated[str | None, typer.Option(help="sent, skipped, retrying, parked or failed")] = None,
) -> None:
    """Messages that went or did not go, each with its reason."""
    with connect(data, url) as connection:
        items = connection.pages("/v1/deliveries", limit, status=status)
        show.rows(items, ["at", "profile_id", "destination", "status", "reason"], as_json=json_, title="deliveries")


def _brief(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "event": event.get("event") or event.get("name")}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
