"""Marks: what two people can have in common without being one person: a bill, a pair of cards, an address (pure).

A mark is a text; the table keeps, under its keyed hash, which fragments carry it (docs/data-model.md). That list is a
hint: a reader believes only what the fragments themselves tell.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from hoso.unify.visits import Visit

BILL, CARD, ADDRESS = "bill", "card", "address"
MOST_CARRIERS = 30
"""Fragments under one mark; what more carry than this is a house number of an office, not of a family."""
_WORD = re.compile(r"[^\W_]+")
_SHORTEST_ADDRESS = 8
_LONGEST_ADDRESS = 200


def visit_marks(visit: Visit) -> Iterator[str]:
    """The marks of one visit: the bill that a party shares, and the card that was shown beside the own one."""
    if visit.bill:
        yield f"{BILL}#{visit.store}#{visit.bill}"
    if visit.card:
        yield f"{CARD}#{visit.card}"


def card_mark(card: str) -> str:
    """The mark that those carry with whose visit this card was shown."""
    return f"{CARD}#{card}"


def address_mark(address: object) -> str | None:
    """The mark of an address, or None for one that is too vague to mean a household.

    An object needs a street and one of city, postal code; a text a number and three words.

    >>> address_mark({"street": "12 Lê Lợi", "city": "Huế"}) == address_mark("12 le loi, hue")
    True
    >>> address_mark("Huế") is None
    True
    """
    if isinstance(address, Mapping):
        given = cast("Mapping[str, Any]", address)
        street = given.get("street")
        if not isinstance(street, str) or not street.strip() or not (given.get("city") or given.get("postalCode")):
            return None
        parts: Iterable[Any] = (street, given.get("city"))
        text = " ".join(part for part in parts if isinstance(part, str))
    elif isinstance(address, str):
        text = address
    else:
        return None
    if len(text) > _LONGEST_ADDRESS:
        return None
    plain = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D").casefold())
    words = _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
    folded = " ".join(words)
    vague = len(folded) < _SHORTEST_ADDRESS or len(words) < 3 or not any(letter.isdigit() for letter in folded)
    return None if vague else f"{ADDRESS}#{folded}"


def kind_of(mark: str) -> str:
    """``bill``, ``card`` or ``address``."""
    return mark.partition("#")[0]
