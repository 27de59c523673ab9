"""Takes out what counts twice because a message came again under another identifier (promise 2, decision 0055).

The copy received first is the event. The fragment of every other copy is made anew from its timeline pages without it,
in one transaction: hot and cold item on the condition of their versions, and the pages in which the copy is struck out.
A struck copy stays known: when it comes again it is a repeat. Doing it twice changes nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from hoso.model.bad_row import BadRow
from hoso.model.errors import Conflict, Transient
from hoso.platform.clock import Clock
from hoso.unify import pages
from hoso.unify.archive_range import Copies
from hoso.unify.aside import DUPLICATE, Quarantine
from hoso.unify.dedupe import message_hash
from hoso.unify.fragments import New, cold_of, hot_of
from hoso.unify.people import People
from hoso.unify.refold import PAGES_AT_ONCE, Refold, Seen
from hoso.unify.store import ProfileStore, cold_key, hot_key

ATTEMPTS = 6
_BASE_DELAY_S = 0.03


@dataclass(slots=True)
class Taken:
    """Copies by what became of them. ``struck``: taken out now (in a dry run: would be); ``known``: taken out before;
    ``expired``: their fragment is older than its timeline, they go on counting; ``absent``: the fragment does not have
    them (never folded, or gone). ``conflicts`` are those among the struck that had other content than the first: they
    are in the quarantine, stage ``duplicate``."""

    messages: int = 0
    struck: int = 0
    known: int = 0
    expired: int = 0
    absent: int = 0
    conflicts: int = 0

    def add(self, other: Taken) -> None:
        """Add another one's counts."""
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)


def copies_key(workspace: str) -> str:
    """The object that tells what the last nightly run over copies counted: ``at`` (UTC ms) and the counts."""
    return f"nightly/{workspace}/copies.json"


class Copy(NamedTuple):
    """One copy that has to go: its message, and what is known of the event itself when its content is another."""

    message_id: str
    source: str
    first: dict[str, Any] | None


class Striker:
    """Takes copies out of fragments, and has the segments of the people concerned evaluated."""

    def __init__(
        self,
        store: ProfileStore,
        people: People,
        quarantine: Quarantine,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._people = people
        self._refold = Refold(store, people)
        self._quarantine = quarantine
        self._clock = clock
        self._sleep = sleep

    def strike(self, workspace: str, found: Sequence[Copies], *, dry_run: bool) -> Taken:
        """Take out all copies but the first of each of these messages. Safe to repeat.

        Raises:
            Transient: others kept changing a fragment, or a dependency is down; what is done is done.
        """
        taken = Taken(messages=len(found))
        for hub, copies in _by_hub(found).items():
            taken.add(self._strike(workspace, hub, copies, dry_run=dry_run))
        return taken

    def taken_out(self, workspace: str, found: Sequence[Copies]) -> list[Copies]:
        """Of these messages the first with those copies only that were taken out of state; none of them: left out."""
        struck: set[tuple[str, str, bytes]] = set()
        for hub, copies in _by_hub(found).items():
            fid = self._store.fragment_id(workspace, hub)
            page = (
                self._store.read([hot_key(workspace, fid)], consistent=True).get(hot_key(workspace, fid), {}).get("g")
            )
            for stored in self._store.timeline(workspace, fid, page):
                held = pages.holds(stored, set(copies))
                if held:
                    counting = {message_hash(new.event.message_id, new.source) for new in pages.events_of(stored)}
                    out = {
                        message_hash(new.event.message_id, new.source)
                        for new in pages.events_of(stored, out=(pages.COPY,))
                    }
                    struck |= {(*hub, digest) for digest in (held & out) - counting}
        answer: list[Copies] = []
        for message in found:
            digest = message_hash(message.message_id, message.source)
            first, *others = message.found
            gone = [other for other in others if (other["type"], other["value"], digest) in struck]
            if gone:
                answer.append(message._replace(found=[first, *gone]))
        return answer

    def _strike(self, workspace: str, hub: tuple[str, str], copies: Mapping[bytes, Copy], *, dry_run: bool) -> Taken:
        fid = self._store.fragment_id(workspace, hub)
        taken, failures, left = Taken(), 0, dict(copies)
        while failures < ATTEMPTS:
            keys = hot_key(workspace, fid), cold_key(workspace, fid)
            items = self._store.read(keys, consistent=True)
            hot_stored, cold_stored = items.get(keys[0]), items.get(keys[1])
            if hot_stored is None:
                taken.absent += len(left)
                return taken
            hot, cold = hot_of(hot_stored, hub), cold_of(cold_stored)
            seen = Seen()
            fresh = self._refold.without(workspace, fid, hot, cold, set(left), seen)
            conflicts = [digest for digest in seen.gone if left[digest].first is not None]
            counts = Taken(struck=len(seen.gone), conflicts=len(conflicts))
            whole = fresh is not None and seen.events == hot.events
            if seen.gone and (fresh is None or not whole):
                counts = Taken(expired=len(seen.gone))
            elif seen.gone and fresh is not None and not dry_run:
                self._set_aside(workspace, [(left[digest], seen.gone[digest]) for digest in conflicts])
                fresh[0].conflicts += len(conflicts)
                try:
                    self._store.commit(self._refold.writes(workspace, fid, fresh, (hot, cold_stored), seen))
                except Conflict:
                    failures += 1
                    self._sleep(random.uniform(0, _BASE_DELAY_S * 2**failures))  # noqa: S311  jitter needs no secrecy
                    continue
            taken.add(counts)
            for digest in seen.gone:
                del left[digest]
            if len(seen.changed) == PAGES_AT_ONCE and whole and not dry_run:
                continue  # there may be more pages with copies
            taken.known += len(left.keys() & seen.known)
            taken.absent += len(left.keys() - seen.known)
            if not dry_run:
                # also when all was done before: a run that died between the two left the memberships as they were
                self._people.reevaluate(workspace, hot.owner or f"p_{fid}", self._clock())
            return taken
        raise Transient(f"the fragment kept changing in {ATTEMPTS} tries")

    def _set_aside(self, workspace: str, conflicts: Sequence[tuple[Copy, New]]) -> None:
        """Keep what was another event under the same message id, before it stops counting."""
        for copy, new in conflicts:
            reason = "another event with this messageId and other content came before under another identifier"
            row = BadRow(0, copy.message_id, DUPLICATE, reason, new.event.body, at=new.received_at, first=copy.first)
            self._quarantine(workspace, DUPLICATE, new.source, new.received_at, [row])


def _by_hub(found: Sequence[Copies]) -> dict[tuple[str, str], dict[bytes, Copy]]:
    """All copies but the first of each message, by the hub that they came under and the hash of their message."""
    by_hub: dict[tuple[str, str], dict[bytes, Copy]] = {}
    for message in found:
        first, *others = message.found
        told = None if message.same_content else {"event": first["event"], "received_at": first["received_at"]}
        for other in others:
            held = by_hub.setdefault((other["type"], other["value"]), {})
            digest = message_hash(message.message_id, message.source)
            held[digest] = Copy(message.message_id, message.source, told)
    return by_hub
