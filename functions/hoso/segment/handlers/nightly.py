"""The steps of the nightly state machine. Each gets what the step before answered, and answers references only.

``compact``   ← ``{"as_of"?: ISO 8601, "workspace"?}``  → ``{"as_of", "workspace", "run", "token", "started", "days"}``
``snapshot``  ← that  → ``{"as_of", "workspace", "run", "token", "started", "people"}``
``evaluate``  ← that  → the same and ``{"bucket", "batches_key", "differing"}``: the list of batches for the Distributed Map
``apply``     ← ``{"Items": [batch, …], "BatchInput": that}``  → ``{"applied", "entered", "exited", "failed": [profile id, …]}``
``report``    ← what ``evaluate`` answered  → the report (``hoso.segment.nightly.report``)

Any step may be killed and called again, and a whole run may be started again: memberships come out the same, and every
transition is announced once (reliability R33).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.log import logger
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.segment.nightly_run import compaction
from hoso.segment.nightly.application import Applied, Applier
from hoso.segment.nightly.evaluation import Evaluation, Evaluator
from hoso.segment.nightly.report import TooManyFailed, exceeds, shown
from hoso.segment.nightly.report import report as made_report
from hoso.segment.nightly.run import Lease, Run, asked, continued
from hoso.segment.nightly.snapshot import people_files
from hoso.segment.nightly.store import NightlyStore
from hoso.unify.build import Parts

RESERVE_MS = 120_000
"""Time left at which no further day is compacted."""
Json = dict[str, Any]


def compact(event: Json, context: Any) -> Json:
    """Begin a run: take the lease, compact the days of the archive that changed."""
    tools = _tools()
    workspace, as_of = asked(event, tools.parts.settings.workspace, tools.parts.clock())
    run = tools.lease.begin(workspace, as_of)
    found = compaction.days(tools.objects, workspace)
    done = compaction.compact(tools.objects, found, _time_left(context))
    return {**run.payload(), "days": done}


def snapshot(event: Json, _context: object) -> Json:
    """Everybody, as the tables say now, to Parquet."""
    tools = _tools()
    run = tools.run(event)
    store = NightlyStore(tools.objects, run)
    people = 0
    with tempfile.TemporaryDirectory(prefix="nightly-") as folder:
        everyone = tools.parts.people.everyone(run.workspace)
        for number, (path, count) in enumerate(people_files(everyone, Path(folder))):
            with path.open("rb") as file:
                store.put_people(number, file)
            path.unlink()
            people += count
    return {**run.payload(), "people": people}


def evaluate(event: Json, _context: object) -> Json:
    """All segments by SQL; who differs goes into batches."""
    tools = _tools()
    run = tools.run(event)
    store = NightlyStore(tools.objects, run)
    book = tools.parts.people.book(run.workspace)
    hasher = tools.parts.control.hasher(run.workspace)
    found = Evaluation()
    with tempfile.TemporaryDirectory(prefix="nightly-") as scratch:
        folder = Path(scratch)
        people = compaction.fetch(tools.objects, store.people_keys(), folder)
        archive = compaction.fetch(tools.objects, compaction.history(tools.objects, run.workspace, run.as_of), folder)
        with Evaluator(folder) as evaluator:
            evaluator.load(people, archive, hasher.identifier)
            differing = store.put_batches(evaluator.differences(book.segments, run.as_of, found))
    store.put_evaluated(
        {"people": found.people, "sizes": found.sizes, "changes": found.changes, "revisions": dict(book.revisions)}
    )
    references = {"bucket": tools.parts.settings.bucket, "batches_key": store.batches_key}
    return {**run.payload(), "people": found.people, "differing": differing, **references}


def apply(event: Json, _context: object) -> Json:
    """Batches of differences to memberships."""
    tools = _tools()
    run = tools.run(event["BatchInput"])
    store = NightlyStore(tools.objects, run)
    applier = Applier(tools.parts.people, tools.lease, tools.parts.clock, run, store.evaluated()["revisions"])
    total = Applied()
    for item in event["Items"]:
        key = item["key"]
        result = store.result(key)
        if result is None or result.failed:
            result = applier.apply(store.batch(key))
            store.put_result(key, result)
        total.add(result.as_json())
    return {
        "applied": total.people - len(total.failed),
        "entered": len(total.entered),
        "exited": len(total.exited),
        "failed": sorted(total.failed),
    }


def report(event: Json, _context: object) -> Json:
    """Sum up; too many failures fail the run, after the report is stored."""
    tools = _tools()
    run = tools.run(event)
    store = NightlyStore(tools.objects, run)
    total = store.total()
    made = made_report(run, store.evaluated(), total, tools.parts.clock())
    store.put_report(made)
    figures = ("run", "status", "people", "differences", "entered", "exited", "failures", "disputed", "duration_ms")
    logger("segment").info("nightly", extra={name: made[name] for name in figures})
    if exceeds(total):
        raise TooManyFailed(
            f"{len(total.failed)} of {total.people} people could not be settled",
            hint=f"see {run.folder}report.json, then start the run again",
        )
    return shown(made)


class _Tools:
    """What the steps work with."""

    def __init__(self, settings: Settings) -> None:
        self.parts = Parts(settings)
        self.objects = Objects(settings.bucket, client("s3"))
        self.lease = Lease(Table(settings.delivery_table, client("dynamodb")), self.parts.clock)

    def run(self, event: Json) -> Run:
        """The run that goes on, if it still may."""
        run = continued(event)
        self.lease.check(run)
        return run


@cache
def _tools() -> _Tools:
    return _Tools(Settings.from_env(os.environ))


def _time_left(context: Any) -> Callable[[], bool]:
    return lambda: context.get_remaining_time_in_millis() > RESERVE_MS
