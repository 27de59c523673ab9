"""A twin on a small template: streams, queues, bus, schedules and their failures, with living handlers."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.twin import Twin
from tests.twin_world import attribute, function, resource, table, write_assembly

CODE = {
    "note": """
        import json, os
        import botocore.session
        from functools import cache

        @cache
        def client(service):
            return botocore.session.get_session().create_client(service)

        def write(kind, body):
            client("dynamodb").update_item(
                TableName=os.environ["NOTES"], Key={"pk": {"S": kind}, "sk": {"S": "n"}},
                UpdateExpression="SET #l = list_append(if_not_exists(#l, :e), :v)",
                ExpressionAttributeNames={"#l": "list"},
                ExpressionAttributeValues={":e": {"L": []}, ":v": {"L": [{"S": json.dumps(body)}]}})
    """,
    "handlers": """
        import base64, json, os
        from note import client, write

        def stream(event, context):
            values = [json.loads(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]]
            write("stream", values)
            numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
            failed = [number for number, value in zip(numbers, values) if value == "poison"]
            return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}

        def changes(event, context):
            write("changes", [[r["eventName"], r["dynamodb"]["NewImage"]["body"]["B"]] for r in event["Records"]])

        def queue(event, context):
            records = event["Records"]
            write("queue", [[r["body"], r["attributes"]["ApproximateReceiveCount"]] for r in records])
            if "explode" in [r["body"] for r in records]:
                raise ValueError("boom")
            return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in records if r["body"] == "bad"]}

        def asked(event, context):
            write("asked", event)
            if event.get("fail"):
                raise RuntimeError("asked to fail")
            if "put" in event:
                entry = {"Source": "test", "DetailType": "happened", "Detail": json.dumps(event["put"])}
                client("events").put_events(Entries=[{**entry, "EventBusName": os.environ["BUS"]}])
            if "name" in event:
                left = context.get_remaining_time_in_millis()
                return {"name": context.function_name, "left": left, "own": os.environ["OWN"]}
            return event
    """,
}
ENVIRONMENT = {"NOTES": {"Ref": "Notes"}, "BUS": {"Ref": "Bus"}}


def resources() -> dict[str, Any]:
    made: dict[str, Any] = {
        "Notes": table(),
        "Rows": table(
            StreamSpecification={"StreamViewType": "NEW_IMAGE"},
            TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True},
        ),
        "Stream": resource("AWS::Kinesis::Stream", ShardCount=1),
        "Files": resource("AWS::S3::Bucket"),
        "Bus": resource("AWS::Events::EventBus", Name="Small-Bus"),
        "Failed": resource("AWS::SQS::Queue"),
        "Queue": resource(
            "AWS::SQS::Queue",
            VisibilityTimeout=60,
            RedrivePolicy={"deadLetterTargetArn": attribute("Failed"), "maxReceiveCount": 2},
        ),
        "Events": resource("AWS::SQS::Queue"),
        "FromStream": resource(
            "AWS::Lambda::EventSourceMapping",
            EventSourceArn=attribute("Stream"),
            FunctionName={"Ref": "StreamFunction"},
            StartingPosition="TRIM_HORIZON",
            BatchSize=100,
            MaximumBatchingWindowInSeconds=30,
            MaximumRetryAttempts=1,
            BisectBatchOnFunctionError=True,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            DestinationConfig={"OnFailure": {"Destination": attribute("Files")}},
        ),
        "FromRows": resource(
            "AWS::Lambda::EventSourceMapping",
            EventSourceArn=attribute("Rows", "StreamArn"),
            FunctionName={"Ref": "ChangesFunction"},
            StartingPosition="TRIM_HORIZON",
            FilterCriteria={"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]},
        ),
        "FromQueue": resource(
            "AWS::Lambda::EventSourceMapping",
            EventSourceArn=attribute("Queue"),
            FunctionName={"Ref": "QueueFunction"},
            BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        ),
        "AskedSettings": resource(
            "AWS::Lambda::EventInvokeConfig",
            FunctionName={"Ref": "AskedFunction"},
            Qualifier="$LATEST",
            MaximumRetryAttempts=1,
            DestinationConfig={"OnFailure": {"Destination": attribute("Failed")}},
        ),
        "Rule": resource(
            "AWS::Events::Rule",
            EventBusName={"Ref": "Bus"},
            EventPattern={"source": ["test"], "detail": {"n": [{"numeric": [">", 1]}]}},
            Targets=[
                {
                    "Id": "q",
                    "Arn": attribute("Events"),
                    "InputTransformer": {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"n": <n>}'},
                },
                {
                    "Id": "gone",
                    "Arn": "arn:aws:sqs:eu-west-1:123456789012:gone",
                    "DeadLetterConfig": {"Arn": attribute("Failed")},
                    "RetryPolicy": {"MaximumRetryAttempts": 0},
                },
            ],
        ),
        "ToFunction": resource(
            "AWS::Events::Rule",
            EventBusName={"Ref": "Bus"},
            EventPattern={"detail": {"fail": [True]}},
            Targets=[{"Id": "f", "Arn": attribute("AskedFunction"), "InputPath": "$.detail"}],
        ),
        "Daily": resource(
            "AWS::Scheduler::Schedule",
            ScheduleExpression="cron(0 19 * * ? *)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": attribute("AskedFunction"),
                "RoleArn": "r",
                "Input": '{"daily":"<aws.scheduler.scheduled-time>"}',
            },
        ),
    }
    for name in ("stream", "changes", "queue", "asked"):
        made[f"{name.capitalize()}Function"] = function(f"handlers.{name}", environment={**ENVIRONMENT, "OWN": name})
    return made


@pytest.fixture(scope="module", params=["in-process", "isolated"])
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    folder = tmp_path_factory.mktemp("small")
    assembly = write_assembly(folder / "cdk.out", resources(), CODE)
    with Twin(data=folder / "data", assembly=assembly, isolated=request.param == "isolated") as twin:
        yield twin


def notes(twin: Twin, kind: str) -> list[Any]:
    item = (
        twin.client("dynamodb")
        .get_item(TableName=twin.env["tables"]["notes"], Key={"pk": {"S": kind}, "sk": {"S": "n"}})
        .get("Item")
    )
    return [json.loads(entry["S"]) for entry in item["list"]["L"]] if item else []


def messages(twin: Twin, name: str) -> list[dict[str, Any]]:
    url = next(url for arn, url in twin.env["queues"].items() if arn.endswith(f"-{name}"))
    received = twin.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
    for message in received.get("Messages", []):
        twin.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return received.get("Messages", [])


def send(twin: Twin, *bodies: str) -> None:
    url = next(url for arn, url in twin.env["queues"].items() if arn.endswith("-Queue"))
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    twin.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)


def test_a_poison_record_goes_to_s3_and_its_neighbours_are_processed_in_order(twin: Twin) -> None:
    values: list[Any] = [1, 2, "poison", 4, 5]
    records = [{"Data": json.dumps(value).encode(), "PartitionKey": "k"} for value in values]
    twin.client("kinesis").put_records(StreamName=twin.env["streams"]["stream"], Records=records)

    assert twin.drain(30) == []

    batches = notes(twin, "stream")
    assert batches[0] == values  # drained before its window of 30 s
    done = [value for batch in batches for value in batch if value != "poison"]
    assert [value for value in done if value in (4, 5)][-2:] == [4, 5]
    bucket = twin.env["buckets"]["files"]
    (stored,) = twin.client("s3").list_objects_v2(Bucket=bucket, Prefix="aws/lambda/")["Contents"]
    document = json.loads(twin.client("s3").get_object(Bucket=bucket, Key=stored["Key"])["Body"].read())
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert document["KinesisBatchInfo"]["batchSize"] == 1
    assert len(json.loads(document["payload"])["Records"]) == 1


def test_table_changes_reach_the_function_that_wants_them(twin: Twin) -> None:
    table = twin.env["tables"]["rows"]
    item = {"pk": {"S": "a"}, "sk": {"S": "b"}, "body": {"B": b"\0\xff"}}
    twin.client("dynamodb").put_item(TableName=table, Item=item)
    twin.client("dynamodb").put_item(TableName=table, Item={**item, "more": {"N": "1"}})
    twin.client("dynamodb").delete_item(TableName=table, Key={"pk": {"S": "a"}, "sk": {"S": "b"}})

    assert twin.drain(30) == []

    assert notes(twin, "changes") == [[["INSERT", "AP8="]]]


def test_a_failed_message_comes_again_after_its_timeout_and_then_goes_to_the_dead_letters(twin: Twin) -> None:
    send(twin, "good", "bad")

    stuck = twin.drain(1)
    assert len(stuck) == 1
    assert "1 messages of Small-Queue" in stuck[0]
    twin.advance(61_000)  # the visibility time-out passes
    twin.drain(1)
    twin.advance(61_000)  # received twice: redriven at the next try
    assert twin.drain(10) == []

    assert sorted(entry for batch in notes(twin, "queue") for entry in batch) == [
        ["bad", "1"],
        ["bad", "2"],
        ["good", "1"],
    ]
    assert [message["Body"] for message in messages(twin, "Failed")] == ["bad"]


def test_a_raising_function_keeps_all_messages(twin: Twin) -> None:
    send(twin, "explode", "innocent")

    twin.drain(1)
    for _ in range(2):
        twin.advance(61_000)
        twin.drain(1)

    assert sorted(message["Body"] for message in messages(twin, "Failed")) == ["explode", "innocent"]
    assert twin.drain(5) == []


def test_bus_events_reach_the_targets_of_matching_rules_and_a_lost_target_the_dead_letters(twin: Twin) -> None:
    for n in (1, 2):
        twin.invoke("AskedFunction", {"put": {"n": n}})

    assert twin.drain(10) == []

    assert [json.loads(message["Body"]) for message in messages(twin, "Events")] == [{"n": 2}]
    (dead,) = messages(twin, "Failed")
    assert json.loads(dead["Body"])["detail"] == {"n": 2}
    assert dead["MessageAttributes"]["RULE_ARN"]["StringValue"].endswith("rule/Small-Rule")


def test_a_queued_invocation_is_tried_again_and_then_given_to_its_destination(twin: Twin) -> None:
    name = twin.deployment.function("AskedFunction").name
    answer = twin.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": true}')
    assert answer["StatusCode"] == 202

    assert twin.drain(20) == []

    assert notes(twin, "asked").count({"fail": True}) == 2
    assert [json.loads(message["Body"]) for message in messages(twin, "Failed")] == [{"fail": True}]


def test_a_function_behind_a_rule_is_tried_by_its_own_settings(twin: Twin) -> None:
    before = notes(twin, "asked").count({"fail": True})
    twin.invoke("AskedFunction", {"put": {"fail": True}})

    assert twin.drain(20) == []

    assert notes(twin, "asked").count({"fail": True}) - before == 2
    assert [json.loads(message["Body"]) for message in messages(twin, "Failed")] == [{"fail": True}]


def test_a_direct_invocation_answers_and_an_error_is_aws_error_document(twin: Twin) -> None:
    client = twin.client("lambda")
    name = twin.deployment.function("AskedFunction").arn

    answer = json.loads(client.invoke(FunctionName=name, Payload=b'{"name": 1}')["Payload"].read())
    failed = client.invoke(FunctionName=name, Payload=b'{"fail": true}')

    assert answer["name"] == "Small-AskedFunction"
    assert 0 < answer["left"] <= 10_000
    assert answer["own"] == "asked"
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"].read())["errorType"] == "RuntimeError"


def test_a_jump_of_days_runs_a_daily_schedule_once_with_its_last_time(twin: Twin) -> None:
    before = len(notes(twin, "asked"))
    now_ms = twin.advance(3 * 86_400_000)

    assert twin.drain(10) == []

    (event,) = notes(twin, "asked")[before:]
    at = time.strptime(event["daily"], "%Y-%m-%dT%H:%M:%SZ")
    assert (at.tm_hour, at.tm_min) == (19, 0)
    assert 0 <= now_ms / 1000 - calendar.timegm(at) < 86_400


def test_items_past_their_time_to_live_are_deleted(twin: Twin) -> None:
    table = twin.env["tables"]["rows"]
    for key, ttl_s in (("soon", 600), ("late", 86_400)):
        ttl = str(twin.clock.now_ms() // 1000 + ttl_s)
        twin.client("dynamodb").put_item(
            TableName=table, Item={"pk": {"S": key}, "sk": {"S": "x"}, "body": {"B": b""}, "ttl": {"N": ttl}}
        )

    twin.advance(3_600_000)
    twin.advance(3_600_000)  # what a jump lets expire goes at the next sweep, after what it let fall due

    assert {item["pk"]["S"] for item in twin.client("dynamodb").scan(TableName=table)["Items"]} == {"late"}
