"""What a person's consent records say about one use of their data (security S50; segmentation reference, section 5).

``unify`` keeps the records: per ``purpose`` or ``purpose/channel`` the last statement, a withdrawal winning at the same
instant. Here is the one rule that reads them; the send, the rules of segments and the profile all ask it.
"""

from __future__ import annotations

from collections.abc import Mapping

GRANTED = "granted"
DENIED = "denied"
UNSET = "unset"
OPT_OUT_PURPOSES = frozenset({"essential"})
"""Purposes that need no consent (a receipt, a notice to the operator's own system): only a denial stops them."""


def state(records: Mapping[str, str], purpose: str, channel: str | None = None) -> str:
    """``granted``, ``denied`` or ``unset``.

    ``records`` map ``purpose`` or ``purpose/channel`` to a state. A denied purpose beats everything; else the record
    of purpose and channel decides, else the purpose's.

    >>> state({"marketing": "denied", "marketing/email": "granted"}, "marketing", "email")
    'denied'
    >>> state({"marketing/email": "granted"}, "marketing", "sms")
    'unset'
    """
    whole = records.get(purpose, UNSET)
    if whole == DENIED or channel is None:
        return whole
    own = records.get(f"{purpose}/{channel}", UNSET)
    return whole if own == UNSET else own


def allows(records: Mapping[str, str], purpose: str, channel: str | None = None) -> bool:
    """Whether data may be used so: granted; for an opt-out purpose also when nothing was ever said."""
    found = state(records, purpose, channel)
    return found == GRANTED or (found == UNSET and purpose in OPT_OUT_PURPOSES)
