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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from hoso.segment.person import RuleEvent
from hoso.segment.values import millionths, text

CAP = 200
"""Entries of one meter of one fragment."""
NO_CUT = -(1 << 62)
SIGNATURE = "~"
"""Key of the hash that tells which set of meters a state was kept for."""
HELD = "!"
"""Key of the segments on which the engines did not agree about this person: the nightly answer stands."""
LONGEST_TEXT = 64
"""Characters of a text that is only compared with others: longer ones are kept as a hash."""
LONGEST_VALUE = 256
"""Characters of one of many kept values, and of a text whose occurrences are counted."""
LONGEST_SINGLE = 4_096
"""Characters of a value that a meter keeps alone: an address with all that campaigns append to it has room."""
UNKNOWN = ["~"]
"""Stands for a value that is too large to keep."""

Fold = Callable[[dict[str, Any], RuleEvent], None]


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


def short_text(value: Any, longest: int = LONGEST_TEXT) -> str | None:
    """The text form, or a hash of a long one; equal exactly when the texts are."""
    form = text(value)
    if form is None or len(form) <= longest:
        return form
    return "\x01" + sha256(form.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def kept_value(value: Any, longest: int = LONGEST_VALUE) -> Any:
    """The value, or ``UNKNOWN`` when it is too large to keep."""
    return value if len(repr(value)) <= longest else UNKNOWN


def add_total(state: list[Any], amount: float) -> None:
    """Count one number into ``[count, millionths, min, max]``."""
    state[0] += 1
    state[1] = pack_integer(int(state[1]) + millionths(amount))
    state[2] = amount if state[2] is None or amount < state[2] else state[2]
    state[3] = amount if state[3] is None or amount > state[3] else state[3]


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


def _merge_held(one: list[str], two: list[str]) -> list[str]:
    return sorted({*one, *two})


_MERGES: dict[str, Callable[[Any, Any], Any]] = {
    HELD: _merge_held,
    "n": _merge_newest,
    "e": _merge_entries,
    "s": _merge_totals,
    "f": _merge_first,
    "l": _merge_last,
    "m": _merge_frequent,
    "u": _merge_unique,
    "q": _merge_sequence,
}
