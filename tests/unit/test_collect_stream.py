"""Putting records on the stream: partial failures, budget and call limits (R1, R3, R4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from hoso.model.errors import Transient
from hoso.platform.stream import BUDGET_S, MAX_CALL_BYTES, Stream, batches

FAILED = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}


class Kinesis:
    """Stores records, except those whose index in a call is in the script's next set; all of them for None."""

    def __init__(self, script: list[Any], forever: Any = frozenset()) -> None:
        self.script = iter(script)
        self.forever = forever
        self.calls: list[list[bytes]] = []
        self.stored: list[bytes] = []

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.calls.append([record["Data"] for record in Records])
        failing = next(self.script, self.forever)
        if isinstance(failing, Exception):
            raise failing
        failing = set(range(len(Records))) if failing is None else failing
        self.stored += [record["Data"] for index, record in enumerate(Records) if index not in failing]
        results = [dict(FAILED) if index in failing else {"SequenceNumber": "1"} for index in range(len(Records))]
        return {"FailedRecordCount": len(failing), "Records": results}


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def put(kinesis: Kinesis, records: int = 10) -> tuple[Time, list[tuple[str, bytes]]]:
    time = Time()
    data = [(f"main#{number}", str(number).encode()) for number in range(records)]
    Stream("events", kinesis, time.sleep, lambda: time.now).put(data)
    return time, data


def test_r1_only_failed_records_are_sent_again() -> None:
    kinesis = Kinesis([{2, 7}, {0}])

    put(kinesis)

    assert sorted(kinesis.stored) == sorted(str(number).encode() for number in range(10))
    assert kinesis.calls[1:] == [[b"2", b"7"], [b"2"]]


@pytest.mark.parametrize(
    "failing",
    [
        None,
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutRecords"),
        ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "PutRecords"),
        ReadTimeoutError(endpoint_url="https://kinesis"),
    ],
)
def test_r4_a_stream_that_takes_nothing_ends_within_the_budget(failing: Any) -> None:
    kinesis = Kinesis([], failing)
    time = Time()

    with pytest.raises(Transient):
        Stream("events", kinesis, time.sleep, lambda: time.now).put([("main#1", b"1")])

    assert kinesis.stored == []
    assert time.now < BUDGET_S
    assert len(kinesis.calls) > 5


def test_r1_a_lost_answer_is_tried_again() -> None:
    kinesis = Kinesis([ReadTimeoutError(endpoint_url="https://kinesis")])

    put(kinesis)

    assert len(kinesis.stored) == 10


@pytest.mark.parametrize(("records", "calls"), [(0, 0), (1, 1), (499, 1), (500, 1), (501, 2), (1_001, 3)])
def test_r3_a_call_holds_500_records(records: int, calls: int) -> None:
    kinesis = Kinesis([])

    put(kinesis, records)

    assert len(kinesis.calls) == calls
    assert len(kinesis.stored) == records


@pytest.mark.parametrize(("extra", "calls"), [(-1, 1), (0, 1), (1, 2)])
def test_r3_a_call_holds_4_mb_keys_included(extra: int, calls: int) -> None:
    half = MAX_CALL_BYTES // 2
    records = [("kk", b"x" * (half - 2)), ("kk", b"x" * (half - 2 + extra))]

    assert len(list(batches(records))) == calls


def test_order_is_kept_over_calls() -> None:
    records = [("k", str(number).encode()) for number in range(1_234)]

    def flat() -> Iterator[tuple[str, bytes]]:
        for part in batches(records):
            yield from part

    assert list(flat()) == records
