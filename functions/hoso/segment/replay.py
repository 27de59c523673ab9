"""Conditions whose filter moves with time: the events themselves are kept, cut down to the paths that are read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from operator import itemgetter
from typing import Any, cast

from hoso.segment.aggregates import Answer, aggregate, form_of, path_of
from hoso.segment.event_language import Item, Prop, Where, WhereNot
from hoso.segment.filters import timed_filter
from hoso.segment.language import EventMeasure, Sequence
from hoso.segment.meters import UNKNOWN, short_text
from hoso.segment.person import PersonState
from hoso.segment.registry import Registry, names_of
from hoso.segment.sequences import Plan, best_start
from hoso.segment.timing import EventWindow
from hoso.segment.values import getter, number, split_path
from hoso.segment.zones import NEVER, Zone

_ts = itemgetter(0)
_Body = dict[str, Any]


def replayed(
    rule: EventMeasure, zone: Zone, window: EventWindow, registry: Registry
) -> Callable[[PersonState, int], Answer]:
    """The closure of an ``event`` condition, from kept events."""
    measure = rule.measure
    of = path_of(measure)
    read_paths: set[str] = set() if of is None or of == "timestamp" else {of}
    paths = tuple(sorted(_paths(rule.where) | read_paths))
    ref = registry.projected(rule.event, paths, window)
    fits = timed_filter(rule.where, zone)
    read = _reader(of, form_of(measure))
    answer = aggregate(rule, rule.op, zone) if rule.op is not None else None

    def leaf(person: PersonState, as_of: int) -> Answer:
        kept = _Kept(person.meters.get(ref.id), paths, window, as_of)
        found: list[list[Any]] = []
        matched = 0
        until = kept.until
        for instant, message_id, body in kept.inside:
            holds, turn = fits(body, as_of)
            until = min(until, turn)
            if holds:
                matched += 1
                value = read(instant, body)
                if value is not None:
                    found.append([instant, message_id, value])
        if kept.unsure:
            return None, until
        if answer is None:
            return matched > 0, until
        holds, turn = answer(found, as_of)
        return holds, min(until, turn)

    return leaf


def replayed_sequence(
    rule: Sequence, plan: Plan, zone: Zone, window: EventWindow, retained: EventWindow, registry: Registry
) -> Callable[[PersonState, int], Answer]:
    """The closure of a ``sequence`` with filters that time moves; ``retained`` is the window of all its steps."""
    same = rule.same or ()
    paths = tuple(sorted(set(same).union(*(_paths(step.where) for step in rule.steps))))
    names = tuple(sorted({name for step in rule.steps for name in step.event}))
    ref = registry.projected(names, paths, retained)
    steps = [(names_of(step.event), timed_filter(step.where, zone)) for step in rule.steps]
    keys = [getter(path) for path in same]

    def leaf(person: PersonState, as_of: int) -> Answer:
        kept = _Kept(person.meters.get(ref.id), paths, retained, as_of)
        until = kept.until
        found: dict[str, list[list[int]]] = {}
        for instant, _, body in kept.inside:
            forms = [short_text(read(body)) for read in keys]
            if None in forms:
                continue
            lists = found.setdefault(repr(forms), [[] for _ in steps])
            for place, (wanted, fits) in enumerate(steps):
                if wanted is None or body["\x00name"] in wanted:
                    holds, turn = fits(body, as_of)
                    until = min(until, turn)
                    if holds:
                        lists[place].append(instant)
        if kept.unsure:
            return None, until
        low, high = window.bounds(as_of)
        member = False
        for lists in found.values():
            start, waiting = best_start(plan, lists, low, high, as_of)
            member = member or start is not None
            until = min(until, waiting)
        # every first step may enter or leave the window: a safe, not a sharp, time to look again
        for lists in found.values():
            for instant in lists[0]:
                until = min([until, *(m for m in (window.enters(instant), window.leaves(instant)) if m > as_of)])
        return member, until

    return leaf


class _Kept:
    """Events kept by a projecting meter, as far as they lie in a window."""

    def __init__(self, state: list[Any] | None, paths: tuple[str, ...], window: EventWindow, as_of: int) -> None:
        self.inside: list[tuple[int, str, _Body]] = []
        self.until = NEVER
        self.unsure = False
        if state is None:
            return
        low, high = window.bounds(as_of)
        entries: list[list[Any]] = state[0]
        last = bisect_right(entries, high, key=_ts)
        first = bisect_right(entries, low, 0, last, key=_ts)
        self.unsure = low < state[1]
        if last < len(entries):
            self.until = window.enters(entries[last][0])
        if first < last:
            self.until = min(self.until, window.leaves(entries[first][0]))
        for instant, message_id, values in entries[first:last]:
            self.unsure = self.unsure or UNKNOWN in values
            self.inside.append((instant, message_id, _rebuilt(paths, values)))


def _rebuilt(paths: tuple[str, ...], values: list[Any]) -> _Body:
    body: _Body = {"\x00name": values[-1]}
    for path, value in zip(paths, values, strict=False):
        if value is not None:
            _place(body, split_path(path), value)
    return body


def _place(body: _Body, names: tuple[str, ...], value: Any) -> None:
    inner = body
    for name in names[:-1]:
        below = inner.setdefault(name, {})
        if not isinstance(below, dict):  # a path that holds this one was too large to keep
            return
        inner = cast("_Body", below)
    inner.setdefault(names[-1], value)


def _paths(where: Where | None) -> set[str]:
    if where is None:
        return set()
    if isinstance(where, Prop):
        return {where.path}
    if isinstance(where, Item):
        return {where.list}
    if isinstance(where, WhereNot):
        return _paths(where.of)
    return set[str]().union(*map(_paths, where.of))


def _reader(of: str | None, form: str | None) -> Callable[[int, _Body], Any]:
    if of is None:
        return lambda instant, _body: instant
    if of == "timestamp" and form == "raw":
        return lambda instant, _body: instant
    at = getter(of)
    if form == "number":
        return lambda _instant, body: number(at(body))
    if form == "text":
        return lambda _instant, body: short_text(at(body))
    return lambda _instant, body: at(body)
