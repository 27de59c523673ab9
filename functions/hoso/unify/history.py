"""What only the timeline pages know: whether a suspect was here before, and what meters of new rules must hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hoso.model.record import Event
from hoso.model.time import DAY_MS
from hoso.platform.dynamo import Item, Key
from hoso.unify import dedupe, pages
from hoso.unify.fragments import refold_meters
from hoso.unify.part import Part
from hoso.unify.store import ProfileStore

if TYPE_CHECKING:
    from hoso.segment.live import LiveRules

Found = Mapping[bytes, Event]
_MOST_PAGES = 2_000
"""Pages that are read at most for one question; a fragment with more in a week is a machine's."""


def ask_pages(store: ProfileStore, parts: Sequence[Part], *, now: int, dedupe_days: int) -> list[Found]:
    """Per part the stored events that its suspects repeat, or whose message id they use.

    The newest page of every fragment comes in one shared read, since most repeats follow at once; only what is
    not there is looked for further back, as long as duplicates are remembered.
    """
    wanted = [dedupe.suspects(part.hot.ring, part.arrivals) if part.hot_item else set[bytes]() for part in parts]
    keys: dict[int, Key] = {}
    for number, part in enumerate(parts):
        newest = part.hot.page
        if wanted[number] and newest is not None:
            keys[number] = (part.pk, newest)
    newest_pages = store.read(keys.values(), consistent=True)
    answers: list[Found] = []
    for number, part in enumerate(parts):
        found: dict[bytes, Event] = {}
        page = newest_pages.get(keys[number]) if number in keys else None
        if page is not None:
            _look(page, wanted[number], found)
            if len(found) < len(wanted[number]):
                # a replay may bring what is older than any client sends again
                since = 0 if part.replayed else now - dedupe_days * DAY_MS
                _look_back(store, part, wanted[number], found, since)
        answers.append(found)
    return answers


def rebuild_meters(
    store: ProfileStore, workspace: str, fid: str, newest: str | None, rules: LiveRules
) -> dict[str, Any]:
    """The meters of a fragment for this rule set, made anew from its timeline."""
    stored = _bounded(store.timeline(workspace, fid, newest))
    return refold_meters((new for page in stored for new in pages.events_of(page)), rules)


def whole_meters(
    store: ProfileStore, workspace: str, fid: str, newest: str | None, rules: LiveRules, events: int
) -> dict[str, Any] | None:
    """As ``rebuild_meters``; None unless the timeline still holds all of so many events."""
    kept = [new for page in store.timeline(workspace, fid, newest) for new in pages.events_of(page)]
    return refold_meters(kept, rules) if len(kept) == events else None


def _look(page: Item, wanted: set[bytes], found: dict[bytes, Event]) -> None:
    """Add what this page holds of the wanted events."""
    held = pages.holds(page, wanted - found.keys())
    if held:
        found.update({digest: new.event for digest, new in pages.find(page, held).items()})


def _look_back(store: ProfileStore, part: Part, wanted: set[bytes], found: dict[bytes, Event], since: int) -> None:
    for page in _bounded(store.timeline(part.group.workspace, part.fid, part.hot.page)):
        if page["at"] < since:
            return
        _look(page, wanted, found)
        if len(found) == len(wanted):
            return


def _bounded(stored: Iterable[Item]) -> Iterable[Item]:
    for number, page in enumerate(stored):
        if number == _MOST_PAGES:
            return
        yield page
