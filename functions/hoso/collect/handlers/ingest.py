"""The Lambda behind the ingestion API (HTTP API, payload 2.0)."""

from __future__ import annotations

import os
import uuid
from functools import cache
from typing import Any

from hoso.collect.build import DoorParts
from hoso.collect.reception import HttpRequest, Reception
from hoso.collect.write_keys import WriteKeys
from hoso.platform.metrics import metered
from hoso.platform.settings import Settings


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


@cache
def reception() -> Reception:
    """What this process works with, made at its first request."""
    settings = Settings.from_env(os.environ)
    parts = DoorParts(settings)
    return Reception(
        keys=WriteKeys(parts.table, parts.control, parts.clock),
        stream=parts.stream,
        objects=parts.objects,
        hasher=parts.hasher,
        clock=parts.clock,
        new_id=lambda: str(uuid.uuid4()),
        budgets=parts.budgets,
        workspace_events_per_minute=settings.workspace_events_per_minute,
        public_url=settings.public_url,
        plan_of=parts.plan_of,
        identity_of=parts.identity_of,
    )
