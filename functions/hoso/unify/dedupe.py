"""Which of the arriving events are new (promise 2, effectively once; reliability R6, R12, R13).

A fragment remembers the message ids it met last as a ring of short hashes. What fell out of the ring is covered by the
*floor*: the highest client time that fell out. A client sends the same message with the same time of its own clock,
so an event above the floor that is not in the ring was never here. Whatever that rule cannot tell is asked of the
timeline pages, which know every event.

The ring is cut in groups of eight entries; per group the highest client time is kept, so a full ring takes 432 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from hoso.model.record import Event
from hoso.model.time import DAY_MS

RING_SIZE = 64
HASH_BYTES = 6
_GROUP = 8
_TIME_BYTES = 6
_CLOCK_TRUST_MS = DAY_MS
_VOLATILE = ("sentAt", "receivedAt", "_metadata", "writeKey")
"""Members that a client or the door changes when the same event is sent again."""


def message_hash(message_id: str, source: str = "") -> bytes:
    """The six bytes that stand for a message id of a source in rings and pages.

    Message ids are made by clients: two sources may use the same one for two events (tracking API, section 8).
    """
    return blake2b(f"{source}\0{message_id}".encode(), digest_size=HASH_BYTES).digest()


def content_hash(event: Event) -> bytes:
    """Six bytes of a message id together with what was sent under it."""
    content = orjson.dumps(_content(event), option=orjson.OPT_SORT_KEYS)
    return blake2b(event.message_id.encode() + b"\0" + content, digest_size=HASH_BYTES).digest()


def client_time(event: Event, received_at: int) -> int | None:
    """The client's own reading, or None where it is no help: missing, negative, or far ahead of its arrival.

    A time in the far future would lift the floor for good, and every later event would be asked of the pages.
    """
    time = event[2]  # the client's reading; by its place, as this is asked twice per event
    if time is None or not 0 <= time <= received_at + _CLOCK_TRUST_MS:
        return None
    return time


@dataclass(frozen=True, slots=True)
class Ring:
    """The hashes met last (``hashes``, oldest first), the highest client time per group of eight (``times``), and
    the floor; a floor of None means that nothing ever fell out."""

    hashes: bytes = b""
    times: bytes = b""
    floor: int | None = None

    def members(self) -> set[bytes]:
        """The hashes in the ring."""
        held = self.hashes
        return {held[start : start + HASH_BYTES] for start in range(0, len(held), HASH_BYTES)}

    def covers(self, time: int | None) -> bool:
        """Whether an event of this client time that is not in the ring is new for sure."""
        return self.floor is None or (time is not None and time > self.floor)

    def add(self, entries: Iterable[tuple[bytes, int | None]]) -> Ring:
        """The ring after these (hash, client time) entries, at most 64 long."""
        added = list(entries)
        hashes = self.hashes + b"".join([digest for digest, _ in added])
        stamps = [time or 0 for _, time in added]
        times = [
            int.from_bytes(self.times[start : start + _TIME_BYTES], "big")
            for start in range(0, len(self.times), _TIME_BYTES)
        ]
        begun = -(len(self.hashes) // HASH_BYTES) % _GROUP
        if begun and stamps:
            times[-1] = max(times[-1], *stamps[:begun])
        times += [max(0, *stamps[start : start + _GROUP]) for start in range(begun, len(stamps), _GROUP)]
        floor = self.floor
        gone = max(0, -(-(len(hashes) - RING_SIZE * HASH_BYTES) // (_GROUP * HASH_BYTES)))
        if gone:
            floor = max(floor or 0, *times[:gone])
            hashes, times = hashes[gone * _GROUP * HASH_BYTES :], times[gone:]
        return Ring(hashes, b"".join([time.to_bytes(_TIME_BYTES, "big") for time in times]), floor)


@dataclass(slots=True)
class Sorted:
    """The verdict over arriving events, by their position in the list that was asked about.

    ``fresh`` change state; ``repeats`` were here before, equal; ``conflicts`` use the id of another event for other
    content: they are kept aside and counted, ``firsts`` tells of the other one; ``entries`` is what the ring has to
    remember.
    """

    fresh: list[int] = field(default_factory=list[int])
    repeats: list[int] = field(default_factory=list[int])
    conflicts: list[int] = field(default_factory=list[int])
    firsts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    entries: list[tuple[bytes, int | None]] = field(default_factory=list[tuple[bytes, int | None]])


Arrival = tuple[Event, int, bytes]
"""An event, the time at which it was received, and the hash of its message id."""


def suspects(ring: Ring, arrivals: Iterable[Arrival]) -> set[bytes]:
    """Hashes that the timeline pages have to be asked about before ``sort`` can judge these arrivals."""
    held = ring.members()
    if ring.floor is None:
        return {digest for _, _, digest in arrivals if digest in held}
    return {
        digest
        for event, received_at, digest in arrivals
        if digest in held or not ring.covers(client_time(event, received_at))
    }


def sort(ring: Ring, arrivals: Iterable[Arrival], stored: Mapping[bytes, Event]) -> Sorted:
    """Judge arrivals in their order. ``stored`` holds the events that the pages have for the suspects' hashes."""
    answer = Sorted()
    arrivals, held = list(arrivals), ring.members()
    digests = {digest for _, _, digest in arrivals}
    if len(digests) == len(arrivals) and digests.isdisjoint(held) and digests.isdisjoint(stored):
        # as nearly always: nothing of this was here before
        answer.fresh = list(range(len(arrivals)))
        answer.entries = [(digest, client_time(event, received_at)) for event, received_at, digest in arrivals]
        return answer
    met: dict[bytes, Event] = {}
    flagged: set[bytes] = set()
    for position, (event, received_at, digest) in enumerate(arrivals):
        original = met.get(digest) or stored.get(digest)
        if original is not None and original.message_id == event.message_id:
            if _content(original) == _content(event):
                answer.repeats.append(position)
                continue
            mark = content_hash(event)
            if mark in held or mark in flagged:
                answer.repeats.append(position)
                continue
            flagged.add(mark)
            answer.conflicts.append(position)
            answer.firsts.append(told_of(original, event))
            answer.entries.append((mark, None))
            continue
        if digest in held and digest not in met and original is None:
            # The ring knows it, but its page is gone (expired) or was never asked for.
            answer.repeats.append(position)
            continue
        met.setdefault(digest, event)
        answer.fresh.append(position)
        answer.entries.append((digest, client_time(event, received_at)))
    return answer


def told_of(first: Event, other: Event) -> dict[str, Any]:
    """The event that was here first, as the quarantine shows it beside another one that uses its message id: name,
    time (UTC ms), hash of id and content, and the members in which the two differ (at most 20)."""
    mine, its = _content(first)[1], _content(other)[1]
    differs = sorted(name for name in {*mine, *its} if mine.get(name, ...) != its.get(name, ...))
    return {
        "event": first.name,
        "ts": first.ts,
        "content": content_hash(first).hex(),
        "differs": [name[:100] for name in differs[:20]],
    }


def _content(event: Event) -> tuple[str, dict[str, Any]]:
    body = event.body
    return event.name, {key: value for key, value in body.items() if key not in _VOLATILE}
