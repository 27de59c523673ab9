"""From the outbox to the bus: only what failed again, nothing lost, nothing twice that can be helped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from hoso.activate.handlers import outbox
from hoso.model.time import MINUTE_MS
from hoso.platform.bus import MAX_CALL_BYTES, MAX_DETAIL_BYTES, MAX_ENTRIES, Bus, Entry
from tests.activate_world import World, activate_world
from tests.faults import Faults
from tests.unify_world import Context


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with activate_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def world(fresh: World) -> World:
    fresh.reset()
    fresh.shop()
    return fresh


class Client:
    """Stands for EventBridge: fails the positions of each call as scripted."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls: list[list[dict[str, Any]]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.calls.append(Entries)
        step = self.script.pop(0) if self.script else set()
        if isinstance(step, Exception):
            raise step
        code = "InternalFailure"
        if isinstance(step, tuple):
            code, step = step
        results = [{"ErrorCode": code} if n in step else {"EventId": "e"} for n in range(len(Entries))]
        return {"FailedEntryCount": len(step), "Entries": results}

    def details(self) -> list[list[str]]:
        return [[entry["Detail"] for entry in entries] for entries in self.calls]


def bus(client: Client) -> Bus:
    return Bus("bus", client, sleep=lambda seconds: None)


def test_r37_only_the_failed_entries_go_again() -> None:
    client = Client({0, 3}, {0, 1})

    assert bus(client).put([Entry("t", str(n)) for n in range(5)]) == {}
    assert client.details() == [["0", "1", "2", "3", "4"], ["0", "3"], ["0", "3"]]


def test_r37_what_stays_refused_is_named_with_its_code() -> None:
    client = Client(*[{1}] + [{0}] * 10)

    assert bus(client).put([Entry("t", str(n)) for n in range(3)]) == {1: "InternalFailure"}
    assert len(client.calls) == 5


def test_r37_what_can_never_go_is_not_repeated() -> None:
    client = Client(("MalformedDetail", {0}))

    assert bus(client).put([Entry("t", "x"), Entry("t", "{}")]) == {0: "MalformedDetail"}
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    "problem",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "PutEvents"),
        ReadTimeoutError(endpoint_url="https://events.example", error="injected"),
    ],
)
def test_r37_a_call_that_fails_as_a_whole_goes_again(problem: Exception) -> None:
    client = Client(problem)

    assert bus(client).put([Entry("t", "1"), Entry("t", "2")]) == {}
    assert client.details() == [["1", "2"], ["1", "2"]]


def test_r37_calls_stay_under_ten_entries_and_a_megabyte() -> None:
    client = Client()
    small, large = Entry("t", "{}"), Entry("t", json.dumps("ạ" * 60_000, ensure_ascii=False))

    assert bus(client).put([small] * 23 + [large] * 9) == {}
    assert max(len(entries) for entries in client.calls) <= MAX_ENTRIES
    sizes = [sum(len(entry["Detail"].encode()) for entry in entries) for entries in client.calls]
    assert max(sizes) < MAX_CALL_BYTES
    assert sum(map(len, client.calls)) == 32


def test_r37_a_detail_over_the_limit_is_refused_at_once() -> None:
    client = Client()

    assert bus(client).put([Entry("t", "x" * MAX_DETAIL_BYTES), Entry("t", "{}")]) == {0: "DetailTooLarge"}
    assert client.details() == [["{}"]]


def test_the_sender_fills_in_the_route_and_deletes_the_row(world: World) -> None:
    world.put("activations", "welcome", WELCOME)
    world.views("an")

    assert world.send_outbox() == []

    (event,) = world.bus
    assert (event["type"], event["activations"], event["destinations"], event["channels"]) == (
        "segment.entered",
        ["welcome"],
        ["mail"],
        ["email"],
    )
    assert world.unify.items("outbox") == []


def test_an_event_that_nobody_wants_goes_on_the_bus_without_channels(world: World) -> None:
    world.views("an")
    world.send_outbox()

    assert [(event["channels"], event["destinations"]) for event in world.bus] == [([], [])]


def test_r37_rows_that_the_bus_did_not_take_come_again_by_the_lowest_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        world.views(f"p{number}")
    monkeypatch.setattr(Bus, "put", lambda self, entries: {1: "InternalFailure", 3: "ThrottlingException"})

    (lowest,) = world.send_outbox()

    assert len(world.unify.items("outbox")) == 2
    assert int(lowest) >= 1
    monkeypatch.undo()
    assert world.send_outbox() == []
    assert world.unify.items("outbox") == []


def test_r38_a_row_sent_before_is_not_sent_again(world: World) -> None:
    world.views("an")
    record = {
        "eventName": "INSERT",
        "dynamodb": {
            "Keys": {name: {"S": world.unify.items("outbox")[0][name]} for name in ("pk", "sk")},
            "SequenceNumber": "1",
        },
    }
    for _ in range(3):
        assert outbox.send({"Records": [record, {**record, "eventName": "REMOVE"}]}, Context()) == {
            "batchItemFailures": []
        }

    assert len(world.bus) == 1


def test_r38_the_sweeper_sends_what_the_stream_did_not(world: World) -> None:
    world.views("an")
    assert outbox.sweep({}, Context()) == {"sent": 0}
    world.advance(MINUTE_MS + 1)

    assert outbox.sweep({}, Context()) == {"sent": 1}
    assert outbox.sweep({}, Context()) == {"sent": 0}
    assert len(world.bus) == 1


def test_r38_killed_at_any_call_the_event_still_comes(world: World) -> None:
    faults = Faults()
    world.views("p")
    with faults.watch() as seen:
        world.send_outbox()
    for number in range(1, seen.calls + 1):
        for inject in (faults.fail_before, faults.fail_after):
            pid = world.views(f"p{number}{inject.__name__[5]}")
            with inject(number), suppress(Exception):
                world.send_outbox()
            world.advance(2 * MINUTE_MS)
            outbox.sweep({}, Context())
            assert pid in [event["profile_id"] for event in world.bus]
            assert world.unify.items("outbox") == []


def test_a_row_that_no_bus_takes_is_marked_and_holds_up_nothing(world: World) -> None:
    world.unify.parts.outbox.put(
        {"pk": "main#x", "sk": "bad", "type": "segment.entered", "detail": "no json", "at": 1, "ttl": 9**9}
    )
    world.views("an")

    assert world.send_outbox() == []
    world.advance(2 * MINUTE_MS)
    assert outbox.sweep({}, Context()) == {"sent": 0}

    assert len(world.bus) == 1
    assert [(row["sk"], row["bad"]) for row in world.unify.items("outbox")] == [("bad", "MalformedDetail")]


WELCOME: dict[str, Any] = {
    "trigger": {"kind": "segment.entered", "segment": "viewed"},
    "destination": "mail",
    "template": "price",
    "purpose": "marketing",
}
