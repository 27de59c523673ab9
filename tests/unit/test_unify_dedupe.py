"""What is new, what was here before, what only pretends to be: rings, floors and conflicts."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.model.record import Event
from hoso.unify.dedupe import RING_SIZE, Arrival, Ring, client_time, message_hash, sort, suspects

NOW = 1_790_000_000_000


def event(name: str, original_ts: int | None = NOW, **body: Any) -> Event:
    return Event(name, original_ts or NOW, original_ts, "Seen", [], {"type": "track", "messageId": name, **body})


def arrival(one: Event, received_at: int = NOW) -> Arrival:
    return one, received_at, message_hash(one.message_id)


def test_a_first_event_is_new() -> None:
    judged = sort(Ring(), [arrival(event("a"))], {})

    assert (judged.fresh, judged.repeats, judged.conflicts) == ([0], [], [])


def test_r6_the_same_event_twice_in_a_batch_counts_once() -> None:
    judged = sort(Ring(), [arrival(event("a")), arrival(event("a"))], {})

    assert (judged.fresh, judged.repeats) == ([0], [1])


def test_r6_an_event_in_the_ring_is_a_repeat() -> None:
    ring = Ring().add([(message_hash("a"), NOW)])

    assert suspects(ring, [arrival(event("a"))]) == {message_hash("a")}
    assert sort(ring, [arrival(event("a"))], {message_hash("a"): event("a")}).repeats == [0]


def test_r6_same_id_other_content_is_a_conflict_once() -> None:
    first, other = event("a"), event("a", properties={"price": 2})
    ring = Ring().add([(message_hash("a"), NOW)])
    judged = sort(ring, [arrival(other)], {message_hash("a"): first})

    assert judged.conflicts == [0]
    again = sort(ring.add(judged.entries), [arrival(other)], {message_hash("a"): first})
    assert (again.repeats, again.conflicts) == ([0], [])


def test_r6_what_a_client_changes_when_it_resends_is_no_conflict() -> None:
    first, second = event("a", sentAt="2026-01-01T00:00:00Z"), event("a", sentAt="2026-01-02T00:00:00Z")

    assert sort(Ring(), [arrival(first), arrival(second)], {}).repeats == [1]


def test_an_event_above_the_floor_needs_no_page() -> None:
    ring = Ring().add((message_hash(f"m{n}"), NOW + n) for n in range(200))

    assert ring.floor is not None
    assert ring.floor < NOW + 150
    assert suspects(ring, [arrival(event("new", NOW + 500), NOW + 500)]) == set()
    assert suspects(ring, [arrival(event("late", NOW - 5))]) == {message_hash("late")}


def test_events_without_client_time_are_asked_of_the_pages_only_when_the_ring_overflowed() -> None:
    untimed = event("a", None)
    short = Ring().add([(message_hash("b"), None)])
    full = Ring().add((message_hash(f"m{n}"), None) for n in range(100))

    assert suspects(short, [arrival(untimed)]) == set()
    assert suspects(full, [arrival(untimed)]) == {message_hash("a")}


def test_a_clock_in_the_far_future_does_not_lift_the_floor() -> None:
    absurd = event("a", NOW + 10**11)

    assert client_time(absurd, NOW) is None


def test_the_ring_stays_small() -> None:
    ring = Ring()
    for start in range(0, 1_000, 7):
        ring = ring.add((message_hash(f"m{n}"), NOW + n) for n in range(start, start + 7))

    assert len(ring.members()) <= RING_SIZE
    assert len(ring.hashes) + len(ring.times) <= 432


@settings(max_examples=60)
@given(st.lists(st.tuples(st.binary(min_size=6, max_size=6), st.none() | st.integers(0, NOW)), max_size=170), st.data())
def test_a_ring_is_the_same_in_whatever_portions_it_was_filled(entries: list[Any], data: Any) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(entries)), max_size=6)))
    one_by_one, in_portions = Ring(), Ring()
    for entry in entries:
        one_by_one = one_by_one.add([entry])
    for start, end in zip([0, *cuts], [*cuts, len(entries)], strict=True):
        in_portions = in_portions.add(entries[start:end])

    assert in_portions == one_by_one


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_promise_2_no_event_counts_twice_or_never_whatever_the_order(seed: int, batch: int) -> None:
    """A client with a wild clock sends 300 messages, each one to three times, shuffled; pages know what was stored."""
    dice = random.Random(seed)
    messages = [event(f"m{n}", dice.choice([None, NOW + dice.randrange(-(10**6), 10**6)])) for n in range(300)]
    stream = [one for one in messages for _ in range(dice.choice([1, 1, 2, 3]))]
    dice.shuffle(stream)
    ring, stored, counted = Ring(), {}, 0
    for start in range(0, len(stream), batch):
        arrivals = [arrival(one) for one in stream[start : start + batch]]
        asked = suspects(ring, arrivals)
        judged = sort(ring, arrivals, {digest: stored[digest] for digest in asked if digest in stored})
        assert judged.conflicts == []
        counted += len(judged.fresh)
        ring = ring.add(judged.entries)
        stored |= {arrivals[position][2]: arrivals[position][0] for position in judged.fresh}

    assert counted == 300


def test_p2_sources_have_message_ids_of_their_own() -> None:
    one = event("1")
    arrivals = [(one, NOW, message_hash("1", "web")), (event("1"), NOW, message_hash("1", "server"))]

    assert sort(Ring(), arrivals, {}).fresh == [0, 1]
