"""E-mail addresses in the form that compares, and whether they are ones."""

from __future__ import annotations

import re
import unicodedata

_ADDRESS = re.compile(
    r"(?!\.)(?!.*\.\.)[^\s@<>()\[\],;:\"\\]{1,64}(?<!\.)@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_][\w-]*"
)
_NAMED = re.compile(r"[^<>]*<\s*([^<>]+?)\s*>")
_DOTLESS = frozenset({"gmail.com", "googlemail.com"})


def clean_email(value: object) -> str | None:
    """The address in lower case without what files put around it, or None when it is none.

    >>> clean_email(" An Nguyen <An.Nguyen@Example.COM> "), clean_email("mailto:a@b.vn;"), clean_email("an@home")
    ('an.nguyen@example.com', 'a@b.vn', None)
    """
    if type(value) is not str or len(value) > 320:
        return None
    text = unicodedata.normalize("NFKC", value).strip().strip("\u200b\ufeff'\"")
    named = _NAMED.fullmatch(text)
    text = (named[1] if named else text).removeprefix("mailto:").rstrip(",;. ").strip().lower()
    return text if len(text) <= 254 and _ADDRESS.fullmatch(text) else None


def google_email(value: object) -> str | None:
    """As ``clean_email``, without blanks and, at Google's own domains, without dots in the mailbox.

    >>> google_email("An. Nguyen@gmail.com"), google_email("an.nguyen@example.com")
    ('annguyen@gmail.com', 'an.nguyen@example.com')
    """
    clean = clean_email("".join(value.split())) if type(value) is str else None
    if clean is None:
        return None
    mailbox, _, domain = clean.rpartition("@")
    return f"{mailbox.replace('.', '')}@{domain}" if domain in _DOTLESS else clean
