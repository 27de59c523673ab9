"""How many events lie in a window, from the newest timestamps of a meter: the condition that most rules are made of."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from math import ceil, floor
from typing import Any

from hoso.segment.aggregates import Answer, compare_count
from hoso.segment.person import PersonState
from hoso.segment.registry import Ref
from hoso.segment.timing import ElapsedWindow, EventWindow
from hoso.segment.zones import NEVER

Leaf = Callable[[PersonState, int], Answer]


def newest_leaf(ref: Ref, window: EventWindow, op: str | None, operand: Any, *, negated: bool) -> Leaf:
    """The comparison of a count, or its contrary: at least so many, where it can be put like that."""
    asked = compare_count(op, operand)

    def compare(count: float) -> bool:
        return asked(count) is not negated

    general = _any_leaf(ref, window, compare)
    least = _least(op, operand)
    if least is None or not window.open_end:
        return _elapsed_leaf(ref, window.ms, compare, general) if isinstance(window, ElapsedWindow) else general
    number, wanted = least
    if number <= 0:
        always = wanted is not negated, NEVER
        return lambda _person, _as_of: always
    if isinstance(window, ElapsedWindow):
        return _elapsed_least_leaf(ref, window.ms, number, wanted is not negated, general)
    return _least_leaf(ref, window, number, wanted is not negated, general)


def _least(op: str | None, operand: Any) -> tuple[int, bool] | None:
    """The number n with which the comparison says *at least n* (True) or *fewer than n* (False); None: neither."""
    if op is None:
        return 1, True
    if op in ("gte", "lt"):
        return ceil(float(operand)), op == "gte"
    if op in ("gt", "lte"):
        return floor(float(operand)) + 1, op == "gt"
    if op in ("is", "is_not") and operand == 0:
        return 1, op == "is_not"
    return None


def _least_leaf(ref: Ref, window: EventWindow, number: int, wanted: bool, waiting: Leaf) -> Leaf:
    """At least ``number``: so long as none waits, the answer hangs on the ``number``-th newest instant alone."""
    short = not wanted, NEVER
    bounds, leaves = window.bounds, window.leaves

    def leaf(person: PersonState, as_of: int) -> Answer:
        kept: list[int] | None = person.meters.get(ref.id)
        if not kept:
            return short
        if kept[-1] > as_of:
            return waiting(person, as_of)
        if len(kept) < number or kept[-number] <= bounds(as_of)[0]:
            return short
        return wanted, leaves(kept[-number])

    return leaf


def _elapsed_least_leaf(ref: Ref, ms: int, number: int, wanted: bool, waiting: Leaf) -> Leaf:
    """The same in a window of elapsed time."""
    short = not wanted, NEVER

    def leaf(person: PersonState, as_of: int) -> Answer:
        kept: list[int] | None = person.meters.get(ref.id)
        if not kept:
            return short
        if kept[-1] > as_of:
            return waiting(person, as_of)
        if len(kept) < number:
            return short
        going = kept[-number] + ms
        return (wanted, going) if going > as_of else short

    return leaf


def _any_leaf(ref: Ref, window: EventWindow, compare: Callable[[float], bool]) -> Leaf:
    """Any comparison in any window: events come in and go out until the answer turns."""
    none = compare(0)
    bounds, enters, leaves = window.bounds, window.enters, window.leaves

    def leaf(person: PersonState, as_of: int) -> Answer:
        kept: list[int] | None = person.meters.get(ref.id)
        if not kept:
            return none, NEVER
        low, high = bounds(as_of)
        length = len(kept)
        last = length if kept[-1] <= high else bisect_right(kept, high)
        first = 0 if kept[0] > low else bisect_right(kept, low, 0, last)
        holds = compare(last - first)
        while first < last or last < length:
            going = leaves(kept[first]) if first < last else NEVER
            coming = enters(kept[last]) if last < length else NEVER
            moment = min(going, coming)
            if moment >= NEVER:
                break
            while first < last and leaves(kept[first]) <= moment:
                first += 1
            while last < length and enters(kept[last]) <= moment:
                last += 1
            if compare(last - first) != holds:
                return holds, moment
        return holds, NEVER

    return leaf


def _elapsed_leaf(ref: Ref, ms: int, compare: Callable[[float], bool], otherwise: Leaf) -> Leaf:
    """Any comparison in a window of elapsed time, where none of the instants waits: they can only leave."""
    none = compare(0)

    def leaf(person: PersonState, as_of: int) -> Answer:
        kept: list[int] | None = person.meters.get(ref.id)
        if not kept:
            return none, NEVER
        if kept[-1] > as_of:
            return otherwise(person, as_of)
        low, length = as_of - ms, len(kept)
        first = 0 if kept[0] > low else bisect_right(kept, low)
        holds = compare(length - first)
        while first < length:
            going = kept[first]
            first += 1
            while first < length and kept[first] == going:
                first += 1
            if compare(length - first) != holds:
                return holds, going + ms
        return holds, NEVER

    return leaf
