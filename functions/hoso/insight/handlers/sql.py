"""POST /v1/sql: a SELECT over events, profiles, identities, memberships and deliveries, for analysts.

Body: ``{"query", "limit"?, "max_age_ms"?}``. People are read from the tables as they are now; a caller that asks page
after page allows a ``max_age_ms`` for what this process has read before. The answer ends where it would grow too large
for a function's, and says so: ``cut``.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hoso.activate.store import DeliveryStore
from hoso.insight.query import tables_of
from hoso.insight.snapshot import Rows, delivery_row, rows_of
from hoso.insight.warehouse import Warehouse, fetch_archive
from hoso.model.errors import InvalidInput
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer
from hoso.unify.build import Parts

LIMIT_DEFAULT = 1_000
LIMIT_MAX = 5_000
MAX_AGE_MS = 60_000
MAX_ANSWER_BYTES = 5_500_000
"""What the rows of an answer may take as Lambda sends them (6 MB with all around them)."""


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


def run_query(request: Request) -> dict[str, Any]:
    """The rows of a query."""
    request.require("analyst", "engineer", "admin")
    asked = request.document
    query = asked.get("query")
    if not isinstance(query, str):
        raise InvalidInput("query must be text", hint='send {"query": "SELECT …"}')
    limit = _whole(asked, "limit", LIMIT_DEFAULT, LIMIT_MAX)
    max_age_ms = _whole(asked, "max_age_ms", 0, MAX_AGE_MS)
    wanted = tables_of(query)
    source = _source()
    with Warehouse() as warehouse:
        if wanted - {"deliveries"}:
            rows = source.people(max_age_ms)
            for table in wanted & {"profiles", "identities", "memberships"}:
                warehouse.fill(table, getattr(rows, table))
            if "events" in wanted:
                warehouse.events(source.archive(), rows.identities, source.alone, rows.shared, source.erased())
        if "deliveries" in wanted:
            warehouse.fill("deliveries", map(delivery_row, source.deliveries.scan(source.workspace)))
        found = warehouse.run(query, limit)
    items = fitting(found)
    return {"items": items, "next": None, "cut": len(items) < len(found)}


ROUTES = Router({"POST /v1/sql": run_query})


def fitting(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows that fit into one answer. It travels as text within JSON: quotes and what is not ASCII grow."""
    left = MAX_ANSWER_BYTES
    for place, row in enumerate(found):
        left -= len(json.dumps(json.dumps(row, default=str))) + 1
        if left < 0:
            return found[: max(place, 1)]
    return found


class _Source:
    """Where rows come from; keeps what it read."""

    def __init__(self, settings: Settings) -> None:
        self.workspace = settings.workspace
        self._parts = Parts(settings)
        self._objects = Objects(settings.bucket, client("s3"))
        dynamo: Any = client("dynamodb")
        self.deliveries = DeliveryStore(
            dynamo, Table(settings.delivery_table, dynamo), Table(settings.outbox_table, dynamo)
        )
        self._folder = Path(tempfile.mkdtemp(prefix="archive-"))
        self._read: tuple[int, Rows] | None = None

    def people(self, max_age_ms: int) -> Rows:
        """Rows of everybody, at most so old."""
        now = self._parts.clock()
        if self._read is None or not self._read[0] <= now <= self._read[0] + max_age_ms or max_age_ms == 0:
            self._read = (now, rows_of(self._parts.people.everyone(self.workspace)))
        return self._read[1]

    def archive(self) -> list[Path]:
        """Local copies of the archive's files."""
        return fetch_archive(self._objects, self.workspace, self._folder)

    def erased(self) -> Callable[[str, str], int | None] | None:
        """Up to when whoever had an identifier was erased; None while nobody ever was."""
        known = self._parts.erasures.hashes(self.workspace, fresh=True)
        name = self._parts.control.hasher(self.workspace).identifier
        return (lambda kind, value: known.get(name(kind, value))) if known else None

    def alone(self, kind: str, value: str) -> str:
        """The profile id of an identifier that was never linked."""
        return "p_" + self._parts.control.hasher(self.workspace).identifier(kind, value)


@cache
def _source() -> _Source:
    return _Source(Settings.from_env(os.environ))


def _whole(asked: dict[str, Any], name: str, default: int, most: int) -> int:
    value = asked.get(name, default)
    if type(value) is not int or value < 0:
        raise InvalidInput(f"{name} must be a whole number")
    return min(value, most)
