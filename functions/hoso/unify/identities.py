"""Live identity: which person an identifier belongs to, learnt event by event with conditional transactions.

The outcome equals ``hoso.unify.graph.resolve`` over the same evidence, whatever its order, repeats or workers.
When an event teaches nothing, one batched read answers, or none where the hub's hot item remembers it
(``hoso.unify.told``). Otherwise its component is read, the pure function decides, and
one transaction writes the difference, on the condition that every person the decision rests on is unchanged.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hoso.model.errors import Conflict, NotFound, Transient
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Item, Table, at_version
from hoso.platform.ids import Hasher
from hoso.unify.evidence import Apart, Block, Cut, Erasure, Evidence, Operation, Pair, Restore
from hoso.unify.facts import Facts, strip
from hoso.unify.identity_changes import Change, decide
from hoso.unify.identity_component import ComponentReader, TooLarge, Unfinished
from hoso.unify.identity_items import TOGETHER, IdentityKeys, weaker_last
from hoso.unify.identity_known import Items, all_of, condensed, is_known, steady_reads
from hoso.unify.identity_sides import keep_sides
from hoso.unify.identity_writes import Cause, IdentityWriter
from hoso.unify.told import ToldReader

ATTEMPTS = 5
_BASE_DELAY_S = 0.03
_IDENTIFIERS_PER_DECISION = 20


@dataclass(frozen=True, slots=True)
class PersonHeader:
    """A person as identity knows it. ``version`` 0: no person item is stored, the person is one identifier alone.

    ``fragments`` are the fragment ids (some may have no items yet); ``item`` is the person item as stored.
    """

    pid: str
    version: int
    identifiers: list[Identifier]
    fragments: list[str]
    item: Item

    @classmethod
    def of(cls, pid: str, item: Item | None) -> PersonHeader:
        """The header in a person's item, or that of a person who is one identifier alone."""
        held = item or {}
        ids = [Identifier(kind, value) for kind, value in held.get("ids", ())]
        return cls(pid, held.get("v", 0), ids, held.get("fr") or [pid.removeprefix("p_")], held)


@dataclass(slots=True)
class Outcome:
    """What became of evidence. ``news`` is what was not known before; of ``kept`` all is stored now. ``pids`` are the
    profile ids that decisions on the news gave. ``raised``: the hot items of these identifiers went to this profile and
    one version up, once per entry, by decisions of this call."""

    news: list[Evidence] = field(default_factory=list[Evidence])
    kept: list[Evidence] = field(default_factory=list[Evidence])
    pids: dict[Identifier, str] = field(default_factory=dict[Identifier, str])
    raised: list[tuple[Identifier, str]] = field(default_factory=list[tuple[Identifier, str]])


class Identities:
    """Identity of one workspace, on the ``profiles`` table; announcements go to the ``outbox`` table, and whom the
    sweeper has to look at to ``delivery``."""

    def __init__(
        self,
        profiles: Table,
        outbox: Table,
        delivery: Table,
        client: Any,
        hasher: Hasher,
        workspace: str,
        config: IdentityConfig,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
        has_sides: Callable[[], bool] = lambda: False,
        revision: int = 0,
    ) -> None:
        self.config = config
        self.told = ToldReader(hasher, config, revision)
        self._has_sides = has_sides
        self.clients: frozenset[str] = frozenset()
        """Sources whose write key the customer's own browser or app holds."""
        self.erased: Callable[[], Mapping[str, int]] = dict
        """The hashes of identifiers whose person was erased, with the time up to which (``hoso.unify.erasures``)."""
        self.keys = IdentityKeys(workspace, hasher)
        self._table = profiles
        self._sleep = sleep
        self._reader = ComponentReader(profiles, self.keys)
        self._writer = IdentityWriter(profiles, outbox, delivery, client, self.keys, clock)

    def learn(self, evidence: Sequence[Evidence]) -> dict[Identifier, str]:
        """Learn what events tell; the profile id of every hub, as it stands afterwards.

        One batched read in the steady state, no write. Safe to repeat, in any order and from many workers.

        Raises:
            Transient: others kept changing the same people, or the table is throttled; try again later.
        """
        told = condensed(evidence)
        items = self._read(steady_reads(told, self.config), consistent=False)
        outcome = self._learn(told, items)
        found: dict[Identifier, str] = {}
        for one in told:
            pid = None if one in outcome.news else self._pid_told(one, items)
            if pid is not None:
                found[one.hub] = pid
        moved = outcome.pids
        open_hubs = [one.hub for one in told if one.hub not in found and one.hub not in moved]
        for hub, item in self._read(open_hubs, consistent=False).items():
            found[hub] = (item or {}).get("p") or self.keys.profile(hub)
        return found | {hub: moved[hub] for hub in {one.hub for one in told} & moved.keys()}

    def acquaint(self, evidence: Sequence[Evidence]) -> Outcome:
        """Learn what events tell, for a caller that holds the hot items of their hubs: these say whose a hub is where
        ``pids`` of the answer does not. The reads are strongly consistent, so that ``kept`` may be remembered on the
        condition that the hot item, read before this call, is still the same.

        Raises:
            Transient: as ``learn``.
        """
        told = condensed(evidence)
        return self._learn(told, self._read(steady_reads(told, self.config), consistent=True))

    def settle(self, pid: str) -> None:
        """Finish what a killed worker left open of the person to whom this profile id led; harmless if nothing is."""
        held = self._table.get(self.keys.person_key(pid), consistent=True) or {}
        for one in dict.fromkeys((pid, held.get("to", pid))):
            with suppress(Conflict):  # somebody else is at it
                self._writer.finish(one)

    def apply(self, *records: Operation, note: Item | None = None) -> Change:
        """Apply an operator's records, or a probable link, at once; they take effect once per id of the first.

        ``note`` (``by``, ``reason``, …) is kept with the record and in the merge log. Answers what changed; only the
        profile ids (``pids``, and ``touched`` as of then) when the record was applied before.

        Raises:
            Transient: as ``learn``.
            Conflict: the people concerned are too many for a live decision (code ``too_large``).
        """
        change = self._decide((), records, note)
        if change is None:
            raise _too_large()
        return change

    def preview(self, *records: Operation) -> Change:
        """What records would change now; nothing is written. Raises as ``apply``."""
        seeds = {one for record in records for one in _named(record)}
        try:
            component = self._reader.read(seeds, through=True)
        except TooLarge as error:
            raise _too_large() from error
        except Unfinished as error:
            raise Transient("this person is being merged right now") from error
        return decide(component, (), records, self.config, self.keys)

    def rederive(self, identifier: Identifier, now: int) -> Change:
        """Decide the component of an identifier anew under these rules. Raises as ``apply``."""
        change = self._decide((), (), seeds=[identifier], cause=Cause("rules", now, "rules", None))
        if change is None:
            raise _too_large()
        return change

    def applied(self, record_id: str) -> Item | None:
        """What is kept of an operator's record that took effect."""
        return self._table.get(self.keys.record_key(record_id), consistent=True)

    def kept(self, links: Sequence[Pair]) -> tuple[set[Pair], set[Pair]]:
        """Which of these pairs are cut, and which are kept apart, strongly consistent."""
        ends = {link: weaker_last(link, self.config) for link in links}
        items = self._read({weak for _, weak in ends.values()}, consistent=True)
        return (
            {link for link, (strong, weak) in ends.items() if str(strong) in (items[weak] or {}).get("ct", ())},
            {link for link, (strong, weak) in ends.items() if str(strong) in (items[weak] or {}).get("ap", ())},
        )

    def close(self, record_id: str, people: Iterable[str]) -> None:
        """Note that a record that took effect in rounds is complete, and whom all of it touched."""
        held = self.applied(record_id)
        if held is not None and "open" in held:
            kept = {name: value for name, value in held.items() if name != "open"}
            done = {"v": held["v"] + 1, "people": sorted({*held.get("people", ()), *people})}
            with suppress(Conflict):  # somebody else closed it
                self._table.put(kept | done, at_version(held["v"]))

    def person_of(self, identifier: Identifier) -> str:
        """The profile id of an identifier now, strongly consistent. One that was never seen is a person of its own."""
        item = self._read([identifier], consistent=True)[identifier]
        pid = (item or {}).get("p")
        return self.load(pid).pid if pid else self.keys.profile(identifier)

    def load(self, pid: str) -> PersonHeader:
        """The person to whom a profile id leads now (R13), strongly consistent."""
        for _ in range(8):
            item = self._table.get(self.keys.person_key(pid), consistent=True)
            if item is None or "to" not in item:
                return PersonHeader.of(pid, item)
            leader = Identifier(*item["a"])
            held = self._read([leader], consistent=True)[leader]
            pid = (held or {}).get("p") or self.keys.profile(leader)
        raise NotFound("this profile id leads nowhere")

    def facts_of(self, *identifiers: Identifier) -> Facts:
        """What is stored of the component of identifiers, beyond shared values too; strongly consistent.

        Raises:
            TooLarge: the component is too large to be read at once.
            Unfinished: a move of identifiers has to be finished first.
            Conflict: it changed while it was read.
        """
        try:
            return self._reader.read(identifiers, through=True).facts(self.config)
        except TooLarge:
            return self._reader.read(identifiers).facts(self.config)

    def people_of(self, identifiers: Sequence[Identifier]) -> dict[Identifier, str]:
        """The profile ids of many identifiers, strongly consistent; they may have moved on since (see ``load``)."""
        items = self._read(identifiers, consistent=True)
        return {one: (items[one] or {}).get("p") or self.keys.profile(one) for one in identifiers}

    def remaining(self, evidence: Evidence) -> Evidence | None:
        """The evidence without identifiers erased at its time or later (R15); None when nothing is left of it."""
        items = self._read(all_of(evidence), consistent=True)
        erased = {one: item["er"] for one, item in items.items() if item is not None and "er" in item}
        return strip(evidence, erased, self.config)

    def _first_events(self, identifiers: Iterable[Identifier]) -> dict[Identifier, int]:
        keys = {self.keys.hot_key(one): one for one in identifiers}
        items = self._table.batch_get(keys, consistent=True)
        return {keys[key]: item["f"] for key, item in items.items() if "f" in item}

    def _learn(self, told: Sequence[Evidence], items: Items) -> Outcome:
        outcome = Outcome()
        for one in told:
            if not is_known(one, items, self.config):
                outcome.news.append(one)
            elif is_known(one, items, self.config, kept=True):
                outcome.kept.append(one)
        for group in _groups(outcome.news, items):
            change = self._decide(group, ())
            if change is None:
                continue
            outcome.pids |= change.pids
            held = {one: change.content_of(one) for told in group for one in all_of(told)}
            outcome.kept += [one for one in group if is_known(one, held, self.config, kept=True)]
            outcome.raised += [(one, pid) for pid in change.touched for one in change.after[pid]]
        return outcome

    def _decide(
        self,
        told: Sequence[Evidence],
        records: Sequence[Operation],
        note: Item | None = None,
        seeds: Iterable[Identifier] = (),
        cause: Cause | None = None,
    ) -> Change | None:
        """Decide and write, again when somebody was faster; None when the component is too large."""
        seeds = {*seeds, *(one for evidence in told for one in all_of(evidence))}
        seeds |= {one for record in records for one in _named(record)}
        if records and (done := self._done(records[0], seeds)) is not None:
            return done
        cause = cause or Cause.of(told, records, note)
        unfinished: str | None = None
        through = not told and all(isinstance(record, Cut | Erasure | Block) for record in records)
        erases = any(isinstance(record, Erasure) for record in records)
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**attempt))  # noqa: S311  jitter needs no secrecy
            try:
                if unfinished is not None:
                    self._writer.finish(unfinished)
                component = self._reader.read(seeds, through=through, cut=through and erases)
                change = decide(component, told, records, self.config, self.keys)
                if change and self._has_sides():
                    keep_sides(component, change, self._first_events)
                if change or records:
                    evaluated = {change.pids.get(one.hub) for one in told}
                    waiting = [
                        pid for pid in change.touched if pid not in evaluated and not change.after[pid] <= change.erased
                    ]
                    self._writer.write(component, change, cause, waiting)
                return change
            except Unfinished as open_move:
                unfinished = open_move.pid
            except TooLarge:
                if not through:
                    return None
                through = False
            except (Conflict, Transient):
                if records and (done := self._done(records[0], seeds)) is not None:
                    return done
        raise Transient(f"identity was not settled in {ATTEMPTS} tries")

    def _done(self, record: Operation, seeds: Iterable[Identifier]) -> Change | None:
        """What is left to tell of a record that took effect before: whom it concerned."""
        held = self.applied(record.record_id)
        if held is None:
            return None
        touched: list[str] = held.get("people", [])
        for pid in touched:
            self.settle(pid)
        return Change(pids={one: self.person_of(one) for one in seeds}, touched=touched)

    def _read(self, wanted: Iterable[Identifier], *, consistent: bool) -> dict[Identifier, Item | None]:
        names = {one: self.keys.identifier_key(one) for one in wanted}
        if not names:
            return {}
        items = self._table.batch_get(names.values(), consistent=consistent)
        return {one: items.get(name) for one, name in names.items()}

    def _pid_told(self, told: Evidence, items: Items) -> str | None:
        """The hub's profile as far as these items tell: its own item does, or one that is together with it."""
        if told.hub in items:
            item = items[told.hub]
            return (item or {}).get("p") or self.keys.profile(told.hub)
        text = str(told.hub)
        for other in all_of(told):
            item = items.get(other) or {}
            entry = item.get("l", {}).get(text)
            if entry is not None and entry[2] == TOGETHER and "p" in item:
                return item["p"]
        return None


def _too_large() -> Conflict:
    return Conflict("too many identifiers hang together here", code="too_large", hint="run a rebuild")


def _named(record: Operation) -> list[Identifier]:
    """The identifiers that a record is about."""
    if isinstance(record, Cut | Restore):
        return [end for link in record.links for end in link]
    if isinstance(record, Apart):
        return [end for link in record.pairs for end in link]
    if isinstance(record, Erasure):
        return [record.of, *(record.only or ())]
    if isinstance(record, Block):
        return [record.of]
    return [record.a, record.b]


def _groups(news: list[Evidence], items: Items) -> list[list[Evidence]]:
    """Evidence that shares identifiers or people, in groups small enough for one transaction."""
    groups: dict[str, list[Evidence]] = {}
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for told in news:
        names = [str(one) for one in all_of(told)]
        names += [item["p"] for one in all_of(told) if (item := items.get(one)) is not None and "p" in item]
        for name in names[1:]:
            leader[find(name)] = find(names[0])
    for told in sorted(news, key=lambda one: one.ts):
        groups.setdefault(find(str(told.hub)), []).append(told)
    return [part for group in groups.values() for part in _slices(group)]


def _slices(group: list[Evidence]) -> Iterable[list[Evidence]]:
    part: list[Evidence] = []
    named: set[Identifier] = set()
    for told in group:
        if part and len(named | set(all_of(told))) > _IDENTIFIERS_PER_DECISION:
            yield part
            part, named = [], set()
        part.append(told)
        named.update(all_of(told))
    yield part
