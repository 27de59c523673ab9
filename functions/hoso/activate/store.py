"""Items of activation in the ``delivery`` table (TTL 90 days but for lists, suppressions and breakers).

=================================  ==========================  ======================================================
pk                                 sk                          what
=================================  ==========================  ======================================================
``<ws>#A#<pid>``                   ``<delivery id>``           a delivery, see ``deliveries.py``
``<ws>#O#<status>``                ``<at:015d>#<id>``          hint: a delivery (``p``: its pid) had this status
``<ws>#K#<fragment id>``           ``C#<channel>``             ``v``, ``log``: sends of 60 days, [at, activation, id]
``<ws>#K#<fragment id>``           ``L#<activation>``          the person is on the list that this activation keeps
``<ws>#B``                         ``<destination>``           breaker
``<ws>#X#<channel>``               ``<hash of the address>``   suppressed address: reason, at
``<ws>#L``                         ``trigger#<event>#<key>``   where a trigger's walk through an audience stands
=================================  ==========================  ======================================================

What belongs to a person for longer than one delivery hangs on a fragment: fragments move with merges and un-merges, so
nothing has to be moved here. Hints are written before the delivery and checked when read: they need no transaction.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from hoso.activate.breaker import Breaker
from hoso.activate.deliveries import (
    KEEP_MS,
    STATUSES,
    Delivery,
    as_item,
    from_item,
    redrive_row,
)
from hoso.model.time import DAY_MS, SECOND_MS
from hoso.platform.dynamo import Item, Key, Put, Refused, Table, Write, at_version, transact
from hoso.platform.ids import Hasher

LOG_MS = 60 * DAY_MS
_LOG_ENTRIES = 300
_LOOKED_AT = 2_000
"""Hints that one listing reads at most."""


class SendLog(NamedTuple):
    """A person's sends on a channel over all fragments; ``version`` is that of the fragment which new ones go to."""

    fid: str
    version: int
    own: tuple[tuple[int, str, str], ...]
    all: tuple[tuple[int, str, str], ...]


class Place(NamedTuple):
    """Where a listing stands: per status the hint after which it goes on."""

    after: Mapping[str, str]


class DeliveryStore:
    """Reads and writes of deliveries; one method per way of access."""

    def __init__(self, client: Any, delivery: Table, outbox: Table) -> None:
        self._client = client
        self._table = delivery
        self.outbox = outbox

    def get(self, workspace: str, pid: str, delivery_id: str) -> Delivery | None:
        """One delivery, strongly consistent."""
        item = self._table.get((f"{workspace}#A#{pid}", delivery_id), consistent=True)
        return from_item(item) if item else None

    def claim(self, delivery: Delivery, log: SendLog | None = None, listed: str | None = None) -> Delivery:
        """Store a delivery as ``sending``, before anything is sent (R40).

        ``log``: count the send for the person's caps, on the version that was decided with. ``listed``: the fragment
        to note that the person is on the activation's list.

        Raises:
            Refused: another worker was first, or the caps moved: decide again.
        """
        fresh = replace(delivery, version=delivery.version + 1)
        writes: list[Write] = [Put(self._table, as_item(fresh), at_version(delivery.version))]
        if log is not None and all(entry[2] != delivery.id for entry in log.all):
            writes.append(self._logged(fresh, log))
        if listed is not None:
            writes.append(Put(self._table, {"pk": f"{fresh.workspace}#K#{listed}", "sk": f"L#{fresh.activation}"}))
        if len(writes) == 1:
            self._table.put(as_item(fresh), at_version(delivery.version))
        else:
            transact(self._client, writes)
        return fresh

    def record(self, delivery: Delivery, before: str | None = None) -> Delivery:
        """Store what became of a delivery; ``before`` is the status under which it was listed until now.

        Raises:
            Refused: another worker changed it meanwhile.
        """
        fresh = replace(delivery, version=delivery.version + 1)
        self._table.put(_hint(fresh))
        self._table.put(as_item(fresh), at_version(delivery.version))
        if before is not None and before != fresh.status:
            self._table.delete(_hint_key(fresh, before))
        return fresh

    def redrive(self, delivery: Delivery, now: int) -> Delivery:
        """Begin a delivery anew: its state and its outbox row in one transaction.

        Raises:
            Refused: it changed meanwhile, so another redrive was first (R44: one effect).
        """
        fresh = replace(delivery.redriven(now), version=delivery.version + 1)
        self._table.put(_hint(fresh))
        transact(
            self._client,
            [
                Put(self._table, as_item(fresh), at_version(delivery.version)),
                Put(self.outbox, redrive_row(fresh, now)),
            ],
        )
        self._table.delete(_hint_key(fresh, delivery.status))
        return fresh

    def send_log(self, workspace: str, fragments: Sequence[str], channel: str) -> SendLog:
        """What was sent to a person on a channel, strongly consistent."""
        keys: list[Key] = [(f"{workspace}#K#{fid}", f"C#{channel}") for fid in fragments]
        items = self._table.batch_get(keys, consistent=True)
        own = items.get(keys[0], {"v": 0, "log": []})
        return SendLog(
            fragments[0],
            own["v"],
            tuple(_entry(wire) for wire in own["log"]),
            tuple(_entry(wire) for item in items.values() for wire in item["log"]),
        )

    def lists(self, workspace: str, fragments: Sequence[str], activation: str) -> list[str]:
        """The fragments of a person that are noted on an activation's list."""
        keys: list[Key] = [(f"{workspace}#K#{fid}", f"L#{activation}") for fid in fragments]
        found = self._table.batch_get(keys, consistent=True)
        return [pk.split("#", 2)[2] for pk, _ in found]

    def unlist(self, workspace: str, fragments: Sequence[str], activation: str) -> None:
        """The destination was told that the person is off the list."""
        self._table.batch_write(deletes=[(f"{workspace}#K#{fid}", f"L#{activation}") for fid in fragments])

    def of_person(self, workspace: str, pid: str) -> list[Delivery]:
        """All deliveries of a person, newest first."""
        found = [from_item(item) for item in self._table.query_all(f"{workspace}#A#{pid}")]
        return sorted(found, key=lambda delivery: (-delivery.at, delivery.id))

    def of_status(
        self, workspace: str, statuses: Sequence[str], limit: int, place: Place | None = None
    ) -> tuple[list[Delivery], Place | None]:
        """Deliveries that have one of these statuses, newest first, and where the next page begins."""
        after: dict[str, str] = dict(place.after) if place else {}
        streams = [self._hints(workspace, status, after.get(status)) for status in statuses or STATUSES]
        found: list[Delivery] = []
        hints = islice(heapq.merge(*streams, key=lambda hint: hint["sk"], reverse=True), _LOOKED_AT)
        while batch := list(islice(hints, limit)):
            keys = [(f"{workspace}#A#{hint['p']}", hint["sk"].split("#")[1]) for hint in batch]
            items = self._table.batch_get(keys, consistent=True)
            for key, hint in zip(keys, batch, strict=True):
                status = hint["pk"].split("#", 2)[2]
                after[status] = hint["sk"]
                if key in items and items[key]["status"] == status:
                    found.append(from_item(items[key]))
                if len(found) == limit:
                    return found, Place(after)
        return found, None

    def scan(self, workspace: str) -> Iterator[Delivery]:
        """Every delivery of a workspace, for SQL and tools."""
        for item in self._table.scan():
            if item["pk"].startswith(f"{workspace}#A#"):
                yield from_item(item)

    def breaker(self, workspace: str, destination: str, revision: int) -> Breaker:
        """The breaker of a destination; a fresh one for a newer revision."""
        item = self._table.get((f"{workspace}#B", destination), consistent=True)
        if item is None:
            return Breaker(revision)
        if item["rev"] < revision:
            return Breaker(revision, version=item["v"])
        return Breaker(item["rev"], item["v"], item["failures"], item["open"], item["disabled"])

    def put_breaker(self, workspace: str, destination: str, breaker: Breaker) -> Breaker | None:
        """Store a breaker; None when another worker changed it meanwhile."""
        item: Item = {
            "pk": f"{workspace}#B",
            "sk": destination,
            "v": breaker.version + 1,
            "rev": breaker.revision,
            "failures": breaker.failures,
            "open": breaker.open_until,
            "disabled": breaker.disabled,
        }
        try:
            self._table.put(item, at_version(breaker.version))
        except Refused:
            return None
        return replace(breaker, version=breaker.version + 1)

    def is_suppressed(self, workspace: str, channel: str, address: str, hasher: Hasher) -> bool:
        """Whether nothing may go to this address any more."""
        key = (f"{workspace}#X#{channel}", hasher.identifier(channel, address))
        return self._table.get(key, consistent=True) is not None

    def suppress(self, workspace: str, channel: str, address: str, reason: str, hasher: Hasher, now: int) -> None:
        """Send nothing to this address any more; the address itself is not stored."""
        sk = hasher.identifier(channel, address)
        self._table.put({"pk": f"{workspace}#X#{channel}", "sk": sk, "reason": reason, "at": now})

    def progress(self, workspace: str, name: str) -> Any:
        """Where a walk stands (any JSON), None before its begin."""
        item = self._table.get((f"{workspace}#L", f"trigger#{name}"), consistent=True)
        return item["place"] if item else None

    def put_progress(self, workspace: str, name: str, place: Any, now: int) -> None:
        """Note where a walk stands."""
        ttl = (now + KEEP_MS) // SECOND_MS
        self._table.put({"pk": f"{workspace}#L", "sk": f"trigger#{name}", "place": place, "ttl": ttl})

    def _hints(self, workspace: str, status: str, after: str | None) -> Iterator[Item]:
        pk = f"{workspace}#O#{status}"
        start: Key | None = (pk, after) if after else None
        while True:
            page = self._table.query(pk, reverse=True, limit=100, start=start)
            yield from page.items
            start = page.start
            if start is None:
                return

    def _logged(self, delivery: Delivery, log: SendLog) -> Put:
        since = delivery.updated - LOG_MS
        kept = [entry for entry in log.own if entry[0] > since][-_LOG_ENTRIES:]
        entries = [list(entry) for entry in (*kept, (delivery.updated, delivery.activation, delivery.id))]
        item: Item = {
            "pk": f"{delivery.workspace}#K#{log.fid}",
            "sk": f"C#{delivery.channel}",
            "v": log.version + 1,
            "log": entries,
            "ttl": (delivery.updated + LOG_MS) // SECOND_MS,
        }
        return Put(self._table, item, at_version(log.version))


def _hint_key(delivery: Delivery, status: str) -> Key:
    return f"{delivery.workspace}#O#{status}", f"{delivery.at:015d}#{delivery.id}"


def _hint(delivery: Delivery) -> Item:
    pk, sk = _hint_key(delivery, delivery.status)
    return {"pk": pk, "sk": sk, "p": delivery.pid, "ttl": (delivery.at + KEEP_MS) // SECOND_MS}


def _entry(wire: Sequence[Any]) -> tuple[int, str, str]:
    at, activation, delivery_id = wire
    return at, activation, delivery_id
