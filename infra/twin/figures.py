"""CloudWatch's metrics on the laptop: what functions print in embedded metric format, added up from their logs."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

_MARK = b'"_aws"'

Totals = dict[str, dict[str, Any]]


class Figures:
    """Totals of all counters since the data folder was made; each look reads only what the logs grew by."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._read: dict[Path, int] = {}
        self._totals: Totals = {}
        self._lock = threading.Lock()

    def totals(self) -> Totals:
        """Per counter its ``total``, and its parts by each dimension: ``{"refused": {"total": 3, "code": {…}}}``."""
        with self._lock:
            for file in sorted(self._logs.glob("*.log")):
                self._follow(file)
            return json.loads(json.dumps(self._totals))

    def _follow(self, file: Path) -> None:
        with file.open("rb") as stream:
            stream.seek(self._read.get(file, 0))
            for line in stream:
                if not line.endswith(b"\n"):
                    return  # still being written
                self._read[file] = self._read.get(file, 0) + len(line)
                if _MARK in line:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said: dict[str, Any] = json.loads(line)
            directives: list[dict[str, Any]] = said["_aws"]["CloudWatchMetrics"]
        except (ValueError, KeyError, TypeError):
            return
        for directive in directives:
            for metric in directive["Metrics"]:
                held = self._totals.setdefault(metric["Name"], {"total": 0})
                count = said[metric["Name"]]
                held["total"] += count
                for dimension in (entry for entry in directive["Dimensions"] if entry):
                    by = held.setdefault(dimension[0], {})
                    value = str(said[dimension[0]])
                    by[value] = by.get(value, 0) + count
