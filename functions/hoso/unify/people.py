"""People for the other capabilities: read one, walk a timeline, change memberships by the one path that may.

``People`` is built from settings by ``hoso.unify.build.Parts``. Everything it reads is strongly consistent.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hoso.model.errors import Conflict, Transient
from hoso.model.identifiers import Identifier
from hoso.platform.clock import Clock
from hoso.platform.dynamo import TRANSACTION_LIMIT
from hoso.segment.person import PersonState, RuleEvent, Verdict
from hoso.unify.everyone import everyone
from hoso.unify.fragments import Fragment, New, cold_of, hot_of
from hoso.unify.history import rebuild_meters
from hoso.unify.identities import Identities
from hoso.unify.profiles import Profile, merge, person_of, rule_state
from hoso.unify.rulebook import Book, Rulebook
from hoso.unify.settlement import Reason, Settlement, settle
from hoso.unify.store import ProfileStore, cold_key, hot_key
from hoso.unify.timeline import Cursor, TimelinePage, all_events, one_page
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
        header = self._identities(workspace).load(pid)
        item = header.item or None
        fids = header.fragments
        keys = [key for fid in fids for key in (hot_key(workspace, fid), cold_key(workspace, fid))]
        items = self._store.read(keys, consistent=True)
        fragments = [
            Fragment(
                fid, hot_of(items.get(hot_key(workspace, fid)), ("", "")), cold_of(items.get(cold_key(workspace, fid)))
            )
            for fid in fids
        ]
        own = fragments[0].hot.hub if fragments[0].hot.version else hub
        person = person_of(item, header.pid, fids[0], (own[0], own[1]) if own else None)
        return merge(workspace, person, fragments)

    def person_state(self, profile: Profile) -> PersonState:
        """What the live rules see of a person, with meters of the present rules."""
        rules = self._rulebook.book(profile.workspace).rules
        for fragment in profile.fragments:
            hot = fragment.hot
            if hot.rules != rules.version and hot.page is not None and rules.missing(hot.meters):
                hot.meters = rebuild_meters(self._store, profile.workspace, fragment.fid, hot.page, rules)
                hot.rules = rules.version
        return rule_state(profile.person, profile.fragments)

    def timeline(self, workspace: str, pid: str) -> Iterator[New]:
        """All events of a person, each once, newest first by event time."""
        return all_events(self._store, workspace, self.load_person(workspace, pid))

    def rule_events(self, workspace: str, profile: Profile) -> Iterator[RuleEvent]:
        """All events of a person as rules see them, each once, newest first by event time."""
        for new in all_events(self._store, workspace, profile):
            event = new.event
            yield RuleEvent(event.message_id, event.name, event.ts, new.received_at, event.body)

    def timeline_page(self, profile: Profile, limit: int, cursor: Cursor | None) -> TimelinePage:
        """At most ``limit`` events of a person, newest first, and the cursor of what follows."""
        return one_page(self._store, profile.workspace, profile, limit, cursor)

    def verdicts(self, profile: Profile, as_of: int, keys: frozenset[str] | None = None) -> dict[str, Verdict]:
        """What the live rules say of a person at an instant, for these segments or all."""
        rules = self._rulebook.book(profile.workspace).rules
        return rules.evaluate(self.person_state(profile), as_of, keys)

    def reevaluate(self, workspace: str, pid: str, as_of: int, *, kind: str = "time") -> list[dict[str, Any]]:
        """Evaluate all segments of a person live and write what changed; the outbox rows of the changes.

        Raises:
            Transient: others kept changing the person.
        """
        return self.apply_verdicts(
            workspace, pid, lambda profile: self.verdicts(profile, as_of), as_of=as_of, kind=kind, every=True
        )

    def apply_verdicts(
        self, workspace: str, pid: str, decide: Decide, *, as_of: int, kind: str, every: bool = False
    ) -> list[dict[str, Any]]:
        """Write the memberships that ``decide`` gives for the person as it is now; the outbox rows of the changes.

        The one write path of memberships beside the stream consumer: ``decide`` is asked again whenever the person
        changed meanwhile. ``kind`` (time, nightly, rule, merge) becomes the reason. ``every``: the verdicts cover all
        segments.

        Raises:
            Transient: others kept changing the person, or the table is throttled.
        """
        rows: list[dict[str, Any]] = []
        failures = 0
        while failures < ATTEMPTS:
            profile = self.load_person(workspace, pid)
            settled = settle(
                workspace,
                profile.person,
                decide(profile),
                self._rulebook.book(workspace).revisions,
                at=as_of,
                reason=lambda _key: Reason(kind),
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

    def everyone(self, workspace: str, *, part: int = 0, parts: int = 1) -> Iterator[Profile]:
        """Everybody of a workspace, for nightly work; one of ``parts`` shares of the people.

        One pass over the table per share; the items of a share are held in memory (about 2 KB a person). Not a
        snapshot: what changes meanwhile is seen before or after its change.
        """
        return everyone(self._store, workspace, part, parts)

    def book(self, workspace: str) -> Book:
        """The live rules of a workspace and the revisions of its segments."""
        return self._rulebook.book(workspace)

    def _commit(self, profile: Profile, settled: Settlement) -> None:
        writes = settlement_writes(self._store, profile.workspace, settled)
        room = TRANSACTION_LIMIT - len(writes)
        writes += bumps(self._store, profile.workspace, profile.pid, profile.fragments[:room])
        self._store.commit(writes)
