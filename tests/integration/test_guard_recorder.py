"""The recorder: what each call cost, in whose name it ran, what it needed; and the USD of it."""

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.twin import calls, moto_fixes, recorder
from infra.twin.calls import current_function
from tests.faults import Faults

Client = Callable[[str], Any]
PRICES = {
    "dynamodb_write_unit": {"usd": 0.625, "per": 1_000_000},
    "dynamodb_read_unit": {"usd": 0.125, "per": 1_000_000},
    "kinesis_od_gb_in": {"usd": 0.08, "per": 1},
    "kinesis_put_payload_unit": {"usd": 0.014, "per": 1_000_000},
    "eventbridge_event": {"usd": 1.0, "per": 1_000_000},
    "sqs_request": {"usd": 0.4, "per": 1_000_000},
    "s3_put": {"usd": 5.0, "per": 1_000_000},
    "s3_get": {"usd": 0.4, "per": 1_000_000},
    "lambda_request": {"usd": 0.2, "per": 1_000_000},
}
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/tab"


session = cache(botocore.session.get_session)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    moto_fixes.apply()
    with mock_aws():
        db = session().create_client("dynamodb", region_name="eu-west-1")
        db.create_table(
            TableName="tab",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        recorder.install()
        yield lambda service: session().create_client(service, region_name="eu-west-1")
    calls.drop("recorder")
    moto_fixes.undo()


@pytest.fixture
def db(client: Client) -> Any:
    return client("dynamodb")


def key(pk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": "s"}}


def item(pk: str, size: int) -> dict[str, Any]:
    """An item of exactly ``size`` billed bytes."""
    return {**key(pk), "x": {"B": os.urandom(size - len("pk" + pk + "sk" + "s" + "x"))}}


def put(db: Any, wire: dict[str, Any], **more: Any) -> None:
    db.put_item(TableName="tab", Item=wire, **more)


def only() -> dict[str, Any]:
    """The single row of the summary."""
    (row,) = recorder.summary()["calls"]
    return row


def units(work: Callable[[], Any], name: str) -> float:
    recorder.reset()
    work()
    return sum(row["units"].get(name, 0) for row in recorder.summary()["calls"])


def test_a_call_is_recorded_with_its_function_resource_and_bytes(db: Any) -> None:
    token = current_function.set("ConsumeFunction")
    put(db, item("a", 700))
    current_function.reset(token)
    assert only() == {
        "function": "ConsumeFunction",
        "service": "dynamodb",
        "operation": "PutItem",
        "resource": TABLE,
        "calls": 1,
        "errors": 0,
        "items": 1,
        "bytes": 700,
        "units": {"dynamodb_write_unit": 1},
    }
    assert recorder.summary()["needs"] == [
        {"function": "ConsumeFunction", "action": "dynamodb:PutItem", "resource": TABLE, "calls": 1}
    ]


def test_a_write_costs_the_larger_of_the_old_and_the_new_item(db: Any) -> None:
    write = "dynamodb_write_unit"
    assert units(lambda: put(db, item("a", 1024)), write) == 1
    assert units(lambda: put(db, item("a", 1025)), write) == 2
    assert units(lambda: put(db, item("a", 3000)), write) == 3
    assert units(lambda: put(db, item("a", 100)), write) == 3
    assert units(lambda: db.delete_item(TableName="tab", Key=key("nothing")), write) == 1
    request = {"UpdateExpression": "SET y = :y", "ExpressionAttributeValues": {":y": {"B": b"y" * 2000}}}
    assert units(lambda: db.update_item(TableName="tab", Key=key("a"), **request), write) == 3


def test_a_transaction_costs_twice_and_a_batch_what_its_items_cost(db: Any) -> None:
    puts = [item("a", 100), item("b", 1500)]
    writes = [{"Put": {"TableName": "tab", "Item": wire}} for wire in puts]
    assert units(lambda: db.transact_write_items(TransactItems=writes), "dynamodb_write_unit") == 2 * (1 + 2)
    assert only()["items"] == 2
    requests = [{"PutRequest": {"Item": wire}} for wire in puts]
    assert units(lambda: db.batch_write_item(RequestItems={"tab": requests}), "dynamodb_write_unit") == 1 + 2


def test_a_failed_condition_is_billed_and_a_throttled_call_is_not(db: Any) -> None:
    put(db, item("a", 1500))

    def refused() -> None:
        with pytest.raises(ClientError):
            put(db, item("a", 100), ConditionExpression="attribute_not_exists(pk)")

    assert units(refused, "dynamodb_write_unit") == 2
    assert only()["errors"] == 1

    def invalid() -> None:
        with pytest.raises(ClientError):
            put(db, {**key("a"), "x": {"N": "1" * 40}})

    assert units(invalid, "dynamodb_write_unit") == 0
    with Faults().throttle(1):
        assert units(refused, "dynamodb_write_unit") == 0


def test_a_call_that_happened_but_was_reported_as_failed_is_billed(db: Any) -> None:
    def forgotten() -> None:
        with Faults().fail_after(1), pytest.raises(ClientError):
            put(db, item("a", 100))

    assert units(forgotten, "dynamodb_write_unit") == 1


def test_reads_are_rounded_to_4_kb_and_halved_unless_consistent(db: Any) -> None:
    read = "dynamodb_read_unit"
    for name in "ab":
        put(db, item(name, 3000))
    get = {"TableName": "tab", "Key": key("a")}
    assert units(lambda: db.get_item(**get), read) == 0.5
    assert units(lambda: db.get_item(**get, ConsistentRead=True), read) == 1
    assert units(lambda: db.get_item(TableName="tab", Key=key("nothing")), read) == 0.5
    keys = {"Keys": [key("a"), key("b"), key("nothing")]}
    assert units(lambda: db.batch_get_item(RequestItems={"tab": keys}), read) == 1.5
    scan = {"FilterExpression": "attribute_exists(nothing)"}
    assert units(lambda: db.scan(TableName="tab", **scan), read) == 1
    query = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}}
    assert units(lambda: db.query(TableName="tab", ConsistentRead=True, **query), read) == 1
    gets = [{"Get": get}]
    assert units(lambda: db.transact_get_items(TransactItems=gets), read) == 2


def test_stream_records_are_rounded_by_record(client: Client) -> None:
    kinesis = client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    records = [{"Data": b"x" * size, "PartitionKey": "p"} for size in (10, 1023, 1024, 30_000)]

    def work() -> None:
        kinesis.put_records(StreamName="s", Records=records)

    assert units(work, "kinesis_od_gb_in") * 1024**2 == pytest.approx(1 + 1 + 2 + 30)
    assert units(work, "kinesis_put_payload_unit") == 1 + 1 + 1 + 2


def test_events_and_messages_count_each_started_64_kb(client: Client) -> None:
    bus, sqs = client("events"), client("sqs")
    entry = {"Source": "hoso", "DetailType": "x", "Detail": json.dumps({"a": "x" * 70_000})}
    small = entry | {"Detail": "{}"}
    assert units(lambda: bus.put_events(Entries=[entry, small]), "eventbridge_event") == 3
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    entries = [{"Id": str(number), "MessageBody": "x" * 40_000} for number in range(2)]
    assert units(lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries), "sqs_request") == 2
    assert units(lambda: sqs.receive_message(QueueUrl=url), "sqs_request") == 1


def test_objects_count_by_request(client: Client) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="files", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert units(lambda: s3.put_object(Bucket="files", Key="a/b", Body=b"x" * 10), "s3_put") == 1
    assert only()["resource"] == "arn:aws:s3:::files" and only()["bytes"] == 10
    assert units(lambda: s3.get_object(Bucket="files", Key="a/b"), "s3_get") == 1


def test_the_price_of_a_summary_survives_json(db: Any) -> None:
    for number in range(4):
        put(db, item(str(number), 1500))
    recorder.add("CollectFunction", "lambda", "Invoke", "CollectFunction", {"lambda_request": 1_000_000})
    summary = json.loads(json.dumps(recorder.summary()))
    assert recorder.price(summary, PRICES) == pytest.approx(8 * 0.625 / 1e6 + 0.2)


def test_a_stream_is_priced_in_one_mode_only(client: Client) -> None:
    kinesis = client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    recorder.reset()
    kinesis.put_record(StreamName="s", Data=b"x", PartitionKey="p")
    assert recorder.price(recorder.summary(), PRICES) == pytest.approx(0.08 / 1024**2)
    assert recorder.price(recorder.summary(), PRICES, provisioned_stream=True) == pytest.approx(0.014 / 1e6)


def test_the_last_raw_calls_can_be_dumped(db: Any, tmp_path: Path) -> None:
    recorder.reset(keep=2)
    for name in "abc":
        put(db, item(name, 100))
    recorder.dump(tmp_path / "calls.ndjson")
    lines = [json.loads(line) for line in (tmp_path / "calls.ndjson").read_text().splitlines()]
    assert [line["operation"] for line in lines] == ["PutItem", "PutItem"] and lines[0]["bytes"] == 100
