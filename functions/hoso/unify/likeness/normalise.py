"""Records to rows of comparable values.

Records are taken in pieces and a piece column by column: each distinct value is worked out once, and what is only
looked up or put together costs no line of Python per record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import TypeVar

from hoso.unify.likeness.columns import Columns
from hoso.unify.likeness.contacts import birth_date, letters_and_digits, mailbox, phone, sex, without_name
from hoso.unify.likeness.names import Roles
from hoso.unify.likeness.places import area, city, place, street
from hoso.unify.likeness.text import fold, says_nothing, squash, words

FIELDS = (
    *("name", "given", "root", "surname", "middle", "initials", "email", "local", "residue", "phone", "dob", "sex"),
    *("house", "street", "ward", "district", "city", "postcode", "unit"),
)
"""Columns of a normalised record; further identifiers and attributes follow as ``x1``, ``x2`` …"""
LEARNT_FROM = 50_000
"""Records from which the roles of names are learnt."""
_PIECE = 500
_REMEMBERED = 200_000
"""Distinct values of a column that are remembered at a time."""
Row = tuple[str, ...]
K = TypeVar("K")
V = TypeVar("V")
_IN_ONE_LINE = (",", ",")
"""Stands for house and street of an address that also says the areas."""


def normalised(records: Iterable[Sequence[str]], columns: Columns) -> Iterator[Row]:
    """A row per record, in the order of ``FIELDS`` and then of the extra columns. Empty: not said."""
    stream = iter(records)
    head = list(islice(stream, LEARNT_FROM))
    first, last = (_taker(columns.known.get(meaning)) for meaning in ("first", "last"))
    make = _Maker(columns, Roles((first(record), last(record)) for record in head))
    pieces = chain((head[start : start + _PIECE] for start in range(0, len(head), _PIECE)), _pieces(stream))
    return chain.from_iterable(map(make.rows, pieces))


class _Known(dict[K, V]):
    """What becomes of a value: made when it is first met.

    Texts and plain tuples of texts, no other objects: a run holds hundreds of thousands of them, and these the
    collector of garbage leaves alone.
    """

    def __init__(self, make: Callable[[K], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, raw: K) -> V:
        if len(self) > _REMEMBERED:
            self.clear()
        self[raw] = made = self._make(raw)
        return made

    def all(self, values: Iterable[K]) -> list[V]:
        """What becomes of each of these."""
        return list(map(self.__getitem__, values))


class _Maker:
    """Makes rows of pieces of a file; remembers values that come again."""

    def __init__(self, columns: Columns, roles: Roles) -> None:
        self._places = columns.known
        self._extras = list(columns.extras.values())
        self._roles = roles
        self._names = _Known(self._name)
        self._mails = _Known(_mail)
        self._phones = _Known(_phone)
        self._streets = _Known(_street)
        self._addresses = _Known(_address)
        self._areas = _Known(_of(area))
        self._cities = _Known(_of(city))
        self._dates = _Known(_of(birth_date))
        self._sexes = _Known(_of(sex))
        self._houses = _Known(_of(_house))
        self._units = _Known(_of(_joined))
        self._plain = _Known(_of(_plain))

    def rows(self, records: Sequence[Sequence[str]]) -> Iterator[Row]:
        """The rows of a piece."""
        columns = list(zip_longest(*records, fillvalue=""))
        blank = ("",) * len(records)

        def at(place: int | None) -> tuple[str, ...]:
            return columns[place] if place is not None and place < len(columns) else blank

        def of(meaning: str) -> tuple[str, ...]:
            """The values of a meaning; all empty where no column has it."""
            return at(self._places.get(meaning))

        names = self._names.all(zip(of("first"), of("last"), of("name"), strict=True))
        key, given, root, surname, middle, initials = zip(*names, strict=True)
        mails = self._mails.all(of("email"))
        address, local, _, _ = zip(*mails, strict=True)
        initials, residue = _told(given, surname, initials, mails)
        house, street, ward, district, town = self._addressed(of)
        made = (
            *(key, given, root, surname, middle, initials, address, local, residue),
            self._phones.all(zip(of("phone"), of("country"), strict=True)),
            self._dates.all(of("dob")),
            self._sexes.all(of("sex")),
            *(house, street, ward, district, town),
            self._plain.all(of("postcode")),
            self._units.all(of("unit")),
            *(self._plain.all(at(extra)) for extra in self._extras),
        )
        return zip(*made, strict=True)

    def _addressed(self, of: Callable[[str], tuple[str, ...]]) -> list[list[str]]:
        """House, street, ward, district and city, whether they come in fields or in one line."""
        found = self._streets.all(of("street"))
        parts = [
            *map(list, zip(*found, strict=True)),
            self._areas.all(of("ward")),
            self._areas.all(of("district")),
            self._cities.all(of("city")),
        ]
        if _IN_ONE_LINE in found:
            lines, wards, districts, towns = (of(meaning) for meaning in ("street", "ward", "district", "city"))
            for number, one in enumerate(found):
                if one == _IN_ONE_LINE:
                    line = self._addresses[lines[number], wards[number], districts[number], towns[number]]
                    for part, value in zip(parts, line, strict=True):
                        part[number] = value
        if "house" in self._places:
            houses = self._houses.all(of("house"))
            parts[0] = [house or other for house, other in zip(houses, parts[0], strict=True)]
        return parts

    def _name(self, fields: tuple[str, str, str]) -> tuple[str, str, str, str, str, str]:
        """Key, given name, its root, surname, middle names and their initials."""
        first, last, full = (field.strip() for field in fields)
        name = self._roles.parse(first if first or last else full, last)
        middle = name.middle
        return (
            name.key or "",
            name.given or "",
            name.root or "",
            name.surname or "",
            " ".join(middle),
            "".join([word[0] for word in middle]),
        )


def _told(
    given: Sequence[str], surname: Sequence[str], initials: Sequence[str], mails: Sequence[tuple[str, str, str, str]]
) -> tuple[list[str], list[str]]:
    """Initials of the middle names, also as mailboxes tell them, and the rest of each mailbox."""
    found = list(initials)
    rests = [""] * len(found)
    for number, (_, local, letters, digits) in enumerate(mails):
        if local:
            middle, rests[number] = without_name(letters, digits, given[number], surname[number])
            if middle is not None and not found[number] and surname[number]:
                found[number] = middle[:1] or "-"
    return found, rests


def _mail(raw: str) -> tuple[str, str, str, str]:
    """Address, local part, and the letters and digits of that."""
    mail = mailbox(raw)
    return ("", "", "", "") if mail is None else (mail.address, mail.local, *letters_and_digits(mail.local))


def _phone(fields: tuple[str, str]) -> str:
    raw = fields[0].strip()
    return (phone(raw, fields[1].strip()) or "") if raw else ""


def _street(raw: str) -> tuple[str, str]:
    """House and street."""
    line = raw.strip()
    if "," in line:
        return _IN_ONE_LINE
    house, name = street(fold(line))
    return house or "", name or ""


def _address(fields: tuple[str, str, str, str]) -> tuple[str, ...]:
    """House, street, ward, district and city."""
    return tuple([part or "" for part in place(*(field.strip() for field in fields))])


def _of(make: Callable[[str], str | None]) -> Callable[[str], str]:
    """The same for a field as it stands, where empty means: not said."""

    def made(raw: str) -> str:
        text = raw.strip()
        return (make(text) or "") if text else ""

    return made


def _house(raw: str) -> str | None:
    return "".join(words(fold(raw)))


def _joined(raw: str) -> str | None:
    text = fold(raw)
    return None if says_nothing(text) else "".join(map(squash, words(text))) or None


def _plain(raw: str) -> str | None:
    """An identifier or attribute: letters and digits."""
    text = fold(raw)
    if says_nothing(text):
        return None
    text = text if text.isalnum() else "".join(words(text))
    return (text.strip("0") and text) or None


def _pieces(stream: Iterator[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    while piece := list(islice(stream, _PIECE)):
        yield piece


def _taker(place: int | None) -> Callable[[Sequence[str]], str]:
    def take(record: Sequence[str]) -> str:
        return record[place].strip() if place is not None and place < len(record) else ""

    return take
