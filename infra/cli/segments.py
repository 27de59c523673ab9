"""``hoso segments``: list segments and their members, run cases of rules through the production engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import track

from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant
from hoso.segment.case_format import FORMAT
from hoso.segment.cases import Outcome, run_live, run_sql
from hoso.segment.values import parse_moment
from infra.cli import segment_work, show
from infra.cli.cases import read_cases
from infra.cli.connection import CommandError, DataOption, JsonOption, UrlOption, connect

app = typer.Typer()
segment_work.register(app)
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many.")]


@app.callback(invoke_without_command=True)
def segments(context: typer.Context, data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """List segments and their members; test rules."""
    if context.invoked_subcommand is None:
        list_segments(data, url, json_)


@app.command("list")
def list_segments(data: DataOption = None, url: UrlOption = None, json_: JsonOption = False) -> None:
    """All segments, each as a sentence."""
    with connect(data, url) as connection:
        items = connection.pages("/v1/segments")
        show.rows(items, ["key", "state", "revision", "name", "sentence"], as_json=json_, title="segments")


@app.command()
def members(
    key: Annotated[str, typer.Argument(help="The segment's key.")],
    data: DataOption = None,
    url: UrlOption = None,
    json_: JsonOption = False,
    limit: LimitOption = 50,
) -> None:
    """Who is in a segment, since when, and until when by time alone."""
    with connect(data, url) as connection:
        items = connection.pages(f"/v1/segments/{quote(key, safe='')}/members", limit)
        show.rows(items, ["profile_id", "since", "until", "revision"], as_json=json_, title=key)


@app.command("test")
def test_file(
    file: Annotated[Path, typer.Argument(help="JSON: cases in the format segment-vectors/1.", exists=True)],
    engine: Annotated[str, typer.Option(help="live or sql")] = "live",
    json_: JsonOption = False,
) -> None:
    """Run cases and print, per id, membership and next change, or why the rule is refused. Exit 1 on a difference."""
    if engine not in ("live", "sql"):
        raise CommandError("--engine is live or sql")
    outcomes: dict[str, Any] = {}
    wrong: list[str] = []
    vectors = read_cases(file, "vectors", FORMAT)
    for vector in track(vectors, "cases", console=show.errors, disable=json_, transient=True):
        try:
            outcome = run_live(vector) if engine == "live" else run_sql(vector)
        except InvalidInput as error:
            raise CommandError(f"case {vector.get('id')} is not a case: {error}") from error
        outcomes[outcome.id] = _shown(outcome, engine)
        if not _as_expected(outcome, vector.get("expect") or {}, engine):
            wrong.append(outcome.id)
    if json_:
        show.value(outcomes)
    else:
        rows = ({"id": name, **found, "ok": "no" if name in wrong else ""} for name, found in outcomes.items())
        show.rows(rows, ["id", "member", "next_change", "error", "ok"], as_json=False)
        show.console.print(f"{len(outcomes)} cases, {len(wrong)} differ from their expectation")
    if wrong:
        raise typer.Exit(1)


def _shown(outcome: Outcome, engine: str) -> dict[str, Any]:
    if outcome.error is not None:
        return {"error": outcome.error}
    shown: dict[str, Any] = {"member": outcome.member}
    if engine == "live":
        shown["next_change"] = None if outcome.next_change is None else format_instant(outcome.next_change)
    if outcome.spilled:
        shown["spilled"] = True
    return shown


def _as_expected(outcome: Outcome, expect: dict[str, Any], engine: str) -> bool:
    if expect.get("error") is not None:
        return outcome.error is not None
    if outcome.error is not None:
        return False
    if "next_change" in expect and engine == "live":
        wanted = expect["next_change"]
        if outcome.next_change != (None if wanted is None else parse_moment(wanted)):
            return False
    return expect.get("member") is None or outcome.member == expect["member"]
