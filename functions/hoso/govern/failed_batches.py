"""Stream batches that a consumer gave up after all tries: Lambda keeps them in the bucket, with payload (R10, R44).

Objects are ``aws/lambda/<mapping>/<shard>/YYYY/MM/DD/<time>-<uuid>``: JSON with ``requestContext`` (function,
condition, tries), ``KinesisBatchInfo`` or ``DDBStreamBatchInfo``, ``timestamp`` and ``payload``, the text of the event
that the function got. To replay one is to do the same work again in the same function's code; every consumer can be
called again with what it did already. A batch that is done, or dropped, is deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from hoso.model.errors import InvalidInput, NotFound
from hoso.platform.objects import Objects

PREFIX = "aws/lambda/"
_FUNCTION = re.compile(r"(Consume|Archive|Outbox)Function")
_PLACE = re.compile(r"[A-Za-z0-9_.:/-]{1,900}")

Json = dict[str, Any]
Work = Callable[[Json], Json]
"""What a function does with its event; answers ``{"batchItemFailures": […]}``."""


class Batch(NamedTuple):
    """A failed batch. ``event`` is what the function got, None where it cannot be read."""

    id: str
    function: str
    condition: str
    tries: int
    at: str
    records: int
    shard: str
    event: Json | None

    def shown(self) -> Json:
        """The batch without its records: they hold what customers sent."""
        return {name: value for name, value in self._asdict().items() if name != "event"} | {
            "readable": self.event is not None
        }


class FailedBatches:
    """Lists, replays and drops them. ``work`` says per function name how its batches are done."""

    def __init__(self, objects: Objects, work: Mapping[str, Work]) -> None:
        self._objects = objects
        self._work = work

    def ids(self, after: str = "") -> Iterator[str]:
        """Ids of all batches that wait, by mapping, shard and time."""
        for key in self._objects.keys(PREFIX, PREFIX + after if after else ""):
            yield key.removeprefix(PREFIX)

    def get(self, name: str) -> Batch:
        """One batch. Raises ``NotFound``."""
        if _PLACE.fullmatch(name) is None or ".." in name:
            raise NotFound("no such failed batch")
        return _batch(name, self._objects.get(PREFIX + name))

    def replay(self, name: str) -> Json:
        """Do a batch again; deletes it when all of it is done. Answers ``{"id", "status"}``: done, failed, gone.

        Raises:
            InvalidInput: its object cannot be read, or belongs to no consumer; look at it, then drop it.
        """
        try:
            batch = self.get(name)
        except NotFound:
            return {"id": name, "status": "gone"}  # done by somebody else: one effect
        work = self._work.get(batch.function)
        if batch.event is None or work is None:
            raise InvalidInput("this is no batch that can be done again", code="bad_batch", hint="hoso redrive batches")
        if work(batch.event).get("batchItemFailures"):
            return {"id": name, "status": "failed"}
        self._objects.delete(PREFIX + name)
        return {"id": name, "status": "done"}

    def drop(self, name: str) -> Json:
        """Forget a batch. Raises ``NotFound``."""
        batch = self.get(name)
        self._objects.delete(PREFIX + batch.id)
        return {"id": name, "status": "dropped"}


def _batch(name: str, raw: bytes) -> Batch:
    told = _object(_parsed(raw))
    context = _object(told.get("requestContext"))
    info = _object(told.get("KinesisBatchInfo") or told.get("DDBStreamBatchInfo"))
    found = _FUNCTION.search(str(context.get("functionArn", "")))
    payload: object = told.get("payload")
    event = _object(_parsed(payload.encode())) if isinstance(payload, str) else {}
    records: object = event.get("Records")
    size = len(records) if isinstance(records, list) else int(info.get("batchSize") or 0)  # pyright: ignore[reportUnknownArgumentType]
    return Batch(
        name,
        found.group() if found else "",
        str(context.get("condition", "")),
        int(context.get("approximateInvokeCount") or 0),
        str(told.get("timestamp", "")),
        size,
        str(info.get("shardId", "")),
        event if isinstance(records, list) else None,
    )


def _parsed(raw: bytes) -> object:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
