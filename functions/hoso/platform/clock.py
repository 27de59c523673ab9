"""The one place that reads the time. Everything else is given a number."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], int]
"""A function that answers the present instant in UTC milliseconds."""


def system_clock() -> int:
    """Now, by the machine's clock."""
    return time.time_ns() // 1_000_000


def clock_from(offset_file: str) -> Clock:
    """The system clock, moved by the offset (ms) written in a file; the twin moves time with it.

    An empty name gives the plain system clock.
    """
    if not offset_file:
        return system_clock
    path = Path(offset_file)

    def moved() -> int:
        try:
            offset_ms = int(path.read_text() or 0)
        except FileNotFoundError:
            offset_ms = 0
        return system_clock() + offset_ms

    return moved
