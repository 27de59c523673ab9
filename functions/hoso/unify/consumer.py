"""The stream consumer: a batch of packed records becomes state, once, in one commit per person.

Per chunk of fragments: read state, learn what identity does not know, ask the pages about suspects, fold, evaluate the
segments that may have changed, write pages, commit. A commit that meets another version is tried again from the start:
every step before it is a function of what was read. What cannot be tried any more is reported by its place in the
batch; the stream gives it, and what follows of the same key, again (reliability R10-R18).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hoso.model.errors import Conflict, HosoError, InvalidInput, Transient
from hoso.model.identifiers import IdentityConfig
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Key
from hoso.platform.log import logger
from hoso.unify.aside import DUPLICATE, Quarantine, event_row, record_row
from hoso.unify.flood import FloodGate
from hoso.unify.fragments import Fragment
from hoso.unify.history import ask_pages, rebuild_meters
from hoso.unify.identities import Identities
from hoso.unify.intake import Delivery, Group, Refusal, grouped, take
from hoso.unify.owners import Owners
from hoso.unify.part import Part
from hoso.unify.rulebook import Rulebook
from hoso.unify.store import ProfileStore, cold_key, hot_key, person_key
from hoso.unify.unit import Moved, Unit

CHUNK = 50
"""Fragments that are worked on together: their reads and pages share calls."""
ATTEMPTS = 6
_BASE_DELAY_S = 0.03
_RESERVE_MS = 3_000
_CAUTION = 3


@dataclass(slots=True)
class Tally:
    """Counts of one batch, for its log line. ``new`` are the hubs that were met for the first time, by workspace;
    ``unfinished`` the commits that could not hold all changes of a person, ``erased`` the events of erased people that
    were passed over."""

    records: int = 0
    events: int = 0
    fresh: int = 0
    repeats: int = 0
    aside: int = 0
    retries: int = 0
    transitions: int = 0
    unfinished: int = 0
    erased: int = 0
    new: Counter[str] = field(default_factory=Counter[str])
    failed: set[int] = field(default_factory=set[int])

    def summary(self) -> dict[str, int]:
        """The counts by name."""
        return {
            "records": self.records,
            "events": self.events,
            "fresh": self.fresh,
            "repeats": self.repeats,
            "aside": self.aside,
            "retries": self.retries,
            "transitions": self.transitions,
            "erased": self.erased,
            "failed": len(self.failed),
        }


class Consumer:
    """Applies batches. ``identities`` answers per workspace, ``keep_days`` is how long timeline pages stay."""

    def __init__(
        self,
        store: ProfileStore,
        identities: Callable[[str], Identities],
        rulebook: Rulebook,
        quarantine: Quarantine,
        clock: Clock,
        *,
        keep_days: int,
        dedupe_days: int,
        gate: FloodGate | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._identities = identities
        self._owners = Owners(store, identities)
        self._rulebook = rulebook
        self._quarantine = quarantine
        self._clock = clock
        self._keep_days = keep_days
        self._dedupe_days = dedupe_days
        self._gate = gate
        self._sleep = sleep

    def consume(self, raw: Sequence[Mapping[str, Any]], remaining_ms: Callable[[], int]) -> Tally:
        """Apply a batch; ``failed`` of the answer holds the places of the records that have to come again."""
        tally = Tally(records=len(raw))
        try:
            taken = [take(place, one, self._rules_of) for place, one in enumerate(raw)]
        except Transient:  # without the rules nothing can be told of any event
            tally.failed.update(range(len(raw)))
            return tally
        self._refuse([one for one in taken if isinstance(one, Refusal)], tally)
        groups = grouped(one for one in taken if isinstance(one, Delivery))
        slowest_ms = 0
        for start in range(0, len(groups), CHUNK):
            chunk = groups[start : start + CHUNK]
            began = remaining_ms()
            if began < max(_RESERVE_MS, _CAUTION * slowest_ms):
                self._fail(groups[start:], tally)
                break
            try:
                self._let_in(chunk, remaining_ms, tally)
            except Transient:
                self._fail(groups[start + CHUNK :], tally)
                break
            slowest_ms = max(slowest_ms, began - remaining_ms())
        return tally

    def _let_in(self, groups: list[Group], remaining_ms: Callable[[], int], tally: Tally) -> None:
        """Apply a chunk; hubs over the cap on new profiles are set aside."""
        if self._gate is None:
            self._work_off(groups, remaining_ms, tally)
            return
        now, before = self._clock(), tally.new.copy()
        good, over, taken = self._gate.enter(groups, now)
        try:
            tally.aside += self._gate.set_aside(over)
        except Exception as error:
            self._report(error)
            self._fail(over, tally)
        try:
            self._work_off(good, remaining_ms, tally)
        finally:
            self._gate.leave(taken, tally.new - before, now)

    def _work_off(self, groups: list[Group], remaining_ms: Callable[[], int], tally: Tally) -> None:
        """Apply a chunk; what fails together is tried again alone, so that one person cannot fail the others."""
        try:
            again = self._attempt(groups, tally, careful=False)
        except Exception as error:
            self._report(error)
            again = groups
        for number, group in enumerate(again):
            tally.retries += 1
            try:
                self._alone(group, remaining_ms, tally)
            except Transient:
                # The table is down, not this person: the stream keeps the rest until it is back.
                self._fail(again[number:], tally)
                raise

    def _alone(self, group: Group, remaining_ms: Callable[[], int], tally: Tally) -> None:
        """Apply one group, with strongly consistent reads and bounded patience.

        Raises:
            Transient: a dependency stayed down for all tries.
        """
        down: Transient | None = None
        failures = 0
        while failures < ATTEMPTS:
            if failures:
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**failures))  # noqa: S311  jitter needs no secrecy
            if remaining_ms() < _RESERVE_MS:
                break
            written = tally.unfinished
            try:
                if not self._attempt([group], tally, careful=True):
                    return
                down = None
            except Conflict:
                down = None
            except Transient as error:
                down = error
            except InvalidInput as error:
                self._give_up(group, error, tally)
                return
            except Exception as error:
                self._report(error)
                break
            failures += tally.unfinished == written  # a part that was written is progress, however many there are
        if down is not None:
            raise down
        self._fail([group], tally)

    def _attempt(self, groups: Sequence[Group], tally: Tally, *, careful: bool) -> list[Group]:
        """Apply groups once. Answers those that met another version, or have more to do."""
        units, again = self._load(groups, tally, careful=careful)
        now = self._clock()
        for unit in units:
            unit.evaluate(now)
        parts = [part for unit in units for part in unit.parts]
        for part in parts:
            self._set_aside(part)
        self._note_marks(parts, now)
        self._store.put_pages([page for part in parts for page in part.pages])
        for unit in units:
            try:
                self._store.commit(unit.writes(self._store))
            except Conflict:
                again += [part.group for part in unit.parts]
                continue
            _count(unit, tally)
            unfinished = unit.settled is not None and not unit.settled.complete
            tally.unfinished += unfinished
            if unfinished or self._others_moved(unit):
                again.append(unit.parts[0].group)
        return again

    def _load(self, groups: Sequence[Group], tally: Tally, *, careful: bool) -> tuple[list[Unit], list[Group]]:
        """Read and fold. Answers the people concerned, and the groups whose person moved meanwhile.

        Order matters (invariant 1): a person is read after the hot items whose versions guard it.
        """
        store = self._store
        parts = [Part(group, store.fragment_id(group.workspace, group.hub)) for group in groups]
        came = sum(part.size for part in parts)
        parts, pids = self._owners.meet(parts, careful=careful)
        tally.erased += came - sum(part.size + part.dropped for part in parts)
        units = self._people(parts, pids)
        for part in parts:
            part.survey()
        now = self._clock()
        known, moved = self._meet_people(units, now, careful=careful)
        parts = [part for unit in known for part in unit.parts]
        self._read_rest(known)
        asked = ask_pages(store, parts, now=now, dedupe_days=self._dedupe_days)
        rules_of = {id(part): unit.book.rules for unit in known for part in unit.parts}
        for part, stored in zip(parts, asked, strict=True):
            rules = rules_of[id(part)]
            hot = part.hot
            if hot.rules != rules.version and hot.page is not None and rules.missing(hot.meters):
                part.rebuilt = rebuild_meters(store, part.group.workspace, part.fid, hot.page, rules)
            part.fold(stored, rules, self._keep_days)
        return known, moved

    def _rules_of(self, workspace: str) -> IdentityConfig:
        """The identity rules of a workspace. Raises ``Transient`` when they stay unreadable."""
        for attempt in range(ATTEMPTS):
            try:
                return self._identities(workspace).config
            except Transient:
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**attempt))  # noqa: S311  jitter needs no secrecy
        return self._identities(workspace).config

    def _people(self, parts: Sequence[Part], pids: Sequence[str]) -> list[Unit]:
        """The parts by person."""
        units: dict[tuple[str, str], Unit] = {}
        books = {workspace: self._rulebook.book(workspace) for workspace in {part.group.workspace for part in parts}}
        for part, pid in zip(parts, pids, strict=True):
            workspace = part.group.workspace
            unit = units.get((workspace, pid))
            if unit is None:
                unit = units[workspace, pid] = Unit(workspace, pid, books[workspace])
            unit.parts.append(part)
        return list(units.values())

    def _meet_people(self, units: Sequence[Unit], now: int, *, careful: bool) -> tuple[list[Unit], list[Group]]:
        """Read the person items that are needed and plan the evaluations; people who moved come back as groups. Whom
        a second look does not find in place either, is perhaps on a way that a killed worker did not go to its end."""
        for unit in units:
            unit.touch()
        needed = [unit for unit in units if unit.needs_person]
        items = self._store.people([person_key(unit.workspace, unit.pid) for unit in needed])
        known: list[Unit] = []
        moved: list[Group] = []
        for unit in units:
            try:
                if unit.needs_person:
                    unit.meet(items.get(person_key(unit.workspace, unit.pid)))
                unit.plan(now)
                known.append(unit)
            except Moved:
                moved += [part.group for part in unit.parts]
                if careful:
                    self._identities(unit.workspace).settle(unit.pid)
        return known, moved

    def _read_rest(self, units: Sequence[Unit]) -> None:
        """Read the cold items that folds and evaluations need, and the other fragments of people to evaluate."""
        keys: list[Key] = []
        for unit in units:
            profile = unit.reads_profile
            listed = profile and bool(unit.book.listed)
            keys += [
                (part.pk, "C")
                for part in unit.parts
                if part.needs_cold or (profile and part.hot_item) or (listed and not part.hot_item)
            ]
            for fid in unit.other_ids if unit.evaluates else ():
                keys.append(hot_key(unit.workspace, fid))
                if profile:
                    keys.append(cold_key(unit.workspace, fid))
        items = self._store.read(keys, consistent=True)
        for unit in units:
            for part in unit.parts:
                part.cold_item = items.get((part.pk, "C"))
            for fid in unit.other_ids if unit.evaluates else ():
                hot = items.get(hot_key(unit.workspace, fid))
                unit.meet_other(fid, hot, items.get(cold_key(unit.workspace, fid)))
                self._renew(unit, unit.others[-1])

    def _renew(self, unit: Unit, other: Fragment) -> None:
        """Give a fragment without news the meters of the present rules, for this evaluation."""
        rules, hot = unit.book.rules, other.hot
        if hot.rules != rules.version and hot.page is not None and rules.missing(hot.meters):
            hot.meters = rebuild_meters(self._store, unit.workspace, other.fid, hot.page, rules)

    def _others_moved(self, unit: Unit) -> bool:
        """Whether a fragment that an evaluation read, and that no transaction guarded, moved (invariant 4)."""
        versions = unit.versions()
        if not versions:
            return False
        items = self._store.read([hot_key(unit.workspace, fid) for fid in versions], consistent=True)
        return any(
            items.get(hot_key(unit.workspace, fid), {}).get("v", 0) != version for fid, version in versions.items()
        )

    def _set_aside(self, part: Part) -> None:
        """Put what changes no state into the quarantine, before the commit that passes over it."""
        if not part.aside:
            return
        record = part.group.deliveries[0].record
        for stage, odd in (("consume", False), (DUPLICATE, True)):
            rows = [
                event_row(aside.place.position, aside.event, aside.code, part.delivery(aside), aside.first)
                for aside in part.aside
                if (aside.code == DUPLICATE) is odd
            ]
            if rows:
                self._quarantine(part.group.workspace, stage, record.source, record.received_at, rows)

    def _note_marks(self, parts: Sequence[Part], now: int) -> None:
        """Put what people may have in common into the index, before the commit: an orphan there does no harm."""
        for part in parts:
            if part.change.marks:
                self._store.note_marks(part.group.workspace, dict.fromkeys(part.change.marks, part.fid), now)

    def _refuse(self, refusals: Sequence[Refusal], tally: Tally) -> None:
        """Put records that are none into the quarantine, as they came."""
        for refusal in refusals:
            try:
                row = record_row(refusal.blob, refusal.code)
                self._quarantine("", "consume", "", refusal.arrived_at, [row])
                tally.aside += 1
            except Exception as error:
                self._report(error)
                tally.failed.add(refusal.place)

    def _give_up(self, group: Group, error: InvalidInput, tally: Tally) -> None:
        """A person's records that the table will never take: keep them aside and go on."""
        record = group.deliveries[0].record
        rows = [
            event_row(position, event, error.code, delivery)
            for delivery in group.deliveries
            for position, event in enumerate(delivery.record.events)
        ]
        try:
            self._quarantine(group.workspace, "consume", record.source, record.received_at, rows)
            tally.aside += len(rows)
        except Exception as failure:
            self._report(failure)
            self._fail([group], tally)

    def _fail(self, groups: Sequence[Group], tally: Tally) -> None:
        tally.failed.update(delivery.place for group in groups for delivery in group.deliveries)

    def _report(self, error: Exception) -> None:
        """Log the kind of an unexpected error, never its text: that may hold a customer's data."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
        code = error.code if isinstance(error, HosoError) else type(error).__name__
        with suppress(Exception):  # a log that fails must not fail events (reliability R56)
            logger("unify").warning("attempt failed", extra={"code": code, "at": place})


def _count(unit: Unit, tally: Tally) -> None:
    for part in unit.parts:
        tally.events += len(part.arrivals)
        tally.fresh += part.fresh
        tally.repeats += part.repeats
        tally.aside += len(part.aside)
        tally.erased += part.dropped
        tally.new[unit.workspace] += part.hot_item is None and part.changed
    tally.transitions += len(unit.settled.outbox) if unit.settled else 0
