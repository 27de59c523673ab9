"""The catalogue of a workspace, read from the summaries that the archive function writes.

``catalogue/<ws>/day=…/<range>.json`` are put once under names that are functions of the stream's range. A day that is
over is put together once and kept (``catalogue-days/<ws>/<day>.json``) with a hash of the names that went in: when a
replay adds a summary to an old day, the hash differs and the day is put together again. What is kept is a function of
the summaries, so two readers that write it at once do no harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import orjson

from hoso.collect.catalogue import Catalogue, add_day, merge_day, outermost, summaries_of
from hoso.model.errors import NotFound
from hoso.model.time import format_instant
from hoso.platform.clock import Clock
from hoso.platform.ids import content_id
from hoso.platform.objects import Objects

FRESH_MS = 10_000
"""How old the catalogue may be that a warm process shows."""

_AT_ONCE = 8
_ROOT = "catalogue"
Json = dict[str, Any]


class CatalogueStore:
    """The catalogue of one workspace."""

    def __init__(self, objects: Objects, workspace: str, clock: Clock) -> None:
        self._objects = objects
        self._workspace = workspace
        self._clock = clock
        self._kept: tuple[int, Catalogue] | None = None

    def read(self) -> Catalogue:
        """Everything seen up to now; at most ``FRESH_MS`` old. Raises ``Transient``."""
        now = self._clock()
        if self._kept is None or not 0 <= now - self._kept[0] < FRESH_MS:
            total = Catalogue()
            today = format_instant(now)[:10]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for day in pool.map(partial(self._day, today), self._days()):
                    add_day(total, day)
            self._kept = (now, total)
        return self._kept[1]

    def _days(self) -> list[str]:
        """Days of receipt that have summaries, oldest first."""
        root = f"{_ROOT}/{self._workspace}/day="
        return [
            folder.removeprefix(root).rstrip("/") for folder in self._objects.folders(f"{_ROOT}/{self._workspace}/")
        ]

    def _day(self, today: str, day: str) -> Json:
        names = outermost(self._objects.keys(summaries_of(self._workspace, day)))
        if day >= today:
            return merge_day(self._summaries(names)).body()
        held, what = f"catalogue-days/{self._workspace}/{day}.json", content_id(*names)
        try:
            kept: Json = orjson.loads(self._objects.get(held))
            if kept["of"] == what:
                return kept["day"]
        except NotFound:
            pass
        merged = merge_day(self._summaries(names)).body()
        self._objects.put(held, orjson.dumps({"of": what, "day": merged}), "application/json")
        return merged

    def _summaries(self, names: list[str]) -> Iterable[Json]:
        """The summaries, read several at once and handed on one after the other."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, len(names), _AT_ONCE):
                yield from map(orjson.loads, pool.map(self._objects.get, names[first : first + _AT_ONCE]))


def put_together(objects: Objects, workspace: str, clock: Clock) -> None:
    """Put the days together that are over, as the first reader would, so that nobody waits for it. Safe to repeat."""
    CatalogueStore(objects, workspace, clock).read()


def brief(name: str, event: Json) -> Json:
    """An event as a list shows it; times are UTC ms."""
    return {
        "event": name,
        "count": event["count"],
        "first_seen": event["first"],
        "last_seen": event["last"],
        "sources": event["sources"],
        "properties": len(event["properties"]),
        "violations": sum(event["reasons"].values()),
    }


def full(name: str, event: Json) -> Json:
    """An event with its properties, by path, and what its tracking plan found fault with."""
    properties = [
        {
            "path": path,
            "types": told["types"],
            "count": told["count"],
            "first_seen": told["first"],
            "last_seen": told["last"],
            "sources": told["sources"],
            "shapes": sorted(told["shapes"]),
            "values": told["values"],
        }
        for path, told in sorted(event["properties"].items())
    ]
    violations = [{"reason": reason, "count": many} for reason, many in sorted(event["reasons"].items())]
    return {**brief(name, event), "properties": properties, "violations": violations}
