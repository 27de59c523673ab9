"""Operators of conditions and what each may be compared with (segmentation reference, section 3)."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field
from pydantic_core import PydanticCustomError

from hoso.segment.values import parse_day, parse_moment
from hoso.segment.zones import Duration, parse_duration

Presence = Literal["exists", "missing"]
Equality = Literal["is", "is_not"]
Choice = Literal["in", "not_in"]
Order = Literal["lt", "lte", "gt", "gte"]
TextTest = Literal["contains", "not_contains", "starts_with", "ends_with", "matches"]
ListTest = Literal["has_any", "has_all", "has_none"]
SizeTest = Literal["size_gte", "size_lte"]
Edge = Literal["before", "after"]
Relative = Literal["in_last", "in_next", "older_than", "later_than"]
DayRange = Literal["days_from_today", "anniversary"]
TimeOperator = Literal[Edge, "on", Relative, DayRange]
Operator = Literal[Presence, Equality, Choice, Order, "between", TextTest, ListTest, SizeTest, TimeOperator]
NumberOperator = Literal[Equality, Choice, Order, "between"]
ScoreOperator = Literal[Order, "between"]

MAX_ENTRIES = 1_000
MAX_DAY_RANGE = 100_000

PRESENCE = frozenset(get_args(Presence))
EQUALITY = frozenset(get_args(Equality))
CHOICE = frozenset(get_args(Choice))
ORDER = frozenset(get_args(Order))
TEXT_TESTS = frozenset(get_args(TextTest))
LIST_TESTS = frozenset(get_args(ListTest))
SIZE_TESTS = frozenset(get_args(SizeTest))
RELATIVE = frozenset(get_args(Relative))
DAY_RANGES = frozenset(get_args(DayRange))
NUMBER_OPERATORS = EQUALITY | CHOICE | ORDER | {"between"}
TIME_OPERATORS = frozenset(get_args(TimeOperator))


class Unset:
    """The one value of a key that is not in the document (``null`` would be a value)."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()
Operand = Annotated[Any, Field(exclude_if=lambda value: value is UNSET)]
"""What a condition compares with; left out of the written document when it is not given."""


def check_operand(op: str, operand: Any) -> None:
    """Refuse a value that does not fit the operator.

    Raises:
        PydanticCustomError: ``value``, or ``limit`` for a list that is too long.
    """
    if op in PRESENCE:
        if operand is not UNSET:
            raise _value(f"{op} takes no value")
        return
    if operand is UNSET:
        raise _value(f"{op} needs a value")
    if op in EQUALITY:
        _need(is_scalar(operand), "text, a number or true or false")
    elif op in CHOICE or op in LIST_TESTS:
        _check_entries(operand, numbers_only=False)
    elif op in ORDER:
        _need(is_number(operand), "a number")
    elif op == "between":
        _need(_is_rising_pair(operand), "two numbers, the lower one first")
    elif op in TEXT_TESTS:
        _need(isinstance(operand, str) and operand != "", "text that is not empty")
    elif op in SIZE_TESTS:
        _need(type(operand) is int and operand >= 0, "a whole number")
    else:
        _check_time(op, operand)


def check_number_operand(op: str, operand: Any) -> None:
    """Refuse what is no number (or list of numbers) for a measure that is a number. Raises as ``check_operand``."""
    if op in EQUALITY:
        _need(is_number(operand), "a number")
    elif op in CHOICE:
        _check_entries(operand, numbers_only=True)
    else:
        check_operand(op, operand)


def is_number(operand: Any) -> bool:
    """A finite JSON number; true and false are none."""
    if type(operand) is int:
        return abs(operand) < 1 << 64
    return type(operand) is float and isfinite(operand)


def is_scalar(operand: Any) -> bool:
    """Text, a number, true or false."""
    return type(operand) in (str, bool) or is_number(operand)


def day_or_moment(operand: Any) -> tuple[Literal["day", "moment"], int] | None:
    """A day (its ordinal) or an instant with offset (ms), as rules spell them; None for anything else."""
    if not isinstance(operand, str):
        return None
    day = parse_day(operand)
    if day is not None:
        return ("day", day)
    moment = parse_moment(operand, offset_needed=True)
    return None if moment is None else ("moment", moment)


def duration_of(operand: Any) -> Duration:
    """The duration of a checked operand."""
    found = parse_duration(operand)
    if found is None:
        raise _value("a duration such as 7d, 12h, 1mo")
    return found


def day_range_of(operand: dict[str, int]) -> tuple[int, int]:
    """First and last day of a checked ``{"from": …, "to": …}``, counted from today."""
    return operand["from"], operand["to"]


def _check_time(op: str, operand: Any) -> None:
    if op in ("before", "after"):
        _need(day_or_moment(operand) is not None, "a day, or an instant with its offset")
    elif op == "on":
        _need(isinstance(operand, str) and parse_day(operand) is not None, "a day")
    elif op in RELATIVE:
        _need(parse_duration(operand) is not None, "a duration such as 7d, 12h, 1mo")
    else:
        _need(_is_day_range(operand), 'days such as {"from": -6, "to": 0}, the lower one first')


def _is_rising_pair(operand: Any) -> bool:
    if not isinstance(operand, (list, tuple)):
        return False
    pair = cast("list[Any]", operand)
    return len(pair) == 2 and all(map(is_number, pair)) and pair[0] <= pair[1]


def _is_day_range(operand: Any) -> bool:
    if not isinstance(operand, dict):
        return False
    days = cast("dict[str, Any]", operand)
    if set(days) != {"from", "to"} or type(days["from"]) is not int or type(days["to"]) is not int:
        return False
    return -MAX_DAY_RANGE <= days["from"] <= days["to"] <= MAX_DAY_RANGE


def _check_entries(operand: Any, *, numbers_only: bool) -> None:
    _need(isinstance(operand, (list, tuple)) and len(cast("list[Any]", operand)) > 0, "a list that is not empty")
    entries = cast("list[Any]", operand)
    if len(entries) > MAX_ENTRIES:
        raise PydanticCustomError("limit", "at most {most} entries in a list", {"most": MAX_ENTRIES})
    good = is_number if numbers_only else is_scalar
    _need(all(map(good, entries)), "numbers" if numbers_only else "entries that are text, numbers or true or false")


def _need(holds: bool, wanted: str) -> None:
    if not holds:
        raise _value(f"wants {wanted}")


def _value(message: str) -> PydanticCustomError:
    # the message is text of this module, not a template with user data
    return PydanticCustomError("value", "{text}", {"text": message})
