"""The due table: who has to be looked at when time alone may change an answer, swept slot by slot.

An entry names a person and an instant; it stands in the slot of five minutes that the instant lies in, in one of
``DUE_SHARDS`` parts. A sweep takes all slots from the last one that was finished up to now, evaluates the people whose
instant has come, several at a time (many memberships end at one midnight), and deletes their entries. A sweep that dies
begins again at the same slot: an evaluation that finds nothing to change writes nothing, and of two that look at one
person at once one is refused and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from hoso.model.errors import HosoError, Transient
from hoso.model.time import MINUTE_MS
from hoso.platform.dynamo import Condition, Refused, Table
from hoso.platform.log import logger
from hoso.unify.settlement import DUE_SHARDS, SLOT_MS, due_item

FIRST_LOOK_BACK_SLOTS = 12
"""How far a sweep looks back when none was finished before: an hour."""
MOST_SLOTS = 288
"""Slots that are asked one by one (a day); a sweeper that is further behind reads the table once instead."""


WORKERS = 10
"""People looked at at once: as many as a client of the tables has connections. Nearly all of their time is waiting."""
POSTPONED_MS = 15 * MINUTE_MS
"""When somebody is tried again who cannot be evaluated for a reason that does not pass by itself."""
_CHUNK = 20 * WORKERS


@dataclass(slots=True)
class Swept:
    """What a sweep did: people looked at, changes of memberships, people left for the next sweep, and people
    ``failed`` for good reasons unknown, who are tried again later. ``following`` is the soonest instant (UTC ms) of
    those who are not due yet, in the slots that were read; None: nobody waits there."""

    people: int = 0
    changes: int = 0
    left: int = 0
    failed: int = 0
    following: int | None = None


class DueTable:
    """Due entries and the place that the sweeper has reached, in the ``delivery`` table."""

    def __init__(self, delivery: Table, workspace: str) -> None:
        self._delivery = delivery
        self._workspace = workspace
        self._place = (f"{workspace}#L", "due-sweeper")

    def reached(self) -> int | None:
        """The first slot that is not finished; None when nothing was swept yet."""
        item = self._delivery.get(self._place, consistent=True)
        return None if item is None else item["slot"]

    def reach(self, slot: int) -> None:
        """Everything before this slot is done."""
        self._delivery.put({"pk": self._place[0], "sk": self._place[1], "slot": slot})

    def entries(self, first: int, last: int) -> Iterator[Mapping[str, Any]]:
        """The entries of the slots from ``first`` to ``last``, both included."""
        prefix = f"{self._workspace}#D#"
        if last - first > MOST_SLOTS:
            found = (item for item in self._delivery.scan() if item["pk"].startswith(prefix))
            yield from (item for item in found if first <= item["due"] // SLOT_MS <= last)
            return
        for slot in range(first, last + 1):
            for shard in range(DUE_SHARDS):
                yield from self._delivery.query_all(f"{prefix}{slot}#{shard}", consistent=True)

    def done(self, entry: Mapping[str, Any]) -> None:
        """Forget an entry, unless the person was armed again in the same slot meanwhile."""
        same = Condition("#due = :due", {"#due": "due"}, {":due": entry["due"]})
        with suppress(Refused):
            self._delivery.delete((entry["pk"], entry["sk"]), same)

    def postpone(self, entry: Mapping[str, Any], due: int) -> None:
        """Look at the person of an entry at another instant."""
        self._delivery.put(due_item(self._workspace, entry["sk"], due))
        self.done(entry)


def sweep(
    table: DueTable,
    look: Callable[[str], int],
    now: int,
    time_left: Callable[[], bool],
    workers: int = WORKERS,
) -> Swept:
    """Look at everybody who is due at ``now`` (UTC ms).

    ``look`` evaluates a person (by profile id) and answers the number of changes; it is called by ``workers`` threads.
    ``time_left`` says whether another one fits in. A person who cannot be evaluated now keeps the entry, and the slot
    stays unfinished; one whose evaluation breaks is postponed, so that nobody holds up the others.
    """
    swept = Swept()
    present = now // SLOT_MS
    reached = table.reached()
    first = present - FIRST_LOOK_BACK_SLOTS if reached is None else min(reached, present)
    # The present slot can still get entries; a slot in which somebody waits is looked at again.
    unfinished = present
    due = _due_now(table.entries(first, present), now, swept)

    def one(entry: Mapping[str, Any]) -> int | None:
        """Changes of a person; None: there was no time, or the tables are busy."""
        if not time_left():
            return None
        try:
            changes = look(entry["sk"])
        except Transient:
            return None
        except Exception as error:
            code = error.code if isinstance(error, HosoError) else type(error).__name__
            logger("segment").warning("due: person failed", extra={"code": code})
            table.postpone(entry, now + POSTPONED_MS)
            return _FAILED
        table.done(entry)
        return changes

    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(due, _CHUNK)):
            for entry, changes in zip(chunk, pool.map(one, chunk), strict=True):
                if changes is None:
                    swept.left += 1
                    unfinished = min(unfinished, entry["due"] // SLOT_MS)
                elif changes == _FAILED:
                    swept.failed += 1
                else:
                    swept.people += 1
                    swept.changes += changes
            if not time_left():
                # what was not read yet may lie in any slot
                unfinished = first
                break
    table.reach(unfinished)
    return swept


def _due_now(entries: Iterator[Mapping[str, Any]], now: int, swept: Swept) -> Iterator[Mapping[str, Any]]:
    """The entries whose instant has come; notes the soonest of the others."""
    for entry in entries:
        if entry["due"] <= now:
            yield entry
        elif swept.following is None or entry["due"] < swept.following:
            swept.following = entry["due"]


_FAILED = -1
