"""What the quarantine holds: one refused event or record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BadRow:
    """One refused event or record.

    ``index`` is its place in the request or record. ``payload`` is its JSON value, or its text where it cannot be
    parsed, or its bytes (stored as ``{"base64": …}``).
    """

    index: int
    message_id: str | None
    code: str
    reason: str
    payload: Any
