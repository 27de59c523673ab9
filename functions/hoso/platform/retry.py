"""When a call over HTTP is tried again, and when it is given up (reliability R41, R45; connectors, section 0.2)."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import NamedTuple

from hoso.model.time import DAY_MS, HOUR_MS, SECOND_MS

BASE_MS = 5 * SECOND_MS
CAP_MS = HOUR_MS
LONGEST_WAIT_MS = 11 * HOUR_MS
"""A queue hides a message for at most twelve hours."""


QUEUE_KEEPS_MS = 84 * HOUR_MS
"""After this everything is given up: the queue forgets a message after four days, and nothing may end unseen."""


class Meaning(Enum):
    """What an HTTP status says about a call."""

    DELIVERED = "delivered"
    RETRY = "retry"
    THROTTLED = "throttled"
    REFUSED = "refused"
    UNAUTHORISED = "unauthorised"
    GONE = "gone"


class Window(NamedTuple):
    """A call is given up only when both are used up: the time since the first try, and the tries."""

    length_ms: int
    least_tries: int


WEBHOOK = Window(3 * DAY_MS, 8)
LOOK_UP = Window(3 * DAY_MS, 8)
EMAIL = Window(DAY_MS, 8)


def meaning(status: int) -> Meaning:
    """The class of an answer: 2xx; 408, 425, 5xx once more; 429 later; 410 never again; all others are refusals."""
    if 200 <= status < 300:
        return Meaning.DELIVERED
    if status == 429:
        return Meaning.THROTTLED
    if status in (408, 425) or status >= 500:
        return Meaning.RETRY
    if status == 410:
        return Meaning.GONE
    return Meaning.UNAUTHORISED if status in (401, 403) else Meaning.REFUSED


def retry_after_ms(text: str | None, now: int) -> int | None:
    """The wait that a ``Retry-After`` header asks for (seconds or an HTTP date), None when it asks for none.

    >>> retry_after_ms("120", 0), retry_after_ms("soon", 0)
    (120000, None)
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]) * SECOND_MS, LONGEST_WAIT_MS)
    try:
        moment = parsedate_to_datetime(text)
        return min(max(int(moment.timestamp() * 1_000) - now, 0), LONGEST_WAIT_MS)
    except (ValueError, TypeError, OverflowError):
        return None


def delay_ms(tries: int, asked_ms: int | None, uniform: Callable[[float, float], float]) -> int:
    """How long to wait after so many tries: full jitter up to a doubling bound, never less than was asked for."""
    bound = min(CAP_MS, BASE_MS * 2 ** min(tries, 20))
    return max(int(uniform(0, bound)), asked_ms or 0, SECOND_MS)


def is_over(window: Window, first_at: int, tries: int, now: int) -> bool:
    """Whether to give up."""
    if now - first_at >= QUEUE_KEEPS_MS:
        return True
    return tries >= window.least_tries and now - first_at >= window.length_ms
