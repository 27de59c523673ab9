"""The primitives that differ between engines: about 25 expressions, one emitter per dialect.

JSON values are columns of the engine's JSON type; a missing value and JSON ``null`` are both SQL NULL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import count

from sqlglot import exp

from hoso.segment.sql.build import Sql, both, call, case, cast, compare, double, integer, plus, present, text, times
from hoso.segment.values import DAY_PATTERN, INSTANT_PATTERN, NUMBER_PATTERN, SECONDS_BELOW

DAY_MS = 86_400_000
MOST_OFFSET_MINUTES = 14 * 60


class Dialect(ABC):
    """One engine's way to say each primitive."""

    name: str
    """The name sqlglot knows the dialect by."""
    wide: str
    """The widest exact integer type."""
    inlines: bool = False
    """Whether a common table expression can be told not to be kept."""

    def __init__(self) -> None:
        self._names = count()

    def fresh_name(self) -> exp.Identifier:
        """A name for a lambda's entry that no other lambda uses."""
        return exp.to_identifier(f"entry{next(self._names)}")

    # JSON

    @abstractmethod
    def document(self, column: Sql) -> Sql:
        """A column of JSON text as the engine's JSON type."""

    @abstractmethod
    def paths(self, document: Sql, paths: Sequence[tuple[str, ...]]) -> list[Sql]:
        """The JSON values at these paths; a path through anything but an object finds nothing."""

    @abstractmethod
    def kind(self, value: Sql) -> Sql:
        """The engine's word for what a JSON value is."""

    @abstractmethod
    def is_kind(self, value: Sql, kind: str) -> Sql:
        """Whether a JSON value is ``text``, ``whole`` (an integer), ``number``, ``boolean``, ``list`` or ``object``."""

    @abstractmethod
    def raw(self, value: Sql) -> Sql:
        """A JSON scalar as text: without quotes, numbers and booleans as they are written."""

    @abstractmethod
    def json_text(self, value: Sql) -> Sql:
        """Text as a JSON value; NULL stays NULL."""

    @abstractmethod
    def any_entry(self, value: Sql, test: Callable[[Sql], Sql]) -> Sql:
        """Whether the test holds for an entry of a JSON list; NULL when the value is no list."""

    @abstractmethod
    def size(self, value: Sql) -> Sql:
        """Number of entries of a JSON list; NULL when the value is no list."""

    @abstractmethod
    def let(self, value: Sql, use: Callable[[Sql], Sql]) -> Sql:
        """An expression that uses a value many times and computes it once."""

    # text

    @abstractmethod
    def normal(self, value: Sql) -> Sql:
        """Text in Unicode NFC."""

    @abstractmethod
    def fits(self, value: Sql, pattern: str) -> Sql:
        """Whether the whole text fits one of this package's own fixed patterns."""

    @abstractmethod
    def extract(self, value: Sql, pattern: str, group: int) -> Sql:
        """A group of a fixed pattern, empty text or NULL where it is not there."""

    @abstractmethod
    def contains(self, value: Sql, part: Sql) -> Sql:
        """Whether text contains a part."""

    @abstractmethod
    def ends_with(self, value: Sql, part: str) -> Sql:
        """Whether text ends with a part."""

    # numbers and dates

    @abstractmethod
    def finite(self, value: Sql) -> Sql:
        """Whether a double is a finite number."""

    @abstractmethod
    def days(self, spelt: Sql) -> Sql:
        """Days since 1970-01-01 of text ``YYYY-MM-DD``; NULL where there is no such day."""

    @abstractmethod
    def date(self, days: Sql) -> Sql:
        """The date so many days after 1970-01-01."""

    @abstractmethod
    def bucket(self, salted: Sql) -> Sql:
        """The first 4 bytes of SHA-256 of text, as a number, modulo 10,000."""

    # aggregates

    @abstractmethod
    def value_at_end(self, value: Sql, keys: Sequence[Sql], *, last: bool) -> Sql:
        """The aggregate that picks the value of the first (or last) row by these keys."""

    @abstractmethod
    def sorted_list(self, value: Sql) -> Sql:
        """The aggregate that lists values in rising order."""

    @abstractmethod
    def entry(self, values: Sql, place: Sql) -> Sql:
        """An entry of a list, counted from 1."""

    @abstractmethod
    def length(self, values: Sql) -> Sql:
        """Number of entries of a list."""

    @abstractmethod
    def trunc(self, value: Sql) -> Sql:
        """``floor`` of a double as the widest integer."""

    # forms of values, the same for all engines in terms of the above

    def text_form(self, value: Sql) -> Sql:
        """The text form of a JSON value."""
        raw = self.raw(value)
        return case(
            [
                (self.is_kind(value, "text"), self.normal(raw)),
                (self.is_kind(value, "whole"), raw),
                (self.is_kind(value, "boolean"), raw),
            ]
        )

    def number_form(self, value: Sql) -> Sql:
        """The number form of a JSON value."""
        raw = self.raw(value)
        spelt = cast(raw, "DOUBLE", safe=True)
        numeric = case(
            [
                (self.is_kind(value, "number"), spelt),
                (both([self.is_kind(value, "text"), self.fits(raw, NUMBER_PATTERN)]), spelt),
            ]
        )
        return case([(self.finite(numeric), numeric)])

    def boolean_form(self, value: Sql) -> Sql:
        """The boolean form of a JSON value."""
        raw = self.raw(value)
        true, false = compare("is", raw, text("true")), compare("is", raw, text("false"))
        plain = case([(true, compare("is", integer(1), integer(1))), (false, compare("is", integer(1), integer(0)))])
        return case([(self.is_kind(value, "boolean"), plain), (self.is_kind(value, "text"), plain)])

    def day_form(self, value: Sql) -> Sql:
        """Days since 1970-01-01 of a JSON value that is a plain day."""
        raw = self.raw(value)
        return case([(both([self.is_kind(value, "text"), self.fits(raw, DAY_PATTERN)]), self.days(raw))])

    def instant_form(self, value: Sql) -> Sql:
        """UTC milliseconds of a JSON value that is an instant (a plain day is not)."""
        raw = self.raw(value)
        whole = cast(raw, self.wide, safe=True)
        return case(
            [
                (self.is_kind(value, "whole"), epoch(whole)),
                (both([self.is_kind(value, "text"), self.fits(raw, INSTANT_PATTERN)]), self._moment(raw)),
            ]
        )

    def _moment(self, raw: Sql) -> Sql:
        def digits(first: int, length: int) -> Sql:
            return cast(call("SUBSTR", raw, integer(first), integer(length)), "BIGINT", safe=True)

        rest = call("SUBSTR", raw, integer(17))
        days = self.days(call("SUBSTR", raw, integer(1), integer(10)))
        hour, minute = digits(12, 2), digits(15, 2)
        has_seconds = compare("is", call("SUBSTR", rest, integer(1), integer(1)), text(":"))
        second = case([(has_seconds, digits(18, 2))], integer(0))
        fraction = self.extract(rest, r"\.([0-9]+)", 1)
        thousandths = cast(
            call("RPAD", call("SUBSTR", fraction, integer(1), integer(3)), integer(3), text("0")), "BIGINT", safe=True
        )
        offset = r"([+-])([0-9]{2}):?([0-9]{2})$"
        sign = self.extract(rest, offset, 1)
        off_minutes = cast(self.extract(rest, offset, 3), "BIGINT", safe=True)
        off = plus(times(cast(self.extract(rest, offset, 2), "BIGINT", safe=True), integer(60)), off_minutes)
        shift = case([(compare("is", sign, text("+")), off), (compare("is", sign, text("-")), times(off, integer(-1)))])
        shift = call("COALESCE", shift, integer(0))
        sound = both(
            [
                compare("lte", hour, integer(23)),
                compare("lte", minute, integer(59)),
                compare("lte", second, integer(59)),
                compare("lte", call("COALESCE", off_minutes, integer(0)), integer(59)),
                compare("lte", call("ABS", shift), integer(MOST_OFFSET_MINUTES)),
                present(days),
            ]
        )
        minutes = plus(plus(times(hour, integer(60)), minute), times(shift, integer(-1)))
        seconds = plus(times(minutes, integer(60)), second)
        thousandths = call("COALESCE", thousandths, integer(0))
        return case([(sound, plus(plus(times(days, integer(DAY_MS)), times(seconds, integer(1000))), thousandths))])

    def millionths(self, number: Sql) -> Sql:
        """A double as whole millionths, rounded half up, clamped as ``values.millionths``."""
        scaled = plus(times(number, double(1e6)), double(0.5))
        # LEAST and GREATEST of DuckDB pass over NULL, those of Athena do not
        clamped = call("GREATEST", call("LEAST", scaled, double(1e30)), double(-1e30))
        return case([(present(number), self.trunc(clamped))])


def epoch(whole: Sql) -> Sql:
    """Milliseconds of an integer that is Unix seconds below 1e11, else milliseconds."""
    return case([(compare("lt", whole, integer(SECONDS_BELOW)), times(whole, integer(1000)))], whole)
