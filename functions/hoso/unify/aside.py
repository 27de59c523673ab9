"""What the consumer keeps aside: rows for the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoso.model.bad_row import BadRow
from hoso.model.record import Event
from hoso.unify.intake import Delivery

DUPLICATE = "duplicate"
"""Code, and stage, of an event that uses the message id of another one."""
FLOOD = "flood"
"""Stage of events of people who are over the cap on new profiles."""
FLOODED = "too_many_new_profiles"
_REASONS = {
    "bad_record": "not a packed record",
    "record_too_large": "the packed record fits no timeline page",
    "bad_message_id": "the message id is no text of 1 to 1,024 characters",
    "bad_timestamp": "the time is no instant between the year 2000 and one day after the receipt",
    "bad_event_name": "the event name is no text of 1 to 1,024 characters",
    "bad_body": "the event is no object",
    "nested_too_deep": "the event has more levels than the platform keeps",
    "bad_identifiers": "the identifiers are no pairs of text",
    "contradictory_identifiers": "one event names two values of an identifier of which a person has one",
    "cannot_be_folded": "the event cannot be applied to a profile",
    DUPLICATE: "another event with this messageId and other content was stored before",
    FLOODED: "the workspace has got more new people in this hour than its cap allows",
    "item_too_large": "the profile would grow over the size that the table takes",
}

Quarantine = Callable[[str, str, str, int, Sequence[BadRow]], None]
"""Keeps rows: workspace ("" when it could not be read), stage, source, time of receipt (UTC ms). Safe to repeat."""


def event_row(
    position: int, event: Event, code: str, delivery: Delivery, first: dict[str, Any] | None = None
) -> BadRow:
    """The row of an event. What came straight from the stream may have a message id of any type; an event that no
    JSON writer takes is kept as its whole record. ``first`` tells of the event whose message id it uses."""
    message_id: Any = event.message_id
    name = message_id if isinstance(message_id, str) else None
    payload = delivery.blob if code == "nested_too_deep" else event.body
    received_at = delivery.record.received_at
    sent_at = _sent_at(event, received_at)
    return BadRow(position, name, code, _REASONS.get(code, code), payload, at=received_at, sent_at=sent_at, first=first)


def _sent_at(event: Event, received_at: int) -> int | None:
    """The client's clock at the sending, as it follows from the corrected time: a replay corrects by it again."""
    ts: Any = event.ts
    original: Any = event.original_ts
    return received_at - (ts - original) if type(ts) is int and type(original) is int else None


def record_row(blob: bytes, code: str) -> BadRow:
    """The row of a record that is none."""
    return BadRow(0, None, code, _REASONS.get(code, code), blob)
