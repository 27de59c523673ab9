"""What is left of an erased person beside its fragments, identifiers and person items (decision 0082): logs, records,
pages, lists, what went out. Found by keyed hashes alone; all of it may be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hoso.model.errors import Transient
from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import Item, Key, Put, Refused, Update, at_version, transact
from hoso.unify import merge_log, pages
from hoso.unify.erasures import RUNNING
from hoso.unify.identities import Identities
from hoso.unify.identity_items import read_identifier
from hoso.unify.listed import entry_key
from hoso.unify.store import ProfileStore, hot_key, person_key

_PAIRS = ("cut", "apart")
_TRIES = 5

Gone = Callable[[str], bool]


class Leftovers:
    """Removes it; ``held`` is the document of the erasure (``hoso.unify.erasures``)."""

    def __init__(self, store: ProfileStore, identities: Identities, client: Any, workspace: str) -> None:
        self._store = store
        self._identities = identities
        self._client = client
        self._workspace = workspace

    def logs(self, held: Item) -> None:
        """Remove the merge log of the person, and what those of others, their cuts and the operators' records behind
        say of it. Raises ``Transient`` when others kept changing them."""
        table, mine, keys = self._store.profiles, {fid for _, fid in held["members"]}, self._identities.keys

        def gone(text: str) -> bool:
            return keys.fragment(read_identifier(text)) in mine

        for fid in sorted(mine):
            entries = list(table.query_all(f"{self._workspace}#P#p_{fid}", "M#", consistent=True))
            # until identity had forgotten, entries told of before
            old = [
                one
                for one in entries
                if one["at"] <= held["forgotten"] or int(one["sk"].split("#")[1]) <= held["until"]
            ]
            self._records(old, gone)
            table.batch_write(deletes=[(one["pk"], one["sk"]) for one in old])
        for pid in held["near"]:
            entries = list(table.query_all(f"{self._workspace}#P#{pid}", "M#", consistent=True))
            named = [one for one in entries if merge_log.without(one, gone) != one]
            self._records(named, gone)
            table.batch_write([merge_log.without(one, gone) for one in named if one["at"] <= held["forgotten"]])
            for _ in range(_TRIES):
                try:
                    self._cuts(pid, gone)
                    break
                except Refused:
                    continue
            else:
                raise Transient("others kept changing somebody who was parted from the person")

    def pages(self, held: Item, fid: str, now: int, before: int) -> None:
        """Remove the timeline pages of before, and those of before this time that no commit will name any more."""
        pk, table = hot_key(self._workspace, fid)[0], self._store.profiles
        stored = list(table.query_all(pk, pages.PREFIX, reverse=True, consistent=True))
        newest = (table.get((pk, "H"), consistent=True) or {}).get("g")
        named = {page["sk"] for page in pages.linked(stored, newest)}
        last = min(now, max(held["until"], before))
        table.batch_write(deletes=[(pk, one["sk"]) for one in stored if one["sk"] not in named and one["at"] <= last])

    def lists(self, held: Item) -> None:
        """Take the identifiers off the lists of people that they were on."""
        table = self._store.profiles
        entries = [entry_key(self._workspace, name, fid) for name, fid in held["lists"]]
        found = table.batch_get(entries, consistent=True) if entries else {}
        table.batch_write(deletes=[key for key, item in found.items() if item["at"] <= held["until"]])

    def sent(self, held: Item) -> tuple[list[str], list[Key]]:
        """Remove announcements that wait. Answers which activations told somebody of the person, and the keys of what
        says so, which go when that is noted."""
        until, outbox, delivery = held["until"], self._store.outbox, self._store.delivery
        gone: list[Key] = []
        told = set[str](held["told"])
        for _, fid in held["members"]:
            rows = list(outbox.query_all(f"{self._workspace}#p_{fid}", consistent=True))
            outbox.batch_write(deletes=[(row["pk"], row["sk"]) for row in rows if row["at"] <= until])
            for item in delivery.query_all(f"{self._workspace}#A#p_{fid}", consistent=True):
                if item["at"] <= until:
                    gone.append((item["pk"], item["sk"]))
                    told |= {item["activation"] or item["destination"]} if item["status"] == "sent" else set()
            for item in self._caps(fid, until) if held["state"] == RUNNING else ():
                gone.append((item["pk"], item["sk"]))
                told |= {item["sk"].removeprefix("L#")} if item["sk"].startswith("L#") else set()
        return sorted(told), gone

    def remove(self, keys: list[Key]) -> None:
        """Remove deliveries and what was counted of them."""
        self._store.delivery.batch_write(deletes=keys)

    def _caps(self, fid: str, until: int) -> Iterator[Item]:
        """What was noted of sends to a person and of lists of destinations that it is on."""
        for item in self._store.delivery.query_all(f"{self._workspace}#K#{fid}", consistent=True):
            if all(entry[0] <= until for entry in item.get("log", ())):
                yield item

    def _records(self, entries: list[Item], gone: Gone) -> None:
        """Take pairs with these identifiers out of the operators' records that entries of a merge log rest on."""
        keys = {self._identities.keys.record_key(one["event"]) for one in entries if one.get("by")}
        for item in self._store.read(keys, consistent=True).values():
            less = {name: [two for two in item[name] if not any(map(gone, two))] for name in _PAIRS if name in item}
            if any(less[name] != item[name] for name in less):
                self._store.profiles.put({**item, **less, "v": item["v"] + 1}, at_version(item["v"]))

    def _cuts(self, pid: str, gone: Gone) -> None:
        """Take cuts and apart pairs with these identifiers from those of somebody else. Raises ``Refused``."""
        table, who = self._store.profiles, person_key(self._workspace, pid)
        person = table.get(who, consistent=True) or {}
        names = [self._identities.keys.identifier_key(Identifier(*one)) for one in person.get("ids", ())]
        for item in self._store.read(names, consistent=True).values():
            less = {name: [text for text in item[name] if not gone(text)] for name in ("ct", "ap") if name in item}
            if any(less[name] != item[name] for name in less):
                kept = {name: value for name, value in item.items() if name not in less}
                kept |= {name: value for name, value in less.items() if value}
                transact(
                    self._client,
                    [
                        Put(table, kept | {"v": item["v"] + 1}, at_version(item["v"])),
                        Update(table, who, add={"v": 1}, condition=at_version(person["v"])),
                    ],
                )
                person = {**person, "v": person["v"] + 1}
