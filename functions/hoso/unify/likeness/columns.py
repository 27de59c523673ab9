"""What the columns of a file of records mean, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hoso.model.errors import InvalidInput
from hoso.unify.likeness.text import fold, words

_MEANINGS = {
    "id": "recordid recid id rowid profileid uniqueid",
    "first": "firstname givenname given first ten forename fname",
    "last": "lastname surname familyname family last ho lname",
    "name": "name fullname hoten hovaten customername",
    "email": "email emailaddress mail",
    "phone": "phone phonenumber mobile tel telephone sdt sodienthoai dienthoai",
    "dob": "dob dateofbirth birthday birthdate ngaysinh",
    "sex": "gender sex gioitinh",
    "house": "streetnumber housenumber sonha",
    "street": "address street address1 addressline1 diachi streetname",
    "unit": "address2 addressline2",
    "ward": "ward phuong xa commune",
    "district": "district quan huyen suburb",
    "city": "city town province state tinh thanhpho",
    "postcode": "postcode zip zipcode postalcode",
    "country": "country countrycode quocgia",
}
_KNOWN = {name: meaning for meaning, names in _MEANINGS.items() for name in names.split()}
_IGNORED = frozenset(
    words("source updatedat createdat entityid clusterid personid truth truthid label groundtruth timestamp lastseen")
)
"""Columns that say nothing about who a record is about, or are the answer itself."""
MOST_EXTRAS = 6


@dataclass(frozen=True, slots=True)
class Columns:
    """Position by meaning, and the other columns (identifiers and attributes) by their names."""

    known: Mapping[str, int]
    extras: Mapping[str, int]

    @property
    def id(self) -> int:
        """Where the record's id is."""
        return self.known["id"]


def read_columns(header: Sequence[str]) -> Columns:
    """The meaning of a header.

    Raises:
        InvalidInput: ``no_record_id``, or ``nothing_to_match`` when no column says anything about a person.
    """
    known: dict[str, int] = {}
    extras: dict[str, int] = {}
    for place, title in enumerate(header):
        plain = "".join(words(fold(title.lstrip("\ufeff"))))
        meaning = _KNOWN.get(plain)
        if meaning is not None and meaning not in known:
            known[meaning] = place
        elif plain and plain not in _IGNORED and len(extras) < MOST_EXTRAS:
            extras[plain] = place
    if "id" not in known:
        raise InvalidInput("no column record_id", code="no_record_id", hint="name the column of record ids record_id")
    if not (known.keys() - {"id", "country"}) and not extras:
        raise InvalidInput("no column to match by", code="nothing_to_match", hint="see docs/likeness.md for columns")
    return Columns(known, extras)
