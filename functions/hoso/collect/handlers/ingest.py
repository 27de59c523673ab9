"""The Lambda behind the ingestion API (HTTP API, payload 2.0)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from hoso.collect.plan_lookup import PlansInUse
from hoso.collect.reception import HttpRequest, Reception
from hoso.collect.write_keys import WriteKeys
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
    """Answer one request."""
    return reception().receive(request_of(event))


def request_of(event: dict[str, Any]) -> HttpRequest:
    """The request in an HTTP API event."""
    http: dict[str, str] = event["requestContext"]["http"]
    return HttpRequest(
        method=http["method"],
        path=event["rawPath"],
        headers=event.get("headers") or {},
        query=event.get("queryStringParameters") or {},
        body=event.get("body"),
        is_base64=event.get("isBase64Encoded", False),
        source_ip=http.get("sourceIp", ""),
    )


def _delivery(settings: Settings) -> Table:
    """The table of the budgets. A request waits for it as little as possible: without an answer it is let in."""
    return Table(settings.delivery_table, client("dynamodb", read_timeout_s=_COUNTER_TIMEOUT_S, attempts=1))


@cache
def reception() -> Reception:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    table = Table(settings.control_table, dynamodb)
    control = ControlStore(table, dynamodb, clock, settings.config_ttl_ms)

    @cache
    def hasher(workspace: str) -> Callable[[str, str], str]:
        return lru_cache(maxsize=_KEPT_HASHES)(control.hasher(workspace).identifier)

    return Reception(
        keys=WriteKeys(table, control, clock),
        stream=Stream(settings.stream, stream_client()),
        objects=Objects(settings.bucket, client("s3")),
        hasher=hasher,
        clock=clock,
        new_id=lambda: str(uuid.uuid4()),
        budgets=Budgets(counter(_delivery(settings), MINUTE_MS), MINUTE_MS),
        workspace_events_per_minute=settings.workspace_events_per_minute,
        public_url=settings.public_url,
        plan_of=PlansInUse(table, clock, settings.config_ttl_ms).of,
        identity_of=RulesInForce(control).of,
    )
