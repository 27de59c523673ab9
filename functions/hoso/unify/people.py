"""People for the other capabilities: read one, walk a timeline, change memberships by the one path that may.

``People`` is built from settings by ``hoso.unify.build.Parts``. Everything it reads is strongly consistent.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hoso.model.errors import Conflict, Transient
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.clock import Clock
from hoso.platform.dynamo import TRANSACTION_LIMIT, Item, Key, Put, Write, at_version
from hoso.segment.meters import HELD, SIGNATURE
from hoso.segment.person import PersonState, RuleEvent, Verdict
from hoso.unify import computed
from hoso.unify.computed import Computed
from hoso.unify.everyone import everyone
from hoso.unify.facts import Facts
from hoso.unify.fragments import Fragment, New, cold_item, cold_of, hot_item, hot_of
from hoso.unify.history import rebuild_meters, whole_meters
from hoso.unify.identities import Identities, PersonHeader
from hoso.unify.profiles import Profile, merge, person_of, rule_state
from hoso.unify.rulebook import Book, Rulebook
from hoso.unify.settlement import Reason, Settlement, settle
from hoso.unify.store import ProfileStore, cold_key, hot_key, person_key
from hoso.unify.timeline import Cursor, TimelinePage, Wanted, all_events, one_page
from hoso.unify.writes import bumps, settlement_writes

ATTEMPTS = 6
_BASE_DELAY_S = 0.03

Decide = Callable[[Profile], Mapping[str, Verdict]]


class People:
    """Reads people, and writes their memberships."""

    def __init__(
        self,
        store: ProfileStore,
        identities: Callable[[str], Identities],
        rulebook: Rulebook,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._identities = identities
        self._rulebook = rulebook
        self._clock = clock
        self._sleep = sleep

    def profile_id(self, workspace: str, identifier: Identifier) -> str:
        """The profile id of an identifier, whether or not anything is known of it."""
        return self._identities(workspace).person_of(identifier)

    def load_person(self, workspace: str, pid: str, hub: Identifier | None = None) -> Profile:
        """The person to whom a profile id leads now, whole. ``exists`` of the answer tells whether anything is known.

        ``hub`` is the identifier that was asked for; it names a person that consists of it alone.

        Raises:
            NotFound: the id leads in a circle.
        """
        return self._whole(workspace, [self._identities(workspace).load(pid)], {pid: hub} if hub else {})[0]

    def load_many(
        self, workspace: str, pids: Sequence[str], hubs: Mapping[str, Identifier] | None = None
    ) -> list[Profile]:
        """As ``load_person`` for several profile ids, in their order, in a few batched reads.

        Raises:
            NotFound: an id leads in a circle.
        """
        identities = self._identities(workspace)
        items = self._store.read([person_key(workspace, pid) for pid in pids], consistent=True)
        headers: list[PersonHeader] = []
        for pid in pids:
            item = items.get(person_key(workspace, pid))
            moved = item is not None and "to" in item
            headers.append(identities.load(pid) if moved else PersonHeader.of(pid, item))
        return self._whole(workspace, headers, hubs or {})

    def people_of(self, workspace: str, identifiers: Sequence[Identifier]) -> dict[Identifier, str]:
        """The profile ids of many identifiers, whether or not anything is known of them."""
        return self._identities(workspace).people_of(identifiers)

    def identity_config(self, workspace: str) -> IdentityConfig:
        """The identity rules of a workspace."""
        return self._identities(workspace).config

    def identity_facts(self, workspace: str, identifier: Identifier) -> Facts:
        """What identity knows around an identifier; raises what ``Identities.facts_of`` does."""
        return self._identities(workspace).facts_of(identifier)

    def own_profile_id(self, workspace: str, anchor: Identifier) -> str:
        """The id of the person of which this identifier is the anchor."""
        return self._identities(workspace).keys.profile(anchor)

    def fragment_id(self, workspace: str, hub: Identifier) -> str:
        """The id of the fragment of a hub."""
        return self._store.fragment_id(workspace, hub)

    def fragment(self, workspace: str, fid: str) -> Fragment:
        """One fragment as stored; of version 0 when there is none."""
        items = self._store.read([hot_key(workspace, fid), cold_key(workspace, fid)], consistent=True)
        return _fragment(workspace, fid, items)

    def pages(self, workspace: str, fid: str, newest: str | None) -> Iterator[Item]:
        """The timeline pages of a fragment from this one back."""
        return self._store.timeline(workspace, fid, newest)

    def carriers(self, workspace: str, marks: Iterable[str]) -> dict[str, frozenset[str]]:
        """Per mark the fragments that may carry it (``hoso.unify.marks``)."""
        keys = {self._store.mark_key(workspace, mark): mark for mark in marks}
        items = self._store.read(keys, consistent=False)
        return {keys[key]: frozenset(item.get("f", ())) for key, item in items.items()}

    def owners(self, workspace: str, fids: Sequence[str]) -> list[str]:
        """The profile ids that fragments belong to, in their order."""
        items = self._store.read([hot_key(workspace, fid) for fid in fids], consistent=True)
        return [items.get(hot_key(workspace, fid), {}).get("o") or f"p_{fid}" for fid in fids]

    def person_state(self, profile: Profile) -> PersonState:
        """What the live rules see of a person, with meters of the present rules."""
        rules = self._rulebook.book(profile.workspace).rules
        for fragment in profile.fragments:
            hot = fragment.hot
            if hot.rules != rules.version and hot.page is not None and rules.missing(hot.meters):
                hot.meters = rebuild_meters(self._store, profile.workspace, fragment.fid, hot.page, rules)
                hot.rules = rules.version
        return rule_state(profile.person, profile.fragments, profile.policies)

    def timeline(self, workspace: str, pid: str) -> Iterator[New]:
        """All events of a person, each once, newest first by event time."""
        return all_events(self._store, workspace, self.load_person(workspace, pid))

    def rule_events(self, workspace: str, profile: Profile) -> Iterator[RuleEvent]:
        """All events of a person as rules see them, each once, newest first by event time."""
        for new in all_events(self._store, workspace, profile):
            event = new.event
            yield RuleEvent(event.message_id, event.name, event.ts, new.received_at, event.body)

    def timeline_page(
        self, profile: Profile, limit: int, cursor: Cursor | None, wanted: Wanted | None = None
    ) -> TimelinePage:
        """At most ``limit`` of the wanted events of a person, newest first, and the cursor of what follows."""
        return one_page(self._store, profile.workspace, profile, limit, cursor, wanted)

    def events_before(self, profile: Profile, cursor: Cursor | None) -> Iterator[New]:
        """All events of a person after a cursor, newest first."""
        return all_events(self._store, profile.workspace, profile, cursor)

    def verdicts(self, profile: Profile, as_of: int, keys: frozenset[str] | None = None) -> dict[str, Verdict]:
        """What the live rules say of a person at an instant, for these segments or all."""
        rules = self._rulebook.book(profile.workspace).rules
        return rules.evaluate(self.person_state(profile), as_of, keys)

    def reevaluate(
        self, workspace: str, pid: str, as_of: int, *, kind: str = "time", silent: bool = False
    ) -> list[dict[str, Any]]:
        """Evaluate all segments of a person live and write what changed; the outbox rows of the changes.

        Raises:
            Transient: others kept changing the person.
        """
        return self.apply_verdicts(
            workspace,
            pid,
            lambda profile: self.verdicts(profile, as_of),
            as_of=as_of,
            kind=kind,
            every=True,
            silent=silent,
        )

    def apply_verdicts(
        self,
        workspace: str,
        pid: str,
        decide: Decide,
        *,
        as_of: int,
        kind: str,
        every: bool = False,
        silent: bool = False,
    ) -> list[dict[str, Any]]:
        """Write the memberships that ``decide`` gives for the person as it is now; the outbox rows of the changes.

        The one write path of memberships beside the stream consumer: ``decide`` is asked again whenever the person
        changed meanwhile. ``kind`` (time, nightly, rule, merge, list) becomes the reason. ``every``: the verdicts cover
        all segments. ``silent``: nobody is told.

        Raises:
            Transient: others kept changing the person, or the table is throttled.
        """
        rows: list[dict[str, Any]] = []
        failures = 0
        while failures < ATTEMPTS:
            profile = self.load_person(workspace, pid)
            if "st" in profile.person.rest:  # a killed worker left identifiers to be moved
                self._identities(workspace).settle(profile.pid)
                profile = self.load_person(workspace, pid)
            because = Reason("merge" if kind == "time" and profile.person.dirty else kind, silent=silent)
            settled = settle(
                workspace,
                profile.person,
                decide(profile),
                self._rulebook.book(workspace).revisions,
                at=as_of,
                reason=lambda _key, told=because: told,
                every=every,
            )
            if settled is None or not profile.exists:
                return rows
            try:
                self._commit(profile, settled)
            except Conflict:
                failures += 1
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**failures))  # noqa: S311  jitter needs no secrecy
                continue
            rows += settled.outbox
            if settled.complete:
                return rows
        raise Transient(f"the person kept changing in {ATTEMPTS} tries")

    def repair(self, workspace: str, pid: str, as_of: int, events: int, exact: Mapping[str, bool]) -> bool:
        """Put meters right that led to other answers than the whole archive gives (``exact``, at ``as_of``).

        They are made anew from the timeline where it still holds every event; of the segments that differ all the
        same, the last answer stands from now on, until the rules change. Answers whether anything was done: nothing
        is, when the person has another number of ``events`` than the answers are of.

        Raises:
            Transient: others kept changing the person.
        """
        rules = self._rulebook.book(workspace).rules
        for _ in range(ATTEMPTS):
            profile = self.load_person(workspace, pid)
            if not profile.exists or profile.pid != pid or profile.totals["events"] != events:
                return False
            stored = [fragment for fragment in profile.fragments if fragment.hot.version]
            for fragment in stored:
                hot = fragment.hot
                made = whole_meters(self._store, workspace, fragment.fid, hot.page, rules, hot.events)
                if made is not None:
                    hot.meters, hot.rules = made, rules.version
            told = rules.evaluate(rule_state(profile.person, stored, profile.policies), as_of, exact)
            wrong = [key for key, verdict in told.items() if not verdict.spilled and verdict.member != exact[key]]
            if wrong:
                first = stored[0].hot
                first.meters.setdefault(SIGNATURE, rules.signature)
                first.meters[HELD] = sorted({*first.meters.get(HELD, ()), *wrong})
            writes: list[Write] = []
            for fragment in stored:
                hot, before = fragment.hot, fragment.hot.version
                hot.version += 1
                pk, _ = hot_key(workspace, fragment.fid)
                writes.append(Put(self._store.profiles, hot_item(hot, pk), at_version(before)))
            try:
                self._store.commit(writes[:TRANSACTION_LIMIT])
            except Conflict:
                continue
            return True
        raise Transient(f"the person kept changing in {ATTEMPTS} tries")

    def everyone(self, workspace: str, *, part: int = 0, parts: int = 1) -> Iterator[Profile]:
        """Everybody of a workspace, for nightly work; one of ``parts`` shares of the people.

        One pass over the table per share; the items of a share are held in memory (about 2 KB a person). Not a
        snapshot: what changes meanwhile is seen before or after its change.
        """
        return everyone(self._store, workspace, part, parts, self._rulebook.book(workspace).policies)

    def put_computed(self, workspace: str, pid: str, values: Mapping[str, Computed]) -> bool:
        """Store computed traits and scores of a person (``hoso.unify.computed``). Answers whether any is new.

        Safe to repeat; an older computation never replaces a newer one. The segments that look at them are evaluated
        by whoever asks for it afterwards (``reevaluate``, the nightly run).

        Raises:
            InvalidInput: a value that is too large, or too many of them.
            Transient: others kept changing the person.
        """
        for _ in range(ATTEMPTS):
            profile = self.load_person(workspace, pid)
            ids = profile.person.identifiers
            fid = self._store.fragment_id(workspace, ids[0]) if ids else profile.person.fragments[0]
            cold = self.fragment(workspace, fid).cold
            changed = [computed.put(cold.computed, name, fresh) for name, fresh in sorted(values.items())]
            if not any(changed):
                return False
            before, cold.version = cold.version, cold.version + 1
            pk, _ = cold_key(workspace, fid)
            try:
                self._store.commit([Put(self._store.profiles, cold_item(cold, pk), at_version(before))])
            except Conflict:
                continue
            return True
        raise Transient(f"the person kept changing in {ATTEMPTS} tries")

    def book(self, workspace: str) -> Book:
        """The live rules of a workspace and the revisions of its segments."""
        return self._rulebook.book(workspace)

    def _whole(self, workspace: str, headers: Sequence[PersonHeader], hubs: Mapping[str, Identifier]) -> list[Profile]:
        keys = [
            key
            for header in headers
            for fid in header.fragments
            for key in (hot_key(workspace, fid), cold_key(workspace, fid))
        ]
        items = self._store.read(keys, consistent=True)
        policies = self._rulebook.book(workspace).policies
        profiles: list[Profile] = []
        for header in headers:
            fragments = [_fragment(workspace, fid, items) for fid in header.fragments]
            own = fragments[0].hot.hub if fragments[0].hot.version else hubs.get(header.pid)
            person = person_of(header.item or None, header.pid, header.fragments[0], (own[0], own[1]) if own else None)
            profiles.append(merge(workspace, person, fragments, policies))
        return profiles

    def _commit(self, profile: Profile, settled: Settlement) -> None:
        writes = settlement_writes(self._store, profile.workspace, settled)
        room = TRANSACTION_LIMIT - len(writes)
        writes += bumps(self._store, profile.workspace, profile.pid, profile.fragments[:room])
        self._store.commit(writes)


def _fragment(workspace: str, fid: str, items: Mapping[Key, Item]) -> Fragment:
    hot = hot_of(items.get(hot_key(workspace, fid)), ("", ""))
    return Fragment(fid, hot, cold_of(items.get(cold_key(workspace, fid))))
