"""Habits, marks and sessions as pure functions of visits and events."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hoso.model.time import DAY_MS, MINUTE_MS
from hoso.unify import sessions as module
from hoso.unify.fragments import New
from hoso.unify.habits import at_time, habits, stays, zone_of
from hoso.unify.marks import address_mark
from hoso.unify.sessions import as_json, is_activity, sessions
from hoso.unify.visits import Visit
from tests.unit.test_unify_fragments import T0, new, track

ZONE = zone_of(None)
MONDAY_8 = 1_795_395_600_000
"""2026-11-23 (a Monday), eight in the morning in Vietnam."""


def coffee(day: int, minute: int = 0, *, item: str = "latte", seat: str = "window 3", store: str = "A") -> Visit:
    return Visit(MONDAY_8 + day * DAY_MS + minute * MINUTE_MS, f"m{day}.{minute}", store, [item], seat, "", "", False)


def test_what_a_regular_usually_does() -> None:
    told = [coffee(day, minute) for day, minute in ((0, 0), (7, 10), (14, -10), (21, 5), (2, 300))]
    told[4] = coffee(2, 300, item="tea", seat="bar")
    found = habits(sorted(told), ZONE)

    assert found["usual"]["weekday"] == {"value": "Monday", "share": 0.8, "support": 4, "of": 5}
    assert found["usual"]["time"]["value"] == "08:00"
    assert found["usual"]["item"] == {"value": "latte", "share": 0.8, "support": 4, "of": 5}
    assert found["usual"]["seat"]["value"] == "window 3"
    assert found["usual"]["store"] == {"value": "A", "share": 1.0, "support": 5, "of": 5}
    assert (found["stays"], found["timezone"], found["freshness"]) == (5, "Asia/Ho_Chi_Minh", "live")


def test_two_stays_are_no_habit() -> None:
    assert set(habits([coffee(0), coffee(7)], ZONE)["usual"].values()) == {None}


def test_nobody_has_no_habits() -> None:
    found = habits([], ZONE)

    assert (found["stays"], found["since"], found["item"]) == (0, None, [])


def test_an_arrival_and_the_order_after_it_are_one_stay() -> None:
    arrival = Visit(MONDAY_8 - 10 * MINUTE_MS, "p", "A", [], "", "", "", True)
    found = stays([arrival, coffee(0)], ZONE)

    assert [(stay.minute, stay.items, stay.seat) for stay in found] == [(7 * 60 + 50, ["latte"], "window 3")]
    assert len(stays([arrival, coffee(0, store="B")], ZONE)) == 2
    assert len(stays([arrival, coffee(0, 61)], ZONE)) == 2


def test_another_hour_has_its_own_habit_or_none() -> None:
    morning = [coffee(day) for day in range(5)]
    evening = [coffee(day, 10 * 60, item="tea", seat="bar") for day in range(3)]
    found = stays(sorted([*morning, *evening]), ZONE)

    assert at_time(found, 8 * 60 + 80)["item"]["value"] == "latte"
    assert at_time(found, 18 * 60)["item"]["value"] == "tea"
    assert at_time(found, 13 * 60) == {"item": None, "seat": None, "time": None}
    assert at_time(found, 8 * 60, "B") == {"item": None, "seat": None, "time": None}


def test_times_around_midnight_are_near_each_other() -> None:
    found = stays([coffee(day, 16 * 60 + shift) for day, shift in ((0, -20), (2, 20), (4, 0))], ZONE)

    assert at_time(found, 23 * 60 + 50)["time"]["value"] == "00:00"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"street": "12 Lê Lợi", "city": "Huế"}, {"street": "12  LE LOI,", "city": "hue", "country": "VN"}, True),
        ({"street": "12 Lê Lợi", "city": "Huế"}, "12 Lê Lợi, Huế", True),
        ({"street": "12 Lê Lợi", "city": "Huế"}, {"street": "14 Lê Lợi", "city": "Huế"}, False),
    ],
)
def test_an_address_is_the_same_however_it_is_written(one: Any, other: Any, same: bool) -> None:
    assert (address_mark(one) == address_mark(other)) is same


@pytest.mark.parametrize(
    "vague", [None, 5, "", "Huế", "Lê Lợi Huế", {"city": "Huế"}, {"street": "12 Lê Lợi"}, "1" * 300, []]
)
def test_a_vague_address_is_no_mark(vague: Any) -> None:
    assert address_mark(vague) is None


def page(n: int, ts: int, path: str, **more: Any) -> New:
    return new(f"p{n:03d}", ts, "$page", {"type": "page", "properties": {"path": path}, **more})


def told(*events: New) -> list[dict[str, Any]]:
    ordered = sorted(events, key=lambda one: (one.event.ts, one.event.message_id), reverse=True)
    return [as_json(session) for session in sessions(ordered)]


def test_thirty_minutes_without_activity_end_a_session() -> None:
    gap = 30 * MINUTE_MS
    newest, oldest = told(page(1, 0, "/"), page(2, gap, "/cart"), page(3, 2 * gap + 1, "/"))

    assert (oldest["events"], oldest["duration_ms"], oldest["entry"], oldest["exit"]) == (2, gap, "/", "/cart")
    assert (newest["events"], newest["duration_ms"]) == (1, 0)


def test_a_late_event_reopens_its_session_and_joins_two() -> None:
    gap = 30 * MINUTE_MS
    apart = [page(1, 0, "/"), page(2, 2 * gap, "/cart")]

    assert len(told(*apart)) == 2
    (joined,) = told(*apart, page(3, gap, "/late"))
    assert (joined["events"], joined["duration_ms"]) == (3, 2 * gap)


def test_what_happens_elsewhere_neither_opens_nor_prolongs_a_session() -> None:
    till = track("till", 10 * MINUTE_MS, "Order Completed", order_id="1")
    later = track("mail", 25 * MINUTE_MS, "Email Delivered")
    idle = page(9, 26 * MINUTE_MS, "/", context={"active": False})
    (session,) = told(page(1, 0, "/"), till, page(2, 20 * MINUTE_MS, "/b"), later, idle)

    assert (session["events"], session["duration_ms"]) == (3, 20 * MINUTE_MS)
    assert told(till, later) == []


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ({"context": {"page": {"path": "/"}}}, True),
        ({"context": {"app": {"name": "x"}}}, True),
        ({"anonymousId": "a1"}, True),
        ({"anonymousId": "m", "messageId": "m"}, False),
        ({"userId": "u1"}, False),
        ({"anonymousId": "a1", "context": {"active": False}}, False),
        ({"context": "text", "anonymousId": ""}, False),
    ],
)
def test_what_is_activity(body: dict[str, Any], counts: bool) -> None:
    assert is_activity(new("m", 0, "Seen", body).event) is counts


def test_dwell_runs_to_the_next_page_and_sections_within_it() -> None:
    web = {"context": {"page": {"path": "/p"}}}
    (session,) = told(
        page(1, 0, "/p"),
        new("s1", 5_000, "Section Viewed", {"properties": {"section": "price"}, **web}),
        new("s2", 9_000, "Section Viewed", {"properties": {"section": "reviews"}, **web}),
        page(2, 20_000, "/q"),
        new("x", 26_000, "Clicked", web),
    )

    assert session["pages"] == [
        {
            "page": "/p",
            "views": 1,
            "dwell_ms": 20_000,
            "sections": [
                {"section": "price", "views": 1, "dwell_ms": 4_000},
                {"section": "reviews", "views": 1, "dwell_ms": 11_000},
            ],
        },
        {"page": "/q", "views": 1, "dwell_ms": 6_000, "sections": []},
    ]


def test_what_the_page_measured_itself_counts() -> None:
    web = {"context": {"page": {"path": "/p"}}}
    left = new("l", 50_000, "Page Left", {"properties": {"dwell_ms": 12_500}, **web})
    (session,) = told(page(1, 0, "/p"), left)

    assert session["pages"][0]["dwell_ms"] == 12_500


def test_sessions_are_a_function_of_the_set_of_events() -> None:
    dice = random.Random(7)
    events = [page(n, dice.randrange(300) * MINUTE_MS, f"/{n % 5}") for n in range(60)]

    assert told(*events) == told(*dice.sample(events, 60))
    assert sum(session["events"] for session in told(*events)) == 60


@pytest.mark.parametrize("context", [None, 3, [], {"page": 5}, {"page": {"url": "http://["}}, {"campaign": []}])
def test_r5_shapes_that_nobody_expects(context: Any) -> None:
    odd = new("m", T0 % 7, "$page", {"context": context, "properties": {"path": 5, "url": ["x"]}, "name": {}})

    assert sum(session["events"] for session in told(odd, page(1, 0, "/"))) >= 1


def walked(events: list[New], limit: int, most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sessions of all pages, by their number of events."""
    monkeypatch.setattr(module, "MOST_READ", most)
    ordered = sorted(events, key=lambda one: (one.event.ts, one.event.message_id), reverse=True)
    found: list[int] = []
    place: tuple[int, str] | None = None
    while True:
        rest = [new for new in ordered if place is None or (new.event.ts, new.event.message_id) < place]
        shown, place = module.page(rest, limit)
        found += [len(session.events) for session in shown]
        if place is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize("most", [7, 20, 1_000])
def test_sessions_are_the_same_on_pages_of_any_size(limit: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of 1 to 5 events an hour apart, with long stretches that are no session between them."""
    events = [page(10 * n + k, n * 60 * MINUTE_MS + k, "/") for n in range(9) for k in range(n % 5 + 1)]
    events += [track(f"till{n}", 400 * MINUTE_MS + n, "Receipt Printed") for n in range(12)]

    assert walked(events, limit, most, monkeypatch) == [n % 5 + 1 for n in reversed(range(9))]
