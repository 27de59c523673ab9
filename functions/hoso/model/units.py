"""Vietnam's administrative units: the three levels of before July 2025, the two of today, and what became what.

The table (``data/units.json.zst``, codes of the General Statistics Office) is loaded when it is first asked for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hoso.model.person_names import fold

_TABLE = Path(__file__).parent / "data" / "units.json.zst"
_KINDS = (
    ("thanh pho truc thuoc trung uong", "city"),
    ("thanh pho", "city"),
    ("thi xa", "town"),
    ("thi tran", "township"),
    ("dac khu", "zone"),
    ("province of", "province"),
    ("tinh", "province"),
    ("quan", "district"),
    ("huyen", "county"),
    ("phuong", "ward"),
    ("xa", "commune"),
)
_NAMES_OF_PROVINCES = {
    "hochiminh": ("hcm", "hcmc", "tphcm", "hochiminhcity", "saigon", "sg"),
    "hanoi": ("hn", "hanoicity", "thudohanoi"),
    "danang": ("dn", "danangcity"),
    "hue": ("thuathienhue", "tthue"),
    "bariavungtau": ("brvt", "vungtaubaria"),
    "daklak": ("daclac", "dacklak"),
    "daknong": ("dacnong",),
    "haiphong": ("hp", "haiphongcity"),
    "cantho": ("ct", "canthocity"),
}
"""Other names of provinces; "Vũng Tàu" alone is a city of one."""


class Unit(NamedTuple):
    """A unit with its code and full name. ``above`` is the index of the unit over it, -1 for a province."""

    code: str
    name: str
    kind: str
    above: int


@dataclass(slots=True)
class Level:
    """The units of one level, and their indexes by kind-less key (``key``)."""

    units: list[Unit] = field(default_factory=list[Unit])
    by_key: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_code: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, code: str, name: str, above: int) -> None:
        """Add a unit."""
        kind, bare = key(name)
        self.by_key[bare].append(len(self.units))
        self.by_code[code] = len(self.units)
        self.units.append(Unit(code, name, kind, above))


@dataclass(frozen=True, slots=True)
class Units:
    """Both schemes. ``heirs`` are today's wards of an old ward (the first holds most of it), ``became`` provinces."""

    provinces: Level
    wards: Level
    old_provinces: Level
    old_districts: Level
    old_wards: Level
    heirs: list[list[int]]
    became: list[int]

    def new_wards(self, old_code: str) -> list[str]:
        """Codes of what an old ward became, the one that holds most of it first; empty for an unknown code."""
        index = self.old_wards.by_code.get(old_code)
        return [] if index is None else [self.wards.units[heir].code for heir in self.heirs[index]]

    def old_wards_of(self, new_code: str) -> list[str]:
        """Codes of the old wards of which a ward of today has at least a part."""
        index = self.wards.by_code.get(new_code)
        return [self.old_wards.units[old].code for old, heirs in enumerate(self.heirs) if index in heirs]


def key(name: str) -> tuple[str, str]:
    """The kind that a name says (empty for none) and the name for comparing: no marks, blanks, leading zeros.

    >>> key("Phường 05"), key("Thành phố Thủ Đức"), key("Đắk Lắk")
    (('ward', '5'), ('city', 'thuduc'), ('', 'daklak'))
    """
    plain = re.sub(r"[^\w]+", " ", fold(name)).strip()
    for word, kind in _KINDS:
        if plain.startswith(word + " "):
            return kind, plain[len(word) :].replace(" ", "").lstrip("0")
    return "", plain.replace(" ", "").lstrip("0")


@cache
def units() -> Units:
    """The table."""
    import orjson
    import zstandard

    raw: dict[str, list[list[Any]]] = orjson.loads(zstandard.ZstdDecompressor().decompress(_TABLE.read_bytes()))
    levels = {name: Level() for name in raw}
    for name, rows in raw.items():
        for row in rows:
            levels[name].add(row[0], row[1], -1 if name in ("provinces", "old_provinces") else row[2])
    for level in (levels["provinces"], levels["old_provinces"]):
        for bare, others in _NAMES_OF_PROVINCES.items():
            for other in others:
                if bare in level.by_key:
                    level.by_key[other] = level.by_key[bare]
    return Units(
        **levels,
        heirs=[row[3] for row in raw["old_wards"]],
        became=[row[2] for row in raw["old_provinces"]],
    )
