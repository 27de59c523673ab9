"""Conditions on events, answered from meters: for each measure and window the smallest state that is exact."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any

from hoso.model.time import DAY_MS
from hoso.segment.aggregates import (
    Aggregate,
    Answer,
    Holds,
    aggregate,
    compare_average,
    compare_count,
    compare_sum,
    form_of,
    most_frequent,
    path_of,
    threshold,
    value_test,
)
from hoso.segment.counts import Leaf, newest_leaf
from hoso.segment.event_language import MostFrequent, NumberMeasure
from hoso.segment.filters import moves_with_time
from hoso.segment.language import EventMeasure
from hoso.segment.meters import CAP, NO_CUT, UNKNOWN, add_total
from hoso.segment.operators import compare_double
from hoso.segment.person import PersonState
from hoso.segment.registry import Ref, Registry
from hoso.segment.replay import replayed
from hoso.segment.timing import ElapsedWindow, EventWindow, EverWindow, event_window
from hoso.segment.values import all_millionths
from hoso.segment.zones import NEVER, Zone

Summed = tuple[int, int, "tuple[list[Any], list[list[Any]], int] | None"]
"""A sum in millionths, when it may turn, and, where the meter was capped, its state, entries and window's begin."""
WindowSum = Callable[[PersonState, int], Summed]
_ts = itemgetter(0)


def asks_count(rule: EventMeasure) -> bool:
    """Whether a condition asks how many events there are, whatever the time."""
    return (rule.op is None or rule.measure.agg == "count") and not moves_with_time(rule.where)


def count_leaf(rule: EventMeasure, zone: Zone, registry: Registry, *, negated: bool = False) -> Leaf:
    """The closure of an ``event`` condition that ``asks_count``, or of its contrary."""
    window = event_window(rule.window, zone)
    depth = threshold(rule.op, rule.value)
    what = (rule.event, rule.where, zone)
    if depth <= CAP and (window.open_end or window.fixed):
        return newest_leaf(registry.newest(*what, window.fixed, depth), window, rule.op, rule.value, negated=negated)
    if isinstance(window, EverWindow):
        leaf = _totals_leaf(registry.totals(*what, None), "count", rule.op or "gt", rule.value if rule.op else 0)
    else:
        compare = compare_count(rule.op, rule.value)
        spilled = _spilled_sum(window, compare, rule.op or "gt", 0)
        ref = registry.entries(*what, window, None, "")
        leaf = _entries_leaf(ref, window, lambda entries, _: (compare(len(entries)), NEVER), spilled)
    return contrary([leaf]) if negated else leaf


def contrary(parts: Sequence[Leaf]) -> Leaf:
    """The other answer than the one part's, at the same times."""

    def leaf(person: PersonState, as_of: int) -> Answer:
        holds, until = parts[0](person, as_of)
        return (None if holds is None else not holds), until

    return leaf


def event_leaf(rule: EventMeasure, zone: Zone, registry: Registry) -> Leaf:
    """The closure of an ``event`` condition."""
    if asks_count(rule):
        return count_leaf(rule, zone, registry)
    window = event_window(rule.window, zone)
    what = (rule.event, rule.where, zone)
    measure, op = rule.measure, rule.op
    if moves_with_time(rule.where):
        return replayed(rule, zone, window, registry)
    if op is None:
        raise ValueError("a condition without an operator asks for a count")
    of = path_of(measure) or ""
    ever = isinstance(window, EverWindow)
    if ever and isinstance(measure, NumberMeasure):
        return _totals_leaf(registry.totals(*what, of), measure.agg, op, rule.value)
    if measure.agg == "last" and window.open_end:
        test = value_test(rule, op, zone)
        return _last_leaf(registry.ends("l", *what, of), window, test)
    if measure.agg == "first" and ever:
        return _first_leaf(registry.ends("f", *what, of), value_test(rule, op, zone))
    if isinstance(measure, MostFrequent) and ever:
        test = value_test(rule, op, zone)
        return _frequent_leaf(registry.frequent(*what, of), measure.min_count, test)
    if measure.agg == "unique" and window.open_end:
        ref = registry.unique(*what, window.horizon_ms, of)
        return _unique_leaf(ref, window, op, compare_double(op, rule.value))
    ref = registry.entries(*what, window, path_of(measure), form_of(measure) or "")
    if measure.agg == "sum":
        sums = registry.shared(
            (ref, rule.window and rule.window.model_dump_json(), zone.name), lambda: _sums(ref, window)
        )
        return _sum_leaf(sums, window, compare_sum(op, rule.value), op)
    return _entries_leaf(ref, window, aggregate(rule, op, zone), None)


def _entries_leaf(ref: Ref, window: EventWindow, answer: Aggregate, spilled: Callable[..., Answer] | None) -> Leaf:
    none = answer([], 0)[0]

    def leaf(person: PersonState, as_of: int) -> Answer:
        state = person.meters.get(ref.id)
        if state is None:
            return none, NEVER
        entries: list[list[Any]] = state[0]
        low, high = window.bounds(as_of)
        last = bisect_right(entries, high, key=_ts)
        first = bisect_right(entries, low, 0, last, key=_ts)
        until = window.enters(entries[last][0]) if last < len(entries) else NEVER
        if low < state[1]:
            return spilled(state, entries[first:last], low, until) if spilled else (None, until)
        if first < last:
            until = min(until, window.leaves(entries[first][0]))
        holds, turn = answer(entries[first:last], as_of)
        return holds, min(until, turn)

    return leaf


def _sums(ref: Ref, window: EventWindow) -> WindowSum:
    """The sum in a window, made once per evaluation for all rules that compare it."""
    elapsed = window.ms if isinstance(window, ElapsedWindow) else None

    def sums(person: PersonState, as_of: int) -> Summed:
        running = person.running
        kept = running.get(ref)
        if kept is None:
            kept = running[ref] = _running_sums(person.meters.get(ref.id))
        instants, totals, state = kept
        if elapsed is not None and instants and instants[-1] <= as_of:  # the usual case: events can only leave
            low, last, until = as_of - elapsed, len(instants), NEVER
            first = bisect_right(instants, low)
        else:
            low, high = window.bounds(as_of)
            last = bisect_right(instants, high)
            first = bisect_right(instants, low, 0, last)
            until = window.enters(instants[last]) if last < len(instants) else NEVER
        if state is not None and low < state[1]:
            found = (0, until, (state, state[0][first:last], low))
        else:
            if first < last:
                until = min(until, window.leaves(instants[first]))
            found = (totals[last] - totals[first], until, None)
        running[sums] = found
        return found

    return sums


def _running_sums(state: list[Any] | None) -> tuple[list[int], list[int], list[Any] | None]:
    """Of a meter of entries: the instants, the sums in millionths before each of them and after all, the state."""
    if state is None:
        return [], [0], None
    entries: list[list[Any]] = state[0]
    return [entry[0] for entry in entries], [0, *accumulate(all_millionths([entry[2] for entry in entries]))], state


def _sum_leaf(sums: WindowSum, window: EventWindow, compare: Callable[[int], bool], op: str) -> Leaf:
    spilled = _spilled_sum(window, compare, op, 1)

    def leaf(person: PersonState, as_of: int) -> Answer:
        total, until, capped = person.running.get(sums) or sums(person, as_of)
        return (compare(total), until) if capped is None else spilled(*capped, until)

    return leaf


def _spilled_sum(window: EventWindow, compare: Callable[[int], bool], op: str, figure: int) -> Callable[..., Answer]:
    """Counts (``figure`` 0) and sums (1) with day sums: sure where both ends of the possible range agree."""

    def answer(state: list[Any], entries: list[list[Any]], low: int, until: int) -> Answer:
        if not window.open_end:
            return None, until
        kept: list[Any] = [0, 0, None, None]
        for entry in entries:
            add_total(kept, entry[2] if len(entry) > 2 else 0.0)
        least = most = int(kept[figure])
        for day, (count, gained, lost) in state[2].items():
            start = int(day) * DAY_MS
            plus, minus = (int(gained), int(lost)) if figure else (count, 0)
            if start > low:
                least, most = least + plus + minus, most + plus + minus
                until = min(until, window.leaves(start))
            elif start + DAY_MS > low:
                least, most = least + minus, most + plus
        sure = compare(least)
        if compare(most) != sure or (least != most and op not in ("lt", "lte", "gt", "gte")):
            return None, until
        return sure, min([until, *(window.leaves(entry[0]) for entry in entries[:1])])

    return answer


def _totals_leaf(ref: Ref, agg: str, op: str, operand: Any) -> Leaf:
    of_sum, of_average, compare = compare_sum(op, operand), compare_average(op, operand), compare_double(op, operand)

    def holds(count: int, total: int, low: float | None, high: float | None) -> bool:
        if agg == "count":
            return compare(count)
        if agg == "sum":
            return of_sum(total)
        if low is None or high is None:
            return False
        if agg == "avg":
            return of_average(total, count)
        return compare(low if agg == "min" else high)

    none = holds(0, 0, None, None)

    def leaf(person: PersonState, as_of: int) -> Answer:
        state = person.meters.get(ref.id)
        if state is None:
            return none, NEVER
        until = NEVER
        if state[4]:
            waiting = state[4]
            state = state[:4]
            for instant, amount in waiting:
                if instant <= as_of:
                    add_total(state, amount)
                else:
                    until = min(until, instant)
        return holds(state[0], int(state[1]), state[2], state[3]), until

    return leaf


def _first_leaf(ref: Ref, test: Callable[[Any, int], Answer]) -> Leaf:
    def leaf(person: PersonState, as_of: int) -> Answer:
        state = person.meters.get(ref.id)
        if state is None or state[0] > as_of:
            holds, _ = test(None, as_of)
            return holds, NEVER if state is None else state[0]
        return test(state[2], as_of)

    return leaf


def _last_leaf(ref: Ref, window: EventWindow, test: Callable[[Any, int], Answer]) -> Leaf:
    ever = isinstance(window, EverWindow)

    def leaf(person: PersonState, as_of: int) -> Answer:
        kept: list[list[Any]] = person.meters.get(ref.id) or []
        if ever and kept and kept[-1][0] <= as_of:  # the usual case: nothing waits, nothing leaves
            return test(kept[-1][2], as_of)
        low, high = window.bounds(as_of)
        past = bisect_right(kept, high, key=_ts)
        until = kept[past][0] if past < len(kept) else NEVER
        if past == 0 or kept[past - 1][0] <= low:
            return test(None, as_of)[0], until
        holds, turn = test(kept[past - 1][2], as_of)
        return holds, min(until, turn, window.leaves(kept[past - 1][0]))

    return leaf


def _frequent_leaf(ref: Ref, least: int, test: Callable[[Any, int], Answer]) -> Leaf:
    def leaf(person: PersonState, as_of: int) -> Answer:
        state = person.meters.get(ref.id)
        if state is None:
            return test(None, as_of)
        counts = Counter[str](state[0])
        until = NEVER
        for instant, form in state[1]:
            if instant <= as_of:
                counts[form] += 1
            else:
                until = min(until, instant)
        holds, turn = test(UNKNOWN if state[2] else most_frequent(counts, least), as_of)
        return holds, min(until, turn)

    return leaf


def _unique_leaf(ref: Ref, window: EventWindow, op: str, compare: Callable[[float], bool]) -> Leaf:
    none = compare(0)

    def leaf(person: PersonState, as_of: int) -> Answer:
        state = person.meters.get(ref.id)
        if state is None:
            return none, NEVER
        low, _ = window.bounds(as_of)
        seen: dict[str, int] = state[0]
        until = NEVER
        if state[1]:
            seen = dict(seen)
            for instant, form in state[1]:
                if instant <= as_of:
                    seen[form] = max(instant, seen.get(form, NO_CUT))
                else:
                    until = min(until, instant)
        inside = [instant for instant in seen.values() if instant > low]
        holds: Holds = compare(len(inside))
        if low < state[2] and not (holds and op in ("gt", "gte")):
            holds = None
        if inside:
            until = min(until, window.leaves(min(inside)))
        return holds, until

    return leaf
