"""Names of people in the Vietnamese order: family, middle, given (connectors reference 5.2).

A split is derived and a guess: it comes with a confidence, and the name as it was written stays beside it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from hoso.model.legacy_text import modern

_LOOK_ALIKES = str.maketrans({"Ð": "Đ", "ð": "đ", "Ɖ": "Đ", "ɖ": "đ"})
_SPACES = re.compile(r"\s+")
_FAMILIES = frozenset(
    re.split(
        " ",
        "nguyen tran le pham hoang huynh phan vu vo dang bui do ho ngo duong ly dinh doan trinh mai truong "
        "dao luong lam ha trieu cao chau ta phung luu thai to tong tang quach chu thach kieu ong la nghiem "
        "lai vuong quan van khuat han mac bach giang kim cu nhan dam tu mach diep hua luc tieu ninh nong ma",
    )
)
_DOUBLE_FAMILIES = frozenset(
    {"ton that", "ton nu", "au duong", "cong tang ton nu", "cong ton nu", "huyen ton nu", "tu ma", "gia cat"}
)
_HONORIFICS = {
    **dict.fromkeys(("anh", "chú", "ông", "mr", "bác trai"), "m"),
    **dict.fromkeys(("chị", "cô", "bà", "ms", "mrs", "miss", "bác gái"), "f"),
    **dict.fromkeys(("bác", "em", "dr", "anh/chị", "ông/bà", "anh chị", "ông bà"), ""),
}
"""Forms of address with their diacritics: without them Chu, Co, Ba and Ong are families."""
_GENDERS = {
    **dict.fromkeys(("m", "male", "man", "nam", "anh", "ong", "chu", "mr", "boy", "trai"), "m"),
    **dict.fromkeys(("f", "female", "woman", "nu", "chi", "ba", "co", "ms", "mrs", "miss", "girl", "gai"), "f"),
    **dict.fromkeys(("other", "khac", "x", "nonbinary", "non-binary"), "other"),
}


class PersonName(NamedTuple):
    """A split name. ``display`` is the whole without forms of address; ``confidence`` is 0 to 1.

    ``gender`` is what the form of address says: ``m``, ``f`` or None.
    """

    display: str
    family: str
    middle: str
    given: str
    confidence: float
    honorific: str
    gender: str | None


def fold(text: str) -> str:
    """The text for matching and search, never for display: no case, no diacritics, single blanks.

    >>> fold("Đặng Đình Đức"), fold("NGUYỄN  THỊ AN")
    ('dang dinh duc', 'nguyen thi an')
    """
    plain = unicodedata.normalize("NFC", text).translate(_LOOK_ALIKES).strip().casefold().replace("đ", "d")
    letters = (letter for letter in unicodedata.normalize("NFD", plain) if unicodedata.category(letter) != "Mn")
    return _SPACES.sub(" ", "".join(letters))


def clean_name(text: str) -> str:
    """The name for display: NFC, out of legacy fonts, real Đ instead of its look-alikes, single blanks.

    >>> clean_name("  Ðặng   Văn A ")
    'Đặng Văn A'
    """
    return _SPACES.sub(" ", modern(text).translate(_LOOK_ALIKES)).strip()


def split_name(text: str) -> PersonName | None:
    """The parts of a name, or None for a text without letters.

    The last word is the given name, the first the family name, or the first two where those are one. A name whose
    last word is a family name and whose first is none was written the western way and is turned round.

    >>> split_name("Anh Nguyễn Văn Minh")[1:5], split_name("Tôn Thất Tùng")[1:4]
    (('Nguyễn', 'Văn', 'Minh', 0.95), ('Tôn Thất', '', 'Tùng'))
    """
    honorific, words = _address(clean_name(text).split(" "))
    if not any(letter.isalpha() for word in words for letter in word):
        return None
    display = " ".join(words)
    gender = _HONORIFICS.get(honorific.casefold()) or None
    if len(words) == 1:
        return PersonName(display, "", "", display, 0.5, honorific, gender)
    folded = [fold(word) for word in words]
    size = _family_size(folded)
    if size:
        # "Lê Nguyễn": both ends can be families, the order decides with less certainty
        sure = 0.95 if folded[-1] not in _FAMILIES or len(words) > 2 else 0.8
        return PersonName(display, *_parts(words, size), sure, honorific, gender)
    if folded[-1] in _FAMILIES:
        turned = [words[-1], *words[1:-1], words[0]] if len(words) > 2 else words[::-1]
        return PersonName(display, *_parts(turned, 1), 0.7, honorific, gender)
    return PersonName(display, *_parts(words, 1), 0.5, honorific, gender)


def gender(value: object) -> str | None:
    """``m``, ``f``, ``other``, or None for what says nothing.

    >>> gender("Nữ"), gender("Anh"), gender("Khác"), gender("?")
    ('f', 'm', 'other', None)
    """
    return _GENDERS.get(fold(value).strip(" .")) if type(value) is str and len(value) <= 20 else None


def _address(words: list[str]) -> tuple[str, list[str]]:
    """The form of address before a name, and the words of the name."""
    for size in (2, 1):
        title = " ".join(words[:size]).rstrip(".").casefold()
        if len(words) > size and title in _HONORIFICS:
            return " ".join(words[:size]).rstrip("."), words[size:]
    first, dot, rest = words[0].partition(".")
    if dot and rest and first.casefold() in _HONORIFICS:  # "Mr.An"
        return first, [rest, *words[1:]]
    return "", words


def _family_size(folded: list[str]) -> int:
    """How many words at the beginning are the family name; 0 for none that is known."""
    for size in (4, 3, 2):
        if len(folded) > size and " ".join(folded[:size]) in _DOUBLE_FAMILIES:
            return size
    return 1 if folded[0] in _FAMILIES else 0


def _parts(words: list[str], size: int) -> tuple[str, str, str]:
    return " ".join(words[:size]), " ".join(words[size:-1]), words[-1]
