"""Whose side of random splits and hold-outs a merged person takes (segmentation reference, section 5: the survivor's).

The survivor is whoever was there: the person under whose id the merged one goes on, if anything was ever known of it;
else (a visitor who logs in for the first time) the one who was there first. So nobody changes sides by a merge in which
only one of the people was known, and with several known ones the one whose id stays does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import Item
from hoso.unify.identity_changes import Change
from hoso.unify.identity_component import Component

FirstEvents = Callable[[Iterable[Identifier]], Mapping[Identifier, int]]
"""Of these identifiers those under which events came, with the time of the first (UTC ms)."""


def keep_sides(component: Component, change: Change, first_events: FirstEvents) -> None:
    """Set the split id of people who took others in, in place."""
    for pid in change.touched:
        own = component.people.get(pid)
        ended = [
            other
            for other, members in change.before.items()
            if other != pid and other not in change.after and members & change.after[pid]
        ]
        if not ended or "sp" in (own or {}):
            continue
        person = change.people[pid]
        if own is not None:
            person["sp"] = pid
            continue
        known = first_events({one for other in (pid, *ended) for one in change.before.get(other, ())})
        if not known.keys().isdisjoint(change.before.get(pid, ())):
            person["sp"] = pid
        elif "sp" not in person:
            firsts = [(_first(change, known, other), other) for other in ended]
            person["sp"] = _side(component.people.get(min(firsts)[1]), min(firsts)[1]) if known else pid


def _first(change: Change, known: Mapping[Identifier, int], pid: str) -> int:
    return min((known[one] for one in change.before[pid] if one in known), default=2**62)


def _side(item: Item | None, pid: str) -> str:
    return (item or {}).get("sp") or pid
