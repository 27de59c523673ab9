"""The due table: who has to be looked at when time alone may change an answer, swept slot by slot.

An entry names a person and an instant; it stands in the slot of five minutes that the instant lies in, in one of
``DUE_SHARDS`` parts. A sweep takes all slots from the last one that was finished up to now, evaluates the people whose
instant has come, and deletes their entries. A sweep that dies begins again at the same slot: an evaluation that finds
nothing to change writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hoso.model.errors import Transient
from hoso.platform.dynamo import Condition, Refused, Table
from hoso.unify.settlement import DUE_SHARDS, SLOT_MS

FIRST_LOOK_BACK_SLOTS = 12
"""How far a sweep looks back when none was finished before: an hour."""
MOST_SLOTS = 288
"""Slots that are asked one by one (a day); a sweeper that is further behind reads the table once instead."""


@dataclass(slots=True)
class Swept:
    """What a sweep did: people looked at, changes of memberships, people left for the next sweep."""

    people: int = 0
    changes: int = 0
    left: int = 0


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


def sweep(
    table: DueTable,
    look: Callable[[str], int],
    now: int,
    time_left: Callable[[], bool],
) -> Swept:
    """Look at everybody who is due at ``now`` (UTC ms).

    ``look`` evaluates a person (by profile id) and answers the number of changes; ``time_left`` says whether another
    one fits in. A person who cannot be evaluated now keeps the entry, and the slot stays unfinished.
    """
    swept = Swept()
    present = now // SLOT_MS
    reached = table.reached()
    first = present - FIRST_LOOK_BACK_SLOTS if reached is None else min(reached, present)
    # The present slot can still get entries; a slot in which somebody waits is looked at again.
    unfinished = present
    for entry in table.entries(first, present):
        if entry["due"] > now:
            continue
        if not time_left():
            swept.left += 1
            unfinished = first
            break
        try:
            swept.changes += look(entry["sk"])
        except Transient:
            swept.left += 1
            unfinished = min(unfinished, entry["due"] // SLOT_MS)
            continue
        swept.people += 1
        table.done(entry)
    table.reach(unfinished)
    return swept
