"""A fragment made anew out of its timeline pages without some of its events: what taking copies out and moving events
to another identifier have in common. The result is one transaction: hot and cold item on the condition of their
versions, and the pages in which the events are struck out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hoso.model.errors import Transient
from hoso.platform.dynamo import Condition, Item, Put, Update, Write, at_version
from hoso.unify import pages
from hoso.unify.fragments import BadEvent, Cold, Hot, New, cold_item, fold, hot_item
from hoso.unify.people import People
from hoso.unify.store import ProfileStore, hot_key

PAGES_AT_ONCE = 30
"""Pages that one transaction changes: with 100 KB each it stays under the limit of 4 MB."""
STORED = Condition("attribute_exists(pk)")


@dataclass(slots=True)
class Seen:
    """What a walk over the pages of a fragment has met: how many events count; the pages that change, with their new
    attributes; the events that went; of the wanted those that had gone before."""

    events: int = 0
    changed: list[tuple[Item, Item]] = field(default_factory=list[tuple[Item, Item]])
    gone: dict[bytes, New] = field(default_factory=dict[bytes, New])
    known: set[bytes] = field(default_factory=set[bytes])


class Refold:
    """Makes fragments anew."""

    def __init__(self, store: ProfileStore, people: People) -> None:
        self._store = store
        self._people = people

    def without(
        self, workspace: str, fid: str, hot: Hot, cold: Cold, wanted: set[bytes], seen: Seen, why: str = pages.COPY
    ) -> tuple[Hot, Cold] | None:
        """Both parts of a fragment out of its timeline, without the wanted message hashes; None where that cannot be.

        It is whole only where ``seen.events`` are all events of the fragment. What changed no more than
        ``PAGES_AT_ONCE`` pages is gone afterwards; with more, ask again.
        """
        rules = self._people.book(workspace).rules
        fresh = Hot(
            hot.hub,
            version=hot.version + 1,
            owner=hot.owner,
            ring=hot.ring,
            page=hot.page,
            rules=rules.version,
            conflicts=hot.conflicts,
            rest=hot.rest,
        )
        made = Cold(version=cold.version + 1, computed=cold.computed, listed=cold.listed, rest=cold.rest)
        try:
            fold(fresh, made, self._kept(workspace, fid, hot.page, (wanted, why), seen), rules)
        except BadEvent as error:
            if isinstance(error.__cause__, Transient):
                raise error.__cause__ from error  # a page could not be read: that is no fault of an event
            return None
        return fresh, made

    def writes(
        self, workspace: str, fid: str, fresh: tuple[Hot, Cold], before: tuple[Hot, Item | None], seen: Seen
    ) -> list[Write]:
        """What puts a fragment made anew in the place of the one before (its hot part, and its cold item)."""
        table, pk = self._store.profiles, hot_key(workspace, fid)[0]
        writes: list[Write] = [Put(table, hot_item(fresh[0], pk), at_version(before[0].version))]
        if before[1] is not None:
            writes.append(Put(table, cold_item(fresh[1], pk), at_version(before[1]["v"])))
        writes += [Update(table, (page["pk"], page["sk"]), change, condition=STORED) for page, change in seen.changed]
        return writes

    def _kept(
        self, workspace: str, fid: str, newest: str | None, order: tuple[set[bytes], str], seen: Seen
    ) -> Iterator[New]:
        """The events that stay; what goes is noted on the way."""
        wanted, why = order
        for page in self._store.timeline(workspace, fid, newest):
            held = pages.holds(page, wanted)
            change = pages.strike(page, held, why) if held and len(seen.changed) < PAGES_AT_ONCE else None
            counting = pages.events_of(page)
            seen.events += len(counting)
            if change is None:
                yield from counting
                if held:
                    seen.known |= pages.find(page, held).keys()
                continue
            seen.changed.append((page, change))
            seen.gone |= pages.find(page, held)
            yield from pages.events_of({**page, **change})
