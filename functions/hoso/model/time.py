"""Time is an integer of UTC milliseconds everywhere inside; text only at the edges."""

from __future__ import annotations

from datetime import UTC, datetime

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

EARLIEST_MS = 946_684_800_000
"""2000-01-01: an event stamped earlier is a bad row (reliability R7)."""


def parse_instant(text: object) -> int | None:
    """Milliseconds of an ISO 8601 date-time, or None when it is not one.

    Accepts ``Z`` and numeric offsets, no fraction up to nanoseconds (cut to milliseconds), ``T`` or a blank between
    date and time; no zone means UTC (tracking API, section 9).

    >>> parse_instant("2026-11-22T14:33:55.682Z")
    1795358035682
    >>> parse_instant("yesterday") is None
    True
    """
    if not isinstance(text, str):
        return None
    try:
        # the form of JavaScript's clocks; the events of a request, and requests of one time, share their minutes
        return _MINUTES[text[:17]] + _SECONDS[text[17:20]] + _MILLISECONDS[text[20:]]
    except KeyError:
        instant = _parse(text)
    if instant is not None and text[20:] in _MILLISECONDS:  # in UTC, so that the minute is that of the text
        if len(_MINUTES) >= _MOST_MINUTES:
            _MINUTES.clear()
        _MINUTES[text[:17]] = instant // MINUTE_MS * MINUTE_MS
    return instant


def _parse(text: str) -> int | None:
    if not 16 <= len(text) <= 40 or text[4] != "-" or text[10] not in "T ":
        return None
    try:
        moment = _read(text if len(text) < 28 else _cut_fraction(text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
        # by its parts: a division of timedeltas takes half as long as the whole parsing
        return since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
    except (ValueError, OverflowError):
        return None


def format_instant(instant_ms: int) -> str:
    """ISO 8601 with milliseconds and ``Z``.

    >>> format_instant(1795358035682)
    '2026-11-22T14:33:55.682Z'
    """
    moment = datetime.fromtimestamp(instant_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1_000:03d}Z"


_MOST_MINUTES = 4_096
_MINUTES: dict[str, int] = {}
"""Minutes that were parsed, as ``2026-11-22T14:33:``."""

_SECONDS = {f"{second:02d}.": second * SECOND_MS for second in range(60)}
_MILLISECONDS = {f"{number:03d}Z": number for number in range(1_000)}
_read = datetime.fromisoformat
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _cut_fraction(text: str) -> str:
    """Cut a fraction longer than microseconds: ``fromisoformat`` of Python 3.11 refuses nanoseconds."""
    dot = text.find(".", 19)
    if dot < 0:
        return text
    end = dot + 1
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[: min(end, dot + 7)] + text[end:]
