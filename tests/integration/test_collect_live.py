"""The live feed: the latest events of a source with their reasons, and nobody in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.collect import live as rules
from hoso.collect.handlers import plans, seen
from hoso.model.errors import Transient
from hoso.platform.aws import client
from hoso.platform.stream_tail import StreamTail
from tests.collect_world import World, track, world
from tests.faults import Faults


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def feed(place: World, source: str = "web", roles: str = "[engineer]", **query: str) -> tuple[int, Any]:
    route = "GET /v1/sources/{key}/live"
    return place.manage(route, path={"key": source}, query=query, roles=roles, handler=seen.handler)


def items(place: World, source: str = "web", **query: str) -> list[dict[str, Any]]:
    return feed(place, source, **query)[1]["items"]


def test_accepted_and_refused_events_of_the_source_come_newest_first(place: World) -> None:
    web, app = place.source("web"), place.source("app", "mobile")
    place.send("/v1/batch", {"batch": [track(1), {"type": "?", "userId": "u", "messageId": "m-2"}]}, key=web)
    place.advance(1_000)
    place.send("/v1/t", track(3), key=web)
    place.send("/v1/t", track(4), key=app)
    place.send("/v1/t", {"type": "track"}, key=app)

    answer = feed(place)[1]

    assert answer["complete"] is True
    found = [(item["status"], item["message_id"], item["code"]) for item in answer["items"]]
    assert found[0] == ("accepted", "m-3", None)
    assert sorted(found[1:]) == [("accepted", "m-1", None), ("refused", "m-2", "unknown_type")]
    assert [item["message_id"] for item in items(place, "app") if item["status"] == "accepted"] == ["m-4"]
    assert [item["message_id"] for item in items(place, limit="1")] == ["m-3"]


def test_a_flagged_event_says_what_the_plan_found(place: World) -> None:
    plan = {"name": "P", "events": {}, "sources": {"web": {"unplanned": "flag"}}}
    place.manage("PUT /v1/plans/{key}", plan, path={"key": "p"}, handler=plans.handler)
    place.send("/v1/t", track(1), key=place.source("web"))

    (item,) = items(place)
    assert (item["status"], item["code"]) == ("flagged", "plan_violation")
    assert item["reason"] == "the plan does not name this event"


def test_s14_personal_data_is_masked_in_accepted_and_refused_events(place: World) -> None:
    key = place.source("web")
    secrets = ["an.nguyen@example.vn", "0901234567", "Nguyễn Văn An", "user-77"]
    personal = {
        "userId": secrets[3],
        "traits": {"email": secrets[0], "phone": secrets[1], "name": secrets[2]},
        "context": {"traits": {"email": secrets[0]}, "page": {"url": f"https://shop.example.vn/?mail={secrets[0]}"}},
        "properties": {"status": secrets[0], secrets[1]: 1, "currency": "VND", "note": secrets[2], "price": 12},
    }
    place.send("/v1/t", {**track(1), **personal}, key=key)
    place.send("/v1/t", {**track(2), **personal, "type": "?", "event": secrets[0], "messageId": secrets[0]}, key=key)
    place.send("/v1/batch", {"batch": [{**track(3), **personal, "type": "?"}]}, key=key)
    place.send("/v1/batch", f'{{"batch": [{{"userId": "{secrets[0]}", '.encode(), key=key)

    found = items(place)

    assert len(found) == 4
    shown = json.dumps(found, ensure_ascii=False)
    for secret in secrets:
        assert secret not in shown
    accepted = next(item for item in found if item["status"] == "accepted")
    assert accepted["body"]["properties"]["currency"] == "VND"
    assert accepted["body"]["properties"]["price"] == 12
    assert accepted["person"] == {"type": "user_id", "shape": "xxx-00"}


def test_only_as_far_back_as_needed_is_read(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = StreamTail.read

    def read(self: StreamTail, since_ms: int, budget_s: float) -> Any:
        asked.append(since_ms)
        return real(self, since_ms, budget_s)

    monkeypatch.setattr(StreamTail, "read", read)
    key = place.source("web")
    place.send("/v1/batch", {"batch": [track(n) for n in range(3)]}, key=key)

    assert len(items(place, limit="3")) == 3
    assert len(asked) == 1
    asked.clear()
    assert len(items(place)) == 3
    assert len(asked) == len(rules.WINDOWS_S)


def test_at_most_two_hundred_are_shown_and_the_newest_ones(place: World) -> None:
    key = place.source("web")
    for number in range(3):
        place.advance(number * 1_000)
        batch = [track(n) for n in range(number * 100, number * 100 + 100)]
        place.send("/v1/batch", {"batch": batch}, key=key)

    found = items(place, limit="500")
    assert len(found) == rules.MOST
    assert {int(item["message_id"][2:]) // 100 for item in found} == {1, 2}


def test_r18_a_throttled_stream_is_said_not_hidden(place: World) -> None:
    place.send("/v1/t", track(1), key=place.source("web"))
    with Faults({"kinesis"}).throttle(1, times=100):
        status, answer = feed(place)
    assert (status, answer["code"]) == (503, "unavailable")

    tail = StreamTail("events", client("kinesis"), now_s=iter([0.0, *[9.0] * 100]).__next__)
    assert tail.read(0, 1.0).complete is False


def test_the_stream_of_a_wrong_name_is_a_typed_error(place: World) -> None:
    with pytest.raises(Transient):
        StreamTail("nothing", client("kinesis")).read(0, 1.0)


def test_records_that_cannot_be_read_are_passed_over(place: World) -> None:
    place.send("/v1/t", track(1), key=place.source("web"))
    client("kinesis").put_record(StreamName="events", PartitionKey="x", Data=b"garbage")
    assert [item["message_id"] for item in items(place)] == ["m-1"]


@pytest.mark.parametrize(
    ("source", "roles", "status"), [("web", "[viewer analyst]", 403), ("other", "[engineer]", 404)]
)
def test_s11_the_feed_is_for_engineers_and_of_sources_that_exist(
    place: World, source: str, roles: str, status: int
) -> None:
    place.source("web")
    assert feed(place, source, roles)[0] == status
