"""Meters: the small state that answers questions about events without keeping the events (reference, section 8).

A meter's state lies in a dict under the meter's id. The id's first letter names the kind, the rest is a hash of what
the meter looks at, so that states of several fragments merge without the rules at hand. States are JSON:

======  ==========================================================  ============================================
kind    answers                                                     state
======  ==========================================================  ============================================
``n``   count with a threshold in a window that reaches now         the newest timestamps, rising
``e``   everything else in a window                                 [entries (ts, message id, value), cut, days]
``s``   count, sum, avg, min, max over all time                     [count, millionths, min, max, waiting]
``f``   first value over all time                                   (ts, message id, value)
``l``   last value up to now                                        newest past entry, then entries that wait
``m``   most frequent text over all time                            [text → count, waiting, full?]
``u``   different texts in a window that reaches now                [text → last ts, waiting, cut]
``q``   sequences                                                   [per step: key → timestamps, cut]
======  ==========================================================  ============================================

*Waiting* entries are stamped in the future. ``cut`` is the time of the youngest entry that the cap of 200 dropped:
a question that reaches back to it cannot be decided from here (the meter is *spilled* for that question). Pruning
looks at the event's ``received_at``: nobody asks about an earlier instant later on.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from operator import itemgetter
from typing import Any

from hoso.model.time import DAY_MS
from hoso.segment.person import RuleEvent
from hoso.segment.values import millionths, number, text

CAP = 200
"""Entries of one meter of one fragment."""
NO_CUT = -(1 << 62)
SIGNATURE = "~"
"""Key of the hash that tells which set of meters a state was kept for."""
LONGEST_TEXT = 64
LONGEST_VALUE = 256
UNKNOWN = ["~"]
"""Stands for a value that is too large to keep."""

Where = Callable[[Mapping[str, Any]], bool]
Fold = Callable[[dict[str, Any], RuleEvent], None]
_ts = itemgetter(0)
State = list[Any]


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter: its id, the event names it hears (None: all) and what an event does to the states."""

    id: str
    names: frozenset[str] | None
    fold: Fold


def meter_id(kind: str, *parts: object) -> str:
    """Kind and hash of what a meter looks at."""
    return kind + sha256(repr(parts).encode()).hexdigest()[:9]


def by_time(entry: list[Any]) -> list[Any]:
    """Sort key of entries: (ts, message id)."""
    return entry[:2]


def pack_integer(value: int) -> int | str:
    """Integers beyond 62 bits travel as text: JSON codecs hold 64 bits."""
    return value if -(1 << 62) < value < 1 << 62 else str(value)


def short_text(value: Any) -> str | None:
    """The text form, or a hash of a long one; equal exactly when the texts are."""
    form = text(value)
    if form is None or len(form) <= LONGEST_TEXT:
        return form
    return "\x01" + sha256(form.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def kept_value(value: Any) -> Any:
    """The value, or ``UNKNOWN`` when it is too large to keep."""
    return value if len(repr(value)) <= LONGEST_VALUE else UNKNOWN


def newest_meter(identity: str, depth: int, where: Where | None, bounds: tuple[int, int] | None) -> Fold:
    """Keeps the newest ``depth`` timestamps of the past and those that wait."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        instant = event.ts
        if (where is not None and not where(event.body)) or (bounds and not bounds[0] < instant <= bounds[1]):
            return
        kept: list[int] | None = states.get(identity)
        if kept is None:
            states[identity] = [instant]
            return
        if instant >= kept[-1]:
            kept.append(instant)
        else:
            insort(kept, instant)
        if len(kept) > depth:
            past = bisect_right(kept, event.received_at)
            if past > depth:
                del kept[: past - depth]
            if len(kept) > depth + CAP:
                del kept[depth + CAP :]

    return fold


def entries_meter(
    identity: str,
    where: Where | None,
    read: Callable[[RuleEvent], Any] | None,
    horizon_ms: int | None,
    bounds: tuple[int, int] | None,
) -> Fold:
    """Keeps (ts, message id, value) not older than ``horizon_ms``, at most 200; older ones go into day sums."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if (where is not None and not where(event.body)) or (bounds and not bounds[0] < event.ts <= bounds[1]):
            return
        value = None
        if read is not None:
            value = read(event)
            if value is None:
                return
        state: State = states.setdefault(identity, [])
        if not state:
            state += [[], NO_CUT, {}]
        entries: list[list[Any]] = state[0]
        entry = [event.ts, event.message_id[:LONGEST_TEXT], value] if read is not None else [event.ts]
        if not entries or event.ts >= entries[-1][0]:
            entries.append(entry)
        else:
            insort(entries, entry, key=by_time)
        if horizon_ms is not None:
            oldest = event.received_at - horizon_ms
            while entries and entries[0][0] <= oldest:
                del entries[0]
            for day in [day for day in state[2] if (int(day) + 1) * DAY_MS <= oldest]:
                del state[2][day]
        while len(entries) > CAP:
            _spill(state, entries.pop(0))

    return fold


def _spill(state: list[Any], dropped: list[Any]) -> None:
    state[1] = max(state[1], dropped[0])
    spent = number(dropped[2]) if len(dropped) > 2 else 0.0
    amount = millionths(spent) if spent is not None else 0
    day = state[2].setdefault(str(dropped[0] // DAY_MS), [0, 0, 0])
    day[0] += 1
    day[1 if amount > 0 else 2] = pack_integer(int(day[1 if amount > 0 else 2]) + amount)


def totals_meter(identity: str, where: Where | None, read: Callable[[RuleEvent], float | None] | None) -> Fold:
    """Counts, sums and keeps the extremes for ever."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if where is not None and not where(event.body):
            return
        amount = 0.0 if read is None else read(event)
        if amount is None:
            return
        state: State = states.setdefault(identity, [])
        if not state:
            state += [0, 0, None, None, []]
        if state[4]:
            ready = [entry for entry in state[4] if entry[0] <= event.received_at]
            state[4] = [entry for entry in state[4] if entry[0] > event.received_at]
            for _, waited in ready:
                add_total(state, waited)
        if event.ts <= event.received_at:
            add_total(state, amount)
        else:
            state[4].append([event.ts, amount])

    return fold


def add_total(state: list[Any], amount: float) -> None:
    """Count one number into ``[count, millionths, min, max]``."""
    state[0] += 1
    state[1] = pack_integer(int(state[1]) + millionths(amount))
    state[2] = amount if state[2] is None or amount < state[2] else state[2]
    state[3] = amount if state[3] is None or amount > state[3] else state[3]


def first_meter(identity: str, where: Where | None, read: Callable[[RuleEvent], Any]) -> Fold:
    """Keeps the first value by (ts, message id)."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if where is not None and not where(event.body):
            return
        value = read(event)
        if value is None:
            return
        held = states.get(identity)
        found = [event.ts, event.message_id[:LONGEST_TEXT], kept_value(value)]
        if held is None or found[:2] < held[:2]:
            states[identity] = found

    return fold


def last_meter(identity: str, where: Where | None, read: Callable[[RuleEvent], Any]) -> Fold:
    """Keeps the newest value of the past, and those that wait."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if where is not None and not where(event.body):
            return
        value = read(event)
        if value is None:
            return
        kept: list[list[Any]] = states.setdefault(identity, [])
        insort(kept, [event.ts, event.message_id[:LONGEST_TEXT], kept_value(value)], key=by_time)
        past = bisect_right(kept, event.received_at, key=_ts)
        if past > 1:
            del kept[: past - 1]
        del kept[CAP:]

    return fold


def frequent_meter(identity: str, where: Where | None, read: Callable[[RuleEvent], Any]) -> Fold:
    """Counts text forms for ever, at most 200 different ones."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if where is not None and not where(event.body):
            return
        found = short_text(read(event))
        if found is None:
            return
        state = states.setdefault(identity, [{}, [], 0])
        ready = [entry[1] for entry in state[1] if entry[0] <= event.received_at]
        state[1] = [entry for entry in state[1] if entry[0] > event.received_at]
        if event.ts <= event.received_at:
            ready.append(found)
        else:
            state[1].append([event.ts, found])
        for form in ready:
            if form in state[0] or len(state[0]) < CAP:
                state[0][form] = state[0].get(form, 0) + 1
            else:
                state[2] = 1

    return fold


def unique_meter(identity: str, where: Where | None, read: Callable[[RuleEvent], Any], horizon_ms: int | None) -> Fold:
    """Keeps when each text form was last seen, at most 200 different ones."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if where is not None and not where(event.body):
            return
        found = short_text(read(event))
        if found is None:
            return
        state = states.setdefault(identity, [{}, [], NO_CUT])
        seen: dict[str, int] = state[0]
        ready = [entry for entry in state[1] if entry[0] <= event.received_at]
        state[1] = [entry for entry in state[1] if entry[0] > event.received_at]
        (ready if event.ts <= event.received_at else state[1]).append([event.ts, found])
        for instant, form in ready:
            if instant > seen.get(form, NO_CUT):
                seen[form] = instant
        if len(seen) > CAP // 2 and horizon_ms is not None:
            oldest = event.received_at - horizon_ms
            for form in [form for form, instant in seen.items() if instant <= oldest]:
                del seen[form]
        while len(seen) > CAP:
            form = min(seen, key=lambda form: (seen[form], form))
            state[2] = max(state[2], seen.pop(form))

    return fold


def sequence_meter(
    identity: str,
    steps: tuple[tuple[frozenset[str] | None, Where | None], ...],
    key: Callable[[Mapping[str, Any]], str | None],
    horizon_ms: int | None,
) -> Fold:
    """Keeps the timestamps of each step's events by their key (``same``), at most 200 in all."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        found: str | None = None
        for place, (names, where) in enumerate(steps):
            if (names is not None and event.name not in names) or (where is not None and not where(event.body)):
                continue
            if found is None:
                found = key(event.body)
                if found is None:
                    return
            state: State = states.setdefault(identity, [])
            if not state:
                state += [[{} for _ in steps], NO_CUT]
            insort(state[0][place].setdefault(found, []), event.ts)
        if found is not None:
            _prune_steps(states[identity], None if horizon_ms is None else event.received_at - horizon_ms)

    return fold


def _prune_steps(state: list[Any], oldest: int | None) -> None:
    kept = 0
    for step in state[0]:
        for form in list(step):
            instants: list[int] = step[form]
            if oldest is not None and instants[0] <= oldest:
                del instants[: bisect_right(instants, oldest)]
            if instants:
                kept += len(instants)
            else:
                del step[form]
    if kept <= CAP:
        return
    state[1] = max(state[1], sorted(ts for step in state[0] for instants in step.values() for ts in instants)[-CAP - 1])
    _prune_steps(state, state[1])
