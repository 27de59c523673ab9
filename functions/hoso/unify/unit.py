"""One person's share of a batch: its fragments with news, all its other fragments, its segments, its one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hoso.model.errors import Conflict
from hoso.platform.dynamo import TRANSACTION_LIMIT, Check, Item, Put, Write, at_version
from hoso.unify.fragments import COLD_EVENTS, Fragment, cold_item, cold_of, hot_item, hot_of
from hoso.unify.part import Part
from hoso.unify.profiles import Person, person_of, rule_state
from hoso.unify.rulebook import Book
from hoso.unify.settlement import Reason, Settlement, settle
from hoso.unify.store import ProfileStore
from hoso.unify.writes import bumps, settlement_writes


class Moved(Conflict):
    """What was read of a person does not fit together: identity changed meanwhile. Read and decide again."""

    code = "person_moved"


@dataclass(slots=True)
class Unit:
    """A person in a batch. ``person`` is None as long as its item was not needed.

    ``others`` are the person's fragments without news. ``keys`` are the segments to evaluate, None for all of them;
    an empty set means that nothing is evaluated. ``guarded`` are the others whose versions the commit rests on.
    """

    workspace: str
    pid: str
    book: Book
    parts: list[Part] = field(default_factory=list[Part])
    person: Person | None = None
    others: list[Fragment] = field(default_factory=list[Fragment])
    keys: frozenset[str] | None = frozenset()
    settled: Settlement | None = None
    merged: bool = False
    guarded: frozenset[str] = frozenset()
    affected: frozenset[str] = frozenset()

    @property
    def linked(self) -> bool:
        """Whether identity ever touched one of the fragments: then the person has an item, and may be dirty."""
        return any(self.pid != f"p_{part.fid}" or "o" in (part.hot_item or ()) for part in self.parts)

    @property
    def is_new(self) -> bool:
        """Whether a fragment has its first events: then no segment was ever evaluated with it."""
        return any(part.hot.events == 0 for part in self.parts)

    @property
    def needs_person(self) -> bool:
        """Whether the person item has to be read. A person that no segment can concern is left alone."""
        return bool(self.linked or self.affected or (self.is_new and self.book.revisions))

    @property
    def reads_profile(self) -> bool:
        """Whether the evaluation looks at traits or consent."""
        return self.evaluates and self.book.reads_profile(self.keys)

    def touch(self) -> None:
        """Note the segments that events of the batch can have changed, repeats included: what a crash interrupted
        between commit and evaluation is made up for by the repetition."""
        names: set[str] = set()
        trait_names: set[str] = set()
        for part in self.parts:
            names.update(part.newest)
            trait_names |= part.trait_names
        self.affected = self.book.rules.affected(names, trait_names)

    def meet(self, item: Item | None) -> None:
        """Take the person item in. Raises ``Moved`` when the person is not what identity said."""
        first = self.parts[0]
        if item is None and self.pid != f"p_{first.fid}":
            raise Moved("the person has no item")
        person = person_of(item, self.pid, first.fid, first.hub)
        if person.moved_to is not None or any(part.fid not in person.fragments for part in self.parts):
            raise Moved("the person went elsewhere")
        self.person = person

    def plan(self, now: int) -> None:
        """Decide which segments to evaluate; ``person`` must be known if there is anything to evaluate."""
        person = self.person
        if person is None:
            self.keys = frozenset()
        elif self.is_new or person.dirty or (person.due is not None and person.due <= now):
            self.keys = None
        else:
            over = {key for key, held in person.memberships.items() if held.until is not None and held.until <= now}
            self.keys = self.affected | over
        self.merged = person is not None and person.dirty

    @property
    def evaluates(self) -> bool:
        """Whether any segment is evaluated."""
        return self.keys is None or bool(self.keys)

    @property
    def other_ids(self) -> list[str]:
        """The ids of the person's fragments that have no news in this batch."""
        own = {part.fid for part in self.parts}
        return [fid for fid in self.person.fragments if fid not in own] if self.person else []

    def meet_other(self, fid: str, hot: Item | None, cold: Item | None) -> None:
        """Take another fragment in."""
        self.others.append(Fragment(fid, hot_of(hot, ("", "")), cold_of(cold)))

    def evaluate(self, now: int) -> None:
        """Evaluate the segments at this instant, on the folded state of all fragments."""
        if not self.evaluates or self.person is None:
            return
        at = max([now, *(received_at for part in self.parts for _, received_at, _ in part.arrivals)])
        fragments = [*(part.fragment for part in self.parts), *self.others]
        verdicts = self.book.rules.evaluate(rule_state(self.person, fragments, self.book.policies), at, self.keys)
        self.settled = settle(
            self.workspace,
            self.person,
            verdicts,
            self.book.revisions,
            at=at,
            reason=self._reason,
            every=self.keys is None,
        )

    def writes(self, store: ProfileStore) -> list[Write]:
        """Everything that has to be written, in one transaction; a single put in the common case."""
        writes: list[Write] = []
        for part in self.parts:
            hot, cold = part.fragment.hot, part.fragment.cold
            if not part.changed and self.settled is None:
                continue
            before = (part.hot_item or {}).get("v", 0)
            hot.version = before + 1
            if self.settled is not None or self.pid != f"p_{part.fid}":
                hot.owner = self.pid
            writes.append(Put(store.profiles, hot_item(hot, part.pk), at_version(before)))
            held = (part.cold_item or {}).get("v", 0)
            if part.change.cold:
                writes.append(Put(store.profiles, cold_item(cold, part.pk), at_version(held)))
            elif self.book.listed and part.hot_item is None:
                # no hot item guards a listing that is being made at this moment
                writes.append(Check(store.profiles, (part.pk, "C"), at_version(held)))
        if self.settled is not None:
            writes += settlement_writes(store, self.workspace, self.settled)
            room = TRANSACTION_LIMIT - len(writes)
            guarded = self.others[:room]
            writes += bumps(store, self.workspace, self.pid, guarded)
            self.guarded = frozenset(fragment.fid for fragment in guarded)
        return writes

    def versions(self) -> Mapping[str, int]:
        """The versions of the other fragments that an evaluation rested on and no transaction guarded."""
        if not self.evaluates:
            return {}
        return {other.fid: other.hot.version for other in self.others if other.fid not in self.guarded}

    def _reason(self, key: str) -> Reason:
        """The newest event of the batch that can have changed this segment."""
        rules = self.book.rules
        stamps: list[tuple[int, str, str]] = []
        for part in self.parts:
            for name, (ts, message_id) in part.newest.items():
                if key in rules.affected((name,), part.trait_names if name in COLD_EVENTS else ()):
                    stamps.append((ts, message_id, name))
        if stamps:
            _, message_id, name = max(stamps)
            return Reason("event", message_id, name, any(message_id in part.replayed for part in self.parts))
        silent = all(delivery.silent for part in self.parts for delivery in part.group.deliveries)
        return Reason("merge" if self.merged else "time", silent=silent)
