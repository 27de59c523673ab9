"""``hoso match``: the nightly matcher on a file of records."""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Any, cast

import numpy as np
import numpy.typing as npt
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hoso.model.errors import InvalidInput
from hoso.unify.likeness.columns import Columns, read_columns
from hoso.unify.likeness.explain import asked_for_its_group, explain
from hoso.unify.likeness.matcher import LIKELY, REVIEW, Edges, Matcher
from hoso.unify.likeness.normalise import normalised
from hoso.unify.likeness.records import Records, write_rows
from infra.cli import show
from infra.cli.connection import CommandError, JsonOption
from infra.cli.csv_rows import strict_rows

_STEPS = 30
_MAX_FIELD = 131_072
"""Characters of one field; more is a quote that was never closed."""
Mask = npt.NDArray[np.bool_]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(match)


def match(
    records: Annotated[
        Path, typer.Argument(help="CSV (or .csv.gz) with a column record_id.", exists=True, dir_okay=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write record_id,cluster_id for every record.", dir_okay=False)
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="Link pairs of this probability and above.")
    ] = LIKELY,
    explain_: Annotated[
        tuple[str, str] | None, typer.Option("--explain", help="Two record ids: what their pair is worth.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Find records that are one person's, by any columns of a customer list: names, e-mail, phone, birth date …"""
    if out is None and explain_ is None:
        raise CommandError("say --out CLUSTERS.csv, or --explain A B")
    with tempfile.TemporaryDirectory(prefix="hoso-match-") as folder, _progress(quiet=json_) as step:
        ids, found, columns = _read(records, Path(folder), step)
        matcher = Matcher(found)
        scored = matcher.candidates(lambda name, done: step(f"compare: {name}", 8 + done * (_STEPS - 12)))
        step("learn weights", _STEPS - 4)
        parameters = matcher.fit()
        edges = matcher.edges(parameters)
        unasked = matcher.unasked(edges)
        told: dict[str, Any] = {}
        if explain_ is not None:
            one, other = (_number(ids, name) for name in explain_)
            told = explain(found, parameters, one, other)
            here = (edges.a == min(one, other)) & (edges.b == max(one, other))
            if told["band"] == "auto" and here.any() and not (here & unasked).any():
                told = asked_for_its_group(told)
        step("people", _STEPS - 1)
        labels: list[int] = matcher.clusters(edges, threshold).tolist()
        if out is not None:
            _write(out, ids, labels)
    summary = _summary(labels, scored, edges, unasked, threshold, columns)
    if json_:
        show.value({**summary, **({"explain": told} if told else {})})
        return
    if told and explain_ is not None:
        _show_pair(*explain_, told)
    if out is not None:
        show.console.print(
            f"{summary['records']} records, {summary['clusters']} people, {summary['pairs_linked']} pairs linked "
            f"of {scored} compared → {out}"
        )


def _read(file: Path, folder: Path, step: Any) -> tuple[list[str], Records, Columns]:
    """Normalise a file into a folder. Raises ``CommandError`` for a file that cannot be matched."""
    ids: list[str] = []
    rows_file = folder / "rows.tsv"
    step("read", 0)
    try:
        with _open(file) as lines:
            csv.field_size_limit(_MAX_FIELD)  # one limit for the whole process: others set theirs
            reader = strict_rows(lines)
            header = next(reader, None)
            if header is None:
                raise CommandError(f"{file} is empty")
            columns = read_columns(header)

            def noted() -> Iterator[list[str]]:
                for record in reader:
                    if not record:
                        continue
                    ids.append(record[columns.id] if columns.id < len(record) else "")
                    if len(ids) % 20_000 == 0:
                        step(f"read: {len(ids)} records", min(7.0, len(ids) / 150_000))
                    yield record

            if write_rows(normalised(noted(), columns), rows_file) == 0:
                raise CommandError(f"{file} has no records")
    except InvalidInput as error:
        raise CommandError(f"{error.message} ({error.hint})") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8: save it as CSV UTF-8") from error
    except (csv.Error, OSError, EOFError) as error:
        raise CommandError(f"{file} cannot be read as CSV: {error}") from error
    if len(set(ids)) < len(ids):
        twice = next(name for name, count in Counter(ids).items() if count > 1)
        raise CommandError(f"record_id {twice!r} stands in {file} more than once")
    return ids, Records(rows_file, list(columns.extras)), columns


@contextmanager
def _open(file: Path) -> Generator[IO[str], None, None]:
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    if packed:
        with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as lines:
            yield cast("IO[str]", lines)
    else:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield lines


def _write(out: Path, ids: list[str], labels: list[int]) -> None:
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("record_id", "cluster_id"))
        writer.writerows(chain((name, f"c{label}") for name, label in zip(ids, labels, strict=True)))


def _number(ids: list[str], name: str) -> int:
    try:
        return ids.index(name)
    except ValueError:
        raise CommandError(f"no record has the id {name}") from None


def _summary(
    labels: list[int], scored: int, edges: Edges, unasked: Mask, threshold: float, columns: Columns
) -> dict[str, Any]:
    sizes = Counter(Counter(labels).values())
    of = np.asarray(labels)
    chosen = (edges.probability >= threshold) & (of[edges.a] == of[edges.b])
    return {
        "records": len(labels),
        "clusters": sum(sizes.values()),
        "cluster_sizes": {str(size): sizes[size] for size in sorted(sizes)},
        "pairs_scored": scored,
        "pairs_linked": int(chosen.sum()),
        "precision_estimate": round(float(edges.probability[chosen].mean()), 4) if chosen.any() else None,
        "pairs_auto": int(unasked.sum()),
        "pairs_review": int(((edges.probability >= REVIEW) & ~unasked).sum()),
        "threshold": threshold,
        "columns": sorted(columns.known.keys() - {"id"}) + sorted(columns.extras),
    }


def _show_pair(one: str, other: str, told: dict[str, Any]) -> None:
    rows = [
        {
            "compared": reason["comparison"],
            "outcome": reason["level"],
            one: reason["one"],
            other: reason["other"],
            "bits (unrelated)": f"{reason['against_others']:+.1f}",
            "bits (family)": f"{reason['against_family']:+.1f}",
        }
        for reason in told["reasons"]
    ]
    show.rows(rows, list(rows[0]) if rows else ["compared"], as_json=False, title=f"{one} and {other}")
    bands = {"auto": "linked without asking", "review": "for a person to decide", "none": "not one person"}
    found = ", ".join(told["keys"]) or "no key: this pair is not compared"
    show.console.print(f"found by: {found}")
    show.console.print(
        f"weight {told['weight']:+.1f} bits, probability {told['probability']:.3f}: {bands[told['band']]}"
    )
    if told.get("asked"):
        show.console.print(f"not linked without asking: {told['asked']}")


@contextmanager
def _progress(*, quiet: bool) -> Generator[Any, None, None]:
    """A function (what, steps done) that shows how far the work is, on the error stream."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        *Progress.get_default_columns()[1:3],
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=show.errors, transient=True, disable=quiet) as progress:
        task = progress.add_task("read", total=_STEPS)

        def step(what: str, done: float) -> None:
            progress.update(task, description=what, completed=done)

        yield step
