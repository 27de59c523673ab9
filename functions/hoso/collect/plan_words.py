"""What is wrong with an event, in words that hold no customer's data: paths, rules and what the plan itself says."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

_MOST = 200
_MOST_NAME = 60
_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ -]*")
_DIGITS = re.compile(r"[0-9]{5}")
_SHOWN_OPTIONS = 8


def said(error: Any, root: str) -> str:
    """One fault (``jsonschema_rs.ValidationError``) as ``properties.price must be at least 0``."""
    kind: str = error.kind.name
    way: list[str | int] = error.instance_path
    place = f"{root}.{shown_name(way[0])}" if len(way) == 1 and isinstance(way[0], str) else path([root, *way])
    words = _WORDS.get(kind)
    if kind == "falseSchema" and error.schema_path[-1:] == ["additionalProperties"]:
        words = _something_unexpected
    text = f"{place} {words(error.kind.as_dict())}" if words else f"{place} breaks the rule {kind}"
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


def path(parts: list[str | int]) -> str:
    """A path as people write it: ``properties.products[0].price``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shown_name(part)}" if text else shown_name(part)
    return text


@lru_cache(maxsize=4_096)
def shown_name(name: str) -> str:
    """A property's name, or ``…`` where it may be a value: names are sent by customers' devices too."""
    plain = len(name) <= _MOST_NAME and _PLAIN_NAME.fullmatch(name) and not _DIGITS.search(name)
    return name if plain else "…"


def _unexpected(told: dict[str, Any]) -> str:
    names: list[str] = told["unexpected"]
    shown = ", ".join(map(shown_name, names[:_SHOWN_OPTIONS]))
    return f"has what the plan does not name: {shown}" + (", …" if len(names) > _SHOWN_OPTIONS else "")


def _something_unexpected(_told: dict[str, Any]) -> str:
    return "has what the plan does not name"


def _one_of(told: dict[str, Any]) -> str:
    options: list[Any] = told["options"]
    shown = ", ".join(orjson.dumps(option).decode() for option in options[:_SHOWN_OPTIONS])
    return f"must be one of {shown}" + (", …" if len(options) > _SHOWN_OPTIONS else "")


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "type": lambda told: "must be " + " or ".join(told["types"]),
    "required": lambda told: f"lacks {told['property']}",
    "enum": _one_of,
    "const": lambda told: f"must be {orjson.dumps(told['expected_value']).decode()}",
    "minimum": lambda told: f"must be at least {told['limit']}",
    "maximum": lambda told: f"must be at most {told['limit']}",
    "exclusiveMinimum": lambda told: f"must be more than {told['limit']}",
    "exclusiveMaximum": lambda told: f"must be less than {told['limit']}",
    "multipleOf": lambda told: f"must be a multiple of {told['multiple_of']}",
    "minLength": lambda told: f"must have at least {told['limit']} characters",
    "maxLength": lambda told: f"must have at most {told['limit']} characters",
    "minItems": lambda told: f"must have at least {told['limit']} items",
    "maxItems": lambda told: f"must have at most {told['limit']} items",
    "minProperties": lambda told: f"must have at least {told['limit']} properties",
    "maxProperties": lambda told: f"must have at most {told['limit']} properties",
    "uniqueItems": lambda _: "must not repeat an item",
    "pattern": lambda told: f"must match {told['pattern']}",
    "format": lambda told: f"must be a {told['format']}",
    "additionalProperties": _unexpected,
    "unevaluatedProperties": _unexpected,
    "anyOf": lambda _: "has none of the forms that the plan allows",
    "oneOf": lambda _: "must have exactly one of the forms that the plan allows",
    "not": lambda _: "has a form that the plan forbids",
    "contains": lambda _: "lacks an item that the plan demands",
    "falseSchema": lambda _: "is not allowed",
}
