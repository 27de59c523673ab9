"""Filters of events (``where``) as closures over the event as it was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from hoso.segment.event_language import Item, Prop, Where, WhereAll, WhereAny, WhereNot
from hoso.segment.operands import DAY_RANGES, RELATIVE, TIME_OPERATORS
from hoso.segment.operators import plain_test, timed_test
from hoso.segment.values import getter
from hoso.segment.zones import NEVER, Zone

Body = Mapping[str, Any]
Filter = Callable[[Body], bool]
TimedFilter = Callable[[Body, int], tuple[bool, int]]
"""Whether an event fits at ``as_of``, and the next moment at which that may turn."""


def moves_with_time(where: Where | None) -> bool:
    """Whether an event that fits now may not fit later (``in_last`` and the like on a property)."""
    if where is None:
        return False
    if isinstance(where, Prop):
        return where.op in RELATIVE or where.op in DAY_RANGES
    if isinstance(where, (WhereAll, WhereAny)):
        return any(map(moves_with_time, where.of))
    return moves_with_time(where.of if isinstance(where, WhereNot) else where.where)


def event_filter(where: Where, zone: Zone) -> Filter:
    """The filter of a ``where`` that time does not move."""
    if isinstance(where, Prop):
        read = getter(where.path)
        if where.op in TIME_OPERATORS:
            timed = timed_test(where.op, where.value, zone)
            return lambda body: timed(read(body), 0)[0]
        test = plain_test(where.op, where.value, where.ignore_case)
        return lambda body: test(read(body))
    if isinstance(where, WhereNot):
        inner = event_filter(where.of, zone)
        return lambda body: not inner(body)
    if isinstance(where, Item):
        entries, inner = getter(where.list), event_filter(where.where, zone)
        return lambda body: any(map(inner, objects_of(entries(body))))
    parts = [event_filter(part, zone) for part in where.of]
    if isinstance(where, WhereAll):
        return lambda body: all(part(body) for part in parts)
    return lambda body: any(part(body) for part in parts)


def timed_filter(where: Where | None, zone: Zone) -> TimedFilter:
    """The filter of any ``where``, with the moment at which its answer may turn."""
    if where is None:
        return lambda _body, _as_of: (True, NEVER)
    if isinstance(where, Prop):
        read = getter(where.path)
        if where.op in TIME_OPERATORS:
            timed = timed_test(where.op, where.value, zone)
            return lambda body, as_of: timed(read(body), as_of)
        test = plain_test(where.op, where.value, where.ignore_case)
        return lambda body, _as_of: (test(read(body)), NEVER)
    if isinstance(where, WhereNot):
        inner = timed_filter(where.of, zone)

        def negated(body: Body, as_of: int) -> tuple[bool, int]:
            holds, until = inner(body, as_of)
            return not holds, until

        return negated
    if isinstance(where, Item):
        entries, inside = getter(where.list), timed_filter(where.where, zone)
        return lambda body, as_of: _joined([inside(entry, as_of) for entry in objects_of(entries(body))], any)
    parts = [timed_filter(part, zone) for part in where.of]
    join = all if isinstance(where, WhereAll) else any
    return lambda body, as_of: _joined([part(body, as_of) for part in parts], join)


def objects_of(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; anything else has none."""
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", entry) for entry in cast("list[Any]", value) if isinstance(entry, dict)]


def _joined(answers: list[tuple[bool, int]], join: Callable[[Any], bool]) -> tuple[bool, int]:
    return join(holds for holds, _ in answers), min((until for _, until in answers), default=NEVER)
