"""From outbox rows to the bus: fill in the route, put, delete (reliability R37, R38)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from hoso.activate.catalogue import Catalogue
from hoso.activate.routing import Route, route, routed
from hoso.model.time import MINUTE_MS
from hoso.platform.bus import PERMANENT, Bus, Entry
from hoso.platform.dynamo import Item, Key, Table
from hoso.platform.log import logger

SWEPT_AFTER_MS = MINUTE_MS
"""A row that stands longer was not sent by the stream's function."""
_SWEPT_AT_ONCE = 100


class Sender:
    """Sends outbox rows."""

    def __init__(self, outbox: Table, bus: Bus, catalogue: Catalogue) -> None:
        self._outbox = outbox
        self._bus = bus
        self._catalogue = catalogue

    def send(self, keys: Sequence[Key]) -> set[Key]:
        """Put the rows that still stand under these keys on the bus and delete them; answers what has to wait.

        A row that is gone was sent before. One that the bus will never take is marked ``bad`` with its error code and
        stays, for an operator to see; it holds up nothing.

        Raises:
            Transient: the table does not answer; the rows may be on the bus already, a repetition is harmless.
        """
        rows = [row for row in self._outbox.batch_get(keys, consistent=True).values() if "bad" not in row]
        rows.sort(key=lambda row: row["at"])
        entries: list[Entry] = []
        standing: list[Item] = []
        for row in rows:
            entry = self._entry(row)
            if entry is None:
                self._mark(row, "MalformedDetail")
            else:
                entries.append(entry)
                standing.append(row)
        failed = self._bus.put(entries)
        for position, code in failed.items():
            if code in PERMANENT:
                self._mark(standing[position], code)
        sent = [_key(row) for position, row in enumerate(standing) if position not in failed]
        self._outbox.batch_write(deletes=sent)
        waiting = {_key(standing[position]) for position, code in failed.items() if code not in PERMANENT}
        if waiting:
            codes = sorted(set(failed.values()))
            logger("activate").warning("events wait for the bus", extra={"count": len(waiting), "codes": codes})
        return waiting

    def sweep(self, now: int, may_go_on: Callable[[], bool]) -> int:
        """Send what stands for over a minute; answers how many rows were sent. ``may_go_on()`` says if time is left."""
        sent = 0
        stuck = (row for row in self._outbox.scan() if row["at"] < now - SWEPT_AFTER_MS and "bad" not in row)
        for batch in _batches(stuck):
            if not may_go_on():
                break
            keys = [_key(row) for row in batch]
            sent += len(keys) - len(self.send(keys))
        return sent

    def _entry(self, row: Item) -> Entry | None:
        try:
            detail: Any = orjson.loads(row["detail"])
            workspace = str(detail["workspace"])
        except (ValueError, TypeError, KeyError):
            return None
        return Entry(row["type"], orjson.dumps(routed(detail, self._route(workspace, detail))).decode())

    def _route(self, workspace: str, detail: dict[str, Any]) -> Route:
        activations, destinations = self._catalogue.activations(workspace), self._catalogue.destinations(workspace)
        named = detail.get("activation")
        if named is not None and named not in activations:
            # The request names an activation that is newer than what is kept here.
            activation = self._catalogue.activation(workspace, named)
            target = self._catalogue.destination(workspace, activation.destination) if activation else None
            if activation is not None and target is not None:
                activations = {**activations, named: activation}
                destinations = {**destinations, activation.destination: target}
        return route(detail, activations, destinations)

    def _mark(self, row: Item, code: str) -> None:
        logger("activate").error("the bus refuses an event", extra={"event_id": row["sk"], "code": code})
        self._outbox.put({**row, "bad": code})


def _key(row: Item) -> Key:
    return row["pk"], row["sk"]


def _batches(rows: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(rows)
    while batch := list(islice(rest, _SWEPT_AT_ONCE)):
        yield batch
