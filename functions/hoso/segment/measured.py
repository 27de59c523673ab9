"""The figures behind conditions on events: which events fit, and what the measure says of them.

The live engine answers from small state and keeps no event; whoever asks *why* gets the figures from the events
themselves, by the same filters, windows and aggregates (segmentation reference, sections 4 to 6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hoso.segment.aggregates import active_units, form_of, most_frequent, nearest_rank, path_of
from hoso.segment.event_language import Active, Measure, MostFrequent, Percentile
from hoso.segment.filters import timed_filter
from hoso.segment.language import EventMeasure
from hoso.segment.language import Sequence as Steps
from hoso.segment.meters import short_text
from hoso.segment.person import RuleEvent
from hoso.segment.registry import names_of
from hoso.segment.sequence_leaf import sequence_plan
from hoso.segment.sequences import best_start
from hoso.segment.timing import event_window
from hoso.segment.values import getter, millionths, number, text
from hoso.segment.zones import Zone

MILLION = 1_000_000
MOST_TRIES = 400
"""Choices of events that are tried to name one chain of a sequence; an answer without a name is still an answer."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a condition on events looked at: the fitting events in rising time, and the measure's value (None: none)."""

    events: Sequence[RuleEvent]
    value: Any


def fitting(names: tuple[str, ...], where: Any, zone: Zone, events: Sequence[RuleEvent], as_of: int) -> list[RuleEvent]:
    """The events, received and happened by ``as_of``, that have one of the names and meet the filter; rising time."""
    wanted = names_of(names)
    fits = timed_filter(where, zone)
    found = [
        event
        for event in events
        if (wanted is None or event.name in wanted)
        and event.ts <= as_of
        and event.received_at <= as_of
        and fits(event.body, as_of)[0]
    ]
    return sorted(found, key=lambda event: (event.ts, event.message_id))


def measured(rule: EventMeasure, zone: Zone, events: Sequence[RuleEvent], as_of: int) -> Measured:
    """The events that a condition counts at ``as_of``, and the value that it compares."""
    low, high = event_window(rule.window, zone).bounds(as_of)
    inside = [event for event in fitting(rule.event, rule.where, zone, events, as_of) if low < event.ts <= high]
    read = _reader(rule.measure)
    entries = [(event, value) for event in inside if (value := read(event)) is not None]
    return Measured(
        [event for event, _ in entries], _value(rule.measure, [value for _, value in entries], entries, zone)
    )


def chain(rule: Steps, zone: Zone, events: Sequence[RuleEvent], as_of: int) -> list[RuleEvent]:
    """One choice of events that fits the positive steps; empty when there is none, or none was found in time."""
    window = event_window(rule.window, zone)
    low, high = window.bounds(as_of)
    plan = sequence_plan(rule)
    reads = [getter(path) for path in rule.same or ()]
    by_key: dict[tuple[str, ...], list[list[RuleEvent]]] = {}
    for place, step in enumerate(rule.steps):
        for event in fitting(step.event, step.where, zone, events, as_of):
            forms = [short_text(read(event.body)) for read in reads]
            if None not in forms:
                key = tuple(form or "" for form in forms)
                by_key.setdefault(key, [[] for _ in rule.steps])[place].append(event)
    for steps in by_key.values():
        start, _ = best_start(plan, [[event.ts for event in step] for step in steps], low, high, as_of)
        if start is not None:
            return _named(rule, steps, lambda lists: best_start(plan, lists, low, high, as_of)[0], start)
    return []


def _named(
    rule: Steps, steps: list[list[RuleEvent]], fits: Callable[[list[list[int]]], int | None], start: int
) -> list[RuleEvent]:
    """The chain that begins at ``start``, narrowed step by step: an event stays when the rest still fits with it."""
    lists: list[list[int]] = [[event.ts for event in step] for step in steps]
    chosen: list[RuleEvent] = []
    tries = 0
    for place, step in enumerate(rule.steps):
        if step.absent:
            continue
        for event in steps[place]:
            if place == 0 and event.ts != start:
                continue
            tries += 1
            if tries > MOST_TRIES:
                return []
            narrowed: list[list[int]] = lists[:]
            narrowed[place] = [event.ts]
            if fits(narrowed) is not None:
                lists = narrowed
                chosen.append(event)
                break
    return chosen


def _reader(measure: Measure) -> Callable[[RuleEvent], Any]:
    """What the measure reads of an event; None: the event has nothing to say."""
    of, form = path_of(measure), form_of(measure)
    if of is None:
        return lambda _event: True
    if of == "timestamp" and form == "raw":
        return lambda event: event.ts
    at = getter(of)
    if form == "number":
        return lambda event: number(at(event.body))
    if form == "text":
        return lambda event: text(at(event.body))
    return lambda event: at(event.body)


def _value(measure: Measure, values: list[Any], entries: Sequence[tuple[RuleEvent, Any]], zone: Zone) -> Any:
    if measure.agg == "count":
        return len(values)
    if measure.agg == "sum":
        total = sum(map(millionths, values))
        return total // MILLION if total % MILLION == 0 else total / MILLION
    if measure.agg == "unique":
        return len(set(values))
    if isinstance(measure, Active):
        return active_units(measure, [event.ts for event, _ in entries], zone)
    if not values:
        return None
    if measure.agg == "avg":
        return sum(map(millionths, values)) / 1e6 / len(values)
    if isinstance(measure, Percentile):
        return nearest_rank(values, measure.p)
    if isinstance(measure, MostFrequent):
        return most_frequent(Counter(values), measure.min_count)
    picks: Mapping[str, Callable[[list[Any]], Any]] = {
        "min": min,
        "max": max,
        "first": lambda held: held[0],
        "last": lambda held: held[-1],
    }
    return picks[measure.agg](values)
