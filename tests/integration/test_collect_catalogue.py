"""The catalogue: every event and property once, however often the stream or a sender repeats it, and nobody in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hoso.collect import catalogue as rules
from hoso.collect.catalogue import Summary
from hoso.collect.handlers import archive, seen
from hoso.model.masks import masked
from hoso.model.record import Event, Record, pack
from hoso.model.zstd import compress_record
from hoso.platform.aws import client
from tests.collect_world import NOW, World, track, world
from tests.faults import Faults
from tests.integration.test_collect_archive import kinesis

DAY = 86_400_000
CACHE_MS = 11_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        archive._tools.cache_clear()
        yield made
        archive._tools.cache_clear()


def record(*bodies: dict[str, Any], at: int = NOW, source: str = "web", person: str = "anon-1", **more: Any) -> bytes:
    names = {"track": "", "identify": "$identify", "page": "$page", "group": "$group"}
    events = [Event(body["messageId"], at, at, names[body["type"]] or body["event"], [], body) for body in bodies]
    return pack(Record("main", source, at, ("anonymous_id", person), events, **more))


def keep(*blobs: bytes, first: int = 100) -> None:
    assert archive.handler(kinesis(*blobs, first=first), None) == {"batchItemFailures": []}


def ask(place: World, event: str | None = None, roles: str = "[viewer]", **query: str) -> tuple[int, Any]:
    route = "GET /v1/catalogue" if event is None else "GET /v1/catalogue/{event}"
    place.advance(place_offset(place) + CACHE_MS)
    return place.manage(route, path={"event": event}, query=query, roles=roles, handler=seen.handler)


def place_offset(place: World) -> int:
    return int(place._clock_file.read_text())


def counts(place: World) -> dict[str, int]:
    return {item["event"]: item["count"] for item in ask(place)[1]["items"]}


def properties(place: World, event: str = "Product Viewed") -> dict[str, Any]:
    return {each["path"]: each for each in ask(place, event)[1]["properties"]}


def test_events_and_properties_are_listed_with_types_times_and_sources(place: World) -> None:
    keep(
        record(track(1, properties={"price": 5, "products": [{"sku": "a"}, {"sku": None}], "deep": {"x": True}})),
        record(track(2, properties={"price": 2.5}), at=NOW + 1_000, source="server"),
        record({"type": "identify", "messageId": "m-3", "traits": {"email": "an@example.vn"}}),
    )

    listed = ask(place)[1]["items"]
    assert [(item["event"], item["count"]) for item in listed] == [("$identify", 1), ("Product Viewed", 2)]
    assert listed[1]["sources"] == {"web": 1, "server": 1}
    assert (listed[1]["first_seen"], listed[1]["last_seen"]) == (NOW, NOW + 1_000)
    found = properties(place)
    assert found["price"]["types"] == {"integer": 1, "number": 1}
    assert (found["price"]["count"], found["price"]["last_seen"]) == (2, NOW + 1_000)
    assert found["products[].sku"]["types"] == {"string": 1, "null": 1}
    assert found["deep.x"]["types"] == {"boolean": 1}
    assert properties(place, "$identify")["email"]["shapes"] == ["xx@xxx.xx"]


def test_r24_the_same_range_again_changes_nothing(place: World) -> None:
    blobs = [record(track(n)) for n in range(6)]
    for _ in range(3):
        keep(*blobs)
    assert counts(place) == {"Product Viewed": 6}


def test_a_batch_that_comes_again_in_other_pieces_counts_once(place: World) -> None:
    blobs = [record(track(n, properties={"price": n})) for n in range(6)]
    keep(*blobs)
    keep(*blobs[:3])
    keep(*blobs[3:], first=103)
    keep(*blobs, record(track(9)), first=100)

    assert counts(place) == {"Product Viewed": 7}
    assert properties(place)["price"]["count"] == 6


def test_p2_a_message_that_is_sent_or_replayed_again_counts_once(place: World) -> None:
    keep(record(track(1), track(1)), record(track(1)), record(track(2)))
    keep(record(track(1)), record(track(2)), first=500)
    assert counts(place) == {"Product Viewed": 2}
    assert properties(place)["n"]["count"] == 2


def test_a_range_inside_another_is_not_read() -> None:
    names = [f"catalogue/main/day=2026-01-01/{name}.json" for name in ("shard-0-5-9", "shard-0-1-9", "shard-0-1-3")]
    others = [f"catalogue/main/day=2026-01-01/{name}.json" for name in ("shard-0-10-12", "shard-1-1-3")]
    assert rules.outermost(names + others) == [names[1], *others]


def test_r13_a_summary_that_was_not_stored_comes_with_the_range(place: World) -> None:
    batch = kinesis(record(track(1)))
    with Faults({"s3"}).fail_before(2) as fault:
        assert archive.handler(batch, None) == {"batchItemFailures": [{"itemIdentifier": "100"}]}
    assert fault.hit
    assert archive.handler(batch, None) == {"batchItemFailures": []}
    assert counts(place) == {"Product Viewed": 1}


def test_days_are_added_and_a_day_that_is_over_is_put_together_once(place: World) -> None:
    place.advance(3 * DAY)
    now = NOW
    keep(record(track(1), at=now - 5 * DAY), record(track(2), at=now - 4 * DAY))
    assert counts(place) == {"Product Viewed": 2}
    with Faults({"s3"}, {"GetObject"}).watch() as seen_calls:
        assert counts(place) == {"Product Viewed": 2}
    assert seen_calls.calls == 2

    keep(record(track(3), at=now - 5 * DAY), first=900)
    assert counts(place) == {"Product Viewed": 3}
    assert ask(place)[1]["items"][0]["first_seen"] == now - 5 * DAY


def test_violations_of_the_plan_are_counted_by_their_reason(place: World) -> None:
    flags = [(0, "shop", 1, "properties.n must be at most 9"), (1, "shop", 1, "properties.n must be at most 9")]
    keep(record(track(1), track(2), track(3), flags=flags))

    assert ask(place)[1]["items"][0]["violations"] == 2
    assert ask(place, "Product Viewed")[1]["violations"] == [{"reason": "properties.n must be at most 9", "count": 2}]


def test_s14_nobody_is_in_the_catalogue(place: World) -> None:
    secrets = ["an.nguyen@example.vn", "0901234567", "Nguyễn Văn An", "12 Lê Lợi", "84901234567"]
    for number in range(8):
        body = track(
            number,
            properties={
                "email": secrets[0], "phone": secrets[1], "status": secrets[0], "name": secrets[2], "type": secrets[1],
                "note": secrets[3], "number": int(secrets[4]), secrets[0]: 1, f"key_{secrets[1]}": 2,
            },
            event=f"Opened {secrets[0]}" if number % 2 else f"Call {secrets[1]}",
        )  # fmt: skip
        keep(record(body, person=f"anon-{number}"), first=number * 10)

    names = list(client("s3").list_objects_v2(Bucket="bucket", Prefix="catalogue/")["Contents"])
    stored = b"".join(client("s3").get_object(Bucket="bucket", Key=each["Key"])["Body"].read() for each in names)
    shown = json.dumps([ask(place)[1], *(ask(place, name)[1] for name in counts(place))], ensure_ascii=False)
    for secret in secrets:
        assert secret not in stored.decode()
        assert secret not in shown
    assert counts(place) == {"xxx xx.xxx@xxx.xx": 4, "xxx 000": 4}


def test_values_show_only_where_five_people_of_a_range_share_them(place: World) -> None:
    common = [record(track(n, properties={"currency": "VND"}), person=f"p-{n}") for n in range(5)]
    rare = [record(track(n, properties={"currency": "XAU"}), person=f"p-{n}") for n in range(10, 14)]
    same_person = [record(track(n, properties={"currency": "USD"}), person="p-0") for n in range(20, 30)]
    keep(*common, *rare, *same_person)
    assert properties(place)["currency"]["values"] == {"VND": 5}


def test_free_text_is_never_shown_as_values(place: World) -> None:
    many = [
        record(track(100 * v + p, properties={"status": f"free text {v}"}), person=f"p-{p}")
        for v in range(40)
        for p in range(5)
    ]
    keep(*many)
    assert properties(place)["status"]["values"] == {}


def test_names_beyond_the_caps_are_counted_and_shown_as_missing(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_EVENTS", 3)
    monkeypatch.setattr(rules, "MAX_PROPERTIES", 4)
    keep(*(record(track(n, event=f"E{n}")) for n in range(5)))
    keep(record(track(9, event="E0", properties={f"p{n}": n for n in range(10)})), first=300)

    answer = ask(place)[1]
    assert [item["event"] for item in answer["items"]] == ["E0", "E1", "E2"]
    assert answer["more"]["events"] == 2
    assert answer["more"]["properties"] >= 6
    assert len(properties(place, "E0")) == 4


def test_a_day_of_more_messages_than_are_compared_says_so(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_IDS", 2)
    for number in range(3):
        keep(record(track(2 * number), track(2 * number + 1)), first=number * 10)
    answer = ask(place)[1]
    assert (answer["items"][0]["count"], answer["exact"]) == (6, False)


def test_the_list_pages_and_is_filtered_by_source(place: World) -> None:
    keep(*(record(track(n, event=f"E{n}"), source="web" if n < 2 else "app") for n in range(3)))
    first = ask(place, limit="2")[1]
    rest = ask(place, limit="2", cursor=first["next"])[1]
    assert [item["event"] for item in first["items"] + rest["items"]] == ["E0", "E1", "E2"]
    assert rest["next"] is None
    assert [item["event"] for item in ask(place, source="app")[1]["items"]] == ["E2"]


def test_s11_viewers_may_read_it_and_unknown_names_are_404(place: World) -> None:
    keep(record(track(1)))
    assert ask(place, roles="[viewer]")[0] == 200
    assert ask(place, roles="[nobody]")[0] == 403
    assert ask(place, "Nothing")[0] == 404


def test_an_event_of_any_form_is_summed_up(place: World) -> None:
    odd: list[Any] = [None, "text", 3, [1, 2], {"": {"a.b": [[[1]]], "__proto__": {}}}, {"x": [{"y": [{"z": 1}]}] * 50}]
    keep(*(record(track(n, properties=content)) for n, content in enumerate(odd)))
    assert counts(place) == {"Product Viewed": len(odd)}


@pytest.mark.parametrize("flag", [[[], "p", 1, "r"], [0, "p", 1, {}], [0], "text", 3, None])
def test_r10_a_record_with_flags_of_another_form_is_a_bad_row_and_stops_nothing(place: World, flag: Any) -> None:
    sound = record(track(2))
    keep(record(track(1), flags=[flag]) if flag is not None else pack_raw({"f": 3}), sound)
    assert counts(place) == {"Product Viewed": 1}
    assert [entry["code"] for entry in place.quarantined()] == ["bad_record"]


def pack_raw(more: dict[str, Any]) -> bytes:
    """A record with other members than a record has."""
    whole = {"v": 1, "w": "main", "s": "web", "r": NOW, "h": ["anonymous_id", "a"], "o": {}, "e": [], **more}
    return compress_record(orjson.dumps(whole))


def test_masks_keep_technical_values_and_hide_the_rest() -> None:
    body = {
        "currency": "VND",
        "price": 12.5,
        "productId": "p-1",
        "total": 84_901_234_567,
        "note": "An",
        "age": 31,
        "ok": True,
    }
    shown = masked(body)
    assert shown == {
        "currency": "VND", "price": 12.5, "productId": "p-1", "total": 84_901_234_567, "note": "xx", "ok": True,
        "age": "00",
    }  # fmt: skip


def test_a_summary_says_the_same_whatever_the_order_of_its_messages() -> None:
    events = [Event(f"m-{n}", NOW, NOW, "E", [], {"type": "track", "properties": {"a": n % 3}}) for n in range(5)]
    one = Record("main", "web", NOW, ("anonymous_id", "a"), events)
    forth, back = Summary(), Summary()
    for event in events:
        forth.add(one, event, None)
    for event in [*reversed(events), *events]:
        back.add(one, event, None)
    assert rules.merge_day([forth.body()]).body() == rules.merge_day([back.body(), forth.body()]).body()
