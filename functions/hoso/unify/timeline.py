"""The timeline of a person: the pages of all its fragments as one list, newest event first.

Pages are in the order of receipt, events are wanted in the order of their own time. Every page says how late the
events before it can be (``u``), so that an event is told as soon as no unread page can hold a newer one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hoso.platform.dynamo import Item
from hoso.unify.fragments import Fragment, New
from hoso.unify.pages import events_of
from hoso.unify.profiles import Profile
from hoso.unify.store import ProfileStore

Order = tuple[int, str]
MOST_READ = 5_000
"""Events looked at for one page of a filtered timeline."""
TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias"})
_CALLS = frozenset(f"${kind}" for kind in TYPES - {"track"})


class Cursor(NamedTuple):
    """Where a page of the timeline ended: time and message id of its last event."""

    ts: int
    message_id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a timeline are asked for; what is empty or None does not restrict.

    ``names`` and ``excluded`` are event names (``$page``, ``Order Completed``), ``types`` types of the tracking API;
    ``since`` and ``until`` are UTC ms: since included, until not.
    """

    names: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None

    def __call__(self, new: New) -> bool:
        """Whether an event is wanted, its time apart."""
        event = new.event
        return (
            (not self.names or event.name in self.names)
            and event.name not in self.excluded
            and (not self.types or _type_of(event.name) in self.types)
            and (not self.sources or new.source in self.sources)
        )


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Events, newest first; ``next`` is the cursor of the following page, None at the end."""

    events: Sequence[New]
    next: Cursor | None


def one_page(
    store: ProfileStore,
    workspace: str,
    profile: Profile,
    limit: int,
    cursor: Cursor | None,
    wanted: Wanted | None = None,
) -> TimelinePage:
    """At most ``limit`` wanted events after the cursor; fewer, and a cursor to go on, where ``MOST_READ`` events held
    no more of them."""
    if wanted is not None and wanted.until is not None and (cursor is None or cursor.ts >= wanted.until):
        cursor = Cursor(wanted.until, "")
    found: list[New] = []
    for count, new in enumerate(all_events(store, workspace, profile, cursor)):
        event = new.event
        if wanted is not None and wanted.since is not None and event.ts < wanted.since:
            break
        if wanted is None or wanted(new):
            if len(found) == limit:
                last = found[-1].event
                return TimelinePage(found, Cursor(last.ts, last.message_id))
            found.append(new)
        elif count >= MOST_READ:
            return TimelinePage(found, Cursor(event.ts, event.message_id))
    return TimelinePage(found, None)


def all_events(store: ProfileStore, workspace: str, profile: Profile, cursor: Cursor | None = None) -> Iterator[New]:
    """The events of a person in falling order of (time, message id), each message id once."""
    streams = [_events(store, workspace, fragment, cursor) for fragment in profile.fragments]
    last: Order | None = None
    for order, new in heapq.merge(*streams, key=_falling):
        if order != last:
            yield new
        last = order


def _type_of(name: str) -> str:
    """The type of the call: a name of its own is a track call's."""
    return name[1:] if name in _CALLS else "track"


def _events(
    store: ProfileStore, workspace: str, fragment: Fragment, cursor: Cursor | None
) -> Iterator[tuple[Order, New]]:
    """The events of one fragment in falling order."""
    waiting: list[tuple[tuple[int, ...], int, Order, New]] = []
    serial = 0
    before: Order | None = None if cursor is None else (cursor.ts, cursor.message_id)
    for page in store.timeline(workspace, fragment.fid, fragment.hot.page):
        if before is None or page["a"] <= before[0]:
            for new in events_of(page):
                order = (new.event.ts, new.event.message_id)
                if before is None or order < before:
                    serial += 1
                    heapq.heappush(waiting, (_reversed(order), serial, order, new))
        newest_unread = _newest_unread(page)
        while waiting and (newest_unread is None or waiting[0][2][0] > newest_unread):
            _, _, order, new = heapq.heappop(waiting)
            yield order, new
    while waiting:
        _, _, order, new = heapq.heappop(waiting)
        yield order, new


def _newest_unread(page: Item) -> int | None:
    """The time that no event in the pages before this one exceeds; None when there is no page before."""
    return page.get("u") if "p" in page else None


def _falling(entry: tuple[Order, New]) -> tuple[int, ...]:
    return _reversed(entry[0])


def _reversed(order: Order) -> tuple[int, ...]:
    """A key that sorts newer before older: message ids of equal times by falling code points."""
    ts, message_id = order
    return (-ts, *(-ord(letter) for letter in message_id), 1)
