"""The repaired Kinesis, SQS and EventBridge of the twin: as stock moto on random work, and flat in size."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.twin import calls, moto_fixes
from infra.twin.moto_fixes import events

session = cache(botocore.session.get_session)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    yield
    moto_fixes.undo()


@contextmanager
def aws(service: str, repaired: bool = True) -> Iterator[Any]:
    (moto_fixes.apply if repaired else moto_fixes.undo)()
    with mock_aws():
        yield session().create_client(service, region_name="eu-west-1")


class Clock:
    """The time of moto's SQS, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: self.now * 1000)
        monkeypatch.setattr("moto.sqs.models.unix_time", lambda: self.now)


def cpu(work: Callable[[], Any], times: int) -> float:
    """The CPU time of one piece of work: the best of three rounds."""
    rounds: list[float] = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - start) / times)
    return min(rounds)


def test_apply_refuses_another_version_of_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moto.__version__", "5.2.6")
    with pytest.raises(moto_fixes.WrongMoto, match=r"5\.2\.5"):
        moto_fixes.apply()


def test_apply_twice_is_apply_once() -> None:
    moto_fixes.apply()
    once = botocore.client.BaseClient.__dict__["_make_api_call"]
    moto_fixes.apply()
    assert botocore.client.BaseClient.__dict__["_make_api_call"] is once


# ── Kinesis ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def iterator(kinesis: Any, shard: int, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    shard_id = f"shardId-{shard:012d}"
    return kinesis.get_shard_iterator(StreamName="s", ShardId=shard_id, ShardIteratorType=kind, **more)["ShardIterator"]


def read(kinesis: Any, start: str, limit: int | None = None) -> tuple[list[Any], str]:
    page = kinesis.get_records(ShardIterator=start, **({"Limit": limit} if limit else {}))
    records = [(record["SequenceNumber"], record["PartitionKey"], record["Data"]) for record in page["Records"]]
    return records, page["NextShardIterator"]


@pytest.mark.parametrize("seed", range(3))
def test_random_puts_and_reads_are_those_of_stock_moto(seed: int) -> None:
    told: list[Any] = []
    for repaired in (False, True):
        draw, said = random.Random(seed), list[Any]()
        with aws("kinesis", repaired) as kinesis:
            kinesis.create_stream(StreamName="s", ShardCount=2)
            places = [iterator(kinesis, shard) for shard in (0, 1)]
            for _ in range(40):
                if draw.random() < 0.5:
                    records = [
                        {"Data": draw.randbytes(draw.randint(0, 40)), "PartitionKey": str(draw.randint(0, 9))}
                        for _ in range(draw.randint(1, 6))
                    ]
                    said.append(kinesis.put_records(StreamName="s", Records=records)["Records"])
                else:
                    shard = draw.randint(0, 1)
                    records, places[shard] = read(kinesis, places[shard], draw.choice((None, 1, 3)))
                    said.append(records)
            for shard in (0, 1):
                said.append(read(kinesis, iterator(kinesis, shard, "LATEST")))
                said.append(
                    read(kinesis, iterator(kinesis, shard, "AT_SEQUENCE_NUMBER", StartingSequenceNumber="2"), 2)
                )
                said.append(
                    read(kinesis, iterator(kinesis, shard, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber="2"))
                )
            told.append(said)
    assert told[0] == told[1]


def test_records_of_one_key_stay_in_order_and_carry_their_arrival_time() -> None:
    with aws("kinesis") as kinesis:
        kinesis.create_stream(StreamName="s", ShardCount=2)
        for number in range(30):
            kinesis.put_record(StreamName="s", Data=bytes([number]), PartitionKey="one")
        shard = kinesis.put_record(StreamName="s", Data=b"end", PartitionKey="one")["ShardId"]
        page = kinesis.get_records(ShardIterator=iterator(kinesis, int(shard[-1])))
    assert [record["Data"] for record in page["Records"]] == [*(bytes([number]) for number in range(30)), b"end"]
    assert abs(page["Records"][0]["ApproximateArrivalTimestamp"].timestamp() - time.time()) < 60


def test_puts_of_many_threads_get_numbers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with aws("kinesis") as kinesis:
        from moto.kinesis.models import Shard

        kinesis.create_stream(StreamName="s", ShardCount=1)
        stock: Any = Shard.get_max_sequence_number

        def slowly(shard: Any) -> int:
            number = stock(shard)
            time.sleep(0.005)
            return number

        monkeypatch.setattr(Shard, "get_max_sequence_number", slowly)
        threads = [
            threading.Thread(target=lambda: kinesis.put_record(StreamName="s", Data=b"x", PartitionKey="p"))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(read(kinesis, iterator(kinesis, 0))[0]) == 6


def test_moto_keeps_no_second_list_of_its_records() -> None:
    from moto.kinesis.models import Record

    with aws("kinesis") as kinesis:
        kinesis.create_stream(StreamName="s", ShardCount=1)
        before = len(Record.instances_tracked)
        kinesis.put_record(StreamName="s", Data=b"x", PartitionKey="p")
        assert len(Record.instances_tracked) == before


def test_an_unknown_stream_is_the_error_that_botocore_knows() -> None:
    with aws("kinesis") as kinesis, pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.put_record(StreamName="nowhere", Data=b"x", PartitionKey="p")


def test_puts_and_reads_do_not_slow_down_with_the_shard() -> None:
    measured: dict[int, tuple[float, float]] = {}
    records = [{"Data": b"x", "PartitionKey": "p"} for _ in range(100)]
    for size in (500, 10_000):
        with aws("kinesis") as kinesis:
            kinesis.create_stream(StreamName="s", ShardCount=1)
            for _ in range(size // 100):
                kinesis.put_records(StreamName="s", Records=records)
            late = iterator(kinesis, 0, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=str(size - 20))
            put = cpu(lambda k=kinesis: k.put_record(StreamName="s", Data=b"x", PartitionKey="p"), 100)
            measured[size] = put, cpu(lambda k=kinesis, late=late: k.get_records(ShardIterator=late, Limit=10), 100)
    for small, large in zip(measured[500], measured[10_000], strict=True):
        assert large <= 1.5 * small + 0.0001, measured


# ── SQS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def queue(sqs: Any, name: str = "q", **attributes: str) -> str:
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]


def redriving(sqs: Any, times: int, **attributes: str) -> tuple[str, str]:
    dead = queue(sqs, "dead")
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": times})
    return queue(sqs, RedrivePolicy=policy, **attributes), dead


def receive(sqs: Any, url: str, most: int = 10, **more: Any) -> list[Any]:
    names = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=most, **names, **more).get("Messages", [])


def counts(sqs: Any, url: str) -> tuple[int, ...]:
    kinds = ("", "NotVisible", "Delayed")
    names = [f"ApproximateNumberOfMessages{kind}" for kind in kinds]
    held = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(held[name]) for name in names)


@pytest.mark.parametrize("seed", range(4))
def test_random_work_on_a_queue_ends_as_on_stock_moto(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take all that is visible at each receive, so that the order, which SQS leaves open, plays no part."""
    told: list[Any] = []
    clock = Clock(monkeypatch)
    for repaired in (False, True):
        draw, said, held = random.Random(seed), list[Any](), dict[str, str]()
        with aws("sqs", repaired) as sqs:
            url, dead = redriving(sqs, 3, VisibilityTimeout="30")
            for number in range(60):
                step = draw.choice(("send", "send", "receive", "delete", "show", "wait"))
                chosen = draw.choice(sorted(held)) if held else ""
                if step == "send":
                    sqs.send_message(QueueUrl=url, MessageBody=str(number), DelaySeconds=draw.choice((0, 0, 20)))
                elif step == "receive":
                    for _ in range(7):
                        taken = receive(sqs, url)
                        for message in taken:
                            held[message["Body"]] = message["ReceiptHandle"]
                        said.append(sorted((m["Body"], m["Attributes"]["ApproximateReceiveCount"]) for m in taken))
                    said = [*said[:-7], sorted(pair for taken in said[-7:] for pair in taken)]
                elif step == "delete" and chosen:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=held.pop(chosen))
                elif step == "show" and chosen:
                    try:
                        sqs.change_message_visibility(
                            QueueUrl=url, ReceiptHandle=held[chosen], VisibilityTimeout=draw.choice((0, 5))
                        )
                    except ClientError as gone:
                        said.append(gone.response["Error"]["Code"])
                clock.now += draw.choice((0.01, 0.01, 11))
                said.append((step, counts(sqs, url), counts(sqs, dead)[0]))
            told.append(said)
    assert told[0] == told[1]


def test_a_message_comes_again_after_its_visibility_and_goes_to_the_dead_letters_at_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    with aws("sqs") as sqs:
        url, dead = redriving(sqs, 2, VisibilityTimeout="30")
        attributes = {"kind": {"DataType": "String", "StringValue": "x"}}
        sqs.send_message(QueueUrl=url, MessageBody="m", MessageAttributes=attributes)
        assert len(receive(sqs, url)) == 1 and receive(sqs, url) == []
        clock.now += 31
        again = receive(sqs, url)[0]
        assert again["Attributes"]["ApproximateReceiveCount"] == "2"
        assert again["MessageAttributes"]["kind"]["StringValue"] == "x"
        clock.now += 31
        assert receive(sqs, url) == [] and [m["Body"] for m in receive(sqs, dead)] == ["m"]


def test_a_delete_that_comes_twice_is_fine_and_an_unknown_handle_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    with aws("sqs") as sqs:
        url = queue(sqs)
        sqs.send_message(QueueUrl=url, MessageBody="m")
        handle = receive(sqs, url)[0]["ReceiptHandle"]
        for _ in range(2):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
        with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
            sqs.delete_message(QueueUrl=url, ReceiptHandle="never seen")
        answer = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": "never seen"}])
        assert [failed["Id"] for failed in answer["Failed"]] == ["1"]


def test_a_message_over_its_retention_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with aws("sqs") as sqs:
        url = queue(sqs, MessageRetentionPeriod="60")
        sqs.send_message(QueueUrl=url, MessageBody="m")
        clock.now += 61
        assert receive(sqs, url) == [] and counts(sqs, url) == (0, 0, 0)


def test_a_long_poll_sees_a_message_that_comes_meanwhile() -> None:
    with aws("sqs") as sqs:
        url = queue(sqs)
        sender = threading.Timer(0.2, lambda: sqs.send_message(QueueUrl=url, MessageBody="late"))
        sender.start()
        assert [message["Body"] for message in receive(sqs, url, WaitTimeSeconds=5)] == ["late"]
        sender.join()


def test_a_fifo_queue_is_refused() -> None:
    with aws("sqs") as sqs, pytest.raises(ClientError, match="FIFO"):
        sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})


def test_queue_work_does_not_slow_down_with_the_queue() -> None:
    measured: dict[int, float] = {}
    for size in (500, 10_000):
        with aws("sqs") as sqs:
            url = queue(sqs)
            entries = [{"Id": str(number), "MessageBody": "x"} for number in range(10)]
            for _ in range(size // 10):
                sqs.send_message_batch(QueueUrl=url, Entries=entries)

            def round_trip(sqs: Any = sqs, url: str = url) -> None:
                sqs.send_message(QueueUrl=url, MessageBody="x")
                sqs.delete_message(QueueUrl=url, ReceiptHandle=receive(sqs, url, 1)[0]["ReceiptHandle"])

            measured[size] = cpu(round_trip, 40)
    assert measured[10_000] <= 1.5 * measured[500] + 0.0001, measured


# ── EventBridge, and the way around HTTP ─────────────────────────────────────────────────────────────────────────────


def test_put_events_hands_accepted_entries_to_the_bus_and_answers_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[dict[str, Any]] = []
    monkeypatch.setattr(events, "on_put_events", got.extend)
    with aws("events") as bus:
        bus.create_event_bus(Name="hoso")
        bus.put_rule(Name="r", EventBusName="hoso", EventPattern='{"source": ["hoso"]}')
        target = "arn:aws:lambda:eu-west-1:123456789012:function:f"
        bus.put_targets(Rule="r", EventBusName="hoso", Targets=[{"Id": "1", "Arn": target}])
        entry = {"Source": "hoso", "DetailType": "segment.entered", "Detail": '{"a": 1}', "EventBusName": "hoso"}
        wrong = [entry | {"Source": "aws.s3"}, entry | {"Detail": "[1]"}, entry | {"Detail": "{"}]
        answer = bus.put_events(Entries=[entry, *wrong])
        assert answer["FailedEntryCount"] == 3
        assert [result.get("ErrorCode") for result in answer["Entries"]] == [
            None,
            "NotAuthorizedForSourceException",
            "MalformedDetail",
            "MalformedDetail",
        ]
        assert got == [entry | {"EventId": answer["Entries"][0]["EventId"]}]
        with pytest.raises(bus.exceptions.ResourceNotFoundException):
            bus.put_events(Entries=[entry | {"EventBusName": "unknown"}])


@pytest.mark.parametrize("short", [True, False], ids=["direct", "http"])
def test_answers_have_the_same_form_on_both_ways(short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    with aws("sqs") as sqs:
        if not short:
            calls.drop("engine")
        url = queue(sqs)
        sent = sqs.send_message(
            QueueUrl=url, MessageBody="m", MessageAttributes={"b": {"DataType": "Binary", "BinaryValue": b"\xff"}}
        )
        batch = [{"Id": "1", "MessageBody": "n"}]
        assert sqs.send_message_batch(QueueUrl=url, Entries=batch)["Successful"][0]["Id"] == "1"
        assert batch == [{"Id": "1", "MessageBody": "n"}]
        message = receive(sqs, url)[0]
        kinds = {name: type(value) for name, value in message.items()}
    assert message["MessageId"] == sent["MessageId"] and message["MessageAttributes"]["b"]["BinaryValue"] == b"\xff"
    assert set(map(type, message["Attributes"].values())) == {str}
    assert kinds == {
        "MessageId": str,
        "ReceiptHandle": str,
        "MD5OfBody": str,
        "Body": str,
        "Attributes": dict,
        "MessageAttributes": dict,
        "MD5OfMessageAttributes": str,
    }
