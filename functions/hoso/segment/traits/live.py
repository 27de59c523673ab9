"""Computed traits of one person, now, from the events themselves: what a profile shows before the night comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hoso.model.time import format_instant
from hoso.segment.event_language import FirstLast
from hoso.segment.language import EventMeasure
from hoso.segment.measured import fitting, measured
from hoso.segment.person import RuleEvent
from hoso.segment.timing import event_window
from hoso.segment.traits.language import ComputedTrait, DaysSince, MeasureTrait, Trend, UniqueList
from hoso.segment.traits.trends import slope
from hoso.segment.values import getter, number, text
from hoso.segment.zones import zone

LIVE = (MeasureTrait, UniqueList, DaysSince, Trend)
"""Kinds that one person's events are enough for."""


def live_values(definitions: Mapping[str, ComputedTrait], events: Sequence[RuleEvent], as_of: int) -> dict[str, Any]:
    """The values at ``as_of`` (UTC ms) of the definitions that can be live; without those that have none."""
    found = {
        key: _value(definition, events, as_of)
        for key, definition in definitions.items()
        if isinstance(definition.of, LIVE)
    }
    return {key: value for key, value in found.items() if value is not None}


def _value(definition: ComputedTrait, events: Sequence[RuleEvent], as_of: int) -> Any:
    recipe, where = definition.of, zone(definition.timezone)
    if isinstance(recipe, MeasureTrait):
        rule = EventMeasure(
            kind="event", event=recipe.event, where=recipe.where, window=recipe.window, measure=recipe.measure
        )
        value = measured(rule, where, events, as_of).value
        timestamp = isinstance(recipe.measure, FirstLast) and recipe.measure.of == "timestamp"
        return format_instant(value) if timestamp and value is not None else value
    if isinstance(recipe, DaysSince):
        met = fitting(recipe.event, recipe.where, where, events, as_of)
        if not met:
            return None
        return where.day_of(as_of) - where.day_of(met[0 if recipe.which == "first" else -1].ts)
    if isinstance(recipe, (UniqueList, Trend)):
        low, high = event_window(recipe.window, where).bounds(as_of)
        met = [event for event in fitting(recipe.event, recipe.where, where, events, as_of) if low < event.ts <= high]
        read = getter(recipe.of)
        if isinstance(recipe, Trend):
            numbers = [value for event in met if (value := number(read(event.body))) is not None]
            return slope(numbers) if len(numbers) >= recipe.least else None
        forms = [form for event in reversed(met) if (form := text(read(event.body))) is not None]
        return list(dict.fromkeys(forms))[: recipe.most] or None
    return None
