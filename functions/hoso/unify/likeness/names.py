"""Names in parts: which word is the given name and which the surname, whatever field and order they came in.

Vietnamese names run surname, middle, given; Western ones given, middle, surname; forms mix both. Which words are
surnames is learnt from the records themselves: those that stand in the surname's field far more often than in the
given name's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from math import inf, log
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
        self._words: dict[str, str] = {}
        for first, last in fields:
            self._count(self._split(first), self._split(last))
        self._lean: dict[str, float] = {}

    def parse(self, first: str, last: str) -> Name:
        """The parts of a name. ``last`` may be empty: then ``first`` may hold the whole name."""
        return self._parse(self._split(first), self._split(last))

    def _parse(self, first: list[str], last: list[str]) -> Name:
        if first and first[0] in _TITLES:
            if len(first) > 1:
                first = first[1:]
            elif len(last) > 1:
                first = first if len(first[0]) > 1 else []
        tokens = first + last
        if not tokens:
            return NOBODY
        if len(tokens) == 1:
            return Name(tokens[0], None, (), tokens[0])
        surname, given = self._best(tokens, _readings(len(first), len(last)))
        middle = sorted([word for place, word in enumerate(tokens) if place not in (surname, given)])
        return Name(tokens[given], tokens[surname], tuple(middle), " ".join(sorted(tokens)))

    def _split(self, text: str) -> list[str]:
        """The words of a field, squashed."""
        known = self._words.get(text)
        if known is None:
            if len(self._words) > 300_000:
                self._words.clear()
            folded = fold(text)
            found = [] if says_nothing(folded) else words(folded)
            known = self._words[text] = " ".join([squash(word) for word in found if not word[0].isdigit()])
        return known.split()

    def _count(self, first: list[str], last: list[str]) -> None:
        if first and last:
            self._surnames[last[0]] += 1
            self._given[first[-1]] += 1

    def _best(self, tokens: list[str], readings: Iterable[tuple[int, int, float]]) -> tuple[int, int]:
        """Places of surname and given name in the reading that explains the words best, compared with its reverse."""
        lean = [self._leaning(word) for word in tokens]
        thi = "thi" in tokens
        best = -inf
        chosen = (0, 0)
        for surname, given, odds in readings:
            word = tokens[surname]
            rare = word in _MIDDLE or (thi and tokens[given] == "thi" and len(tokens) > 2)
            usual = odds - 6.0 if rare else odds
            # Vietnamese: the given name comes last of what is not the surname. Western: first.
            natural = given
            for place in range(len(tokens) - 1, -1, -1) if thi or word in _VIETNAMESE else range(len(tokens)):
                if place != surname and len(tokens[place]) > 1:
                    natural = place
                    break
            score = lean[surname] - lean[given] + usual + (1.5 if natural == given else 0.0)
            if score > best:
                best, chosen = score, (surname, given)
        return chosen

    def _leaning(self, word: str) -> float:
        """Log odds of surname against given name."""
        known = self._lean.get(word)
        if known is None:
            if len(word) == 1:
                return 0.0
            known = log((self._surnames[word] + 0.5) / (self._given[word] + 0.5))
            known = self._lean[word] = max(-5.0, min(5.0, known))
        return known


@lru_cache(maxsize=1_000)
def _readings(cut: int, more: int) -> tuple[tuple[int, int, float], ...]:
    """Places of surname and given name that a form of so many words in its two fields may mean, with the log odds of
    such an order."""
    size = cut + more
    if cut and more:
        straight = [(name, given, 3.0 if name == cut else 0.5) for given in {cut - 1, 0} for name in {cut, size - 1}]
        return (*straight, *((name, given, 0.0) for given in {size - 1, cut} for name in {0, cut - 1}))
    whole = ((0, size - 1, 1.0), (size - 1, 0, 0.5))
    return (*whole, (size - 1, size - 2, 0.0), (0, 1, 0.0)) if size > 2 else whole
