"""``hoso up``: the bare twin. ``hoso run``, which is ``make run``: the sample store, a night, and the story of An."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from infra.cli import samples, story
from infra.cli.connection import DEFAULT_DATA, CommandError, Connection
from infra.cli.operate import run_nightly
from infra.cli.receiver import Audience, audience
from infra.cli.show import console

PORT = 8787
DRAIN_S = 300

PortOption = Annotated[int, typer.Option("--port", help="Port on 127.0.0.1.")]
FolderOption = Annotated[Path, typer.Option("--data", help="Where the twin keeps its state.")]
OnceOption = Annotated[bool, typer.Option("--once", help="Stop after the main job.")]
IsolatedOption = Annotated[bool, typer.Option("--isolated", help="One process per function.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(up)
    app.command()(run)


def up(
    port: PortOption = PORT,
    data: FolderOption = DEFAULT_DATA,
    empty: Annotated[bool, typer.Option("--empty", help="Without the sample store.")] = False,
    once: OnceOption = False,
    isolated: IsolatedOption = False,
) -> None:
    """Start the twin: the platform on this machine, from the templates that `cdk deploy` ships."""
    _serve(port, data, once=once, isolated=isolated, sample=not empty, tell=False)


def run(port: PortOption = PORT, data: FolderOption = DEFAULT_DATA, once: OnceOption = False) -> None:
    """Start the twin, load the sample store, run the nightly work, tell the story of An, stay up."""
    _serve(port, data, once=once, isolated=False, sample=True, tell=True)


def _serve(port: int, data: Path, *, once: bool, isolated: bool, sample: bool, tell: bool) -> None:
    started = time.monotonic()
    stop = threading.Event()

    def asked_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked_to_stop)
    with console.status("synthesizing the templates (once) and starting the twin …"):
        from infra.cli.serve import open_twin
        from infra.synth import assembly

        assembly("dev")
    data.mkdir(parents=True, exist_ok=True)
    with (
        open_twin(data, port, isolated=isolated) as connection,
        audience(story.SECRET, data / "ads-audience.ndjson", _sink(data)) as sink,
    ):
        _remember_sink(data, sink.url)
        console.print(f"the twin takes events at [bold]{connection.url}[/bold] ({time.monotonic() - started:.0f} s)")
        if sample:
            _load(connection, sink)
        if tell:
            _tell(connection, sink)
        if once:
            return
        console.print("\nit stays up; stop it with Ctrl-C. In another terminal: [bold].venv/bin/hoso --help[/bold]")
        while not stop.wait(1.0):
            pass
        console.print("saving …")


def _load(connection: Connection, sink: Audience) -> None:
    counts = samples.load_documents(connection, sink.url, story.SECRET)
    console.print("documents: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    started = time.monotonic()
    sent = samples.load_events(connection)
    if sent is None:
        console.print("the sample store is already loaded")
        return
    if sent.rejected:
        raise CommandError(f"the sample store was not accepted whole: {sent.rejected[:3]}")
    with console.status("processing …"):
        state = connection.drain(DRAIN_S)
    if state["stuck"]:
        raise CommandError(f"not everything was processed: {state['stuck']}")
    console.print(f"sample store: {sent.accepted} events sent and processed in {time.monotonic() - started:.0f} s")
    with console.status("nightly work …"):
        report = run_nightly(connection)
    console.print(
        f"nightly: {report['people']} people looked at, {report['entered']} entries, {report['exited']} exits"
    )


def _tell(connection: Connection, sink: Audience) -> None:
    _overview(connection)
    console.rule("the story of An")
    for line in story.tell(connection, sink):
        console.print(line, highlight=False, soft_wrap=True)
    console.rule()
    folder = connection.data or DEFAULT_DATA
    email = story.email_of(connection)
    hints = [
        ("e-mails that went out", folder / "outbox" / "index.html"),
        ("what the ads audience was told", folder / "ads-audience.ndjson"),
        ("An's profile", f".venv/bin/hoso profile email:{email}"),
        ("SQL", '.venv/bin/hoso sql "SELECT segment, count(*) AS people FROM memberships GROUP BY 1 ORDER BY 2 DESC"'),
        ("why a message went or not", ".venv/bin/hoso deliveries"),
    ]
    for what, where in hints:
        console.print(f"  {what:<32} {where}", highlight=False, soft_wrap=True)


def _overview(connection: Connection) -> None:
    def sql(query: str) -> list[dict[str, Any]]:
        return connection.call("POST", "/v1/sql", {"query": query, "limit": 100})["items"]

    (totals,) = sql("SELECT count(*) AS events, count(DISTINCT profile_id) AS people FROM events")
    console.print(f"{totals['events']} events of {totals['people']} people")
    sizes = sql("SELECT segment, count(*) AS people FROM memberships GROUP BY segment ORDER BY people DESC, segment")
    most = max((row["people"] for row in sizes), default=1)
    for row in sizes:
        bar = "█" * max(1, round(30 * row["people"] / most))
        console.print(f"  {row['segment']:<20} {row['people']:>5} [cyan]{bar}[/cyan]", highlight=False)


def _sink(data: Path) -> int:
    """The port that the receiver had before, so that destinations stay good over restarts; 0 for any."""
    file = data / "ads-audience.port"
    return int(file.read_text()) if file.exists() else 0


def _remember_sink(data: Path, url: str) -> None:
    (data / "ads-audience.port").write_text(url.rpartition(":")[2].partition("/")[0])
