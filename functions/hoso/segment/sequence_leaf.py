"""The ``sequence`` condition of the live engine."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

from hoso.segment.aggregates import Answer
from hoso.segment.filters import moves_with_time
from hoso.segment.language import Sequence
from hoso.segment.measures import Leaf
from hoso.segment.meters import short_text
from hoso.segment.person import PersonState
from hoso.segment.registry import Ref, Registry
from hoso.segment.replay import replayed_sequence
from hoso.segment.sequences import Plan, best_start, plan
from hoso.segment.timing import EventWindow, SinceWindow, event_window
from hoso.segment.values import getter
from hoso.segment.zones import NEVER, Zone, parse_duration

Key = Callable[[Mapping[str, Any]], str | None]


def sequence_plan(rule: Sequence) -> Plan:
    """The plan of a sequence's steps and limits."""
    return plan([step.absent for step in rule.steps], [_ms(step.within) for step in rule.steps], _ms(rule.within))


def sequence_leaf(rule: Sequence, zone: Zone, registry: Registry) -> Leaf:
    """The closure of a ``sequence`` condition."""
    window = event_window(rule.window, zone)
    steps = sequence_plan(rule)
    if any(moves_with_time(step.where) for step in rule.steps):
        return replayed_sequence(rule, steps, zone, window, SinceWindow(window), registry)
    same = rule.same or ()
    ref = registry.sequence(
        tuple((step.event, step.where) for step in rule.steps), zone, _key(same), same, window.horizon_ms
    )
    return _leaf(ref, steps, window)


def _leaf(ref: Ref, steps: Plan, window: EventWindow) -> Leaf:
    def leaf(person: PersonState, as_of: int) -> Answer:
        state = person.meters.get(ref.id)
        if state is None:
            return False, NEVER
        low, high = window.bounds(as_of)
        cut: int = state[1]
        best: int | None = None
        # what may turn a "no": events that wait, first steps that come into the window, waiting for an absent step
        until = upcoming = NEVER
        for form in state[0][0]:
            lists: list[list[int]] = []
            for step in state[0]:
                instants: list[int] = step.get(form, [])
                past = bisect_right(instants, as_of)
                if past < len(instants):
                    upcoming = min(upcoming, instants[past])
                lists.append(instants[:past] if past < len(instants) else instants)
            start, waiting = best_start(steps, lists, max(low, cut), high, as_of)
            if start is not None and (best is None or start > best):
                best = start
            until = min(until, waiting)
            coming = bisect_right(lists[0], high)
            if coming < len(lists[0]):
                until = min(until, window.enters(lists[0][coming]))
        if best is not None:
            return True, min(upcoming, window.leaves(best))
        return (None if low < cut else False), min(until, upcoming)

    return leaf


def _key(same: tuple[str, ...]) -> Key:
    if not same:
        return lambda _body: ""
    reads = [getter(path) for path in same]

    def key(body: Mapping[str, Any]) -> str | None:
        forms = [short_text(read(body)) for read in reads]
        if None in forms:
            return None
        return forms[0] if len(forms) == 1 else "\x00".join(form or "" for form in forms)

    return key


def _ms(text: str | None) -> int | None:
    found = parse_duration(text)
    return None if found is None else found.ms
