"""What a measure says of the entries in its window (segmentation reference, section 5).

Entries are ``[ts, message id, value]`` in rising order of (ts, message id); ``value`` has the form the measure asks
for. Sums are whole millionths, so the order of events cannot matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from hoso.segment.event_language import Active, Count, FirstLast, Measure, MostFrequent, Percentile
from hoso.segment.language import EventMeasure
from hoso.segment.meters import UNKNOWN
from hoso.segment.operands import CHOICE, TIME_OPERATORS
from hoso.segment.operators import compare_double, compare_number, plain_test, timed_test
from hoso.segment.values import millionths
from hoso.segment.zones import NEVER, Zone, unit_index

Holds = bool | None
"""Whether a condition holds; None: the capped state cannot tell."""
Answer = tuple[Holds, int]
"""With the next moment at which time alone may turn it."""
Entries = Sequence[list[Any]]
Aggregate = Callable[[Entries, int], Answer]

FORMS = {
    "count": None,
    "active": None,
    "unique": "text",
    "most_frequent": "text",
    "first": "raw",
    "last": "raw",
}
"""Form of the value that a measure reads; numbers where it is not named."""


def form_of(measure: Measure) -> str | None:
    """The form of the values that the measure looks at; None: it looks at none."""
    return FORMS.get(measure.agg, "number")


def path_of(measure: Measure) -> str | None:
    """The path that the measure reads; None: it counts events."""
    return None if isinstance(measure, (Count, Active)) else measure.of


def threshold(op: str | None, operand: Any) -> int:
    """The count beyond which a comparison cannot change any more."""
    if op is None:
        return 1
    numbers = cast("list[float]", operand if isinstance(operand, (list, tuple)) else [operand])
    return max(0, *(int(entry // 1) for entry in numbers)) + 1


def compare_count(op: str | None, operand: Any) -> Callable[[float], bool]:
    """The comparison of a count; without an operator: at least one."""
    return (lambda count: count > 0) if op is None else compare_double(op, operand)


def compare_sum(op: str, operand: Any) -> Callable[[int], bool]:
    """The comparison of a sum in millionths."""
    if op in CHOICE or op == "between":
        return compare_number(op, tuple(millionths(float(entry)) for entry in operand))
    return compare_number(op, millionths(float(operand)))


def compare_average(op: str, operand: Any) -> Callable[[int, int], bool]:
    """The comparison of ``total / count`` without a division: ``total`` with ``operand × count``."""
    if op in CHOICE or op == "between":
        bounds = tuple(millionths(float(entry)) for entry in operand)
        return lambda total, count: compare_number(op, tuple(bound * count for bound in bounds))(total)
    bound = millionths(float(operand))
    return lambda total, count: compare_number(op, bound * count)(total)


def value_test(rule: EventMeasure, op: str, zone: Zone) -> Callable[[Any, int], Answer]:
    """Any operator on a value that may be missing (None) or too large to keep (``UNKNOWN``)."""
    operand, ignore_case = rule.value, rule.ignore_case
    if op in TIME_OPERATORS:
        timed = timed_test(op, operand, zone, moments=reads_moments(rule.measure))
        return lambda value, as_of: timed(value, as_of) if value != UNKNOWN else (None, NEVER)
    test = plain_test(op, operand, ignore_case)
    presence = op in ("exists", "missing")
    return lambda value, _as_of: (test(value) if presence or value != UNKNOWN else None, NEVER)


def reads_moments(measure: Measure) -> bool:
    """Whether the value is the instant of the first or last event, in milliseconds even where it is small."""
    return isinstance(measure, FirstLast) and measure.of == "timestamp"


def aggregate(rule: EventMeasure, op: str, zone: Zone) -> Aggregate:
    """The comparison of a measure over entries."""
    measure = rule.measure
    if isinstance(measure, (FirstLast, MostFrequent)):
        test = value_test(rule, op, zone)
        if isinstance(measure, FirstLast):
            place = 0 if measure.agg == "first" else -1
            return lambda entries, as_of: test(entries[place][2] if entries else None, as_of)
        least = measure.min_count
        return lambda entries, as_of: test(most_frequent(Counter(entry[2] for entry in entries), least), as_of)
    compare = _number_aggregate(measure, op, rule.value, zone)
    return lambda entries, _as_of: (compare(entries), NEVER)


def most_frequent(counts: Counter[str], least: int) -> Any:
    """The most frequent text, of equals the first in code point order; None when it came less than ``least`` times."""
    if not counts:
        return None
    top = max(counts.values())
    if top < least:
        return None
    winners = [form for form, count in counts.items() if count == top]
    if any(form.startswith("\x01") for form in winners):
        return UNKNOWN
    return min(winners)


def nearest_rank(numbers: Sequence[float], percent: int) -> float:
    """The value number ``ceil(percent·n/100)`` in rising order."""
    return sorted(numbers)[(percent * len(numbers) + 99) // 100 - 1]


def active_units(measure: Active, instants: Sequence[int], zone: Zone) -> int:
    """Number of local calendar units with at least ``min_each`` of these instants."""
    counts = Counter(unit_index(zone.clock_day(instant), measure.unit) for instant in instants)
    return sum(1 for count in counts.values() if count >= measure.min_each)


def _number_aggregate(measure: Measure, op: str, operand: Any, zone: Zone) -> Callable[[Entries], bool]:
    if measure.agg == "sum":
        of_sum = compare_sum(op, operand)
        return lambda entries: of_sum(sum(millionths(entry[2]) for entry in entries))
    if measure.agg == "avg":
        of_average = compare_average(op, operand)
        return lambda entries: (
            bool(entries) and of_average(sum(millionths(entry[2]) for entry in entries), len(entries))
        )
    compare = compare_double(op, operand)
    if measure.agg == "count":
        return lambda entries: compare(len(entries))
    if measure.agg == "unique":
        return lambda entries: compare(len({entry[2] for entry in entries}))
    if isinstance(measure, Active):
        return lambda entries: compare(active_units(measure, [entry[0] for entry in entries], zone))
    if isinstance(measure, Percentile):
        return lambda entries: bool(entries) and compare(nearest_rank([entry[2] for entry in entries], measure.p))
    pick = min if measure.agg == "min" else max
    return lambda entries: bool(entries) and compare(pick(entry[2] for entry in entries))
