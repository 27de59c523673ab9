"""PullFunction: bulk files of senders, fetched on a schedule (``hoso.collect.pulls``).

Needs: read on ``control``; ``GetItem PutItem`` on the pulls of ``delivery``; ``s3:PutObject`` under ``imports/``.
"""

from __future__ import annotations

import os
import random
from functools import cache
from typing import Any, NamedTuple

from hoso.collect.pulls.work import Pulls
from hoso.collect.sources.directory import HookSources
from hoso.model.errors import Transient
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.http import Outbound
from hoso.platform.log import logger
from hoso.platform.metrics import metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings

DEADLINE_S = 120.0
"""Of one call: a file of up to 48 MB comes in it."""

STOP_MS = 300_000
"""With less time than this left no source is begun; the next run goes on."""


class Tools(NamedTuple):
    """What a run is done with."""

    sources: HookSources
    pulls: Pulls


@cache
def tools() -> Tools:
    """Made at the first run."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    table = Table(settings.control_table, dynamodb)
    pulls = Pulls(
        workspace=settings.workspace,
        delivery=Table(settings.delivery_table, dynamodb),
        objects=Objects(settings.bucket, client("s3")),
        outbound=Outbound(local=settings.outbound_http, deadline_s=DEADLINE_S),
        clock=clock,
        uniform=random.SystemRandom().uniform,
    )
    return Tools(HookSources(table, ControlStore(table, dynamodb, clock, ttl_ms=0), clock), pulls)


@metered
def handler(_event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One step for every pull. A source that breaks holds up no other."""
    here = tools()
    broken = 0
    for source in here.sources.all(here.pulls.workspace):
        if context.get_remaining_time_in_millis() < STOP_MS:
            break
        try:
            here.pulls.run(source)
        except Transient:
            raise
        except Exception as error:
            broken += 1
            logger("collect").error("pull broke", extra={"source": source.key, "error": type(error).__name__})
    if broken:
        raise RuntimeError(f"{broken} sources could not be pulled: see the log")
    return {}
