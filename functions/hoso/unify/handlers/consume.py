"""Kinesis → state: one batch of packed records (see ``hoso.unify.consumer``)."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from hoso.collect.quarantine import quarantine
from hoso.model.bad_row import BadRow
from hoso.model.time import HOUR_MS
from hoso.platform.aws import client
from hoso.platform.budget import Budgets, counter
from hoso.platform.log import logger
from hoso.platform.metrics import meter, metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.unify.build import Parts
from hoso.unify.consumer import Consumer
from hoso.unify.flood import FloodGate

_GC_THRESHOLDS = (200_000, 50, 1_000)
"""A batch makes hundreds of thousands of objects and no cycles; with Python's defaults the collector walks all of them
again and again, which costs more than parsing them."""


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers with the lowest sequence number that has to come again, if any (ReportBatchItemFailures)."""
    records: list[dict[str, Any]] = event["Records"]
    tally = consumer().consume(records, context.get_remaining_time_in_millis)
    with suppress(Exception):  # a log that fails must not fail events (reliability R56)
        logger("unify").info("batch", extra=tally.summary())
    meter().add("consumed", tally.events)
    meter().add("duplicates", tally.repeats)
    meter().add("transitions", tally.transitions)
    meter().add("erased", tally.erased)
    failed = min(tally.failed, default=None)
    failures = [] if failed is None else [{"itemIdentifier": records[failed]["kinesis"]["sequenceNumber"]}]
    return {"batchItemFailures": failures}


@cache
def consumer() -> Consumer:
    """The consumer of this process."""
    gc.set_threshold(*_GC_THRESHOLDS)
    settings = Settings.from_env(os.environ)
    parts = Parts(settings)
    objects = Objects(settings.bucket, client("s3"))

    def keep(workspace: str, stage: str, source: str, at: int, rows: Sequence[BadRow]) -> None:
        quarantine(objects, workspace or settings.workspace, stage, source, at, rows)
        meter().add("quarantined", len(rows), stage=stage)

    budgets = Budgets(counter(parts.store.delivery, HOUR_MS), HOUR_MS)
    return Consumer(
        parts.store,
        parts.identities,
        parts.rulebook,
        keep,
        parts.clock,
        keep_days=settings.timeline_days,
        dedupe_days=settings.dedupe_days,
        gate=FloodGate(budgets, settings.new_profiles_per_hour, parts.store, keep),
    )
