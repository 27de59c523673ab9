"""Names in parts: which word is the given name and which the surname, whatever field and order they came in.

Vietnamese names run surname, middle, given; Western ones given, middle, surname; forms mix both. Which words are
surnames is learnt from the records themselves: those that stand in the surname's field far more often than in the
given name's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from math import log
from typing import NamedTuple

from hoso.unify.likeness.text import fold, says_nothing, squash, words

_TITLES = frozenset(["mr", "mrs", "ms", "miss", "dr", "anh", "chi", "co", "chu", "bac", "ong", "ba", "em", "a", "c"])
_VIETNAMESE = frozenset(
    words(
        "nguyen tran le pham hoang huynh phan vu vo dang bui do ho ngo duong ly dinh dao doan truong lam "
        "trinh mai to luong cao ha ta chu chau thai tang tong vuong luu quach la kieu trieu nghiem phung "
        "khuc cu mac bach tu au thach diep cung ninh phuong on khong luc quan phi giang tieu nhan lieu "
        "tri ung viet an bien hua hong ton lu cai"
    )
)
_NICKNAMES = {
    "alexander": "alex alec sandy xander",
    "andrew": "andy drew",
    "anthony": "tony",
    "barbara": "barb babs",
    "benjamin": "ben benny",
    "catherine": "cathy kate katie cath",
    "katherine": "kathy kat",
    "charles": "charlie chuck chas",
    "christine": "christina chrissy tina",
    "christopher": "chris topher",
    "cynthia": "cindy",
    "daniel": "dan dany",
    "david": "dave davey",
    "deborah": "deb debie debra",
    "donald": "don dony",
    "dorothy": "dot dotie",
    "edward": "ed edie ted tedy ned",
    "elizabeth": "liz beth betty lizie eliza betsy",
    "francis": "frank",
    "gregory": "greg",
    "henry": "hank harry",
    "jacob": "jake",
    "james": "jim jimy jamie",
    "jenifer": "jen jeny",
    "jesica": "jes jesie",
    "john": "jack johny jon",
    "jonathan": "jonny",
    "joseph": "joe joey",
    "joshua": "josh",
    "keneth": "ken keny",
    "kimberly": "kim",
    "larence": "lary",
    "lawrence": "lary",
    "margaret": "meg maggie peggy marge",
    "mathew": "mat matie",
    "michael": "mike mick mickey",
    "nancy": "nan",
    "nathan": "nate",
    "nathaniel": "nat",
    "nicholas": "nick nicky",
    "patricia": "pat paty trish",
    "patrick": "pady rick",
    "peter": "pete",
    "philip": "phil",
    "raymond": "ray",
    "rebeca": "becky beca",
    "richard": "dick rich richie ricky",
    "robert": "bob bobby rob robie bert",
    "ronald": "ron rony",
    "samantha": "sam samy",
    "samuel": "sam",
    "sandra": "sandy",
    "stephanie": "steph",
    "stephen": "steve steven",
    "susan": "sue susie suzy",
    "theodore": "theo",
    "thomas": "tom tomy",
    "timothy": "tim timy",
    "victoria": "vicky tori",
    "william": "bill billy will willie wil liam",
    "zachary": "zach zac",
}
_ROOTS = {squash(short): squash(full) for full, shorts in reversed(_NICKNAMES.items()) for short in shorts.split()}
"""Short form → full form. A short form of several names stands for the first of them."""


_MIDDLE = frozenset(("thi", "van"))
"""Words that are hardly ever a surname, nor a given name where there is another."""


class Name(NamedTuple):
    """A name in parts, all folded and squashed. ``key`` are all its words in the order of the alphabet."""

    given: str | None
    surname: str | None
    middle: tuple[str, ...]
    key: str | None

    @property
    def root(self) -> str | None:
        """The full form of a given name that is a nickname, else the given name."""
        return None if self.given is None else _ROOTS.get(self.given, self.given)


NOBODY = Name(None, None, (), None)


class Roles:
    """How often words stand as surnames and as given names, learnt from fields that tell the two apart."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._surnames: Counter[str] = Counter()
        self._given: Counter[str] = Counter()
        self._parsed: dict[tuple[str, str], Name] = {}
        self._split: dict[str, list[str]] = {}
        for first, last in fields:
            self._count(self._words(first), self._words(last))
        self._lean: dict[str, float] = {}

    def parse(self, first: str, last: str) -> Name:
        """The parts of a name. ``last`` may be empty: then ``first`` may hold the whole name."""
        key = (first, last)
        known = self._parsed.get(key)
        if known is None:
            if len(self._parsed) > 300_000:
                self._parsed.clear()
            known = self._parsed[key] = self._parse(self._words(first), self._words(last))
        return known

    def _parse(self, first: list[str], last: list[str]) -> Name:
        if len(first) > 1 and first[0] in _TITLES:
            first = first[1:]
        elif len(first) == 1 and first[0] in _TITLES and len(last) > 1:
            first = first if len(first[0]) > 1 else []
        tokens = [*first, *last]
        if not tokens:
            return NOBODY
        if len(tokens) == 1:
            return Name(tokens[0], None, (), tokens[0])
        surname, given, _ = max(_readings(first, last), key=lambda reading: self._score(tokens, *reading))
        middle = sorted(word for place, word in enumerate(tokens) if place not in (surname, given))
        return Name(tokens[given], tokens[surname], tuple(middle), " ".join(sorted(tokens)))

    def _words(self, text: str) -> list[str]:
        known = self._split.get(text)
        if known is None:
            if len(self._split) > 300_000:
                self._split.clear()
            folded = fold(text)
            found = [] if says_nothing(folded) else words(folded)
            known = self._split[text] = [squash(word) for word in found if not word[0].isdigit()]
        return known

    def _count(self, first: list[str], last: list[str]) -> None:
        if first and last:
            self._surnames[last[0]] += 1
            self._given[first[-1]] += 1

    def _score(self, tokens: list[str], surname: int, given: int, usual: float) -> float:
        """How much better than the reverse this reading explains the words. ``usual``: log odds of its order."""
        vietnamese = tokens[surname] in _VIETNAMESE or "thi" in tokens
        if tokens[surname] in _MIDDLE or (tokens[given] == "thi" and len(tokens) > 2):
            usual -= 6.0
        # Vietnamese: the given name comes last of what is not the surname. Western: first.
        natural = True
        for place in range(len(tokens) - 1, -1, -1) if vietnamese else range(len(tokens)):
            if place != surname and len(tokens[place]) > 1:
                natural = place == given
                break
        return self._leaning(tokens[surname]) - self._leaning(tokens[given]) + usual + (1.5 if natural else 0.0)

    def _leaning(self, word: str) -> float:
        """Log odds of surname against given name."""
        known = self._lean.get(word)
        if known is None:
            if len(word) == 1:
                return 0.0
            known = log((self._surnames[word] + 0.5) / (self._given[word] + 0.5))
            known = self._lean[word] = max(-5.0, min(5.0, known))
        return known


def _readings(first: list[str], last: list[str]) -> Iterator[tuple[int, int, float]]:
    """Places of surname and given name that a form may mean, with the log odds of such an order."""
    size, cut = len(first) + len(last), len(first)
    if first and last:
        for given in {cut - 1, 0}:
            for surname in {cut, size - 1}:
                yield surname, given, 3.0 if surname == cut else 0.5
        for given in {size - 1, cut}:
            for surname in {0, cut - 1}:
                yield surname, given, 0.0
        return
    yield 0, size - 1, 1.0
    yield size - 1, 0, 0.5
    if size > 2:
        yield size - 1, size - 2, 0.0
        yield 0, 1, 0.0
