"""Bodies and fields of webhooks, read within the bounds of the tracking API. Each error tells what, never a value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from hoso.collect.scan import holds_long_number, loads
from hoso.collect.sources.contract import Json
from hoso.model.errors import InvalidInput
from hoso.model.record import nests_too_deep
from hoso.model.time import format_instant, parse_instant

MAX_FIELDS = 2_000
HOME_ZONE = "Asia/Ho_Chi_Minh"
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
_COMPACT = re.compile(r"\d{14}")


def json_value(body: bytes) -> Any:
    """The parsed body. Raises ``InvalidInput``: ``invalid_json``, ``number_too_long``, ``too_deep``."""
    if holds_long_number(body):
        raise InvalidInput("a number has too many digits", code="number_too_long")
    try:
        value = loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("the body is not valid JSON", code="invalid_json") from error
    if nests_too_deep(value):
        raise InvalidInput("the body nests too deep", code="too_deep")
    return value


def json_object(body: bytes) -> Json:
    """The body as one JSON object. Raises ``InvalidInput``."""
    return as_object(json_value(body))


def as_object(value: object, name: str = "the body") -> Json:
    """The value called ``name``, if it is an object. Raises ``InvalidInput``."""
    if type(value) is not dict:
        raise InvalidInput(f"{name} must be a JSON object", code="invalid_json")
    return cast("Json", value)


def member(value: object, *names: str) -> Any:
    """What stands under a path of members; None where a step is missing."""
    for name in names:
        if type(value) is not dict:
            return None
        value = cast("Json", value).get(name)
    return value


def entries(value: object) -> list[object]:
    """The value, if it is an array. Raises ``InvalidInput``."""
    if type(value) is not list:
        raise InvalidInput("a JSON array is expected", code="invalid_json")
    return cast("list[object]", value)


def one_or_many(value: object) -> list[object]:
    """The entries of an array, or the value alone."""
    return cast("list[object]", value) if type(value) is list else [value]


def objects(value: object) -> list[Json]:
    """The objects of a list; nothing for what is no list."""
    if type(value) is not list:
        return []
    return [cast("Json", entry) for entry in cast("list[object]", value) if type(entry) is dict]


def form(body: bytes | str) -> dict[str, str]:
    """The fields of a form or a query; of a name that comes twice the last. Raises ``InvalidInput``."""
    try:
        text = body.decode() if isinstance(body, bytes) else body
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise InvalidInput("the form cannot be read", code="invalid_form") from error


def texts(value: object) -> list[str]:
    """The texts of a list; nothing for what is no list."""
    if type(value) is not list:
        return []
    return [text for text in map(text_of, cast("list[object]", value)) if text]


def text_of(value: object) -> str:
    """A text or whole number as text without blanks around it; empty for everything else."""
    if type(value) is str:
        return value.strip()
    return str(value) if type(value) is int else ""


def given(**members: Any) -> Json:
    """The members that hold something: neither None nor empty text."""
    return {name: value for name, value in members.items() if value is not None and value != ""}


def number(value: object) -> int | float | None:
    """A decimal text or number as a JSON number, whole where it is whole; None when it is none.

    >>> number("450000.00"), number("1e400"), number(True)
    (450000, None, None)
    """
    if type(value) is int:
        return value
    if type(value) is float:
        return (int(value) if value.is_integer() and abs(value) < 2**53 else value) if math.isfinite(value) else None
    if type(value) is not str or not _DECIMAL.fullmatch(value.strip()):
        return None
    try:
        exact = Decimal(value.strip())
    except InvalidOperation:
        return None
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def instant(value: object, zone: str = "UTC") -> int | None:
    """UTC ms of an ISO 8601 text, ``yyyyMMddHHmmss``, or a number of seconds or milliseconds; None when it is none.

    ``zone`` is that of a text without an offset.
    """
    if type(value) is int:
        return _epoch(value)
    if type(value) is float and math.isfinite(value):
        return _epoch(round(value * 1_000)) if value < 1e11 else _epoch(round(value))
    if type(value) is not str:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) in (10, 13):
        return _epoch(int(text))
    if _COMPACT.fullmatch(text):
        text = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}"
    if text.endswith(" UTC"):
        text = text[:-4] + "Z"
    if len(text) == 10 and text[4:5] == "-":
        text += "T00:00:00"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return parse_instant(text)
    if moment.tzinfo is None and zone != "UTC":
        return int(moment.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000)
    return parse_instant(text) if len(text) >= 16 else int(moment.replace(tzinfo=UTC).timestamp() * 1_000)


def is_zone(name: str) -> str:
    """The name, if it is an IANA time zone. Raises ``ValueError``."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("not an IANA time zone") from error
    return name


def iso(at: int | None) -> str | None:
    """The time as the tracking API writes it."""
    return None if at is None else format_instant(at)


def without(record: Mapping[str, Any], *names: str) -> Json:
    """The record less some members."""
    return {name: value for name, value in record.items() if name not in names}


def _epoch(value: int) -> int | None:
    """Seconds before about the year 5138 are told from milliseconds by their size."""
    if value <= 0 or value > 10**15:
        return None
    return value * 1_000 if value < 10**11 else value
