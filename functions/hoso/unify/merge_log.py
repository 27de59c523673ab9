"""The merge log of a person: who became one or parted, when, by which evidence, and how both were before (R29)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hoso.model.time import format_instant
from hoso.platform.dynamo import Item, Table

MOST_ENTRIES = 2_000
"""Entries read for one answer; a person may have no more merges than its cap of identifiers."""

Json = dict[str, Any]


class Entry(NamedTuple):
    """One entry; ``id`` names it for an undo."""

    id: str
    item: Item

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in the log: when it was written, then by the time of its event."""
        pid, _, name = self.id.partition("~")
        return self.item["at"], f"{name}~{pid}"

    def as_json(self) -> Json:
        """The entry as the API shows it. ``effect``: merge, or split."""
        item = self.item
        after: dict[str, list[str]] = item["after"]
        (pid,) = after
        return {
            "id": self.id,
            "profile_id": pid,
            "effect": "split" if any(set(held) - set(after[pid]) for held in item["before"].values()) else "merge",
            "rule": item["rule"],
            "message_id": item["event"] if item["rule"] in ("link", "alias") else None,
            "record": None if item["rule"] in ("link", "alias") else item["event"],
            "source": item.get("source"),
            "by": item.get("by"),
            "at": format_instant(item["at"]),
            "event_time": format_instant(_event_time(self.id)),
            "links": item["links"],
            "before": item["before"],
            "after": after,
        }


def entries(table: Table, workspace: str, pid: str) -> list[Entry]:
    """All entries of a person and of everybody who ended in it, the newest first."""
    seen: set[str] = set()
    queue = [pid]
    found: list[Entry] = []
    while queue and len(found) < MOST_ENTRIES:
        here = queue.pop()
        if here in seen:
            continue
        seen.add(here)
        for item in table.query_all(f"{workspace}#P#{here}", "M#"):
            found.append(Entry(f"{here}~{item['sk'].removeprefix('M#')}", item))
            queue += [other for other in item["before"] if other not in seen]
    return sorted(found, key=lambda entry: entry.place, reverse=True)


def entry(table: Table, workspace: str, entry_id: str) -> Entry | None:
    """One entry by its id."""
    pid, _, name = entry_id.partition("~")
    item = table.get((f"{workspace}#P#{pid}", f"M#{name}"), consistent=True)
    return None if item is None else Entry(entry_id, item)


def without(item: Item, gone: Callable[[str], bool]) -> Item:
    """An entry without what it says of identifiers (``type:value``) that are ``gone``."""
    images = {
        name: {pid: left for pid, held in item[name].items() if (left := [text for text in held if not gone(text)])}
        for name in ("before", "after")
    }
    return {**item, **images, "links": [link for link in item["links"] if not any(map(gone, link))]}


def _event_time(entry_id: str) -> int:
    return int(entry_id.partition("~")[2].split("#")[0])
