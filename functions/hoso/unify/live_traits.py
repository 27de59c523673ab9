"""Computed traits as a profile shows them: live where the person's own events are enough, else as of the last night."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from hoso.model.time import format_instant
from hoso.segment.traits.language import ComputedTrait
from hoso.segment.traits.live import LIVE, live_values
from hoso.unify.people import People
from hoso.unify.profiles import Profile

MOST_EVENTS = 2_000
"""People with more are shown the last night's values: reading a long life would make the page slow."""

Json = dict[str, Any]


def with_live(
    people: People, profile: Profile, stored: Json, definitions: Mapping[str, ComputedTrait], now: int
) -> Json:
    """The section ``computed_traits`` with fresh values; each says its ``freshness``."""
    shown = {name: {**entry, "freshness": "nightly"} for name, entry in stored.items()}
    wanted = {key: definition for key, definition in definitions.items() if isinstance(definition.of, LIVE)}
    if not wanted or profile.totals["events"] > MOST_EVENTS:
        return shown
    events = list(islice(people.rule_events(profile.workspace, profile), MOST_EVENTS))
    values = live_values(wanted, events, now)
    for key in wanted:
        if key not in values:
            shown.pop(key, None)
            continue
        held = shown.get(key, {})
        same = held.get("value") == values[key]
        fresh = {"value": values[key], "at": format_instant(now), "reason": held.get("reason") if same else None}
        shown[key] = {**held, **fresh, "freshness": "live"}
    return dict(sorted(shown.items()))
