"""The Lambda behind the admin API of stream batches that were given up: list, show, replay, drop (R44).

It does the work of three consumers itself, by their own handlers, so that only the one that failed sees its batch
again. Its settings look for duplicates as far back as timelines go: a batch may wait for longer than the window.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hoso.govern.failed_batches import FailedBatches
from hoso.model.errors import InvalidInput, NotFound
from hoso.platform.audit import audit_entry
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.dynamo import ABSENT, Table
from hoso.platform.metrics import metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, decode_cursor, encode_cursor

_RESERVE_MS = 8_000
"""With less time than this left no further batch is begun."""


class RedriveRequest(BaseModel):
    """Which batches: these ``ids``, or the first ``limit`` (of one ``function``: ConsumeFunction, ArchiveFunction or
    OutboxFunction). ``drop`` forgets them instead; it needs their ids."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] = Field(default_factory=list[str], max_length=100)
    function: str = ""
    drop: bool = False
    dry_run: bool = True
    limit: int = Field(default=20, ge=1, le=100)


@metered
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, _routes(context))


def _routes(context: Any) -> Router:
    def redrive(request: Request) -> dict[str, Any]:
        """Do batches again, or drop them; a dry run, the default, names them."""
        actor = request.require("engineer")
        order, batches = request.parse(RedriveRequest), batches_of(context)
        if order.drop and not order.ids:
            raise InvalidInput("name the batches to drop", hint='{"ids": […], "drop": true}')
        chosen = order.ids or list(islice(_of(batches, order.function), order.limit))
        if order.dry_run:
            return {"dry_run": True, "items": [batches.get(name).shown() for name in chosen], "left": 0}
        _audit(actor.subject, "batches.drop" if order.drop else "batches.replay", f"{len(chosen)} batches")
        done: list[dict[str, Any]] = []
        for name in chosen:
            if done and context.get_remaining_time_in_millis() < _RESERVE_MS:
                break
            done.append(batches.drop(name) if order.drop else batches.replay(name))
        return {"dry_run": False, "items": done, "left": len(chosen) - len(done)}

    return Router(
        {
            "GET /v1/failed-batches": listed,
            "GET /v1/failed-batches/{id}": show,
            "POST /v1/failed-batches/redrive": redrive,
        }
    )


def listed(request: Request) -> dict[str, Any]:
    """The batches that wait (``?function=``), without their records."""
    request.require("engineer", "privacy")
    after: Any = request.cursor or ""
    if not isinstance(after, str):
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    batches = batches_of(None)
    names = _of(batches, request.query.get("function", ""), after)
    page = list(islice(names, request.limit()))
    more = next(names, None) is not None
    return {
        "items": [batches.get(name).shown() for name in page],
        "next": encode_cursor(page[-1]) if more and page else None,
    }


def show(request: Request) -> dict[str, Any]:
    """One batch with the event that the function got. The id is as ``encode_cursor`` packs it, or plain."""
    request.require("engineer", "privacy")
    name = request.path["id"]
    if "/" not in name:
        try:
            told: Any = decode_cursor(name)
        except InvalidInput as error:
            raise NotFound("no such failed batch") from error
        name = told if isinstance(told, str) else ""
    batch = batches_of(None).get(name)
    return {**batch.shown(), "event": batch.event}


def batches_of(context: Any) -> FailedBatches:
    """The batches, to be done within the time of this invocation."""
    from hoso.activate.handlers import outbox
    from hoso.collect.handlers import archive
    from hoso.unify.handlers import consume

    return FailedBatches(
        objects(),
        {
            "ConsumeFunction": lambda event: consume.handler(event, context),
            "ArchiveFunction": lambda event: archive.handler(event, context),
            "OutboxFunction": lambda event: outbox.send(event, context),
        },
    )


def _of(batches: FailedBatches, function: str, after: str = "") -> Iterator[str]:
    return (name for name in batches.ids(after) if not function or batches.get(name).function == function)


def _audit(actor: str, action: str, what: str) -> None:
    settings = _settings()
    table, now = Table(settings.control_table, client("dynamodb")), clock_from(settings.clock_file)()
    table.put(audit_entry(table, settings.workspace, now, actor, action, what).item, ABSENT)


@cache
def objects() -> Objects:
    """The files."""
    return Objects(_settings().bucket, client("s3"))


def _settings() -> Settings:
    return Settings.from_env(os.environ)
