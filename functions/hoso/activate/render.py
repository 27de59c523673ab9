"""Templates of messages: text with ``{{ path|filter:argument }}`` and nothing else (security S15).

A path walks through JSON objects, never through attributes of Python objects; there are no expressions, loops or
includes; what a value contains is never read as a template again. In HTML every value is escaped.

Filters: ``money`` (argument: currency; else the value's own), ``date`` (argument: time zone), ``default``.

>>> render("Giá {{ price|money:VND }}", {"price": 450000})
'Giá 450.000\\xa0₫'
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from hoso.activate.money import HOME_ZONE, amount, day, money
from hoso.model.errors import InvalidInput
from hoso.segment.zones import zone

MAX_TEMPLATE = 100_000
MAX_PLACES = 500
MAX_OUTPUT = 300_000
MAX_VALUE = 2_000
_PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}(?:\.[A-Za-z0-9][A-Za-z0-9_ -]{0,63}){0,7}")
_CURRENCY = re.compile(r"[A-Z]{3}")


class Place(NamedTuple):
    """One placeholder: a path and its filters with their arguments, in order."""

    path: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]


def check(template: str) -> None:
    """Raise ``InvalidInput`` (``bad_template``) that says which placeholder is wrong."""
    for _ in _parts(template):
        pass


def render(template: str, values: Mapping[str, Any], *, as_html: bool = False) -> str:
    """The text with its placeholders filled; what is missing becomes empty.

    Raises:
        InvalidInput: ``bad_template``; ``output_too_large``.
    """
    out: list[str] = []
    size = 0
    for part in _parts(template):
        text = part if isinstance(part, str) else _fill(part, values, as_html=as_html)
        size += len(text)
        if size > MAX_OUTPUT:
            raise InvalidInput("the message is too large", code="output_too_large")
        out.append(text)
    return "".join(out)


def _parts(template: str) -> Iterator[str | Place]:
    if len(template) > MAX_TEMPLATE:
        raise _bad("the template is too long")
    position, places = 0, 0
    while (start := template.find("{{", position)) >= 0:
        end = template.find("}}", start)
        if end < 0:
            raise _bad("a placeholder is not closed")
        places += 1
        if places > MAX_PLACES:
            raise _bad("too many placeholders")
        yield template[position:start]
        yield _place(template[start + 2 : end])
        position = end + 2
    yield template[position:]


def _place(text: str) -> Place:
    path, *filters = (piece.strip() for piece in text.split("|"))
    if not _PATH.fullmatch(path):
        raise _bad(f"not a path: {text.strip()[:60]!r}")
    steps: list[tuple[str, str]] = []
    for spelt in filters:
        name, _, argument = spelt.partition(":")
        if name not in _FILTERS or (argument and not _ARGUMENTS[name](argument)):
            raise _bad(f"not a filter: {spelt[:60]!r}")
        steps.append((name, argument))
    return Place(tuple(path.split(".")), tuple(steps))


def _fill(place: Place, values: Mapping[str, Any], *, as_html: bool) -> str:
    value: Any = values
    for step in place.path:
        value = cast("Mapping[str, Any]", value).get(step) if isinstance(value, Mapping) else None
    for name, argument in place.filters:
        value = _FILTERS[name](value, argument)
    text = _text(value)[:MAX_VALUE]
    return html.escape(text, quote=True) if as_html else text


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else ""


def _money(value: Any, argument: str) -> Any:
    currency = argument
    if isinstance(value, Mapping):
        held = cast("Mapping[str, Any]", value)
        currency = currency or str(held.get("currency") or "")
        value = held.get("amount")
    found = amount(value)
    return None if found is None or not _CURRENCY.fullmatch(currency) else money(found, currency)


def _date(value: Any, argument: str) -> Any:
    return day(value, argument or HOME_ZONE)


def _default(value: Any, argument: str) -> Any:
    return argument if value is None or value == "" else value


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


_FILTERS: dict[str, Callable[[Any, str], Any]] = {"money": _money, "date": _date, "default": _default}
_ARGUMENTS: dict[str, Callable[[str], object]] = {
    "money": _CURRENCY.fullmatch,
    "date": _is_zone,
    "default": lambda text: len(text) <= 100,
}


def _bad(message: str) -> InvalidInput:
    return InvalidInput(message, code="bad_template", hint="write {{ path }} or {{ path|money:VND }}")
