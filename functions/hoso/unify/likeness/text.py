"""Text as matching sees it: no case, no diacritics, no doubled letters, honest emptiness."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

EMPTY = frozenset(
    [
        *[
            "null",
            "none",
            "nil",
            "nan",
            "n/a",
            "undefined",
            "unknown",
            "-",
            "--",
            ".",
            "?",
            "x",
            "xx",
            "xxx",
            "test",
            "guest",
            "khach",
        ],
        *("khong co", "chua co", "khach le", "khach hang", "khong biet"),
    ]
)
"""Folded fields that say nothing."""
TWICE = re.compile(r"([a-z])(?=\1)")
"""A letter before its like."""
_WORDS = re.compile(r"[a-z0-9]+")


class _Letters(dict[int, str]):
    """What becomes of each letter: made when it is first met."""

    def __missing__(self, code: int) -> str:
        letter = {"đ": "d", "Đ": "d", "ð": "d", "Ð": "d"}.get(chr(code), chr(code))
        plain = unicodedata.normalize("NFKD", letter)
        self[code] = "".join(part for part in plain if not unicodedata.combining(part)).casefold()
        return self[code]


_LETTERS = _Letters()


def fold(text: str) -> str:
    """Lower case without diacritics; đ and its look-alikes are d.

    >>> fold("Đặng Đình Đức")
    'dang dinh duc'
    """
    text = text.strip()
    if text.isascii():
        return text.lower()
    return text.translate(_LETTERS)


def words(text: str) -> list[str]:
    """The words and numbers of a folded text.

    >>> words(fold("12/3 Lê-Lợi"))
    ['12', '3', 'le', 'loi']
    """
    return _WORDS.findall(text)


@lru_cache(maxsize=100_000)
def squash(word: str) -> str:
    """A word without doubled letters: typing errors and the residue of Telex (Vieet, Daao) become the plain word.

    >>> squash("vieet"), squash("dunng")
    ('viet', 'dung')
    """
    return TWICE.sub("", word)


def says_nothing(text: str) -> bool:
    """Whether a folded field is empty or a filler."""
    return not text or text in EMPTY
