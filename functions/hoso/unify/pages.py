"""Timeline pages: the packed records of a fragment, as they came, chained from the newest back (decision 0002).

A page is written before the commit that names it. Its attributes beside the key: ``d`` packed records, ``k`` per record
the positions that are no part of the timeline (duplicates, refused), ``h`` the hashes of the message ids of all
others, ``p`` the sort key of the page before, ``a`` and ``b`` lowest and highest event time, ``u`` the highest event
time of all pages before, ``at`` the latest receipt, ``ttl``; ``s`` per record the positions that were struck out
afterwards, because the message counts in another fragment, ``w`` those of events that went to another fragment under
new identity rules (both stand in ``k`` too, and their hashes stay in ``h``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import count
from typing import Any, NamedTuple

from hoso.model.errors import InvalidInput
from hoso.model.record import Record, unpack
from hoso.model.time import DAY_MS
from hoso.unify.dedupe import HASH_BYTES, message_hash
from hoso.unify.fragments import New

PREFIX = "T#"
TARGET_BYTES = 100_000
MAX_RECORD_BYTES = 350_000
"""A packed record above this fits no page; the door makes none over 200,000 bytes before compression."""

COPY, WENT = "s", "w"
OUT = (COPY, WENT)
"""Attributes of positions that were struck out, by the reason."""

Item = dict[str, Any]


class Stay(NamedTuple):
    """A record that goes into the timeline, less the positions in ``skip``. ``digests`` are its events' hashes."""

    blob: bytes
    record: Record
    digests: Sequence[bytes]
    skip: frozenset[int]


class Chain(NamedTuple):
    """The new pages of a commit, oldest first, and the sort key of the newest page after it."""

    pages: list[Item]
    newest: str | None


def chain(
    pk: str, stays: Iterable[Stay], *, version: int, previous: str | None, highest: int | None, keep_days: int
) -> Chain:
    """Pages for these records, to be named by the commit that makes this version.

    ``previous`` is the newest page so far, ``highest`` the latest event time of all pages so far.
    """
    pages: list[Item] = []
    for number, stack in enumerate(_stacks(stays)):
        page = _page(stack, previous, highest, keep_days)
        name = blake2b(b"".join(page["d"]) + (previous or "").encode(), digest_size=4).hexdigest()
        previous = f"{PREFIX}{version:012d}{number:03d}#{name}"
        highest = page["b"] if highest is None else max(highest, page["b"])
        pages.append({"pk": pk, "sk": previous, **page})
    return Chain(pages, previous)


def linked(stored: Iterable[Item], newest: str | None) -> Iterator[Item]:
    """The pages that belong to the timeline, newest first, out of all that are stored (in falling order of key).

    A page that the chain does not name is the leftover of a failed try.
    """
    expected = newest
    for page in stored:
        if expected is None:
            return
        if page["sk"] == expected:
            yield page
            expected = page.get("p")
        elif page["sk"] < expected:
            return  # the expected page has expired, and with it all before


def events_of(page: Mapping[str, Any], *, out: Sequence[str] = ()) -> list[New]:
    """The events of a page in the order of their arrival; with ``out`` those too that were struck out (``OUT``: for any
    reason). A record that no longer unpacks is left out."""
    found: list[New] = []
    struck = [page[name] for name in out if page.get(name)]
    for number, record, skip in records_in(page):
        back = {position for lists in struck for position in lists[number]}
        agent: object = record.origin.get("user_agent")
        flags: dict[int, tuple[tuple[str, int, str], ...]] = {}
        for place, plan, revision, reason in record.flags:
            flags[place] = (*flags.get(place, ()), (plan, revision, reason))
        found += [
            New(event, record.source, record.received_at, agent if type(agent) is str else "", flags.get(position, ()))
            for position, event in enumerate(record.events)
            if position not in skip or position in back
        ]
    return found


def records_in(page: Mapping[str, Any]) -> Iterator[tuple[int, Record, Sequence[int]]]:
    """The records of a page that can be read: place, record, and the positions in it that do not count."""
    skips: Sequence[Sequence[int]] = page.get("k") or ()
    for number, blob in enumerate(page["d"]):
        try:
            record = unpack(blob)
        except InvalidInput:
            continue
        yield number, record, skips[number] if number < len(skips) else ()


def strike(page: Mapping[str, Any], wanted: set[bytes], why: str = COPY) -> Item | None:
    """The attributes ``k`` and ``s`` (or ``w``, as ``why`` says) of a page without the events of these message hashes;
    None when it has none of them that count."""
    none: list[list[int]] = [[] for _ in page["d"]]
    skips, out = list[list[int]](page.get("k") or none), list[list[int]](page.get(why) or none)
    before = list(out)
    for number, record, _ in records_in(page):
        for position, event in enumerate(record.events):
            if position not in skips[number] and message_hash(event.message_id, record.source) in wanted:
                skips[number] = sorted([*skips[number], position])
                out[number] = sorted([*out[number], position])
    return {"k": skips, why: out} if out != before else None


def restore(page: Mapping[str, Any], wanted: set[bytes]) -> tuple[Item, dict[bytes, New]] | None:
    """The attributes of a page in which the struck events of these message hashes count again, and these events; None
    when it has none of them."""
    change: Item = {name: [list(one) for one in page[name]] for name in ("k", *OUT) if page.get(name)}
    back: dict[bytes, New] = {}
    for number, record, _ in records_in(page):
        for position, event in enumerate(record.events):
            digest = message_hash(event.message_id, record.source)
            struck = [name for name in OUT if name in change and position in change[name][number]]
            if digest not in wanted or digest in back or not struck:
                continue
            for name in ("k", *struck):
                change[name][number].remove(position)
            back[digest] = New(event, record.source, record.received_at)
    return (change, back) if back else None


def holds(page: Mapping[str, Any], wanted: set[bytes]) -> set[bytes]:
    """Which of these message hashes are in the page; nothing has to be unpacked for that."""
    hashes: bytes = page["h"]
    return wanted & {hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)}


def find(page: Mapping[str, Any], wanted: set[bytes]) -> dict[bytes, New]:
    """The events of the page that have these message hashes, struck out or not: they were here."""
    found: dict[bytes, New] = {}
    for new in events_of(page, out=OUT):
        digest = message_hash(new.event.message_id, new.source)
        if digest in wanted:
            found.setdefault(digest, new)
    return found


def _stacks(stays: Iterable[Stay]) -> Iterator[list[Stay]]:
    """Records in order, cut so that no page is over the target unless one record is."""
    stack: list[Stay] = []
    size = 0
    for stay in stays:
        if stack and size + len(stay.blob) > TARGET_BYTES:
            yield stack
            stack, size = [], 0
        stack.append(stay)
        size += len(stay.blob)
    if stack:
        yield stack


def _page(stack: Sequence[Stay], previous: str | None, highest: int | None, keep_days: int) -> Item:
    low: int | None = None
    high: int | None = None
    hashes = bytearray()
    for stay in stack:
        for position, event, digest in zip(count(), stay.record.events, stay.digests, strict=False):
            if position in stay.skip:
                continue
            hashes += digest
            low = event.ts if low is None or event.ts < low else low
            high = event.ts if high is None or event.ts > high else high
    received = max(stay.record.received_at for stay in stack)
    page: Item = {
        "d": [stay.blob for stay in stack],
        "h": bytes(hashes),
        "a": low,
        "b": high,
        "at": received,
        "ttl": (received + keep_days * DAY_MS) // 1_000,
    }
    if any(stay.skip for stay in stack):
        page["k"] = [sorted(stay.skip) for stay in stack]
    if previous is not None:
        page["p"] = previous
    if highest is not None:
        page["u"] = highest
    return page
