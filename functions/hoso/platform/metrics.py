"""Counters as CloudWatch metrics: one line of embedded metric format (EMF) per invocation, never one per event.

A handler counts while it works and flushes once at its end::

    @metered
    def handler(event, context):
        meter().add("accepted", 12)
        meter().add("refused", 1, code="missing_id")

A counter has at most one dimension of few, fixed values, since each combination is billed every month (reliability
O6); its total over all values is a metric too, which alarms use. Values must be codes and names of the platform or
its operators, never what a customer sent. A metric that fails costs no event (R56).

Names in use are listed in ``docs/data-model.md``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, wraps
from typing import Any, TypeVar

import orjson

from hoso.platform.clock import system_clock

MAX_VALUES = 8
"""Values of a dimension in one flush; what is over it counts as ``other``."""

_OTHER = "other"
R = TypeVar("R")


class Meter:
    """Adds up counters and writes them out. ``write`` takes a line without its end."""

    def __init__(self, stage: str, write: Callable[[str], object]) -> None:
        self._namespace = f"Hoso/{stage}"
        self._write = write
        self._counts: dict[tuple[str, str, str], int] = {}

    def add(self, name: str, count: int = 1, **dimension: str) -> None:
        """Count. ``dimension`` is none or one, such as ``code="missing_id"``; zero is not counted."""
        if not count:
            return
        counts = self._counts
        if not dimension:  # most of them
            counts[name, "", ""] = counts.get((name, "", ""), 0) + count
            return
        with suppress(Exception):
            ((kind, value),) = dimension.items()
            if (name, kind, value) not in counts and self._values(name) >= MAX_VALUES:
                value = _OTHER
            counts[name, kind, value] = counts.get((name, kind, value), 0) + count

    def flush(self, now: int) -> None:
        """Write what was counted since the last flush: all plain counters in one line, one line per further value."""
        with suppress(Exception):
            counts, self._counts = self._counts, {}
            plain = {name: count for (name, kind, _), count in counts.items() if not kind}
            if plain:
                self._write(self._line(now, plain))
            for (name, kind, value), count in counts.items():
                if kind:
                    self._write(self._line(now, {name: count}, kind, value))

    def _values(self, name: str) -> int:
        return sum(1 for held, kind, _ in self._counts if held == name and kind)

    def _line(self, now: int, counts: Mapping[str, int], kind: str = "", value: str = "") -> str:
        directive: dict[str, Any] = {
            "Namespace": self._namespace,
            "Dimensions": [[], [kind]] if kind else [[]],
            "Metrics": [{"Name": name, "Unit": "Count"} for name in counts],
        }
        line: dict[str, Any] = {"_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]}, **counts}
        if kind:
            line[kind] = value
        return orjson.dumps(line).decode()


@cache
def meter() -> Meter:
    """The meter of this process. It prints: the platform takes metrics from what a function prints."""
    return Meter(os.environ.get("HOSO_STAGE", "dev"), _print)


def metered(handler: Callable[[dict[str, Any], Any], R]) -> Callable[[dict[str, Any], Any], R]:
    """A Lambda handler whose counts are written out at the end of each invocation, also of one that fails."""

    @wraps(handler)
    def counted(event: dict[str, Any], context: Any) -> R:
        try:
            return handler(event, context)
        finally:
            meter().flush(system_clock())

    return counted


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
