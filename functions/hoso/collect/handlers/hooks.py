"""The Lambda that takes webhooks (HTTP API, payload 2.0)."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.collect.build import DoorParts
from hoso.collect.sources.directory import HookSources
from hoso.collect.sources.marks import Marks
from hoso.collect.sources.reception import HookReception
from hoso.collect.sources.storing import FactStore
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.metrics import metered
from hoso.platform.queue import WorkQueue
from hoso.platform.settings import Settings


@metered
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one delivery."""
    return reception().receive(event)


@cache
def reception() -> HookReception:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    parts = DoorParts(settings)
    return HookReception(
        sources=HookSources(parts.table, parts.control, parts.clock),
        store=FactStore(parts.stream, parts.hasher, parts.plan_of, parts.identity_of),
        objects=parts.objects,
        marks=Marks(Table(settings.delivery_table, client("dynamodb"))),
        clock=parts.clock,
        budgets=parts.budgets,
        lookups=WorkQueue(settings.lookups, client("sqs")),
        workspace_events_per_minute=settings.workspace_events_per_minute,
        public_url=settings.public_url,
    )
