"""Vietnamese addresses: which units a text names, in which scheme, and what they are called today.

Since July 2025 there are two levels (34 provinces, 3,321 wards), before there were three (connectors reference 5.3).
The text as it was written is kept in ``address_raw``; everything else is derived from it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from hoso.model.person_names import clean_name, fold
from hoso.model.units import Level, Unit, Units, key, units

OLD = "pre2025"
NEW = "2025"
_MAX_LENGTH = 400
_ABBREVIATIONS = (
    (re.compile(r"\bt\.?p\.?(?=[\s.]|hcm|hn\b)[\s.]*", re.IGNORECASE), "Thành phố "),
    (re.compile(r"\btt\.\s*", re.IGNORECASE), "Thị trấn "),
    (re.compile(r"\btt(?=\s+[^\W\d_]{2,})", re.IGNORECASE), "Thị trấn"),
    (re.compile(r"\btx[.\s]\s*", re.IGNORECASE), "Thị xã "),
    (re.compile(r"\bq\.\s*|\bq(?=\d{1,2}\b)|\bq\s+(?=\S)", re.IGNORECASE), "Quận "),
    (re.compile(r"\bp\.\s*|\bp(?=\d{1,2}\b)|\bp\s+(?=\S)", re.IGNORECASE), "Phường "),
    (re.compile(r"\bh\.\s*", re.IGNORECASE), "Huyện "),
    (re.compile(r"\bx\.\s*", re.IGNORECASE), "Xã "),
    (re.compile(r"\bt\.\s*(?=[^\W\d_]{2,})", re.IGNORECASE), "Tỉnh "),
    (re.compile(r"\b(?:district|dist\.?)\s*(?=\d)", re.IGNORECASE), "Quận "),
    (re.compile(r"\bward\s*(?=\d)", re.IGNORECASE), "Phường "),
)
_BEFORE_UNIT = re.compile(
    r"(?<!\bthị)\s+(?=(?:Thành phố|Thị trấn|Thị xã|Quận|Phường|Huyện|Xã|Tỉnh|Đặc khu|Tp\.|tp\.|TP\.?)\s)", re.IGNORECASE
)
_KIND = re.compile(r"^(?:Thành phố|Thị trấn|Thị xã|Quận|Phường|Huyện|Xã|Tỉnh|Đặc khu)\s+", re.IGNORECASE)
_SEPARATORS = re.compile(r"\s*[,;]\s*")
_DASHES = re.compile(r"\s*[,;]\s*|\s+[-–]\s+")
"""Names have dashes too (Bà Rịa - Vũng Tàu), so addresses are read without and with them as separators."""
_LEVEL_OF = {
    **dict.fromkeys(("province", "city", "town", "district", "county"), "over wards"),
    **dict.fromkeys(("ward", "commune", "township", "zone"), "ward"),
}
_COUNTRY = frozenset({"vietnam", "vn", "vietname"})
_POSTAL = re.compile(r"\d{5,6}")


@dataclass(frozen=True, slots=True)
class Address:
    """A read address.

    ``level_scheme`` is ``pre2025``, ``2025``, or None where no unit is known. Province, district and ward are
    ``{"code", "name"}`` in that scheme or None. ``current`` are the units of today that it can lie in, the likeliest
    first: ``{"province_code", "province", "ward_code", "ward"}`` (ward None where only the province is known).
    ``confidence`` is 0 to 1.
    """

    address_raw: str
    level_scheme: str | None
    street: str
    ward: dict[str, str] | None = None
    district: dict[str, str] | None = None
    province: dict[str, str] | None = None
    current: list[dict[str, str | None]] = field(default_factory=list[dict[str, str | None]])
    confidence: float = 0.0


def parse_address(value: object) -> Address | None:
    """What a text, or the reserved trait ``address`` (street, ward, district, city, state), names; None for neither.

    >>> parse_address("12/3 Nguyễn Trãi, P.5, Q.5, TP.HCM").district
    {'code': '774', 'name': 'Quận 5'}
    """
    raw = _joined(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
    if type(raw) is not str or not raw.strip() or len(raw) > _MAX_LENGTH:
        return None
    table = units()
    readings = [
        reading
        for parts in (_parts(raw, _SEPARATORS), _parts(raw, _DASHES))
        for reading in (_old(parts, table), _new(parts, table), _Reading(None, {}, parts, 0.0))
        if reading is not None
    ]
    found = max(readings, key=lambda reading: reading.confidence)
    return Address(
        address_raw=raw,
        level_scheme=found.scheme,
        street=", ".join(found.rest),
        ward=_named(found.units.get("ward")),
        district=_named(found.units.get("district")),
        province=_named(found.units.get("province")),
        current=_current(found, table),
        confidence=found.confidence,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    scheme: str | None
    units: dict[str, Unit]
    rest: Sequence[str]
    confidence: float


def _joined(address: Mapping[str, Any]) -> str:
    names = ("street", "ward", "district", "city", "state")
    return ", ".join(text for name in names if type(text := address.get(name)) is str and text)


def _parts(raw: str, separators: re.Pattern[str]) -> list[str]:
    """The parts of an address from street to province, abbreviations written out, country and postal code dropped."""
    text = clean_name(raw.replace("\n", ", "))
    for pattern, word in _ABBREVIATIONS:
        text = pattern.sub(word, text)
    parts = [part for piece in separators.split(text) for part in _BEFORE_UNIT.split(piece) if part.strip(" .")]
    parts = [part.strip(" .") for part in parts]
    while len(parts) > 1 and (key(parts[-1])[1] in _COUNTRY or _POSTAL.fullmatch(parts[-1])):
        parts.pop()
    if parts:
        parts[-1] = re.sub(r"\s+\d{5,6}$", "", parts[-1])
    return parts


def _old(parts: Sequence[str], table: Units) -> _Reading | None:
    """The address in three levels, or None where not even the province is one of before."""
    province = _at_end(parts, table.old_provinces)
    if province is None:
        return None
    index, rest = province, _without_repeats(parts, province, table.old_provinces, table.old_districts)
    held = {"province": table.old_provinces.units[index]}
    gone = key(held["province"].name)[1] not in table.provinces.by_key
    sure = 0.6 if gone else 0.3
    district = _at_end(rest, table.old_districts, index)
    if district is None:
        ward = _at_end(rest, table.old_wards, *_below(table.old_districts, index))
        if ward is not None:
            held["ward"] = table.old_wards.units[ward]
            held["district"] = table.old_districts.units[held["ward"].above]
            return _Reading(OLD, held, rest[:-1], 0.65 if gone else 0.45)
        return _Reading(OLD, held, rest, sure)
    said = key(rest[-1])[0]
    held["district"] = table.old_districts.units[district]
    rest.pop()
    ward = _at_end(rest, table.old_wards, district)
    if ward is not None:
        held["ward"] = table.old_wards.units[ward]
        return _Reading(OLD, held, rest[:-1], 0.95)
    return _Reading(OLD, held, rest, 0.8 if said in ("district", "county", "town", "city") or gone else 0.55)


def _new(parts: Sequence[str], table: Units) -> _Reading | None:
    """The address in two levels, or None where the province is none of today."""
    province = _at_end(parts, table.provinces)
    if province is None:
        return None
    rest = _without_repeats(parts, province, table.provinces, table.wards)
    held = {"province": table.provinces.units[province]}
    ward = _at_end(rest, table.wards, province)
    if ward is None:
        return _Reading(NEW, held, rest, 0.4)
    said = key(rest[-1])[0]
    held["ward"] = table.wards.units[ward]
    # Thuận Hòa was a ward, Thuận Hóa is one: without marks they are the same
    sure = (0.9 if said else 0.5) if _marks(rest[-1]) in ("", _marks(held["ward"].name)) else 0.42
    return _Reading(NEW, held, rest[:-1], sure)


def _without_repeats(parts: Sequence[str], province: int, provinces: Level, below: Level) -> list[str]:
    """What stands before the province, without its name where forms repeat it as city ("TP Huế, Thừa Thiên Huế")."""
    rest = list(parts[:-1])
    while rest and _at_end(rest, provinces) == province and _at_end(rest, below, province) is None:
        rest.pop()
    return rest


def _at_end(parts: Sequence[str], level: Level, *above: int) -> int | None:
    """The unit that the last part names, under one of ``above`` if given; None for none or several."""
    if not parts:
        return None
    said, bare = key(parts[-1])
    found = [index for index in level.by_key.get(bare, ()) if not above or level.units[index].above in above]
    if said:
        same = [index for index in found if level.units[index].kind == said]
        # towns became cities and communes wards: another kind of the same level will do, but not for numbers
        alike = [index for index in found if _LEVEL_OF.get(said) == _LEVEL_OF.get(level.units[index].kind)]
        found = same or ([] if bare.isdigit() else alike)
    if len(found) > 1:  # names that differ in their marks only
        text = fold(parts[-1]) != parts[-1].casefold()
        exact = [index for index in found if parts[-1].casefold().endswith(_bare(level.units[index].name).casefold())]
        found = exact if text and len(exact) == 1 else found
    return found[0] if len(found) == 1 else None


def _marks(text: str) -> str:
    """The diacritics of a unit's name in an order that does not tell Hoà from Hòa; empty for a text without any."""
    letters = unicodedata.normalize("NFD", _bare(text).casefold().replace("đ", "d\u0335"))
    return "".join(sorted(letter for letter in letters if unicodedata.category(letter) == "Mn"))


def _bare(name: str) -> str:
    """A unit's name without its kind."""
    return _KIND.sub("", name)


def _below(level: Level, above: int) -> list[int]:
    return [index for index, unit in enumerate(level.units) if unit.above == above]


def _named(unit: Unit | None) -> dict[str, str] | None:
    return None if unit is None else {"code": unit.code, "name": unit.name}


def _current(found: _Reading, table: Units) -> list[dict[str, str | None]]:
    """The units of today."""
    province, ward = found.units.get("province"), found.units.get("ward")
    if province is None:
        return []
    if found.scheme == NEW:
        return [_today(province, ward)]
    if ward is not None:
        heirs = table.heirs[table.old_wards.by_code[ward.code]]
        return [_today(table.provinces.units[table.wards.units[heir].above], table.wards.units[heir]) for heir in heirs]
    return [_today(table.provinces.units[table.became[table.old_provinces.by_code[province.code]]], None)]


def _today(province: Unit, ward: Unit | None) -> dict[str, str | None]:
    names = {"province_code": province.code, "province": province.name}
    return {**names, "ward_code": ward.code if ward else None, "ward": ward.name if ward else None}
