"""Records to rows of comparable values, about 30 µs each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

from hoso.unify.likeness.columns import Columns
from hoso.unify.likeness.contacts import birth_date, mailbox, phone, sex, told
from hoso.unify.likeness.names import Roles
from hoso.unify.likeness.places import area, city, place
from hoso.unify.likeness.text import fold, says_nothing, squash, words

FIELDS = (
    *("name", "given", "root", "surname", "middle", "initials", "email", "local", "residue", "phone", "dob", "sex"),
    *("house", "street", "ward", "district", "city", "postcode", "unit"),
)
"""Columns of a normalised record; further identifiers and attributes follow as ``x1``, ``x2`` …"""
LEARNT_FROM = 50_000
"""Records from which the roles of names are learnt."""
Row = list[str | None]
V = TypeVar("V")


def normalised(records: Iterable[Sequence[str]], columns: Columns) -> Iterator[Row]:
    """A row per record, in the order of ``FIELDS`` and then of the extra columns. None: not said."""
    stream = iter(records)
    head = list(islice(stream, LEARNT_FROM))
    first, last = (_taker(columns.known.get(meaning)) for meaning in ("first", "last"))
    make = _Maker(columns, Roles((first(record), last(record)) for record in head))
    return map(make.row, chain(head, stream))


class _Maker:
    """Makes rows; remembers values that come again."""

    def __init__(self, columns: Columns, roles: Roles) -> None:
        def of(meaning: str) -> int:
            """Where the meaning is found in the values of a record; -1, the empty text after them, if nowhere."""
            return columns.known.get(meaning, -1)

        self._first, self._last, self._full = of("first"), of("last"), of("name")
        self._email, self._phone, self._dob, self._sex = of("email"), of("phone"), of("dob"), of("sex")
        self._house, self._street, self._unit = of("house"), of("street"), of("unit")
        self._ward, self._district, self._city = of("ward"), of("district"), of("city")
        self._postcode, self._country = of("postcode"), of("country")
        self._extras = list(columns.extras.values())
        self._width = 1 + max((*columns.known.values(), *self._extras), default=0)
        self._roles = roles
        self._areas: dict[str, str | None] = {}
        self._cities: dict[str, str | None] = {}
        self._dates: dict[str, str | None] = {}
        self._sexes: dict[str, str | None] = {}
        self._texts: dict[str, str | None] = {}

    def row(self, record: Sequence[str]) -> Row:
        values = [value.strip() for value in record]
        values += [""] * (self._width - len(values) + 1 if len(values) < self._width else 1)
        first, last = values[self._first], values[self._last]
        if not first and not last:
            first = values[self._full]
        name = self._roles.parse(first, last)
        raw = values[self._email]
        mail = mailbox(raw) if raw else None
        raw = values[self._phone]
        number = phone(raw, values[self._country]) if raw else None
        line = values[self._street]
        if "," in line:
            parts = place(line, values[self._ward], values[self._district], values[self._city])
            house, street_name, ward, district, town = parts
        else:
            house, street_name = (None, None) if not line else place(line, "", "", "")[:2]
            ward = _kept(self._areas, values[self._ward], area)
            district = _kept(self._areas, values[self._district], area)
            town = _kept(self._cities, values[self._city], city)
        given_house = values[self._house]
        if given_house:
            house = "".join(words(fold(given_house))) or house
        telling = told(mail.local, name.given, name.surname) if mail else None
        initials: str | None = "".join([word[0] for word in name.middle]) or None
        if initials is None and telling is not None and telling.middle is not None and name.surname is not None:
            initials = telling.middle[:1] or "-"
        row: Row = [
            name.key,
            name.given,
            name.root,
            name.surname,
            " ".join(name.middle) or None,
            initials,
            mail.address if mail else None,
            mail.local if mail else None,
            (telling.rest or None) if telling else None,
            number,
            _kept(self._dates, values[self._dob], birth_date),
            _kept(self._sexes, values[self._sex], sex),
            house,
            street_name,
            ward,
            district,
            town,
            _plain(values[self._postcode]),
            _kept(self._texts, values[self._unit], _joined),
        ]
        row += [_plain(values[extra]) for extra in self._extras]
        return row


def _kept(known: dict[str, V | None], raw: str, make: Callable[[str], V | None]) -> V | None:
    if not raw:
        return None
    if raw not in known:
        if len(known) > 200_000:
            known.clear()
        known[raw] = make(raw)
    return known[raw]


def _joined(raw: str) -> str | None:
    text = fold(raw)
    return None if says_nothing(text) else "".join(map(squash, words(text))) or None


def _plain(raw: str) -> str | None:
    """An identifier or attribute: letters and digits."""
    if not raw:
        return None
    text = fold(raw)
    if says_nothing(text):
        return None
    text = text if text.isalnum() else "".join(words(text))
    return (text.strip("0") and text) or None


def _taker(place: int | None) -> Callable[[Sequence[str]], str]:
    def take(record: Sequence[str]) -> str:
        return record[place].strip() if place is not None and place < len(record) else ""

    return take
