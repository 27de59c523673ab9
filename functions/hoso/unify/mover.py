"""Moves events to the fragment in which other identity rules put them (promise 4, decision 0064).

One transaction takes events out of the fragment that they came under and folds them into the other one: both hot and
cold items on the condition of their versions, the pages in which the events are struck out, and the mark on both people
that their segments have to be evaluated. So no event counts twice or not at all at any instant, and whoever reads the
people sees them before or after. An event that moved stays known where it was: the stream may bring it again. Going
back, it counts there again, from the page that still holds it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hoso.model.bad_row import BadRow
from hoso.model.errors import Conflict, Transient
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.model.record import Event, Record, pack
from hoso.platform.clock import Clock
from hoso.platform.dynamo import ABSENT, Check, Item, Put, Refused, Update, Write, at_version
from hoso.unify import dedupe, pages
from hoso.unify.aside import DUPLICATE, Quarantine
from hoso.unify.dedupe import message_hash
from hoso.unify.fragments import Cold, Hot, New, cold_item, cold_of, fold, hot_item, hot_of
from hoso.unify.history import rebuild_meters
from hoso.unify.people import People
from hoso.unify.profiles import person_item, person_of
from hoso.unify.refold import PAGES_AT_ONCE, STORED, Refold, Seen
from hoso.unify.rehub import identifiers_under
from hoso.unify.store import ProfileStore, cold_key, hot_key, person_key

ATTEMPTS = 6
_BASE_DELAY_S = 0.03


class Moved(NamedTuple):
    """Events that went to other fragments, and those that should but cannot: their fragment is older than its
    timeline."""

    events: int
    left: int


@dataclass(slots=True)
class _Going:
    """Events that go to one identifier: per record of a page what goes of it; ``more``: others go too."""

    target: Identifier
    records: list[tuple[Record, list[tuple[int, Event]]]] = field(
        default_factory=list[tuple[Record, list[tuple[int, Event]]]]
    )
    pages: int = 0

    def digests(self) -> set[bytes]:
        """The hashes of the messages."""
        return {message_hash(event.message_id, record.source) for record, events in self.records for _, event in events}


@dataclass(slots=True)
class _Taking:
    """A fragment that takes events in: as read (``item``, ``cold``), and what becomes of it."""

    fid: str
    item: Item | None
    hot: Hot
    held: Item | None
    cold: Cold
    pages: list[Item] = field(default_factory=list[Item])
    changed: list[tuple[Item, Item]] = field(default_factory=list[tuple[Item, Item]])
    cold_changed: bool = False
    marks: set[str] = field(default_factory=set[str])
    aside: list[tuple[New, dict[str, object]]] = field(default_factory=list[tuple[New, "dict[str, object]"]])


class Mover:
    """Moves events between fragments of a workspace."""

    def __init__(
        self,
        store: ProfileStore,
        people: People,
        quarantine: Quarantine,
        clock: Clock,
        keep_days: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._people = people
        self._refold = Refold(store, people)
        self._quarantine = quarantine
        self._clock = clock
        self._keep_days = keep_days
        self._sleep = sleep

    def move(self, workspace: str, fid: str, config: IdentityConfig, until: int) -> Moved:
        """Move all events of a fragment, received before an instant (UTC ms), that stand under another identifier by
        these rules. Safe to repeat.

        Raises:
            Transient: others kept changing one of the fragments, or a dependency is down; what is done is done.
        """
        moved = failures = 0
        while failures < ATTEMPTS:
            items = self._store.read([hot_key(workspace, fid), cold_key(workspace, fid)], consistent=True)
            item = items.get(hot_key(workspace, fid))
            going = self._going(workspace, fid, hot_of(item, ("", "")), config, until) if item else None
            if going is None:
                return Moved(moved, 0)
            try:
                done = self._round(workspace, fid, items, going)
            except Conflict:
                failures += 1
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**failures))  # noqa: S311  jitter needs no secrecy
                continue
            if done is None:
                return Moved(moved, len(going.digests()))
            moved += done
        raise Transient(f"the fragment kept changing in {ATTEMPTS} tries")

    def _going(self, workspace: str, fid: str, hot: Hot, config: IdentityConfig, until: int) -> _Going | None:
        """The events that go to one other identifier, of as many pages as one transaction changes."""
        found: _Going | None = None
        for page in self._store.timeline(workspace, fid, hot.page):
            held = 0
            for _, record, skip in pages.records_in(page):
                if record.received_at >= until:
                    continue
                going: list[tuple[int, Event]] = []
                for position, event in enumerate(record.events):
                    if position in skip:
                        continue
                    first, *rest = identifiers_under(hot.hub, event.ids, event.body, config)
                    if first == hot.hub or (found is not None and first != found.target):
                        continue
                    found = found or _Going(first)
                    going.append((position, event._replace(ids=[list(one) for one in rest])))
                if going and found is not None:
                    found.records.append((record, going))
                    held = 1
            if found is not None:
                found.pages += held
                if found.pages == PAGES_AT_ONCE:
                    break
        return found

    def _round(self, workspace: str, fid: str, items: Mapping[tuple[str, str], Item], going: _Going) -> int | None:
        """One transaction; how many events it moved, None where the fragment cannot be made without them."""
        store = self._store
        hot, cold = hot_of(items[hot_key(workspace, fid)], ("", "")), cold_of(items.get(cold_key(workspace, fid)))
        taking = self._read(workspace, going.target)
        digests = self._take_back(workspace, taking, going) or self._take_in(workspace, taking, going)
        seen = Seen()
        fresh = self._refold.without(workspace, fid, hot, cold, digests, seen, pages.WENT)
        if fresh is None or seen.events != hot.events:
            return None
        before = (hot, items.get(cold_key(workspace, fid)))
        writes = self._refold.writes(workspace, fid, fresh, before, seen)
        writes += self._taken(workspace, taking)
        owners = {hot.owner or f"p_{fid}": (fid, hot.hub)}
        owners.setdefault(taking.hot.owner or f"p_{taking.fid}", (taking.fid, taking.hot.hub))
        writes += [self._unsettled(workspace, pid, *alone) for pid, alone in sorted(owners.items())]
        self._set_aside(workspace, taking)
        if taking.marks:
            store.note_marks(workspace, dict.fromkeys(taking.marks, taking.fid), self._clock())
        store.put_pages(taking.pages)
        store.commit(writes)
        return len(digests)

    def _read(self, workspace: str, target: Identifier) -> _Taking:
        """The fragment that takes events in, with meters of the present rules."""
        fid = self._store.fragment_id(workspace, target)
        keys = hot_key(workspace, fid), cold_key(workspace, fid)
        items = self._store.read(keys, consistent=True)
        item, held = items.get(keys[0]), items.get(keys[1])
        hot, rules = hot_of(item, (target.type, target.value)), self._people.book(workspace).rules
        if hot.rules != rules.version and hot.page is not None and rules.missing(hot.meters):
            hot.meters = rebuild_meters(self._store, workspace, fid, hot.page, rules)
        hot.rules = rules.version
        return _Taking(fid, item, hot, held, cold_of(held))

    def _take_back(self, workspace: str, taking: _Taking, going: _Going) -> set[bytes]:
        """Let events count again that went from here before; answers which they are."""
        wanted = {
            message_hash(event.message_id, record.source): dedupe.content_hash(event)
            for record, events in going.records
            for _, event in events
        }
        back: dict[bytes, New] = {}
        for page in self._store.timeline(workspace, taking.fid, taking.hot.page):
            held = pages.holds(page, set(wanted))
            same = {
                digest
                for digest, new in (pages.find(page, held).items() if held else ())
                if dedupe.content_hash(new.event) == wanted[digest]
            }
            restored = pages.restore(page, same) if same else None
            if restored is None:
                continue
            taking.changed.append((page, restored[0]))
            back |= restored[1]
            if len(taking.changed) == PAGES_AT_ONCE:
                break
        self._fold(workspace, taking, list(back.values()))
        return set(back)

    def _take_in(self, workspace: str, taking: _Taking, going: _Going) -> set[bytes]:
        """Fold events into a fragment that never had them, and prepare their pages; answers which they are."""
        hot = taking.hot
        records = [_under(record, going.target, events) for record, events in reversed(going.records)]
        arrivals = [
            (event, record.received_at, message_hash(event.message_id, record.source))
            for record in records
            for event in record.events
        ]
        sources = [record.source for record in records for _ in record.events]
        asked = dedupe.suspects(hot.ring, arrivals) if hot.version else set[bytes]()
        stored: dict[bytes, Event] = {}
        for page in self._store.timeline(workspace, taking.fid, hot.page) if asked else ():
            stored |= {digest: new.event for digest, new in pages.find(page, pages.holds(page, asked)).items()}
        judged = dedupe.sort(hot.ring, arrivals, stored)
        fresh = set(judged.fresh)
        highest = hot.last
        self._fold(workspace, taking, [New(arrivals[one][0], sources[one], arrivals[one][1]) for one in judged.fresh])
        hot.ring = hot.ring.add(judged.entries)
        hot.conflicts += len(judged.conflicts)
        for one, first in zip(judged.conflicts, judged.firsts, strict=True):
            taking.aside.append((New(arrivals[one][0], sources[one], arrivals[one][1]), first))
        stays: list[pages.Stay] = []
        place = 0
        for record in records:
            every = range(place, place + len(record.events))
            place += len(record.events)
            skip = frozenset(one - every.start for one in every if one not in fresh)
            if len(skip) < len(record.events):
                stays.append(pages.Stay(pack(record), record, [arrivals[one][2] for one in every], skip))
        pk = hot_key(workspace, taking.fid)[0]
        made = pages.chain(
            pk, stays, version=hot.version + 1, previous=hot.page, highest=highest, keep_days=self._keep_days
        )
        taking.pages, hot.page = made.pages, made.newest
        return going.digests()

    def _fold(self, workspace: str, taking: _Taking, events: list[New]) -> None:
        change = fold(taking.hot, taking.cold, events, self._people.book(workspace).rules)
        taking.cold_changed, taking.marks = change.cold, change.marks

    def _taken(self, workspace: str, taking: _Taking) -> list[Write]:
        """What writes the fragment that took events in."""
        table, (pk, _) = self._store.profiles, hot_key(workspace, taking.fid)
        before, held = (taking.item or {}).get("v", 0), (taking.held or {}).get("v", 0)
        taking.hot.version, taking.cold.version = before + 1, held + 1
        writes: list[Write] = [Put(table, hot_item(taking.hot, pk), at_version(before))]
        if taking.cold_changed:
            writes.append(Put(table, cold_item(taking.cold, pk), at_version(held)))
        elif taking.item is None:
            writes.append(Check(table, (pk, "C"), at_version(held)))  # a listing that is being made at this moment
        return writes + [
            Update(table, (page["pk"], page["sk"]), change, condition=STORED) for page, change in taking.changed
        ]

    def _unsettled(self, workspace: str, pid: str, fid: str, hub: tuple[str, str]) -> Write:
        """The mark that a person's segments have to be evaluated. Raises ``Refused`` when the person went elsewhere."""
        table, key = self._store.profiles, person_key(workspace, pid)
        item = self._store.read([key], consistent=True).get(key)
        if item is None:
            if pid != f"p_{fid}":
                raise Refused([0])
            alone = person_item(person_of(None, pid, fid, hub), workspace)
            return Put(table, {**alone, "v": 1, "dirty": True}, ABSENT)
        if "to" in item or fid not in item.get("fr", (fid,)):
            raise Refused([0])
        return Update(table, key, put={"dirty": True}, add={"v": 1}, condition=at_version(item["v"]))

    def _set_aside(self, workspace: str, taking: _Taking) -> None:
        """Keep what is another event under the message id of one that stands where it goes."""
        for new, first in taking.aside:
            reason = "another event with this messageId and other content stands under the same identifier"
            row = BadRow(0, new.event.message_id, DUPLICATE, reason, new.event.body, at=new.received_at, first=first)
            self._quarantine(workspace, DUPLICATE, new.source, new.received_at, [row])


def _under(record: Record, hub: Identifier, events: list[tuple[int, Event]]) -> Record:
    """These events of a record, as they would have come under another hub."""
    places = {position: number for number, (position, _) in enumerate(events)}
    flags = [(places[flag[0]], *flag[1:]) for flag in record.flags if flag[0] in places]
    chosen = [event for _, event in events]
    return Record(
        record.workspace, record.source, record.received_at, hub, chosen, record.origin, flags, record.sent_at
    )
