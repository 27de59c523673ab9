"""What is compared of two records, and in which levels. Level 0 is always "one does not say": it carries no weight."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hoso.unify.likeness.sql import Dialect

Condition = Callable[[Dialect], str]


@dataclass(frozen=True, slots=True)
class Level:
    """One outcome of a comparison.

    ``m`` and ``h``: how often it is expected of one person's and of related people's records, before learning.
    ``term``: the value whose frequency weighs an agreement (``w_<term>`` of a record). ``rare``: how often it is
    expected by chance where random pairs are too few to count it. ``shows``: what it says about links made unasked
    (``hoso.unify.likeness.unasked``): the ``person``, an ``other`` one, or a tie: ``contact``, ``birth``, ``number``.
    """

    name: str
    m: float
    h: float
    sql: str
    term: str | None = None
    rare: float | None = None
    shows: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison: ``missing`` says in SQL when it cannot be made; the first level whose SQL holds is taken."""

    name: str
    fields: tuple[str, ...]
    missing: str
    levels: tuple[Level, ...]

    def level_sql(self, dialect: Dialect) -> str:
        """The level of the records ``a`` and ``b`` as a number."""
        cases = [f"WHEN {self.missing} THEN 0"]
        for number, level in enumerate(self.levels[:-1], 1):
            cases.append(f"WHEN {_edits(level.sql, dialect)} THEN {number}")
        return f"CASE {' '.join(cases)} ELSE {len(self.levels)} END"

    def term_sql(self, level: str, prefix: str = "") -> str | None:
        """What the frequencies add to the weight, given the SQL of the level and where the columns ``w_…`` come from;
        None: nothing ever."""
        cases = [
            f"WHEN {number} THEN {prefix}w_{one.term}"
            for number, one in enumerate(self.levels, 1)
            if one.term is not None
        ]
        return f"CASE {level} {' '.join(cases)} ELSE 0 END" if cases else None


_MACRO = re.compile(r"(EDITS|ONE_OFF)\((\w+)(?:, (\d))?\)")


def _edits(sql: str, dialect: Dialect) -> str:
    """``EDITS(x, n)`` stands for: the two records' ``x`` are at most ``n`` edits apart; ``ONE_OFF(x)`` for one edit
    where ``x`` is mostly of one length."""

    def written(found: re.Match[str]) -> str:
        one, other = f"a.{found[2]}", f"b.{found[2]}"
        return dialect.one_off(one, other) if found[1] == "ONE_OFF" else dialect.near(one, other, int(found[3]))

    return _MACRO.sub(written, sql)


_BOTH_MIDDLES = (
    "(strpos(a.middle, b.middle) > 0 OR strpos(b.middle, a.middle) > 0 "
    "OR (length(a.middle) > 1 AND length(b.middle) > 1 AND EDITS(middle, 1)) "  # of one letter, all are an edit apart
    "OR ((length(a.middle) = 1 OR length(b.middle) = 1) AND substr(a.middle, 1, 1) = substr(b.middle, 1, 1)))"
)
# What a mailbox tells of the middle name is news only where it is not the same mailbox for both.
_INITIALS = (
    "(a.initials = b.initials OR (length(a.initials) <> length(b.initials) "
    "AND substr(a.initials, 1, 1) = substr(b.initials, 1, 1)))"
)
_MIDDLE_AGREES = (
    f"(({_BOTH_MIDDLES}) OR ((a.middle IS NULL OR b.middle IS NULL) AND {_INITIALS} "
    "AND coalesce(a.email <> b.email, TRUE) AND a.initials <> '-'))"
)
_MIDDLE_UNKNOWN = (
    "(a.initials IS NULL OR b.initials IS NULL OR ((a.middle IS NULL OR b.middle IS NULL) "
    "AND (a.initials = b.initials OR a.email = b.email)))"
)
_GIVEN_NEAR = "(EDITS(given, 1) OR (length(a.given) >= 5 AND EDITS(given, 2)))"
_SURNAME_NEAR = "(EDITS(surname, 1) OR (length(a.surname) >= 5 AND EDITS(surname, 2)))"
_GIVEN_SLIP = "abs(a.w_given - b.w_given) >= 3"
_SURNAME_SLIP = "abs(a.w_surname - b.w_surname) >= 3"

NAME = Comparison(
    "name",
    ("name", "given", "root", "surname", "middle", "initials"),
    "a.name IS NULL OR b.name IS NULL",
    (
        Level("same full name", 0.35, 0.02, "a.name = b.name AND a.middle IS NOT NULL", "name", shows="person"),
        Level(
            "same but for a shorter middle",
            0.10,
            0.01,
            f"a.root = b.root AND a.surname = b.surname AND {_MIDDLE_AGREES}",
            "pair",
            shows="person",
        ),
        Level(
            "same given name and surname",
            0.35,
            0.02,
            f"a.root = b.root AND a.surname = b.surname AND {_MIDDLE_UNKNOWN}",
            "pair",
            shows="person",
        ),
        Level(
            "same but for the middle", 0.03, 0.02, "a.root = b.root AND a.surname = b.surname", "pair", shows="other"
        ),
        Level(
            "same given name, surname mistyped",
            0.06,
            0.01,
            f"a.root = b.root AND (a.surname IS NULL OR b.surname IS NULL OR ({_SURNAME_SLIP} AND {_SURNAME_NEAR}))",
            "given",
            shows="person",
        ),
        Level(
            "same surname, given name mistyped",
            0.06,
            0.02,
            f"a.surname = b.surname AND {_GIVEN_SLIP} AND {_GIVEN_NEAR}",
            "surname",
            shows="person",
        ),
        Level(
            "same surname, given names alike",
            0.01,
            0.05,
            f"a.surname = b.surname AND {_GIVEN_NEAR}",
            "surname",
            shows="other",
        ),
        Level(
            "names in another order, or mistyped",
            0.03,
            0.01,
            f"(a.given = b.surname AND a.surname = b.given) OR (length(a.name) >= 12 AND EDITS(name, 2)) "
            f"OR (({_GIVEN_SLIP} OR {_SURNAME_SLIP}) AND {_GIVEN_NEAR} AND {_SURNAME_NEAR})",
            shows="person",
        ),
        Level("same given name only", 0.04, 0.02, "a.root = b.root", "given", shows="person"),
        Level("same surname only", 0.02, 0.60, "a.surname = b.surname", "surname", shows="other"),
        Level("other names", 0.05, 0.25, "", shows="other"),
    ),
)
EMAIL = Comparison(
    "email",
    ("email", "local", "residue"),
    # One name gives one mailbox at two providers: that says nothing beside the name.
    "a.email IS NULL OR b.email IS NULL OR (a.local = b.local AND a.email <> b.email AND a.residue IS NULL)",
    (
        Level("same e-mail", 0.55, 0.15, "a.email = b.email", "email", shows="contact"),
        Level("same mailbox elsewhere", 0.02, 0.005, "a.local = b.local AND length(a.residue) >= 2", "local"),
        Level(
            "mistyped",
            0.03,
            0.005,
            "(length(a.residue) >= 2 AND a.residue = b.residue AND EDITS(local, 2)) "
            "OR (length(a.local) >= 7 AND length(a.residue) >= 3 AND length(b.residue) >= 3 AND EDITS(local, 1))",
            None,
            1e-6,
        ),
        Level("same residue", 0.01, 0.005, "length(a.residue) >= 4 AND a.residue = b.residue"),
        Level("other e-mail", 0.39, 0.83, ""),
    ),
)
PHONE = Comparison(
    "phone",
    ("phone",),
    "a.phone IS NULL OR b.phone IS NULL",
    (
        Level("same phone", 0.65, 0.30, "a.phone = b.phone", "phone", shows="contact"),
        Level("mistyped", 0.03, 0.005, "ONE_OFF(phone)", None, 1e-6, "contact"),
        Level("other phone", 0.32, 0.69, ""),
    ),
)
BIRTH = Comparison(
    "birth date",
    ("dob",),
    "a.dob IS NULL OR b.dob IS NULL",
    (
        Level("same birth date", 0.85, 0.01, "a.dob = b.dob AND substr(a.dob, -4) <> '0000'", "dob", shows="birth"),
        Level(
            "day and month swapped",
            0.02,
            0.001,
            "substr(a.dob, 1, 4) = substr(b.dob, 1, 4) AND substr(a.dob, 5, 2) = substr(b.dob, 7, 2) "
            "AND substr(a.dob, 7, 2) = substr(b.dob, 5, 2)",
            shows="birth",
        ),
        Level(
            "same year, day unknown",
            0.04,
            0.03,
            "substr(a.dob, 1, 4) = substr(b.dob, 1, 4) AND (substr(a.dob, -4) = '0000' OR substr(b.dob, -4) = '0000')",
        ),
        Level(
            "one digit off",
            0.04,
            0.02,
            "substr(a.dob, -4) <> '0000' AND substr(b.dob, -4) <> '0000' AND ONE_OFF(dob)",
            shows="birth",
        ),
        Level(
            "two parts of three",
            0.02,
            0.03,
            "CASE WHEN substr(a.dob, 1, 4) = substr(b.dob, 1, 4) THEN 1 ELSE 0 END + "
            "CASE WHEN substr(a.dob, 5, 2) = substr(b.dob, 5, 2) THEN 1 ELSE 0 END + "
            "CASE WHEN substr(a.dob, -2) = substr(b.dob, -2) THEN 1 ELSE 0 END >= 2",
        ),
        Level("other birth date", 0.03, 0.91, "", shows="other"),
    ),
)
SEX = Comparison(
    "sex",
    ("sex",),
    "a.sex IS NULL OR b.sex IS NULL",
    (Level("same sex", 0.97, 0.40, "a.sex = b.sex"), Level("other sex", 0.03, 0.60, "", shows="other")),
)
PLACE = Comparison(
    "address",
    ("house", "street"),
    "a.street IS NULL OR b.street IS NULL",
    (
        Level("same house", 0.45, 0.60, "a.street = b.street AND a.house = b.house", "place"),
        Level(
            "same house, mistyped",
            0.08,
            0.08,
            "(a.street = b.street AND (EDITS(house, 1) OR a.house IS NULL OR b.house IS NULL)) "
            "OR (a.house = b.house AND length(a.street) >= 4 AND EDITS(street, 2))",
        ),
        Level("same street", 0.01, 0.01, "a.street = b.street", "street"),
        Level("other address", 0.46, 0.31, ""),
    ),
)
AREA = Comparison(
    "area",
    ("ward", "district", "city"),
    "(a.street = b.street AND a.house = b.house) OR ((a.district IS NULL OR b.district IS NULL) "
    "AND (a.city IS NULL OR b.city IS NULL))",
    (
        Level("same ward", 0.20, 0.20, "a.ward = b.ward AND (a.district = b.district OR a.city = b.city)", "ward"),
        Level("same district", 0.20, 0.20, "a.district = b.district AND coalesce(a.city = b.city, TRUE)", "district"),
        Level("same city", 0.20, 0.20, "a.city = b.city AND NOT coalesce(a.district <> b.district, FALSE)", "city"),
        Level("same city, other district", 0.15, 0.15, "a.city = b.city", "city"),
        Level("other area", 0.25, 0.25, ""),
    ),
)
POSTCODE = Comparison(
    "postcode",
    ("postcode",),
    "a.postcode IS NULL OR b.postcode IS NULL",
    (
        Level("same postcode", 0.75, 0.70, "a.postcode = b.postcode", "postcode"),
        Level("mistyped", 0.10, 0.05, "EDITS(postcode, 1)"),
        Level("other postcode", 0.15, 0.25, ""),
    ),
)
UNIT = Comparison(
    "second line",
    ("unit",),
    "a.unit IS NULL OR b.unit IS NULL",
    (
        Level("same", 0.75, 0.70, "a.unit = b.unit", "unit"),
        Level("mistyped", 0.10, 0.05, "length(a.unit) >= 4 AND EDITS(unit, 2)"),
        Level("other", 0.15, 0.25, ""),
    ),
)
BASE = (NAME, EMAIL, PHONE, BIRTH, SEX, PLACE, AREA, POSTCODE, UNIT)


def identifier(column: str, title: str) -> Comparison:
    """An extra column whose values tell people apart (a card, a social security number)."""
    return Comparison(
        title,
        (column,),
        f"a.{column} IS NULL OR b.{column} IS NULL",
        (
            Level(f"same {title}", 0.85, 0.02, f"a.{column} = b.{column}", column, shows="number"),
            Level("mistyped", 0.10, 0.01, f"EDITS({column}, 2)", None, 1e-6, "number"),
            Level(f"other {title}", 0.05, 0.97, ""),
        ),
    )


def attribute(column: str, title: str) -> Comparison:
    """An extra column with few values."""
    return Comparison(
        title,
        (column,),
        f"a.{column} IS NULL OR b.{column} IS NULL",
        (Level(f"same {title}", 0.85, 0.5, f"a.{column} = b.{column}", column), Level(f"other {title}", 0.15, 0.5, "")),
    )


def comparisons_for(fields: Iterable[str], extras: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons that records with these fields can have."""
    present = {*fields}
    found = [*(one for one in BASE if present & {*one.fields}), *extras]
    return found or [NAME]


TERMS = {
    "name": ("name",),
    "pair": ("root", "surname"),
    "given": ("given",),
    "surname": ("surname",),
    "email": ("email",),
    "local": ("local",),
    "phone": ("phone",),
    "dob": ("dob",),
    "place": ("house", "street"),
    "street": ("street",),
    "ward": ("ward", "city"),
    "district": ("district",),
    "city": ("city",),
    "postcode": ("postcode",),
    "unit": ("unit",),
}
"""The value behind each term: fields of a record. Extra columns are terms of their own name."""
