"""Addresses as matching compares them: house, street, and areas on both administrative levels."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from hoso.unify.likeness.text import fold, says_nothing, squash, words

_HOUSE = re.compile(r"\s*(?:so nha|so|no\.?|#)?\s*(\d+[a-z]?(?:\s?[/-]\s?\d+[a-z]?)*)\b[\s,.]*")
_STREET_WORDS = frozenset(
    words(
        "duong d pho ngo hem street st str avenue ave av road rd boulevard blvd lane ln drive dr court ct "
        "place pl crescent cres circuit cct close cl terrace tce way highway hwy parade pde square sq"
    )
)
_STREET_ENDS = re.compile(r"(?<=.{3})(?:stret|avenue|road|place|crescent|circuit|court|close|drive|terace|parade)$")
_AREA = re.compile(
    r"^(?:phuong|ward|xa|thi tran|dac khu|quan|district|dist|huyen|thi xa|thanh pho|tinh|city of|p|q|h|x|tt|tx|tp)"
    r"(?:\s*\.\s*|\s+|(?=\d))"
)
_NUMBER = re.compile(r"0*(\d+)")
_CITIES = {
    **dict.fromkeys(("hcm", "tphcm", "hochiminhcity", "saigon", "sg", "hcmc", "tphochiminh", "hochiminh"), "hochiminh"),
    **dict.fromkeys(("hn", "hanoi", "tphanoi"), "hanoi"),
    **dict.fromkeys(("dn", "danang"), "danang"),
    **dict.fromkeys(("hue", "thuathienhue"), "hue"),
    **dict.fromkeys(("bienhoa",), "dongnai"),
    **dict.fromkeys(("thudaumot", "vungtau"), "hochiminh"),
    **dict.fromkeys(("nhatrang",), "khanhhoa"),
    **dict.fromkeys(("dalat",), "lamdong"),
    **dict.fromkeys(("vinh",), "nghean"),
    **dict.fromkeys(("buonmathuot",), "daklak"),
    **dict.fromkeys(("halong",), "quangninh"),
    **dict.fromkeys(("quynhon",), "gialai"),
    **dict.fromkeys(("mytho",), "dongthap"),
}
_MERGED = {
    "tuyenquang": "hagiang",
    "laocai": "yenbai",
    "thainguyen": "backan",
    "phutho": "vinhphuc hoabinh",
    "bacninh": "bacgiang",
    "hungyen": "thaibinh",
    "haiphong": "haiduong",
    "ninhbinh": "hanam namdinh",
    "quangtri": "quangbinh",
    "danang": "quangnam",
    "quangngai": "kontum",
    "gialai": "binhdinh",
    "khanhhoa": "ninhthuan",
    "lamdong": "daknong binhthuan",
    "daklak": "phuyen",
    "hochiminh": "binhduong bariavungtau",
    "dongnai": "binhphuoc",
    "tayninh": "longan",
    "cantho": "soctrang haugiang",
    "vinhlong": "bentre travinh",
    "dongthap": "tiengiang",
    "camau": "baclieu",
    "angiang": "kiengiang",
}
_PROVINCES = {**_CITIES, **{old: new for new, olds in _MERGED.items() for old in olds.split()}}


class Place(NamedTuple):
    """An address in parts; each is None when it is not said. ``city`` is the province of 2025 where it has one."""

    house: str | None
    street: str | None
    ward: str | None
    district: str | None
    city: str | None


def street(text: str) -> tuple[str | None, str | None]:
    """House number and street of a folded line; a filler has neither.

    >>> street("132/76 duong nguyen trai"), street("3391 victoria court")
    (('132/76', 'nguyentrai'), ('3391', 'victoria'))
    """
    if says_nothing(text):
        return None, None
    found = _HOUSE.match(text)
    house = "".join(found.group(1).split()) if found else None
    return house, _street_name(text[found.end() :] if found else text)


@lru_cache(maxsize=50_000)
def _street_name(text: str) -> str | None:
    parts = words(text)
    kept = [part for part in parts if part not in _STREET_WORDS] or parts
    return _STREET_ENDS.sub("", "".join(map(squash, kept))) or None


def area(raw: str) -> str | None:
    """A ward or district without the word for it.

    >>> area("P.18"), area("phường 018"), area("Quận Bắc Từ Liêm"), area("District 6")
    ('18', '18', 'bactuliem', '6')
    """
    text = fold(raw)
    if says_nothing(text):
        return None
    text = _AREA.sub("", text)
    text = "".join(map(squash, words(text)))
    number = _NUMBER.fullmatch(text)
    return number.group(1) if number else text or None


def city(raw: str) -> str | None:
    """A city or province under the name that it has since July 2025.

    >>> city("TP.HCM"), city("Sài Gòn"), city("Bình Dương"), city("Hà Nội")
    ('hochiminh', 'hochiminh', 'hochiminh', 'hanoi')
    """
    text = "".join(words(fold(raw)))
    if says_nothing(text):
        return None
    if text not in _PROVINCES:
        text = area(raw) or text
    text = squash(text)
    return _PROVINCES.get(text, text)


def place(line: str, ward: str, district: str, town: str) -> Place:
    """The parts of an address that comes in fields, in one line, or both.

    >>> place("279/8B Đường Nguyễn Bỉnh Khiêm, Phường 13, Tân Bình, TP.HCM", "", "", "")
    Place(house='279/8b', street='nguyenbinhkhiem', ward='13', district='tanbinh', city='hochiminh')
    """
    text = fold(line)
    rest: list[str] = []
    if "," in text:
        text, *rest = [part.strip() for part in text.split(",")]
        if rest and text.isdigit():  # "12, Lê Lợi, …"
            text = f"{text} {rest.pop(0)}"
    house, name = street(text)
    if rest and not town:
        town = rest.pop()
        if rest and not district and not (len(rest) == 1 and _is_ward(rest[-1])):
            district = rest.pop()
        if rest and not ward:
            ward = rest.pop()
    return Place(house, name, area(ward), area(district), city(town))


def _is_ward(text: str) -> bool:
    return text.startswith(("phuong", "p.", "p ", "xa ", "x.", "thi tran", "tt."))
