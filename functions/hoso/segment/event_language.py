"""What rules say about events: filters (``where``), windows and measures (segmentation reference, sections 2–5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hoso.segment.operands import (
    MAX_ENTRIES,
    UNSET,
    Operand,
    Operator,
    check_operand,
    day_or_moment,
    is_number,
)
from hoso.segment.values import split_path
from hoso.segment.zones import parse_duration, zone


class Model(BaseModel):
    """Root of all parts of a document: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=False, use_enum_values=True)


def _path(path: str) -> str:
    try:
        split_path(path)
    except ValueError as error:
        raise PydanticCustomError("path", "a path is names joined by dots") from error
    return path


def _duration(text: Any) -> str:
    if parse_duration(text) is None:
        raise PydanticCustomError("duration", "a duration is a whole number and min, h, d, w, mo or y")
    return text


def _elapsed(text: Any) -> str:
    found = parse_duration(text)
    if found is None or found.months:
        raise PydanticCustomError("duration", "elapsed time is a whole number and min, h, d or w")
    return text


def _number(value: Any) -> Any:
    if not is_number(value):
        raise PydanticCustomError("number", "a finite number is needed")
    return value


def _zone(name: str) -> str:
    try:
        zone(name)
    except (KeyError, ValueError, OSError) as error:
        raise PydanticCustomError("timezone", "not an IANA time zone") from error
    return name


def _moment(text: Any) -> str:
    if day_or_moment(text) is None:
        raise PydanticCustomError("window", "a day, or an instant with its offset, is needed")
    return text


Name = Annotated[str, Field(min_length=1, max_length=512)]
Path = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_path)]
DurationText = Annotated[str, BeforeValidator(_duration)]
ElapsedText = Annotated[str, BeforeValidator(_elapsed)]
Number = Annotated[int | float, BeforeValidator(_number)]
Moment = Annotated[str, BeforeValidator(_moment)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
ZoneName = Annotated[str, AfterValidator(_zone)]
EventNames = Annotated[
    tuple[Name, ...],
    Field(min_length=1, max_length=MAX_ENTRIES, strict=False),
    BeforeValidator(lambda names: (names,) if isinstance(names, str) else names),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
"""One name, a list of names, or ``*``."""


class Compared(Model):
    """A value with an operator. Subclasses say whose value it is."""

    op: Operator
    value: Operand = UNSET
    ignore_case: bool = False

    @model_validator(mode="after")
    def _check_value(self) -> Compared:
        check_operand(self.op, self.value)
        return self


# where an event is filtered


class Prop(Compared):
    """The value at a path of the event compares so."""

    kind: Literal["prop"]
    path: Path


class Item(Model):
    """At least one object in the list meets the whole ``where``."""

    kind: Literal["item"]
    list: Path
    where: Where


class WhereAll(Model):
    """Every part holds."""

    kind: Literal["all"]
    of: Annotated[tuple[Where, ...], Field(min_length=1, strict=False)]


class WhereAny(Model):
    """At least one part holds."""

    kind: Literal["any"]
    of: Annotated[tuple[Where, ...], Field(min_length=1, strict=False)]


class WhereNot(Model):
    """The part does not hold."""

    kind: Literal["not"]
    of: Where


Where = Annotated[Prop | Item | WhereAll | WhereAny | WhereNot, Field(discriminator="kind")]

# windows of events


class Last(Model):
    """Not older than a duration."""

    last: DurationText


class BetweenAgo(Model):
    """Between two durations ago; the far end comes first and is out, the near end is in."""

    between_ago: Annotated[tuple[DurationText, DurationText], Field(strict=False)]

    @model_validator(mode="after")
    def _check_order(self) -> BetweenAgo:
        far, near = map(parse_duration, self.between_ago)
        if far is None or near is None or far.nominal_ms <= near.nominal_ms:
            raise PydanticCustomError("window", "the far end comes first")
        return self


class Calendar(Model):
    """``count`` whole local units of the calendar, the first one ``back`` before the current one."""

    calendar: Literal["day", "week", "month", "quarter", "year"]
    back: Annotated[int, Field(ge=0, le=100_000)] = 0
    count: Annotated[int, Field(ge=1, le=100_000)] = 1


class Absolute(Model):
    """From an instant or day to another; a last day is in, a last instant is not."""

    start: Moment | None = Field(default=None, alias="from")
    end: Moment | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _check_ends(self) -> Absolute:
        first = self.start and day_or_moment(self.start)
        last = self.end and day_or_moment(self.end)
        if first and last and first[0] == last[0] and first[1] > last[1]:
            raise PydanticCustomError("window", "the window ends before it starts")
        return self


def _window_tag(value: Any) -> str | None:
    for tag in ("last", "between_ago", "calendar"):
        if (tag in value) if isinstance(value, dict) else hasattr(value, tag):
            return tag
    if isinstance(value, dict):
        return "absolute" if "from" in value or "to" in value else None
    return "absolute" if isinstance(value, Absolute) else None


Window = Annotated[
    Annotated[Last, Tag("last")]
    | Annotated[BetweenAgo, Tag("between_ago")]
    | Annotated[Calendar, Tag("calendar")]
    | Annotated[Absolute, Tag("absolute")],
    Discriminator(
        _window_tag,
        custom_error_type="window",
        custom_error_message="a window has last, between_ago, calendar, from or to",
    ),
]

# measures of events


class Count(Model):
    """Number of events."""

    agg: Literal["count"]


class NumberMeasure(Model):
    """Sum, average, least or greatest of the number forms at a path."""

    agg: Literal["sum", "avg", "min", "max"]
    of: Path


class Unique(Model):
    """Number of different text forms at a path."""

    agg: Literal["unique"]
    of: Path


class Percentile(Model):
    """The number form of nearest rank ``ceil(p·n/100)`` in rising order."""

    agg: Literal["percentile"]
    of: Path
    p: Annotated[int, Field(ge=1, le=100)]


class Active(Model):
    """Number of local calendar units with at least ``min_each`` events."""

    agg: Literal["active"]
    unit: Literal["day", "week", "month"]
    min_each: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class FirstLast(Model):
    """The value in the first or last event that has one, by (timestamp, message id); ``timestamp`` is the instant."""

    agg: Literal["first", "last"]
    of: Path


class MostFrequent(Model):
    """The most frequent text form; of equals the first in code point order."""

    agg: Literal["most_frequent"]
    of: Path
    min_count: Annotated[int, Field(ge=1, le=1_000_000)] = 1


Measure = Annotated[
    Count | NumberMeasure | Unique | Percentile | Active | FirstLast | MostFrequent, Field(discriminator="agg")
]
VALUE_MEASURES = frozenset({"first", "last", "most_frequent"})

for _model in (Item, WhereAll, WhereAny, WhereNot):
    _model.model_rebuild()
