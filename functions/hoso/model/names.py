"""People's names, folded so that spellings of one name compare equal and different names tell people apart."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import Any, cast

_TOKEN = re.compile(r"[^\W\d_]+")
_PLACEHOLDERS = frozenset(
    {
        "khach le",
        "hang khach",
        "khach",
        "guest",
        "customer",
        "test",
        "unknown",
        "anonymous",
        "null",
        "undefined",
        "none",
    }
)
_MAX_LENGTH = 120


@lru_cache(maxsize=4_096)
def fold_name(text: str) -> str | None:
    """The name without diacritics, case and order of its parts, or None when it names nobody.

    >>> fold_name("Đinh Ánh Tuyết") == fold_name("TUYET DINH ANH")
    True
    """
    if len(text) > _MAX_LENGTH:
        return None
    plain = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D").casefold())
    tokens = _TOKEN.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
    folded = " ".join(sorted(tokens))
    return None if not folded or folded in _PLACEHOLDERS else folded


def names_contradict(one: str, other: str) -> bool:
    """Whether two folded names cannot be one person's: neither has all parts of the other, each as often.

    >>> names_contradict("an minh nguyen", "an")
    False
    >>> names_contradict("an minh nguyen", "binh minh nguyen")
    True
    >>> names_contradict("hoang hoang thanh", "hoang thanh tuan")
    True
    """
    if one == other:
        return False
    parts, others = Counter(one.split()), Counter(other.split())
    return not (parts <= others or others <= parts)


def person_name(event: dict[str, Any]) -> str | None:
    """The folded name of the person that an event is about (``traits`` or ``context.traits``), or None."""
    if event.get("type") == "group":
        return None
    context = event.get("context")
    held = cast("dict[str, Any]", context).get("traits") if type(context) is dict else None
    for traits in (event.get("traits"), held):
        if type(traits) is dict:
            name = _full_name(cast("dict[str, Any]", traits))
            if name is not None:
                return fold_name(name)
    return None


def _full_name(traits: dict[str, Any]) -> str | None:
    name = traits.get("name")
    if type(name) is str and name:
        return name
    parts = [part for part in (traits.get("lastName"), traits.get("firstName")) if type(part) is str and part]
    return " ".join(parts) or None
