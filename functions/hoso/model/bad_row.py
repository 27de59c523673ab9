"""What the quarantine holds: one refused event or record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BadRow:
    """One refused event or record.

    ``index`` is its place in the request or record. ``payload`` is its JSON value, or its text where it cannot be
    parsed, or its bytes (stored as ``{"base64": …}``). ``at`` and ``sent_at`` (UTC ms) are its time of receipt and the
    client's clock at the sending, where they differ from those of its entry: a replay corrects the event's time by
    them. ``first`` tells of the event whose message id this one uses.
    """

    index: int
    message_id: str | None
    code: str
    reason: str
    payload: Any
    at: int | None = None
    sent_at: int | None = None
    first: dict[str, Any] | None = None
