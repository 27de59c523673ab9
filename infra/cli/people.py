"""Commands about one person: profile, timeline, sessions, greeting."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from infra.cli import show
from infra.cli.connection import DataOption, JsonOption, UrlOption, connect

WhoArgument = Annotated[str, typer.Argument(help="TYPE:VALUE, such as email:an@example.vn, or a profile id.")]
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]
Json = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (profile, timeline, sessions, greet):
        app.command()(command)


def profile(
    who: WhoArgument,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    fields: Annotated[str | None, typer.Option(help="Sections, such as traits,segments or traits.city.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="A past moment, such as 2026-11-22T19:00:00Z.")] = None,
    archive: Annotated[bool, typer.Option(help="Read the archive for --as-of: exact however long ago.")] = False,
) -> None:
    """One person: traits with their source, identifiers, consent, segments, habits, relations, timeline."""
    path = f"/v1/profiles/{quote(who, safe='')}"
    with connect(data, url) as connection:
        if archive and as_of:
            found = connection.call("GET", f"{path}/past", fields=fields, at=as_of)
        else:
            found = connection.call("GET", path, fields=fields, as_of=as_of)
    if json_:
        show.value(found)
        return
    _head(found)
    for name, section in _SECTIONS.items():
        if found.get(name):
            section(found[name])
    if found.get("overflow"):
        _line("overflow", ", ".join(f"{name}: {count}" for name, count in found["overflow"].items()))
    if "timeline" in found:
        _events(found["timeline"]["items"])


def timeline(
    who: WhoArgument,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 50,
    event: Annotated[str | None, typer.Option(help="Only events of these names (comma separated).")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only these types: track, page, identify, …")] = None,
    source: Annotated[str | None, typer.Option(help="Only from these sources.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this time.")] = None,
) -> None:
    """Events of a person over all devices, newest first."""
    asked = {"event": event, "type": type_, "source": source, "from": since, "to": until}
    with connect(data, url) as connection:
        items = connection.pages(f"/v1/profiles/{quote(who, safe='')}/timeline", limit, **asked)
        show.rows(items, ["timestamp", "event", "source", "message_id"], as_json=json_, title="timeline")


def sessions(
    who: WhoArgument,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 20,
) -> None:
    """Sessions of a person (30 minutes), newest first, with the dwell on each page."""
    with connect(data, url) as connection:
        items = connection.pages(f"/v1/profiles/{quote(who, safe='')}/sessions", limit)
        if json_:
            show.rows(items, [], as_json=True)
        else:
            columns = ["started_at", "lasted", "events", "entry", "exit", "pages"]
            show.rows(map(_session, items), columns, as_json=False, title="sessions")


def greet(
    store: Annotated[str, typer.Argument(help="The shop.")],
    token: Annotated[str, typer.Argument(help="The opaque token that the door sent.")],
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    at: Annotated[str | None, typer.Option("--at", help="Another moment than now.")] = None,
) -> None:
    """What the host of a shop may say to who stands at the door."""
    with connect(data, url) as connection:
        headers = {"Authorization": f"Bearer {connection.token}"} if connection.token else {}
        asked = {"token": token} | ({"at": at} if at else {})
        answer = connection.request("GET", f"/v1/host/{quote(store, safe='')}/greeting", headers=headers, params=asked)
    found: Json = answer.json()
    if json_:
        show.value(found)
    elif not found.get("known"):
        show.console.print(f"[dim]nothing to say: {escape(str(found.get('reason') or found.get('message')))}[/dim]")
    else:
        _line("name", found["name"])
        habits: Json = found["usual"] or {}
        for kind, usual in habits.items():
            _line(f"usual {kind}", _figure(usual))
        companion = found["companion"]
        _line("companion", companion and f"{companion['name']} ({companion['support']} times together)")


def _head(found: Json) -> None:
    led = f"  [dim](was {found['redirected_from']})[/dim]" if "redirected_from" in found else ""
    show.console.print(f"[bold]{found['profile_id']}[/bold]{led}", highlight=False)
    then = found.get("as_of")
    if then:
        whole = "" if then["complete"] else ", the timeline no longer reaches back to all of it"
        _line("as of", f"{then['at']} (identity: {then['identity']}{whole})")


def _identifiers(items: list[Json]) -> None:
    rows = [
        {**item, "verified": f"{told['state']} ({told['method'] or '–'}, {told['timestamp']})" if told else ""}
        for item in items
        for told in [item.get("verification")]
    ]
    show.rows(rows, ["type", "value", "verified"], as_json=False, title="identifiers")


def _traits(items: Json) -> None:
    rows = [{"trait": name, **entry} for name, entry in items.items()]
    columns = ["trait", "value", "source", "timestamp", "since"]
    columns += ["policy"] if any("policy" in row for row in rows) else []
    show.rows(rows, columns, as_json=False, title="traits")


def _history(items: Json) -> None:
    rows = [{"trait": name, **write} for name, writes in items.items() for write in writes]
    show.rows(rows, ["trait", "value", "source", "timestamp", "message_id"], as_json=False, title="history of traits")


def _computed(title: str) -> Any:
    def section(items: Json) -> None:
        rows = [{"name": name, **entry} for name, entry in items.items()]
        show.rows(rows, ["name", "value", "at", "revision", "reason"], as_json=False, title=title)

    return section


def _totals(items: Json) -> None:
    shown = {name: value for name, value in items.items() if value not in (None, {}, 0)}
    for code, sums in shown.pop("currencies", {}).items():
        shown |= {f"{name} {code}": amount for name, amount in sums.items() if amount}
    if any(name.startswith("revenue ") for name in shown):  # by currency says it better than without one
        shown = {name: value for name, value in shown.items() if name not in ("revenue", "total", "refunded")}
    _line("totals", ", ".join(f"{name} {value}" for name, value in shown.items()))


def _consent(items: Json) -> None:
    rows = [{"purpose": key, **entry} for key, entry in items.items()]
    columns = ["purpose", "state", "timestamp", "source", "text_version", "message_id"]
    show.rows(rows, columns, as_json=False, title="consent")


def _segments(items: Json) -> None:
    rows = [{"segment": key, **entry, "reason": _why(entry.get("reason"))} for key, entry in items.items()]
    for row in rows:
        row["by"] = "night" if row.get("approximate") else "live"
    show.rows(rows, ["segment", "since", "until", "reason", "by"], as_json=False, title="segments")


def _habits(items: Json) -> None:
    usual = {kind: figure for kind, figure in items["usual"].items() if figure}
    for kind, figure in usual.items():
        _line(f"usual {kind}", _figure(figure))


def _relations(items: Json) -> None:
    if items["items"]:
        rows = [{**one, "kinds": ", ".join(one["kinds"])} for one in items["items"]]
        show.rows(rows, ["profile_id", "kinds", "support", "by", "last"], as_json=False, title="relations")


def _events(items: list[Json]) -> None:
    show.rows(items, ["timestamp", "event", "source", "message_id"], as_json=False, title="newest events")


_SECTIONS = {
    "identifiers": _identifiers,
    "traits": _traits,
    "trait_history": _history,
    "computed_traits": _computed("computed traits"),
    "scores": _computed("scores"),
    "totals": _totals,
    "consent": _consent,
    "segments": _segments,
    "habits": _habits,
    "relations": _relations,
}


def _session(item: Json) -> Json:
    seconds = item["duration_ms"] // 1_000
    pages = ", ".join(f"{page['page']} {page['dwell_ms'] // 1_000} s" for page in item["pages"][:5])
    return {**item, "lasted": f"{seconds // 60}:{seconds % 60:02d}", "pages": pages}


def _why(reason: Json | None) -> str:
    return " ".join(str(reason[part]) for part in ("kind", "event") if reason.get(part)) if reason else ""


def _figure(figure: Json | None) -> str:
    return f"{figure['value']} ({figure['support']} of {figure['of']})" if figure else ""


def _line(name: str, value: object) -> None:
    show.console.print(f"[bold]{name}[/bold] {escape(str(value or '–'))}", highlight=False)
