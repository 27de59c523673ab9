"""What Lambda's stream pollers do with batches that fail: order, checkpoints, halving, tries, destinations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from infra.twin import pollers
from infra.twin.lambdas import Outcome
from infra.twin.memory import StreamRecord
from infra.twin.pollers import Flow, QueuePoller, StreamPoller, reported_failures
from infra.twin.registry import Source

SOURCE = Source(
    "mapping", "arn:aws:kinesis:r:1:stream/s", "arn:f", batch_size=10, partial=True, on_failure="arn:aws:s3:::b"
)


class Shard:
    id = "shardId-0"
    arn = SOURCE.arn

    def __init__(self, count: int) -> None:
        self.count = 0
        self.records: list[StreamRecord] = []
        self.wanted = count

    def fill(self) -> None:
        now_ms = int(time.time() * 1000)
        self.count = self.wanted
        self.records = [StreamRecord(n, now_ms, {"n": n}, 10) for n in range(1, self.count + 1)]

    def last(self) -> int:
        return self.count

    def after(self, position: int, limit: int) -> list[StreamRecord]:
        return self.records[position : position + limit]

    def sequence(self, position: int) -> str:
        return f"s{position}"

    def position(self, sequence: str) -> int:
        return int(sequence[1:])


class Function:
    """Fails as ``behave`` says: it gets the numbers of a batch and answers the failed ones, or raises."""

    def __init__(self, behave: Callable[[list[int]], Iterable[int]]) -> None:
        self.behave = behave
        self.batches: list[list[int]] = []

    def invoke(self, _name: str, payload: bytes) -> Outcome:
        numbers = [event["n"] for event in json.loads(payload)["Records"]]
        self.batches.append(numbers)
        try:
            failed = [{"itemIdentifier": f"s{n}"} for n in self.behave(numbers)]
        except ValueError:
            return Outcome(b'{"errorType":"ValueError"}', failed=True)
        return Outcome(json.dumps({"batchItemFailures": failed}).encode())


def raises_on(poison: set[int]) -> Callable[[list[int]], Iterable[int]]:
    def behave(numbers: list[int]) -> Iterable[int]:
        if poison & set(numbers):
            raise ValueError
        return []

    return behave


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pollers, "_PAUSE_S", 0.0)


def run(function: Function, count: int = 10, **settings: Any) -> tuple[StreamPoller, list[dict[str, Any]]]:
    discarded: list[dict[str, Any]] = []
    shard = Shard(count)
    source = replace(SOURCE, **settings)
    poller = StreamPoller(source, shard, function, Flow(), lambda _s, _i, body: discarded.append(json.loads(body)))  # pyright: ignore
    shard.fill()
    for _ in range(200):
        if not poller.step():
            break
    return poller, discarded


def test_records_are_processed_in_order_and_the_checkpoint_moves() -> None:
    function = Function(lambda _: [])

    poller, _ = run(function, count=25)

    assert function.batches == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]
    assert (poller.position, poller.lag()) == (25, 0)


def test_a_partial_failure_begins_again_at_the_lowest_failed_record() -> None:
    once = iter([[7, 4], []])
    function = Function(lambda _: next(once))

    poller, discarded = run(function)

    assert function.batches == [list(range(1, 11)), [4, 5, 6, 7, 8, 9, 10]]
    assert poller.position == 10
    assert discarded == []


def test_without_partial_answers_an_error_repeats_the_whole_batch() -> None:
    broken = iter([True, True, False])

    def behave(_: list[int]) -> list[int]:
        if next(broken):
            raise ValueError
        return [5]  # not asked for: ignored

    function = Function(behave)

    run(function, partial=False)

    assert function.batches == [list(range(1, 11))] * 3


def test_bisecting_isolates_the_poison_and_order_is_kept() -> None:
    function = Function(raises_on({6}))

    poller, discarded = run(function, bisect=True, retries=2)

    good = [numbers for numbers in function.batches if 6 not in numbers]
    assert [n for numbers in good for n in numbers] == [1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert function.batches.count([6]) == 3  # the first try of the single record and two more
    assert [document["KinesisBatchInfo"]["batchSize"] for document in discarded] == [1]
    assert poller.position == 10


def test_after_the_tries_the_batch_goes_to_the_destination_with_its_payload() -> None:
    function = Function(raises_on({2}))

    poller, discarded = run(function, count=12, retries=1)

    assert function.batches == [list(range(1, 11)), list(range(1, 11)), [11, 12]]
    assert poller.discarded == 10
    (document,) = discarded
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert document["KinesisBatchInfo"]["startSequenceNumber"] == "s1"
    assert document["KinesisBatchInfo"]["endSequenceNumber"] == "s10"
    assert [event["n"] for event in json.loads(document["payload"])["Records"]] == list(range(1, 11))


def test_a_queue_as_destination_gets_no_payload() -> None:
    _, discarded = run(Function(raises_on({1})), retries=0, on_failure="arn:aws:sqs:r:1:q")

    assert "payload" not in discarded[0]


def test_a_record_that_is_too_old_is_given_up() -> None:
    function = Function(raises_on({1}))

    poller, discarded = run(function, max_age_s=0.0)

    assert len(function.batches) == 1
    assert discarded[0]["requestContext"]["condition"] == "RecordAgeExceeded"
    assert poller.position == 10


def test_records_that_no_filter_wants_are_passed_over() -> None:
    function = Function(lambda _: [])

    poller, _ = run(function, filters=('{"n": [2, 3]}', '{"n": [9]}'))

    assert function.batches == [[2, 3, 9]]
    assert poller.position == 10


def test_an_incomplete_batch_waits_for_its_window_unless_flushed() -> None:
    function = Function(lambda _: [])
    poller, _ = run(function, count=3, window_s=60)
    assert function.batches == []

    poller._flow.flushing = 1
    poller.step()

    assert function.batches == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (None, []),
        ({}, []),
        ({"batchItemFailures": None}, []),
        ({"batchItemFailures": []}, []),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, ["a"]),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, None),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, None),
        ({"batchItemFailures": [{"itemId": "a"}]}, None),
        ({"batchItemFailures": ["a"]}, None),
        ({"batchItemFailures": "a"}, None),
        ("done", None),
    ],
)
def test_a_malformed_answer_means_that_all_failed(answer: Any, named: list[str] | None) -> None:
    assert reported_failures(answer) == named


def test_an_unknown_identifier_means_that_all_failed() -> None:
    answers = iter([[99], []])
    function = Function(lambda _: next(answers))

    run(function)

    assert function.batches == [list(range(1, 11))] * 2


def test_an_interrupted_batch_goes_on_behind_what_was_done() -> None:
    def behave(_: list[int]) -> list[int]:
        poller._flow.open = False  # the twin is stopped meanwhile
        return [4]

    function = Function(behave)
    shard = Shard(10)
    poller = StreamPoller(SOURCE, shard, function, Flow(), lambda *_: None)  # pyright: ignore
    shard.fill()

    poller.step()

    assert poller.position == 3


class Messages:
    def __init__(self, *bodies: str) -> None:
        names = [f"m{number}" for number in range(len(bodies))]
        self.visible = [
            SimpleNamespace(id=n, body=b, receipt_handle=n, **ABOUT) for n, b in zip(names, bodies, strict=True)
        ]
        self.deleted: list[str] = []

    def receive(self, most: int) -> list[SimpleNamespace]:
        taken, self.visible = self.visible[:most], self.visible[most:]
        return taken

    def delete(self, handle: str) -> None:
        self.deleted.append(handle)


ABOUT: dict[str, Any] = {
    "approximate_receive_count": 1,
    "sent_timestamp": 1,
    "sender_id": "s",
    "approximate_first_receive_timestamp": 1,
    "message_attributes": {},
    "body_md5": "",
}


@pytest.mark.parametrize(
    ("answer", "partial", "deleted"),
    [
        (b"null", True, ["m0", "m1", "m2"]),
        (b'{"batchItemFailures": [{"itemIdentifier": "m1"}]}', True, ["m0", "m2"]),
        (b'{"batchItemFailures": [{"itemIdentifier": "m1"}]}', False, ["m0", "m1", "m2"]),
        (b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}', True, []),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', True, []),
    ],
)
def test_a_queue_keeps_the_messages_that_failed(answer: bytes, partial: bool, deleted: list[str]) -> None:
    queue = Messages("a", "b", "c")
    runtime = SimpleNamespace(invoke=lambda *_: Outcome(answer))
    source = replace(SOURCE, arn="arn:aws:sqs:r:1:q", partial=partial)

    QueuePoller(source, queue, runtime, Flow(), "r").step()  # pyright: ignore

    assert queue.deleted == deleted


def test_messages_that_no_filter_wants_are_deleted_unseen() -> None:
    queue = Messages('{"kind": "a"}', "no json", '{"kind": "b"}')
    seen: list[str] = []

    def invoke(_name: str, payload: bytes) -> Outcome:
        seen.extend(record["body"] for record in json.loads(payload)["Records"])
        return Outcome(b"", failed=True)

    source = replace(SOURCE, arn="arn:aws:sqs:r:1:q", filters=('{"body": {"kind": ["b"]}}',))
    QueuePoller(source, queue, SimpleNamespace(invoke=invoke), Flow(), "r").step()  # pyright: ignore

    assert seen == ['{"kind": "b"}']
    assert queue.deleted == ["m0", "m1"]
