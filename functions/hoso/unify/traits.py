"""Traits of one fragment: per name the last writer wins by (timestamp, message id), whatever the order of arrival.

Beside the winner an entry keeps what it takes to say *since when* the value has been what it is: the times at which the
same value was written after the last different one. A null is a value like any other here (it removes the trait), so
that an older write that arrives later does not bring it back.

The bounds hold without regard to order too: names are ranked (the reserved ones first, then by text) and the first of
them are kept, as many as fit by the largest size each ever had. What was cut once stays out.
"""

from __future__ import annotations

from bisect import insort
from typing import Any, NamedTuple, cast

import orjson

from hoso.model.record import Event

MAX_TRAITS = 500
MAX_BYTES = 64_000
MAX_VALUE_BYTES = 8_000
MAX_NAME_BYTES = 256
_MAX_RUN = 16
_USUAL_MESSAGE_ID = 80
"""What a message id is longer than this counts as part of the value."""

RESERVED = frozenset(
    (
        *("address", "age", "avatar", "birthday", "company", "createdAt", "description", "email", "firstName"),
        *("gender", "id", "lastName", "name", "phone", "title", "username", "website", "marketingConsent"),
    )
)
"""Traits that the tracking API reserves (section 11): they keep their place when a person has too many."""

Json = dict[str, Any]


class Trait(NamedTuple):
    """One stored trait: the winning write, and since when the value holds.

    ``run``: times of the writes of this very value after ``other``, oldest first. ``other``: time of the newest write
    of any other value. ``size``: the largest size in bytes that the trait ever had.
    """

    value: Any
    ts: int
    message_id: str
    source: str
    run: list[int]
    other: int | None
    size: int

    @property
    def since(self) -> int:
        """The first time at which the trait got the value it still has."""
        return self.run[0]


Traits = dict[str, Trait]


def written(event: Event) -> Json | None:
    """The traits that an event writes, or None.

    Only an identify call writes: its ``traits``, else (RudderStack) its ``context.traits``. On other calls
    ``context.traits`` repeats what is known; on a group call ``traits`` are the group's (tracking API, section 11).
    """
    if event.name != "$identify":
        return None
    traits = event.body.get("traits")
    if not isinstance(traits, dict) or not traits:
        context = event.body.get("context")
        traits = cast("Json", context).get("traits") if isinstance(context, dict) else None
    return cast("Json", traits) if isinstance(traits, dict) and traits else None


def put(traits: Traits, overflow: Json, name: str, value: object, *, at: tuple[int, str], source: str) -> bool:
    """Fold one write into the traits, in place. Answers whether anything of the trait changed."""
    raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    key = rank(name)
    if not name or len(raw) > MAX_VALUE_BYTES or len(key) > MAX_NAME_BYTES or key >= overflow.get("cut", "~"):
        overflow["traits"] = overflow.get("traits", 0) + 1
        return True
    held = traits.get(name)
    ts, message_id = at
    size = len(raw) + len(key) + max(0, len(message_id) - _USUAL_MESSAGE_ID)
    if held is None:
        traits[name] = Trait(value, ts, message_id, source, [ts], None, size)
        return True
    size = max(size, held.size)
    same = raw == orjson.dumps(held.value, option=orjson.OPT_SORT_KEYS)
    if (ts, message_id) > (held.ts, held.message_id):
        run, other = (_with(held.run, ts), held.other) if same else ([ts], held.ts)
        fresh = Trait(value, ts, message_id, source, run, other, size)
    else:
        fresh = _older(held, ts, same=same, size=size)
    traits[name] = fresh
    return fresh != held


def trim(traits: Traits, overflow: Json) -> None:
    """Bring the traits within their bounds, in place."""
    if len(traits) <= MAX_TRAITS and sum(entry.size for entry in traits.values()) <= MAX_BYTES:
        return
    total = 0
    for count, name in enumerate(sorted(traits, key=rank)):
        total += traits[name].size
        if count >= MAX_TRAITS or total > MAX_BYTES:
            cut = min(rank(name), overflow.get("cut", "~"))
            dropped = [other for other in traits if rank(other) >= cut]
            for other in dropped:
                del traits[other]
            overflow["cut"] = cut
            overflow["traits"] = overflow.get("traits", 0) + len(dropped)
            return


def rank(name: str) -> str:
    """Text by which trait names are ranked: reserved ones before all others, never above ``~``."""
    return ("0" if name in RESERVED else "1") + name


def _older(held: Trait, ts: int, *, same: bool, size: int) -> Trait:
    """The entry after a write that does not win."""
    if same:
        late = held.other is None or ts > held.other
        return held._replace(run=_with(held.run, ts) if late else held.run, size=size)
    if held.other is not None and ts <= held.other:
        return held._replace(size=size)
    return held._replace(run=[time for time in held.run if time > ts] or [held.ts], other=ts, size=size)


def _with(run: list[int], ts: int) -> list[int]:
    """The run with one more time. A long run keeps its first and its last times: these answer nearly all questions."""
    if ts in run:
        return run
    longer = run.copy()
    insort(longer, ts)
    return longer if len(longer) <= _MAX_RUN else [longer[0], *longer[2:]]
