"""The fault injector itself: what it breaks, when, and that it leaves nothing behind."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from infra.twin import calls
from tests.faults import Faults

KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}]
TYPES = [{"AttributeName": "pk", "AttributeType": "S"}]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1")
        client.create_table(TableName="t", KeySchema=KEYS, AttributeDefinitions=TYPES, BillingMode="PAY_PER_REQUEST")
        yield client


def put(client: Any, key: str) -> None:
    client.put_item(TableName="t", Item={"pk": {"S": key}})


def stored(client: Any) -> set[str]:
    return {item["pk"]["S"] for item in client.scan(TableName="t")["Items"]}


def test_watch_counts_the_calls_of_a_block(table: Any) -> None:
    with Faults({"dynamodb"}).watch() as seen:
        put(table, "a")
        stored(table)
    assert seen.log == [("dynamodb", "PutItem"), ("dynamodb", "Scan")]


def test_fail_before_does_not_execute_the_nth_call(table: Any) -> None:
    with Faults().fail_before(2) as fault:
        put(table, "a")
        with pytest.raises(ClientError, match="InternalServerError"):
            put(table, "b")
        put(table, "c")
    assert fault.hit and stored(table) == {"a", "c"}


def test_fail_after_executes_the_call_and_reports_a_failure(table: Any) -> None:
    with Faults().fail_after(1, error="timeout"), pytest.raises(ReadTimeoutError):
        put(table, "a")
    assert stored(table) == {"a"}


def test_throttle_raises_the_error_class_of_the_service(table: Any) -> None:
    with Faults().throttle(1, times=2):
        for _ in range(2):
            with pytest.raises(table.exceptions.ProvisionedThroughputExceededException):
                put(table, "a")
        put(table, "a")


def test_partial_batches_leave_every_second_entry_undone(table: Any) -> None:
    puts = [{"PutRequest": {"Item": {"pk": {"S": key}}}} for key in "abcde"]
    with Faults().partial(1):
        answer = table.batch_write_item(RequestItems={"t": puts})
    assert answer["UnprocessedItems"] == {"t": puts[1::2]} and stored(table) == set("ace")
    with Faults().partial(1):
        keys = [{"pk": {"S": key}} for key in "ac"]
        answer = table.batch_get_item(RequestItems={"t": {"Keys": keys, "ConsistentRead": True}})
    assert answer["UnprocessedKeys"] == {"t": {"Keys": keys[1:], "ConsistentRead": True}}


def test_partial_put_records_answers_in_the_order_of_the_request(table: Any) -> None:
    kinesis = boto3.client("kinesis", region_name="eu-west-1")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    records = [{"Data": bytes([n]), "PartitionKey": "p"} for n in range(4)]
    with Faults().partial(1):
        answer = kinesis.put_records(StreamName="s", Records=records)
    assert answer["FailedRecordCount"] == 2
    assert ["ErrorCode" in result for result in answer["Records"]] == [False, True, False, True]


def test_nothing_stays_installed_after_the_block(table: Any) -> None:
    with Faults().fail_before(1):
        assert calls.layer("faults") is not None
    assert calls.layer("faults") is None
