"""The breaker of a destination: after repeated faults nobody calls it for a while, then one call tries (R43).

Its state is shared by all running functions through the store; here are the rules alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hoso.model.time import MINUTE_MS, SECOND_MS

THRESHOLD = 5
FIRST_PAUSE_MS = 30 * SECOND_MS
LONGEST_PAUSE_MS = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Breaker:
    """``failures`` in a row; until when it is open (UTC ms); ``disabled`` says why nothing is sent any more.

    ``revision`` is the destination's: a newer revision of the destination begins with a fresh breaker.
    """

    revision: int
    version: int = 0
    failures: int = 0
    open_until: int = 0
    disabled: str = ""

    def wait_ms(self, now: int) -> int:
        """How long no call is allowed; 0: one may be made."""
        return max(self.open_until - now, 0)

    @property
    def is_half_open(self) -> bool:
        """Whether the next call is a probe: only one caller may make it."""
        return self.failures >= THRESHOLD

    def probing(self, now: int) -> Breaker:
        """The state while one caller tries: closed to all others for the shortest pause."""
        return replace(self, open_until=now + FIRST_PAUSE_MS)

    def failed(self, now: int) -> Breaker:
        """After a fault; from the threshold on open, twice as long each time."""
        failures = self.failures + 1
        if failures < THRESHOLD:
            return replace(self, failures=failures)
        pause_ms = min(FIRST_PAUSE_MS * 2 ** min(failures - THRESHOLD, 20), LONGEST_PAUSE_MS)
        return replace(self, failures=failures, open_until=now + pause_ms)

    def throttled(self, now: int, wait_ms: int) -> Breaker:
        """After "too many requests": no fault, but nobody calls until then."""
        return replace(self, open_until=max(self.open_until, now + min(wait_ms, LONGEST_PAUSE_MS)))

    def succeeded(self) -> Breaker:
        """After an answer."""
        return replace(self, failures=0, open_until=0)

    def gone(self, reason: str) -> Breaker:
        """The destination said that it is no more."""
        return replace(self, disabled=reason)
