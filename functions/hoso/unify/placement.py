"""Under which identifiers the stored events of a workspace stand since its last switch of the identity rules
(decision 0065).

The archive keeps events as they came. What was received before the switch took its events over stands where the rules
of the switch put it; what came after stands where it came. Everybody who reads the archive as people's events reads it
so: the compaction (for SQL and the nightly run), replays, and the search for copies.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from hoso.model.errors import NotFound
from hoso.model.identity_config import IdentityConfig
from hoso.model.identity_rules import config_in
from hoso.platform.objects import Objects
from hoso.segment.archive_files import JSON, Placing
from hoso.unify.rehub import identifiers_under


class Placement(NamedTuple):
    """The rules of the last switch, and the instant (UTC ms) before which events were received that it took over."""

    mark: str
    config: IdentityConfig
    until: int

    def rules_at(self, received_at: int) -> IdentityConfig | None:
        """By which rules an event of this receipt is placed; None: it stands where it came."""
        return self.config if received_at < self.until else None


def placement_key(workspace: str) -> str:
    """The object that holds it: ``switch`` id, ``rules`` document, ``until`` (UTC ms)."""
    return f"nightly/{workspace}/placement.json"


def placement_of(objects: Objects, workspace: str) -> Placement | None:
    """Where events stand; None while no switch ever moved any."""
    try:
        held = orjson.loads(objects.get(placement_key(workspace)))
    except NotFound:
        return None
    return Placement(f"{held['switch']} {held['until']}", config_in(held["rules"]), held["until"])


def put_placement(objects: Objects, workspace: str, switch: str, rules: str, until: int) -> None:
    """Note what a switch (with its document as JSON text) takes over. Safe to repeat."""
    held = {"switch": switch, "rules": orjson.loads(rules), "until": until}
    objects.put(placement_key(workspace), orjson.dumps(held), JSON)


def placing_of(objects: Objects, workspace: str) -> Placing | None:
    """The same as the compaction takes it."""
    found = placement_of(objects, workspace)
    if found is None:
        return None

    def place(kind: str, value: str, ids: str, body: str) -> tuple[str, str, str]:
        first, *rest = identifiers_under((kind, value), orjson.loads(ids), orjson.loads(body), found.config)
        return first.type, first.value, orjson.dumps([list(one) for one in rest]).decode()

    return Placing(found.mark, found.until, place)
