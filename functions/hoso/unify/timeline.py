"""The timeline of a person: the pages of all its fragments as one list, newest event first.

Pages are in the order of receipt, events are wanted in the order of their own time. Every page says how late the
events before it can be (``u``), so that an event is told as soon as no unread page can hold a newer one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from hoso.platform.dynamo import Item
from hoso.unify.fragments import Fragment, New
from hoso.unify.pages import events_of
from hoso.unify.profiles import Profile
from hoso.unify.store import ProfileStore

Order = tuple[int, str]


class Cursor(NamedTuple):
    """Where a page of the timeline ended: time and message id of its last event."""

    ts: int
    message_id: str


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Events, newest first; ``next`` is the cursor of the following page, None at the end."""

    events: Sequence[New]
    next: Cursor | None


def one_page(store: ProfileStore, workspace: str, profile: Profile, limit: int, cursor: Cursor | None) -> TimelinePage:
    """At most ``limit`` events after the cursor."""
    found = list(islice(all_events(store, workspace, profile, cursor), limit + 1))
    if len(found) <= limit:
        return TimelinePage(found, None)
    last = found[limit - 1].event
    return TimelinePage(found[:limit], Cursor(last.ts, last.message_id))


def all_events(store: ProfileStore, workspace: str, profile: Profile, cursor: Cursor | None = None) -> Iterator[New]:
    """The events of a person in falling order of (time, message id), each message id once."""
    streams = [_events(store, workspace, fragment, cursor) for fragment in profile.fragments]
    last: Order | None = None
    for order, new in heapq.merge(*streams, key=_falling):
        if order != last:
            yield new
        last = order


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
