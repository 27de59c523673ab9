"""Records to rows of comparable values, about 13 µs each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    take = {meaning: _taker(place) for meaning, place in columns.known.items()}
    first, last = take.get("first", _nothing), take.get("last", _nothing)
    make = _Maker(take, columns, Roles((first(record), last(record)) for record in head))
    return map(make.row, chain(head, stream))


class _Maker:
    """Makes rows; remembers values that come again."""

    def __init__(self, take: Mapping[str, Callable[[Sequence[str]], str]], columns: Columns, roles: Roles) -> None:
        def of(meaning: str) -> Callable[[Sequence[str]], str]:
            return take.get(meaning, _nothing)

        self._first, self._last, self._full = of("first"), of("last"), of("name")
        self._email, self._phone, self._dob, self._sex = of("email"), of("phone"), of("dob"), of("sex")
        self._house, self._street, self._unit = of("house"), of("street"), of("unit")
        self._ward, self._district, self._city = of("ward"), of("district"), of("city")
        self._postcode, self._country = of("postcode"), of("country")
        self._extras = [_taker(place) for place in columns.extras.values()]
        self._roles = roles
        self._areas: dict[str, str | None] = {}
        self._cities: dict[str, str | None] = {}
        self._dates: dict[str, str | None] = {}
        self._sexes: dict[str, str | None] = {}
        self._texts: dict[str, str | None] = {}

    def row(self, record: Sequence[str]) -> Row:
        first, last = self._first(record), self._last(record)
        if not first and not last:
            first = self._full(record)
        name = self._roles.parse(first, last)
        raw = self._email(record)
        mail = mailbox(raw) if raw else None
        raw = self._phone(record)
        number = phone(raw, self._country(record)) if raw else None
        line = self._street(record)
        if "," in line:
            parts = place(line, self._ward(record), self._district(record), self._city(record))
            house, street_name, ward, district, town = parts
        else:
            house, street_name = (None, None) if not line else place(line, "", "", "")[:2]
            ward = _kept(self._areas, self._ward(record), area)
            district = _kept(self._areas, self._district(record), area)
            town = _kept(self._cities, self._city(record), city)
        given_house = self._house(record)
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
            _kept(self._dates, self._dob(record), birth_date),
            _kept(self._sexes, self._sex(record), sex),
            house,
            street_name,
            ward,
            district,
            town,
            _plain(self._postcode(record)),
            _kept(self._texts, self._unit(record), _joined),
        ]
        row += [_plain(extra(record)) for extra in self._extras]
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


def _taker(place: int) -> Callable[[Sequence[str]], str]:
    def take(record: Sequence[str]) -> str:
        return record[place].strip() if place < len(record) else ""

    return take


def _nothing(_record: Sequence[str]) -> str:
    return ""
