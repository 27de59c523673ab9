"""What an event does to the meters: one function per kind of meter, made for one question."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from hoso.model.time import DAY_MS
from hoso.segment.meters import (
    CAP,
    LONGEST_SINGLE,
    LONGEST_TEXT,
    LONGEST_VALUE,
    NO_CUT,
    Fold,
    add_total,
    by_time,
    kept_value,
    pack_integer,
    short_text,
)
from hoso.segment.person import RuleEvent
from hoso.segment.values import millionths, number

Where = Callable[[Mapping[str, Any]], bool]
State = list[Any]
WAITING_AT_LENGTH = 16
"""So many entries stamped in the future may hold a long value."""
_ts = itemgetter(0)


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
            past = len(kept) if kept[-1] <= event.received_at else bisect_right(kept, event.received_at)
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
        if not entries or event.ts > entries[-1][0] or by_time(entry) >= by_time(entries[-1]):
            entries.append(entry)
        else:
            insort(entries, entry, key=by_time)
        if horizon_ms is not None:
            oldest = event.received_at - horizon_ms
            while entries and entries[0][0] <= oldest:
                del entries[0]
            if state[2]:
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


def first_meter(identity: str, where: Where | None, read: Callable[[RuleEvent], Any]) -> Fold:
    """Keeps the first value by (ts, message id)."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if where is not None and not where(event.body):
            return
        value = read(event)
        if value is None:
            return
        held = states.get(identity)
        found = [event.ts, event.message_id[:LONGEST_TEXT], kept_value(value, LONGEST_SINGLE)]
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
        longest = LONGEST_SINGLE if len(kept) < WAITING_AT_LENGTH else LONGEST_VALUE
        found = [event.ts, event.message_id[:LONGEST_TEXT], kept_value(value, longest)]
        if not kept or event.ts > kept[-1][0]:
            kept.append(found)
        else:
            insort(kept, found, key=by_time)
        past = len(kept) if kept[-1][0] <= event.received_at else bisect_right(kept, event.received_at, key=_ts)
        if past > 1:
            del kept[: past - 1]
        del kept[CAP:]

    return fold


def frequent_meter(identity: str, where: Where | None, read: Callable[[RuleEvent], Any]) -> Fold:
    """Counts text forms for ever, at most 200 different ones."""

    def fold(states: dict[str, Any], event: RuleEvent) -> None:
        if where is not None and not where(event.body):
            return
        found = short_text(read(event), LONGEST_VALUE)
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
