"""Vietnamese text of the fonts before Unicode (TCVN3, VNI) in files that read it as Latin-1: found and converted.

A text is converted only when that makes every word of it a Vietnamese syllable and it was none before, so that names
such as "Müller" or "Muñoz" stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

_TCVN3 = str.maketrans(
    "¡¢£¤¥¦§¨©ª«¬\u00ad®µ¶·¸¹»¼½¾ÆÇÈÉÊËÌÎÏÐÑÒÓÔÕÖ×ØÜÝÞßáâãäåæçèéêëìíîïñòóôõö÷øùúûüýþ",
    "ĂÂÊÔƠƯĐăâêôơưđàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ",
)
_TONES = dict(zip("ùøûõï", "\u0301\u0300\u0309\u0303\u0323", strict=True))
"""VNI writes a tone as a letter behind the vowel; the same with a circumflex or a breve under it follow."""
_SHAPED = {
    "â": "\u0302",
    "ê": "\u0306",
    **{mark: "\u0302" + tone for mark, tone in zip("áàåãä", _TONES.values(), strict=True)},
    **{mark: "\u0306" + tone for mark, tone in zip("éèúüë", _TONES.values(), strict=True)},
}
_MARKS = {**_TONES, **_SHAPED}
_ALONE = dict(zip("íìæóòîñôö", "íìỉĩịỵđơư", strict=True))
_BEFORE = {
    **dict.fromkeys(_TONES, "aeouyôö"),
    **{mark: "aeo" if "\u0302" in form else "a" for mark, form in _SHAPED.items()},
}
"""Which letters a mark can stand behind."""

_WORD = re.compile(r"[^\W\d_]+")
_ONSET = "(?:ngh|ng|nh|kh|ph|th|tr|ch|gh|gi|qu|[bcdghklmnprstvx])?"
_SYLLABLE = re.compile(
    _ONSET + r"(?:uye|uya|uyu|oai|oao|oay|oeo|uay|uoi|uou|ieu|yeu|ai|ao|au|ay|eo|eu|ia|ie|iu|oa|oe|oi|oo|ua|ue|ui|uo|"
    r"uu|uy|ye|[aeiouy])(?:ch|nh|ng|[cmnpt])?"
)
_TONE_MARKS = frozenset("\u0301\u0300\u0309\u0303\u0323")
_VIETNAMESE_MARKS = _TONE_MARKS | frozenset("\u0302\u0306\u031b")


def modern(text: str) -> str:
    """The text in NFC, converted from TCVN3 or VNI if it is in one of them; ``font`` tells which.

    >>> modern("NguyÔn V¨n B×nh"), modern("Nguyeãn Thò Lan"), modern("Müller"), modern("Lê Hòa")
    ('Nguyễn Văn Bình', 'Nguyễn Thị Lan', 'Müller', 'Lê Hòa')
    """
    return _modern(text)[0]


def font(text: str) -> str | None:
    """``tcvn3`` or ``vni`` for a text in such a font, else None."""
    return _modern(text)[1]


@lru_cache(maxsize=2_048)
def _modern(text: str) -> tuple[str, str | None]:
    clean = unicodedata.normalize("NFC", text)
    if text.isascii() or max(clean) > "\u00ff" or _is_vietnamese(clean):
        return clean, None
    readings: tuple[tuple[str, Callable[[str], str]], ...] = (("tcvn3", _from_tcvn3), ("vni", _from_vni))
    for name, convert in readings:
        converted = unicodedata.normalize("NFC", convert(clean))
        if converted != clean and _is_vietnamese(converted):
            return converted, name
    return clean, None


def _from_tcvn3(text: str) -> str:
    return text.translate(_TCVN3)


def _from_vni(text: str) -> str:
    made: list[str] = []
    base = ""
    for letter in text:
        lower = letter.lower()
        if lower in _MARKS and base and base in _BEFORE[lower]:
            made.append(_MARKS[lower])
            base = ""
            continue
        single = _ALONE.get(lower)
        made.append(letter if single is None else single.upper() if letter.isupper() else single)
        base = lower
    return "".join(made)


def _is_vietnamese(text: str) -> bool:
    """Whether all words are syllables with at most one tone, and nothing but letters and plain signs is there."""
    words = _WORD.findall(text)
    return bool(words) and all(map(_is_syllable, words)) and not any(sign > "\u007f" for sign in _WORD.sub("", text))


def _is_syllable(word: str) -> bool:
    parts = unicodedata.normalize("NFD", word.casefold().replace("đ", "d"))
    letters = "".join(letter for letter in parts if not unicodedata.combining(letter))
    tones = sum(letter in _TONE_MARKS for letter in parts)
    foreign = any(unicodedata.combining(letter) and letter not in _VIETNAMESE_MARKS for letter in parts)
    return tones <= 1 and not foreign and _SYLLABLE.fullmatch(letters) is not None
