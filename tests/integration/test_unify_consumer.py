"""The stream consumer: batches become state, once, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from hoso.model.record import Event, Record, pack
from hoso.model.time import DAY_MS, format_instant
from hoso.unify.store import ProfileStore
from tests.faults import Faults
from tests.unify_world import NOW, World, packed, unify_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        yield made


def viewed(n: int, who: str = "a1", **more: Any) -> dict[str, Any]:
    ts = more.pop("ts", NOW - 60_000 + n)
    return {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": who,
        "messageId": f"{who}-{n}",
        "timestamp": format_instant(ts) if ts is not None else None,
        "properties": {"product_id": f"p{n}", "price": 500_000},
        **more,
    }


def identify(n: int, who: str = "a1", user: str | None = "u1", **traits: Any) -> dict[str, Any]:
    body = {
        "type": "identify",
        "anonymousId": who,
        "messageId": f"id-{who}-{n}",
        "timestamp": format_instant(NOW - 60_000 + n),
        "traits": traits,
    }
    return {**body, "userId": user} if user else body


def test_events_of_a_visitor_become_a_profile(world: World) -> None:
    world.consume(*[viewed(n) for n in range(10)])

    shown = world.profile("anonymous_id:a1")
    assert shown["totals"]["events"] == 10
    assert shown["identifiers"] == [{"type": "anonymous_id", "value": "a1"}]
    assert [entry["message_id"] for entry in shown["timeline"]["items"]] == [f"a1-{n}" for n in range(9, -1, -1)]


def test_a_visitor_who_gives_an_id_keeps_the_history(world: World) -> None:
    world.consume(viewed(1), viewed(2))
    world.consume(identify(3, email="An@Example.vn", city="Huế"))

    shown = world.profile("email:an@example.vn")
    assert shown["totals"]["events"] == 3
    assert shown["traits"]["city"]["value"] == "Huế"
    assert shown["traits"]["city"]["message_id"] == "id-a1-3"
    assert world.profile("anonymous_id:a1")["profile_id"] == shown["profile_id"]


def test_p2_the_same_batch_three_times_changes_nothing(world: World) -> None:
    batch = world.kinesis(packed([viewed(1), identify(2, city="Huế"), viewed(3)], NOW))
    for _ in range(3):
        assert world.deliver(batch) == []
    once = world.items()
    world.deliver(batch)

    assert world.items() == once
    assert world.profile("user_id:u1")["totals"]["events"] == 3


def test_r6_a_client_that_resends_a_day_later_changes_nothing(world: World) -> None:
    for start in range(0, 200, 20):
        world.consume(*[viewed(n) for n in range(start, start + 20)])
    world.now += DAY_MS - 60_000
    world.consume(*[viewed(n) for n in range(200)])

    assert world.profile("anonymous_id:a1")["totals"]["events"] == 200


def test_p2_two_sources_may_use_the_same_message_id(world: World) -> None:
    for _ in range(2):
        world.consume(viewed(1), source="web")
        world.consume(viewed(1), source="server")

    assert world.profile("anonymous_id:a1")["totals"]["events"] == 2


def test_r6_same_id_other_content_is_flagged_and_kept(world: World) -> None:
    world.consume(viewed(1))
    world.consume(viewed(1, properties={"price": 1}))
    world.consume(viewed(1, properties={"price": 1}))

    shown = world.profile("anonymous_id:a1")
    assert (shown["totals"]["events"], shown["overflow"]) == (1, {"conflicts": 1})
    (entry,) = world.quarantined()
    assert entry["stage"] == "duplicate"
    assert entry["rows"][0]["payload"]["properties"] == {"price": 1}


def test_r17_ten_thousand_events_in_hundred_batches_are_hundred_profile_writes(world: World) -> None:
    for start in range(0, 10_000, 100):
        world.consume(*[viewed(n) for n in range(start, start + 100)])

    (hot,) = [item for item in world.items(kind="F") if item["sk"] == "H"]
    assert (hot["v"], hot["n"]) == (100, 10_000)


def test_r19_a_machine_s_flood_stays_within_the_limits_of_the_table(world: World) -> None:
    noise = "x" * 900
    flood = [viewed(n, padding=[noise] * 5, ts=NOW - n) for n in range(1_000)]
    assert world.deliver(world.kinesis(packed(flood, NOW))) == []
    traits = [identify(n, **{f"t{n}-{k}": noise for k in range(20)}) for n in range(100)]
    world.consume(*traits)

    assert world.profile("user_id:u1")["overflow"]["traits"] > 0
    for item in world.items():
        assert sum(len(value) if isinstance(value, bytes) else len(str(value)) for value in item.values()) < 380_000


def test_r2_batches_in_any_order_make_one_profile(world: World) -> None:
    events = [
        viewed(1),
        identify(2, city="Huế"),
        identify(3, city=None, plan="a"),
        viewed(4),
        {**viewed(5), "event": "Order Completed", "userId": "u1", "properties": {"order_id": "1", "revenue": 5}},
        {**viewed(6), "event": "Unsubscribed", "userId": "u1"},
    ]
    seen: list[dict[str, Any]] = []
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 1, 5, 0, 2, 4]):
        world.wipe()
        for place in order:
            world.consume(events[place])
        seen.append(world.profile("user_id:u1"))

    assert seen[0] == seen[1] == seen[2]
    assert (seen[0]["totals"]["events"], seen[0]["totals"]["revenue"]) == (6, 5)


def test_r16_one_batch_or_four_shards_make_the_same_state(world: World) -> None:
    events = [viewed(n, who=f"a{n % 8}") for n in range(64)]
    world.consume(*events)
    one = {who: world.profile(f"anonymous_id:a{who}")["totals"] for who in range(8)}
    world.wipe()
    for shard in range(4):
        world.consume(*[event for n, event in enumerate(events) if n % 4 == shard])

    assert {who: world.profile(f"anonymous_id:a{who}")["totals"] for who in range(8)} == one


@pytest.mark.parametrize("place", range(10))
def test_r10_poison_at_each_place_is_one_bad_row(world: World, place: int) -> None:
    blobs = packed([viewed(n, who=f"a{n}") for n in range(9)], NOW)
    blobs.insert(place, b"no record at all")

    assert world.deliver(world.kinesis(blobs)) == []
    assert sum(world.profile(f"anonymous_id:a{n}")["totals"]["events"] for n in range(9)) == 9
    (entry,) = world.quarantined()
    assert (entry["stage"], entry["code"], entry["workspace"]) == ("consume", "bad_record", "main")


HOSTILE: list[Any] = [
    ("", NOW, NOW, "X", [], {}),
    ("m" * 2_000, NOW, NOW, "X", [], {}),
    (7, NOW, NOW, "X", [], {}),
    ("m", "now", NOW, "X", [], {}),
    ("m", 10**17, NOW, "X", [], {}),
    ("m", 0, NOW, "X", [], {}),
    ("m", NOW, "then", "X", [], {}),
    ("m", NOW, NOW, None, [], {}),
    ("m", NOW, NOW, "X", {"a": 1}, {}),
    ("m", NOW, NOW, "X", [["email"]], {}),
    ("m", NOW, NOW, "X", [], ["list"]),
    ("m", NOW, NOW, "X", [["user_id", "u1"], ["user_id", "u2"]], {}),
]


@pytest.mark.parametrize("row", HOSTILE, ids=range(len(HOSTILE)))
def test_r5_a_hostile_event_straight_on_the_stream_leaves_its_neighbours(world: World, row: Any) -> None:
    good = Event("good", NOW, NOW, "X", [], {"messageId": "good"})
    last = Event("last", NOW + 1, NOW + 1, "X", [], {"messageId": "last"})
    record = Record("main", "web", NOW, ("anonymous_id", "a1"), [good, Event(*row), last])

    assert world.deliver(world.kinesis([pack(record)])) == []
    shown = world.profile("anonymous_id:a1")
    assert [entry["message_id"] for entry in shown["timeline"]["items"]] == ["last", "good"]
    assert len(world.quarantined()) == 1


VALUES: list[Any] = [1e308, -1e-200, 2**63, "\u0000", "", "x" * 30_000, {"": 1}, [[]], {"a": {"b": None}}, "ĩ\u0301"]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_r5_values_that_json_allows_become_traits_and_events(world: World, value: Any) -> None:
    deep: Any = value
    for _ in range(15):
        deep = {"deep": [deep]}
    world.consume(identify(1, odd=value, deep=deep), viewed(2, userId="u1", properties={"v": deep}))

    assert world.profile("user_id:u1")["totals"]["events"] == 2


@pytest.mark.parametrize("levels", [60, 300, 900])
def test_r5_an_event_nested_too_deep_is_set_aside(world: World, levels: int) -> None:
    raw = orjson.dumps({"v": 1, "w": "main", "s": "web", "r": NOW, "h": ["user_id", "u1"], "o": {}, "e": []})
    rows = b'["deep",%d,%d,"$identify",[],{"traits":{"x":%b1%b}}],["good",%d,%d,"X",[],{}]'
    nested = rows % (NOW, NOW, b"[" * levels, b"]" * levels, NOW, NOW)
    blob = zstandard.ZstdCompressor().compress(raw.replace(b'"e":[]', b'"e":[' + nested + b"]"))

    assert world.deliver(world.kinesis([blob])) == []
    assert world.profile("user_id:u1")["totals"]["events"] == 1
    assert world.quarantined()[0]["rows"][0]["code"] == "nested_too_deep"


def test_r11_after_a_failure_nothing_of_the_same_key_is_applied_and_other_keys_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = world.parts.store.commit

    def broken(writes: Any) -> None:
        if any("hub" in write.item and write.item["hub"][1] == "bad" for write in writes):
            raise RuntimeError
        commit(writes)

    monkeypatch.setattr(ProfileStore, "commit", lambda _self, writes: broken(writes))
    blobs = packed([viewed(1, "good"), viewed(1, "bad"), viewed(2, "good"), viewed(2, "bad"), viewed(1, "late")], NOW)

    assert world.deliver(world.kinesis(blobs)) == [1]
    assert world.get("GET /v1/profiles/{id}", "anonymous_id:bad")[0] == 404
    assert world.profile("anonymous_id:good")["totals"]["events"] == 2
    assert world.profile("anonymous_id:late")["totals"]["events"] == 1


def test_r15_with_two_seconds_left_nothing_is_begun(world: World) -> None:
    batch = world.kinesis(packed([viewed(1), viewed(1, "a2")], NOW))

    assert world.deliver(batch, left_ms=2_000) == [0]
    assert world.items() == []
    assert world.deliver(batch) == []


def test_r18_throttled_for_a_while_everything_is_applied_once(world: World) -> None:
    batch = world.kinesis(packed([viewed(n, who=f"a{n % 3}") for n in range(9)], NOW))
    with Faults({"dynamodb"}).throttle(2, times=5):
        failed = world.deliver(batch)

    assert failed == []
    assert sum(item["n"] for item in world.items(kind="F") if item["sk"] == "H") == 9


def test_r18_throttled_for_ever_everything_is_reported_soon(world: World) -> None:
    batch = world.kinesis(packed([viewed(n, who=f"a{n}") for n in range(90)], NOW))
    with Faults({"dynamodb"}).throttle(1, times=10_000) as fault:
        assert world.deliver(batch) == [0]

    assert fault.calls < 30
    assert world.deliver(batch) == []


@pytest.mark.parametrize("n", range(1, 6))
def test_r20_partial_batches_are_drained(world: World, n: int) -> None:
    batch = world.kinesis(packed([viewed(k, who=f"a{k}") for k in range(30)], NOW))
    with Faults({"dynamodb"}).partial(n):
        assert world.deliver(batch) == []

    assert sum(item["n"] for item in world.items(kind="F") if item["sk"] == "H") == 30
    assert all(world.profile(f"anonymous_id:a{k}")["timeline"]["items"] for k in range(30))


def test_hot_items_of_light_visitors_stay_below_one_kilobyte(world: World) -> None:
    for n in range(80):
        world.consume(viewed(n, who="0f0f0f0f-1234-1234-1234-0123456789ab"))

    (hot,) = [item for item in world.items(kind="F") if item["sk"] == "H"]
    assert sum(len(k) + len(v if isinstance(v, bytes) else str(v)) for k, v in hot.items()) < 1_000


def test_r17_cost_of_the_steady_state_is_one_page_and_one_put(world: World) -> None:
    world.consume(viewed(1))
    with Faults({"dynamodb"}).watch() as seen:
        world.consume(viewed(2))

    assert [
        operation for _, operation in seen.log if operation in ("PutItem", "BatchWriteItem", "TransactWriteItems")
    ] == [
        "BatchWriteItem",
        "PutItem",
    ]


def test_r56_a_log_that_fails_fails_no_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError

    for module in ("hoso.unify.handlers.consume", "hoso.unify.consumer"):
        monkeypatch.setattr(f"{module}.logger", broken)
    with Faults({"dynamodb"}).fail_before(3):
        assert world.deliver(world.kinesis(packed([viewed(1)], NOW))) == []

    assert world.profile("anonymous_id:a1")["totals"]["events"] == 1
