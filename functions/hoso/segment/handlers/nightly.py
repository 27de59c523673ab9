"""The nightly machine's steps, one entry point each. Between them travel references only.

==========  ====================================================  ================================================
step        input                                                 output
==========  ====================================================  ================================================
compact     ``{"as_of": ISO 8601, "execution"?, "segments"?,      the *run*: ``{"as_of", "workspace", "run", "lease",
            "lease"?}``                                           "token", "bucket", "prefix", "compacted",
                                                                  "segments", "wait_s"}``
snapshot    the run                                               the run with ``people``
traits      the run                                               the run with ``traits`` and ``traits_key``: likewise
store       as ``apply``                                          ``{"people", "failed"}``
evaluate    the run                                               the run with ``batches`` and ``batches_key``: an
                                                                  object of the bucket, a JSON array of ``{"key"}``
apply       ``{"Items": [{"key"}…], "BatchInput": the run}``      ``{"people", "failed"}``
report      the run                                               the report's figures, with ``report_key``
==========  ====================================================  ================================================

``execution`` names the execution: its own retries get the lease again, another execution does not while it lasts.
Each step can be killed and called again with the same input.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

from hoso.activate.suppressions import told
from hoso.collect.catalogue_store import put_together
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.dynamo import Table
from hoso.platform.log import logger
from hoso.platform.metrics import metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.segment.lease import Lease
from hoso.segment.lists import ListKeeper
from hoso.segment.nightly_run import LEASE_NAME, Nightly
from hoso.segment.states import changed_at
from hoso.unify.build import Parts


def compact(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take the lease; many small archive files of a day become one, and so do the catalogue's summaries of a day."""
    run = run_of(event.get("workspace"), event.get("lease")).compact(event)
    if run["segments"] is None:
        settings = Settings.from_env(os.environ)
        objects = Objects(settings.bucket, client("s3"))
        try:
            put_together(objects, run["workspace"], clock_from(settings.clock_file))
        except Exception as error:  # whoever reads the catalogue makes up for it; the night goes on
            logger("segment").warning("catalogue: not put together", extra={"error": type(error).__name__})
    return run


def snapshot(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """People, hubs and segments to files."""
    return run_of(event["workspace"], event.get("lease")).snapshot(event)


def traits(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Computed traits and scores of everybody; those that changed in batches."""
    return run_of(event["workspace"], event.get("lease")).traits.compute(event)


def store(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Some batches of fresh values to the people."""
    return run_of(event["BatchInput"]["workspace"], event["BatchInput"].get("lease")).traits.store(event)


def evaluate(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """All segments for everybody by SQL; the differences in batches."""
    return run_of(event["workspace"], event.get("lease")).evaluate(event)


def apply(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Some batches of differences to memberships."""
    return run_of(event["BatchInput"]["workspace"], event["BatchInput"].get("lease")).apply(event)


@metered
def report(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The report; fails the run when too many people failed."""
    return run_of(event["workspace"], event.get("lease")).report(event)


def run_of(workspace: str | None, lease: str | None = None) -> Nightly:
    """The steps for a workspace (None: the one of the settings) under a lease (None: the nightly run's)."""
    return steps_of(workspace or Settings.from_env(os.environ).workspace, lease or LEASE_NAME)


@cache
def steps_of(workspace: str, lease: str) -> Nightly:
    """What a process works with for a workspace and a lease, made once."""
    settings = Settings.from_env(os.environ)
    parts = Parts(settings)
    delivery = Table(settings.delivery_table, client("dynamodb"))
    held = Lease(delivery, workspace, lease)
    keeper = ListKeeper(parts.control, parts.listed, partial(told, delivery))

    def known_at(keys: Iterable[str]) -> int:
        # once over, a kept document is read anew; as long again for a read and a batch that were under way
        return changed_at(parts.control, workspace, keys) + 2 * settings.config_ttl_ms

    objects = Objects(settings.bucket, client("s3"))
    return Nightly(parts.people, objects, held, parts.clock, settings.bucket, keeper, known_at)
