"""Attribute values as DynamoDB takes them: checked, in canonical form, with the size that is billed.

Rules: "Constraints in Amazon DynamoDB", "Data types" and "Item sizes and formats" of the DynamoDB guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Context, Decimal, InvalidOperation
from typing import Any, cast

from moto.dynamodb.exceptions import (
    ItemSizeTooLarge,
    MockValidationException,
    SerializationException,
)

Wire = dict[str, Any]
"""An item or attribute in wire form (``{"S": …}``); binary values are bytes."""

ITEM_LIMIT = 409_600
DEPTH_LIMIT = 32
_DIGITS = 38
_LARGEST = Decimal("9.9999999999999999999999999999999999999E+125")
_SMALLEST = Decimal("1E-130")
_EXACT = Context(prec=1_000, Emax=10_000, Emin=-10_000)
_PLAIN_INTEGER = re.compile(r"(0|-?[1-9][0-9]{0,37})\Z").match
_CONTAINER_BYTES = 3
_ELEMENT_BYTES = 1


class Malformed(MockValidationException):
    """A value that is no attribute value at all; botocore refuses it before it is sent."""


def canonical(item: Any) -> tuple[Wire, int]:
    """A copy of an item as DynamoDB would return it, and its size in bytes.

    Raises moto's validation errors for what AWS refuses: numbers over 38 digits or out of range, sets that are empty
    or hold a member twice, nesting over 32 levels, more than 400 KB, text that is not Unicode.
    """
    if type(item) is not dict:
        raise Malformed("an item must be a map")
    result: Wire = {}
    size = 0
    for name, attribute in cast("Wire", item).items():
        result[name], bytes_of_value = value(attribute, 1)
        size += text_size(name) + bytes_of_value
    if size > ITEM_LIMIT:
        raise ItemSizeTooLarge
    return result, size


def value(attribute: Any, depth: int = 1) -> tuple[Wire, int]:
    """The canonical form of one attribute value, and its size in bytes."""
    if type(attribute) is not dict or len(cast("Wire", attribute)) != 1:
        raise Malformed("an attribute value must have exactly one type")
    ((kind, content),) = cast("Wire", attribute).items()
    if kind == "S":
        return {"S": content}, text_size(content)
    if kind == "N":
        return _number(content)
    if kind == "B":
        return {"B": _bytes(content)}, len(content)
    reader = _OTHERS.get(kind)
    if reader is None:
        raise Malformed(f"unknown attribute type {kind}")
    return reader(content, depth)


def text_size(content: Any) -> int:
    """UTF-8 length of a text."""
    if type(content) is not str:
        raise Malformed("a string must be text")
    if content.isascii():
        return len(content)
    try:
        return len(content.encode())
    except UnicodeEncodeError:
        raise SerializationException("a string is not valid Unicode") from None


def _bytes(content: Any) -> bytes:
    if type(content) is not bytes:
        raise Malformed("a binary value must be bytes")
    return content


def _number(content: Any) -> tuple[Wire, int]:
    if type(content) is not str:
        raise Malformed("a number must be sent as text")
    if _PLAIN_INTEGER(content):
        digits = len(content.lstrip("-").rstrip("0"))
        return {"N": content}, (digits + 1) // 2 + 1 + (content[0] == "-")
    return _other_number(content)


def _other_number(content: str) -> tuple[Wire, int]:
    try:
        number = _EXACT.create_decimal(content)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not content.isascii() or set(content) & set("_ \n\t"):
        raise MockValidationException(f"The parameter cannot be converted to a numeric value: {content}")
    if not number:
        return {"N": "0"}, 1
    number = number.normalize(_EXACT)
    if len(number.as_tuple().digits) > _DIGITS:
        raise MockValidationException("Attempting to store more than 38 significant digits in a Number")
    if abs(number) > _LARGEST:
        raise MockValidationException(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if abs(number) < _SMALLEST:
        raise MockValidationException(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    digits = len(number.as_tuple().digits)
    return {"N": format(number, "f")}, (digits + 1) // 2 + 1 + (number < 0)


def _bool(content: Any, _depth: int) -> tuple[Wire, int]:
    if type(content) is not bool:
        raise Malformed("BOOL must be true or false")
    return {"BOOL": content}, 1


def _null(content: Any, _depth: int) -> tuple[Wire, int]:
    if content is not True:
        raise MockValidationException("Null attribute value types must have the value of true")
    return {"NULL": True}, 1


def _list(content: Any, depth: int) -> tuple[Wire, int]:
    if type(content) is not list:
        raise Malformed("L must be a list")
    _check_depth(depth)
    pairs = [value(entry, depth + 1) for entry in cast("list[Any]", content)]
    size = _CONTAINER_BYTES + sum(pair[1] + _ELEMENT_BYTES for pair in pairs)
    return {"L": [pair[0] for pair in pairs]}, size


def _map(content: Any, depth: int) -> tuple[Wire, int]:
    if type(content) is not dict:
        raise Malformed("M must be a map")
    _check_depth(depth)
    result: Wire = {}
    size = _CONTAINER_BYTES
    for name, attribute in cast("Wire", content).items():
        result[name], bytes_of_value = value(attribute, depth + 1)
        size += text_size(name) + bytes_of_value + _ELEMENT_BYTES
    return {"M": result}, size


def _check_depth(depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise MockValidationException("Nesting Levels have exceeded supported limits: Attributes are too deeply nested")


def _set(kind: str, human: str) -> Callable[[Any, int], tuple[Wire, int]]:
    member = kind[0]

    def read(content: Any, _depth: int) -> tuple[Wire, int]:
        if type(content) is not list:
            raise Malformed(f"{kind} must be a list")
        members = cast("list[Any]", content)
        if not members:
            raise MockValidationException(
                f"One or more parameter values were invalid: An {human} set  may not be empty"
            )
        pairs = [value({member: entry}) for entry in members]
        distinct = {pair[0][member] for pair in pairs}
        if len(distinct) != len(members):
            raise MockValidationException(
                "One or more parameter values were invalid: Input collection contains duplicates"
            )
        return {kind: sorted(distinct)}, sum(pair[1] for pair in pairs)

    return read


_OTHERS: dict[str, Callable[[Any, int], tuple[Wire, int]]] = {
    "BOOL": _bool,
    "NULL": _null,
    "L": _list,
    "M": _map,
    "SS": _set("SS", "string"),
    "NS": _set("NS", "number"),
    "BS": _set("BS", "binary"),
}
