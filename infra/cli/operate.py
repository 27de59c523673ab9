"""Commands that act: send, nightly, redrive, wait, clock, doctor."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.connection import CommandError, Connection, DataOption, JsonOption, UrlOption, connect
from infra.cli.failed_batches import batches
from infra.cli.send import send_file

_UNITS_MS = {"s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_NIGHTLY_TIMEOUT_S = 600
_FIRST = ("accepted", "refused", "duplicates", "quarantined")
"""Counters that are shown first, also when they are zero."""


again = typer.Typer(help="What was given up, once more: deliveries, stream batches.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (send, nightly, wait, clock, doctor, status):
        app.command()(command)
    again.add_typer(batches, name="batches")
    app.add_typer(again, name="redrive")


def send(
    file: Annotated[Path, typer.Argument(help="NDJSON: one event a line.")],
    write_key: Annotated[
        str | None, typer.Option("--write-key", help="Of the source; the twin's server key if left out.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Post a file of events in batches; goes on where a cut run stopped. Sending twice is harmless."""
    with connect(data, url) as connection:
        sent = send_file(connection, file, write_key or connection.write_key(), quiet=json_)
    if json_:
        show.value(
            {"lines": sent.lines, "resumed_at": sent.resumed_at, "accepted": sent.accepted, "rejected": sent.rejected}
        )
    else:
        show.console.print(
            f"{sent.accepted} events accepted, {len(sent.rejected)} rejected ({file.name}, {sent.lines} lines)"
        )
        if sent.rejected:
            show.rows(sent.rejected[:20], ["line", "code", "message"], as_json=False, title="rejected")
    if sent.rejected:
        raise typer.Exit(2)


def nightly(
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="The instant of the question, ISO 8601; now if left out.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Run the nightly work and show its report."""
    with connect(data, url) as connection:
        report = run_nightly(connection, as_of)
    if json_:
        show.value(report)
    else:
        show.console.print_json(data=report)


def run_nightly(connection: Connection, as_of: str | None = None) -> dict[str, Any]:
    """Start the nightly machine, wait for its end, answer its report.

    Raises:
        CommandError: the run failed, or takes longer than ten minutes.
    """
    started = connection.call("POST", "/v1/nightly", {"as_of": as_of} if as_of else {})
    deadline = time.monotonic() + _NIGHTLY_TIMEOUT_S
    while time.monotonic() < deadline:
        state = connection.call("GET", f"/v1/nightly/{started['name']}")
        if state["status"] == "SUCCEEDED":
            return state["report"]
        if state["status"] != "RUNNING":
            raise CommandError(
                f"nightly {started['name']} ended {state['status']}: {state.get('error')} {state.get('cause', '')}"
            )
        time.sleep(0.3)
    raise CommandError(f"nightly {started['name']} still runs after {_NIGHTLY_TIMEOUT_S} s; look again with its name")


@again.callback(invoke_without_command=True)
def redrive(
    context: typer.Context,
    status: Annotated[str, typer.Option(help="Which deliveries: parked or failed.")] = "failed",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Send parked or failed deliveries again; consent is checked again."""
    if context.invoked_subcommand is not None:
        return
    with connect(data, url) as connection:
        show.value(connection.call("POST", "/v1/deliveries/redrive", {"status": status, "dry_run": dry_run}))


def wait(
    timeout: Annotated[float, typer.Option(help="Seconds.")] = 300,
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
) -> None:
    """Return when all that was accepted is processed and delivered; exit 1 and say what is stuck otherwise."""
    with connect(data, url) as connection:
        state = connection.drain(timeout)
    if json_:
        show.value(state)
    elif state["stuck"]:
        show.errors.print("still in work: " + ", ".join(map(str, state["stuck"])))
    else:
        show.console.print("everything accepted is processed and delivered")
    if state["stuck"]:
        raise typer.Exit(1)


def clock(
    advance: Annotated[str | None, typer.Option(help="Such as 30min, 3d; only forwards.")] = None,
    data: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Show the twin's clock, or move it forwards: schedules, timers and waits that fall due run at once."""
    with connect(data, url) as connection:
        if advance is None:
            show.value(connection.call("GET", "/_twin/clock"))
            return
        match = re.fullmatch(r"(\d+)(s|min|h|d|w)", advance)
        if match is None:
            raise CommandError(f"{advance} is no duration; say such as 30min or 3d")
        show.value(move_clock(connection, int(match[1]) * _UNITS_MS[match[2]]))


def move_clock(connection: Connection, advance_ms: int) -> Any:
    """Move the twin's clock forwards and answer its new state."""
    return connection.call("POST", "/_twin/clock", {"advance_ms": advance_ms})


def doctor(data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Check that everything answers, nothing is stuck and nothing waits in quarantine or dead-letter queues."""
    checks: list[dict[str, Any]] = []
    with connect(data, url) as connection:
        _check(checks, "health", lambda: connection.request("GET", "/health").status_code == 200, "start it: hoso up")
        _check(checks, "admin API", lambda: bool(connection.call("GET", "/v1/sources")), "is the token still good?")
        _check(checks, "sources", lambda: bool(list(connection.pages("/v1/sources"))), "make one: PUT /v1/sources/web")
        _check(
            checks,
            "webhook sources have their secrets",
            lambda: not any(item.get("missing") for item in connection.pages("/v1/webhook-sources")),
            "hoso sources list, then hoso sources secret KEY",
        )
        _check(
            checks, "quarantine empty", lambda: not list(connection.pages("/v1/quarantine", 1)), "hoso quarantine list"
        )
        _check(
            checks,
            "no failed delivery",
            lambda: not list(connection.pages("/v1/deliveries", 1, status="failed")),
            "hoso redrive",
        )
        if connection.data is not None:
            _check(checks, "nothing stuck", lambda: not connection.drain(5)["stuck"], "hoso wait")
        figures = counters(connection)
    show.rows(checks, ["check", "ok", "hint"], as_json=json_)
    if not json_:
        _show_counters(figures)
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)


def status(data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """Counters of the twin: accepted, refused by code, duplicates, quarantined by stage, and what else was counted."""
    with connect(data, url) as connection:
        figures = counters(connection)
        if not figures and connection.data is None:
            raise CommandError(
                f"{connection.url} is not a twin: its counters are on the dashboard, namespace Hoso/STAGE"
            )
    if json_:
        show.value(figures)
    else:
        _show_counters(figures)


def counters(connection: Connection) -> dict[str, Any]:
    """What the functions of a twin counted, by name: ``total`` and the parts by a dimension; empty elsewhere."""
    answer = connection.request("GET", "/_twin/metrics")
    return answer.json() if answer.status_code == 200 else {}


def _show_counters(figures: dict[str, Any]) -> None:
    lines: list[dict[str, Any]] = []
    for name in (*_FIRST, *sorted(figures.keys() - set(_FIRST))):
        held = figures.get(name, {"total": 0})
        parts = [f"{value} {count}" for by, parts in held.items() if by != "total" for value, count in parts.items()]
        lines.append({"counter": name, "total": held["total"], "of which": ", ".join(parts)})
    if figures:
        show.rows(lines, ["counter", "total", "of which"], as_json=False)


def _check(checks: list[dict[str, Any]], name: str, probe: Any, hint: str) -> None:
    try:
        good = bool(probe())
    except CommandError as error:
        good, hint = False, str(error)
    checks.append({"check": name, "ok": good, "hint": "" if good else hint})
