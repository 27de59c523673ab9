"""The twin refuses the requests that AWS refuses, with AWS's error code, and lets the largest allowed ones pass."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.twin import calls, guards, moto_fixes

KIB = 1024
Client = Callable[[str], Any]


session = cache(botocore.session.get_session)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    moto_fixes.apply()
    guards.install()
    with mock_aws():
        yield lambda service: session().create_client(service, region_name="eu-west-1")
    calls.drop("guards")
    moto_fixes.undo()


@pytest.fixture
def db(client: Client) -> Any:
    made = client("dynamodb")
    made.create_table(
        TableName="tab",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "g")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_g",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return made


def key(pk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": "s"}}


def refused(code: str, message: str = "") -> Any:
    return pytest.raises(ClientError, match=f"{code}.*{message}")


PUT = {"TableName": "tab", "Item": key("a")}
QUERY = {"TableName": "tab", "KeyConditionExpression": "pk = :p"}
PK = {":p": {"S": "a"}}


def test_a_batch_write_of_26_is_refused_and_of_25_is_not(db: Any) -> None:
    puts = [{"PutRequest": {"Item": key(str(number))}} for number in range(26)]
    with refused("ValidationException", "Too many items"):
        db.batch_write_item(RequestItems={"tab": puts})
    assert db.scan(TableName="tab")["Count"] == 0
    db.batch_write_item(RequestItems={"tab": puts[:25]})


def test_a_batch_get_of_101_is_refused_and_of_100_is_not(db: Any) -> None:
    keys = [key(str(number)) for number in range(101)]
    with refused("ValidationException"):
        db.batch_get_item(RequestItems={"tab": {"Keys": keys}})
    db.batch_get_item(RequestItems={"tab": {"Keys": keys[:100]}})


def test_a_transaction_of_101_is_refused(db: Any) -> None:
    with refused("ValidationException", "less than or equal to 100"):
        db.transact_write_items(
            TransactItems=[{"Put": {"TableName": "tab", "Item": key(str(number))}} for number in range(101)]
        )


@pytest.mark.parametrize(
    ("call", "request_", "message"),
    [
        (
            "put_item",
            {**PUT, "ConditionExpression": "pk = :p", "ExpressionAttributeValues": {**PK, ":x": PK[":p"]}},
            ":x",
        ),
        ("put_item", {**PUT, "ConditionExpression": "pk = :p AND sk = :y", "ExpressionAttributeValues": PK}, ":y"),
        ("put_item", {**PUT, "ConditionExpression": "attribute_exists(#n)"}, "#n"),
        ("put_item", {**PUT, "ExpressionAttributeValues": PK}, "when using expressions"),
        ("query", {**QUERY, "ExpressionAttributeValues": {**PK, ":x": PK[":p"]}}, ":x"),
        ("query", {**QUERY, "ExpressionAttributeValues": PK, "ExpressionAttributeNames": {"#u": "u"}}, "#u"),
        ("scan", {"TableName": "tab", "FilterExpression": "v = :v"}, ":v"),
        ("get_item", {"TableName": "tab", "Key": key("a"), "ProjectionExpression": "#p"}, "#p"),
        (
            "transact_write_items",
            {"TransactItems": [{"Put": {**PUT, "ConditionExpression": "v = :v", "ExpressionAttributeValues": PK}}]},
            ":[pv]",
        ),
        (
            "update_item",
            {"TableName": "tab", "Key": key("a"), "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": PK},
            ":[pv]",
        ),
        (
            "put_item",
            {**PUT, "ConditionExpression": " OR ".join(["attribute_exists(x)"] * 190)},
            "maximum allowed size",
        ),
    ],
    ids=lambda case: str(case)[:40],
)
def test_placeholders_must_be_given_and_used(db: Any, call: str, request_: dict[str, Any], message: str) -> None:
    with refused("ValidationException", message):
        getattr(db, call)(**request_)


@pytest.mark.parametrize(
    ("filter_", "index", "names"),
    [("sk = :p", None, None), ("begins_with(#s, :p)", None, {"#s": "sk"}), ("g <> :p", "by_g", None)],
)
def test_a_filter_on_a_key_attribute_is_refused(
    db: Any, filter_: str, index: str | None, names: dict[str, str] | None
) -> None:
    request: dict[str, Any] = {**QUERY, "FilterExpression": filter_, "ExpressionAttributeValues": PK}
    if index:
        request |= {"IndexName": index, "KeyConditionExpression": "g = :p"}
    if names:
        request["ExpressionAttributeNames"] = names
    with refused("ValidationException", "non-primary key attributes"):
        db.query(**request)


def test_a_filter_on_other_attributes_passes(db: Any) -> None:
    db.query(**QUERY, FilterExpression="begins_with(skin, :p) OR size(v) > :p", ExpressionAttributeValues=PK)
    request = {**QUERY, "IndexName": "by_g", "KeyConditionExpression": "g = :p"}
    db.query(**request, FilterExpression="sk = :p", ExpressionAttributeValues=PK)


def test_eleven_entries_or_over_a_megabyte_of_events_are_refused(client: Client) -> None:
    bus = client("events")
    entry = {"Source": "hoso", "DetailType": "x", "Detail": "{}"}
    with refused("ValidationException"):
        bus.put_events(Entries=[entry] * 11)
    large = entry | {"Detail": '{"a": "' + "x" * 110_000 + '"}'}
    with refused("ValidationException", "Total size"):
        bus.put_events(Entries=[large] * 10)
    assert bus.put_events(Entries=[large] * 9)["FailedEntryCount"] == 0


def test_a_queue_message_has_at_most_a_megabyte_of_bytes_and_only_characters_of_xml(client: Client) -> None:
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x" * KIB * KIB)
    with refused("InvalidParameterValue"):
        sqs.send_message(QueueUrl=url, MessageBody="đ" * (KIB * KIB // 2 + 1))
    with refused("InvalidMessageContents"):
        sqs.send_message(QueueUrl=url, MessageBody="\x00")
    half = {"MessageBody": "x" * 600_000}
    with refused("BatchRequestTooLong"):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", **half}, {"Id": "2", **half}])
    with refused("TooManyEntriesInBatchRequest"):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(11)])


def test_kinesis_takes_records_of_a_megabyte_500_of_them_and_ten_megabytes(client: Client) -> None:
    kinesis = client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    kinesis.put_record(StreamName="s", Data=b"x" * (KIB * KIB - 1), PartitionKey="p")
    for data, partition in ((b"x" * KIB * KIB, "p"), (b"x" * (KIB * KIB - 1), "pp")):
        with refused("ValidationException"):
            kinesis.put_record(StreamName="s", Data=data, PartitionKey=partition)
        with refused("ValidationException"):
            kinesis.put_records(StreamName="s", Records=[{"Data": data, "PartitionKey": partition}])
    with refused("ValidationException"):
        kinesis.put_records(StreamName="s", Records=[{"Data": b"x", "PartitionKey": "p"}] * 501)
    record = {"Data": b"x" * (KIB * KIB - 1), "PartitionKey": "p"}
    kinesis.put_records(StreamName="s", Records=[record] * 10)
    with refused("InvalidArgumentException"):
        kinesis.put_records(StreamName="s", Records=[record] * 11)


def test_a_mail_has_at_most_50_recipients(client: Client) -> None:
    ses = client("sesv2")
    content = {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}}
    with refused("BadRequestException", "50"):
        ses.send_email(
            FromEmailAddress="a@b.vn",
            Destination={"ToAddresses": [f"p{n}@b.vn" for n in range(51)]},
            Content=content,
        )
