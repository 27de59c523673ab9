"""The Lambda that takes webhooks (HTTP API, payload 2.0)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from hoso.collect.plan_lookup import PlansInUse
from hoso.collect.sources.directory import HookSources
from hoso.collect.sources.marks import Marks
from hoso.collect.sources.reception import HookReception
from hoso.model.time import MINUTE_MS
from hoso.platform.aws import client
from hoso.platform.budget import Budgets, counter
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.identity_rules import RulesInForce
from hoso.platform.metrics import metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.stream import Stream, stream_client

_KEPT_HASHES = 20_000
_COUNTER_TIMEOUT_S = 1.0


@metered
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one delivery."""
    return reception().receive(event)


def _counters(settings: Settings) -> Table:
    """The table of the budgets. A delivery waits for it as little as possible: without an answer it is let in."""
    return Table(settings.delivery_table, client("dynamodb", read_timeout_s=_COUNTER_TIMEOUT_S, attempts=1))


@cache
def reception() -> HookReception:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    table = Table(settings.control_table, dynamodb)
    control = ControlStore(table, dynamodb, clock, settings.config_ttl_ms)

    @cache
    def hasher(workspace: str) -> Callable[[str, str], str]:
        return lru_cache(maxsize=_KEPT_HASHES)(control.hasher(workspace).identifier)

    return HookReception(
        sources=HookSources(table, control, clock),
        stream=Stream(settings.stream, stream_client()),
        objects=Objects(settings.bucket, client("s3")),
        marks=Marks(Table(settings.delivery_table, dynamodb)),
        hasher=hasher,
        clock=clock,
        budgets=Budgets(counter(_counters(settings), MINUTE_MS), MINUTE_MS),
        workspace_events_per_minute=settings.workspace_events_per_minute,
        plan_of=PlansInUse(table, clock, settings.config_ttl_ms).of,
        identity_of=RulesInForce(control).of,
        public_url=settings.public_url,
    )
