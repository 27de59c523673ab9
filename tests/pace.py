"""How fast this machine is just now, for tests that hold a limit in seconds."""

from __future__ import annotations

import time

IDLE_S = 0.1
"""What the loop below takes on an idle machine of the usual kind, at most."""


def slowness() -> float:
    """How many times slower than an idle machine this one is, by the clock on the wall; at least 1."""
    started = time.perf_counter()
    sum(range(5_000_000))
    return max(1.0, (time.perf_counter() - started) / IDLE_S)
