"""Lists and suppression lists of people: the one way in which an identifier gets on one, off it, and is found on it.

=================================  ==========  ====================================================================
pk (``profiles`` table)            sk          what
=================================  ==========  ====================================================================
``<ws>#L#<name>#<shard 0..15>``    ``<fid>``   ``v``, ``t`` type of the identifier (empty: it was named by profile id),
                                               ``at`` since when, ``why``: the identifier with this hash is on the list
=================================  ==========  ====================================================================

The entry, the copy that the identifier's fragment carries (``hoso.unify.listings``) and the version that guards
evaluations are one transaction. No value is stored: the hash of an identifier is its key.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import NamedTuple

from hoso.model.errors import Conflict, InvalidInput, Transient
from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import ABSENT, Check, Delete, Item, Key, Put, Update, Write, at_version
from hoso.segment.live import LISTS, SUPPRESSED
from hoso.unify.fragments import Fragment, cold_item, cold_of
from hoso.unify.listings import Listing, put
from hoso.unify.lookup import Asked
from hoso.unify.people import ATTEMPTS, People
from hoso.unify.profiles import Profile
from hoso.unify.store import ProfileStore, cold_key, hot_key

SHARDS = 16
AT_ONCE = 8
"""Identifiers that one request works on at the same time."""
_BASE_DELAY_S = 0.03
_PID = re.compile(r"p_[A-Za-z0-9_-]{22}")

Place = Sequence[int | str]
"""A shard, and the fragment id after which to go on in it. It is JSON."""
Expected = Mapping[str, Mapping[str, Listing]]
"""Fragment id → name of a list → what must be so."""


class Entry(NamedTuple):
    """One identifier on a list: its hash, its type (empty: named by profile id), since when (UTC ms), why."""

    fid: str
    type: str
    at: int
    reason: str


class EntryPage(NamedTuple):
    """Entries, and where the next page begins; None at the end."""

    items: list[Entry]
    next: Place | None


class Listed:
    """The lists of all workspaces."""

    def __init__(self, store: ProfileStore, people: People, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._people = people
        self._sleep = sleep

    def change(self, workspace: str, name: str, asked: Sequence[Asked], fresh: Listing) -> int:
        """Put identifiers on a list or take them off, each with its person's segments; how many that changed.

        Safe to repeat, also after a part of it: segments are evaluated again for what was done already.

        Raises:
            InvalidInput: something is no profile id, or an identifier is on too many lists.
            Transient: others kept changing a person.
        """
        wanted = {self.fid_of(workspace, one): one for one in asked}

        def one(fid: str) -> bool:
            return self._one(workspace, name, fid, wanted[fid], fresh)

        if len(wanted) == 1:
            return sum(map(one, wanted))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return sum(pool.map(one, wanted))

    def mirror(self, workspace: str, name: str, identifier: Identifier, fresh: Listing) -> bool:
        """As ``change`` for one identifier whose entry is kept by somebody else (an address that a channel told of)."""
        return self._one(
            workspace,
            name,
            self._store.fragment_id(workspace, identifier),
            Asked(identifier, None),
            fresh,
            indexed=False,
        )

    def page(self, workspace: str, name: str, limit: int, start: Place | None = None) -> EntryPage:
        """At most ``limit`` entries of a list after ``start``, in an order that stays the same."""
        shard, after = (int(start[0]), str(start[1])) if start else (0, "")
        found: list[Entry] = []
        while shard < SHARDS:
            pk = f"{workspace}#L#{name}#{shard}"
            page = self._store.profiles.query(
                pk, limit=limit - len(found), start=(pk, after) if after else None, consistent=True
            )
            found += [Entry(item["sk"], item["t"], item["at"], item["why"]) for item in page.items]
            shard, after = (shard + 1, "") if page.start is None else (shard, page.start[1])
            if len(found) >= limit:
                return EntryPage(found, [shard, after] if shard < SHARDS else None)
        return EntryPage(found, None)

    def all(self, workspace: str, name: str) -> Iterator[Entry]:
        """Every entry of a list."""
        start: Place | None = None
        while True:
            page = self.page(workspace, name, 1_000, start)
            yield from page.items
            start = page.next
            if start is None:
                return

    def owners(self, workspace: str, entries: Sequence[Entry]) -> list[str]:
        """The profile ids to whom these entries belong now, known or not, in their order."""
        keys: dict[str, Key] = {
            entry.fid: (f"{workspace}#I#{entry.type}#{entry.fid}", "I") for entry in entries if entry.type
        }
        items = self._store.read(keys.values(), consistent=False)
        pids: list[str] = []
        for entry in entries:
            if entry.type:
                pids.append(items.get(keys[entry.fid], {}).get("p") or f"p_{entry.fid}")
            else:
                pids.append(self._people.load_person(workspace, f"p_{entry.fid}").pid)
        return pids

    def repair(self, profile: Profile, expected: Expected, since: int) -> int:
        """Make the copies that a person's fragments carry what the entries say, in place and in the table.

        ``expected`` was read at the instant ``since``: copies that changed later are right already. Answers how many
        were wrong: more than none only after a restore from a backup, or by a fault.
        """
        wrong = 0
        for fragment in profile.fragments:
            entries = expected.get(fragment.fid, {})
            held = fragment.cold.listed
            for name in sorted(entries.keys() | held.keys()):
                own, told = held.get(name), entries.get(name)
                right = (own is not None and own.on) == (told is not None)
                if right or any(one is not None and one.at >= since for one in (own, told)):
                    continue
                self._repair(profile.workspace, fragment, name, told or Listing(on=False, at=since, reason="repair"))
                wrong += 1
        return wrong

    def fid_of(self, workspace: str, asked: Asked) -> str:
        """The fragment that carries what is listed. A profile id stands for the identifier that it was made of."""
        if asked.identifier is not None:
            return self._store.fragment_id(workspace, asked.identifier)
        if _PID.fullmatch(asked.pid or "") is None:
            raise InvalidInput("this is no profile id", hint="a profile id is p_ and 22 characters")
        return (asked.pid or "").removeprefix("p_")

    def _one(self, workspace: str, name: str, fid: str, asked: Asked, fresh: Listing, *, indexed: bool = True) -> bool:
        kind = asked.identifier.type if asked.identifier else ""
        failures = 0
        while True:
            try:
                changed = self._put(workspace, name, fid, kind, fresh, indexed=indexed)
                break
            except Conflict:
                failures += 1
                if failures >= ATTEMPTS:
                    raise Transient(f"the person kept changing in {ATTEMPTS} tries") from None
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**failures))  # noqa: S311  jitter needs no secrecy
        keys = self._people.book(workspace).rules.affected((), (LISTS, SUPPRESSED))
        if keys:
            pid = f"p_{fid}" if asked.identifier is None else self._people.profile_id(workspace, asked.identifier)
            self._people.apply_verdicts(
                workspace,
                pid,
                lambda profile: self._people.verdicts(profile, fresh.at, keys),
                as_of=fresh.at,
                kind="list",
            )
        return changed

    def _put(self, workspace: str, name: str, fid: str, kind: str, fresh: Listing, *, indexed: bool) -> bool:
        hot, cold, entry = hot_key(workspace, fid), cold_key(workspace, fid), entry_key(workspace, name, fid)
        items = self._store.read([hot, cold, entry] if indexed else [hot, cold], consistent=True)
        state = cold_of(items.get(cold))
        own, held = state.listed.get(name), items.get(entry)
        same = own is not None and own.on == fresh.on and (not indexed or (held is not None) == fresh.on)
        if same or (own is None and held is None and not fresh.on):
            return False
        if not put(state.listed, name, fresh):
            return False
        writes = self._copied(workspace, fid, items)
        before, state.version = state.version, state.version + 1
        writes.append(Put(self._store.profiles, cold_item(state, cold[0]), at_version(before)))
        if indexed and fresh.on:
            body: Item = {"pk": entry[0], "sk": entry[1], "t": kind, "at": fresh.at, "why": fresh.reason}
            version = held["v"] if held else 0
            writes.append(Put(self._store.profiles, {**body, "v": version + 1}, at_version(version)))
        elif held is not None:
            writes.append(Delete(self._store.profiles, entry, at_version(held["v"])))
        self._store.commit(writes)
        return True

    def _copied(self, workspace: str, fid: str, items: Mapping[Key, Item]) -> list[Write]:
        """Raise the version that guards whoever evaluates with the copy (data model, invariant 1)."""
        hot = hot_key(workspace, fid)
        held = items.get(hot)
        if held is None:
            return [Check(self._store.profiles, hot, ABSENT)]
        return [Update(self._store.profiles, hot, add={"v": 1}, condition=at_version(held["v"]))]

    def _repair(self, workspace: str, fragment: Fragment, name: str, right: Listing) -> None:
        """Set one copy; whoever changed it meanwhile was right."""
        hot, cold = hot_key(workspace, fragment.fid), cold_key(workspace, fragment.fid)
        for _ in range(ATTEMPTS):
            items = self._store.read([hot, cold], consistent=True)
            state = cold_of(items.get(cold))
            if state.listed.get(name) != fragment.cold.listed.get(name):
                break
            put(state.listed, name, right, force=True)
            before, state.version = state.version, state.version + 1
            try:
                self._store.commit(
                    [
                        *self._copied(workspace, fragment.fid, items),
                        Put(self._store.profiles, cold_item(state, cold[0]), at_version(before)),
                    ]
                )
            except Conflict:
                continue
            put(fragment.cold.listed, name, right, force=True)
            break


def entry_key(workspace: str, name: str, fid: str) -> Key:
    """Key of an identifier's entry in a list."""
    shard = blake2b(fid.encode(), digest_size=1).digest()[0] % SHARDS
    return f"{workspace}#L#{name}#{shard}", fid
