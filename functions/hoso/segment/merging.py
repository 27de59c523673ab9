"""Merging of meters: the states of a person are those of the fragments put together, whatever the rules are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hoso.segment.meters import NO_CUT, SIGNATURE, by_time, pack_integer


def merge_meters(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The states of a person, from those of the fragments. The parts stay as they are."""
    held = list(parts)
    if len(held) == 1:
        return dict(held[0])
    merged: dict[str, Any] = {}
    for part in held:
        for identity, state in part.items():
            if identity in merged and identity != SIGNATURE:
                merged[identity] = _MERGES[identity[0]](merged[identity], state)
            else:
                merged[identity] = state
    return merged


def _merge_newest(one: list[int], two: list[int]) -> list[int]:
    return sorted(one + two)


def _merge_entries(one: list[Any], two: list[Any]) -> list[Any]:
    days = {day: list(figures) for day, figures in one[2].items()}
    for day, figures in two[2].items():
        held = days.get(day, [0, 0, 0])
        days[day] = [pack_integer(int(a) + int(b)) for a, b in zip(held, figures, strict=True)]
    return [sorted(one[0] + two[0], key=by_time), max(one[1], two[1]), days]


def _merge_totals(one: list[Any], two: list[Any]) -> list[Any]:
    lows = [state[2] for state in (one, two) if state[2] is not None]
    highs = [state[3] for state in (one, two) if state[3] is not None]
    return [
        one[0] + two[0],
        pack_integer(int(one[1]) + int(two[1])),
        min(lows, default=None),
        max(highs, default=None),
        one[4] + two[4],
    ]


def _merge_first(one: list[Any], two: list[Any]) -> list[Any]:
    return one if one[:2] <= two[:2] else two


def _merge_last(one: list[Any], two: list[Any]) -> list[Any]:
    return sorted(one + two, key=by_time)


def _merge_frequent(one: list[Any], two: list[Any]) -> list[Any]:
    counts = dict(one[0])
    for form, count in two[0].items():
        counts[form] = counts.get(form, 0) + count
    return [counts, one[1] + two[1], one[2] or two[2]]


def _merge_unique(one: list[Any], two: list[Any]) -> list[Any]:
    seen = dict(one[0])
    for form, instant in two[0].items():
        seen[form] = max(instant, seen.get(form, NO_CUT))
    return [seen, one[1] + two[1], max(one[2], two[2])]


def _merge_sequence(one: list[Any], two: list[Any]) -> list[Any]:
    steps: list[dict[str, list[int]]] = []
    for first, second in zip(one[0], two[0], strict=True):
        step = {form: list(instants) for form, instants in first.items()}
        for form, instants in second.items():
            step[form] = sorted(step.get(form, []) + instants)
        steps.append(step)
    return [steps, max(one[1], two[1])]


_MERGES: dict[str, Callable[[Any, Any], Any]] = {
    "n": _merge_newest,
    "e": _merge_entries,
    "s": _merge_totals,
    "f": _merge_first,
    "l": _merge_last,
    "m": _merge_frequent,
    "u": _merge_unique,
    "q": _merge_sequence,
}
