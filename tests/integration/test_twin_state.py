"""The twin's state outlives its process: stopped, or killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from infra.twin import Twin, calls, snapshot
from tests.twin_world import attribute, function, resource, table, write_assembly

CODE = {
    "handlers": """
        import json, os

        def stuck(event, context):
            raise RuntimeError("not today")

        def read(event, context):
            with open(os.environ["SEEN"], "a") as out:
                for record in event["Records"]:
                    out.write(record["kinesis"]["sequenceNumber"] + "\\n")
    """
}


def resources(seen: Path) -> dict[str, Any]:
    def reads(name: str, **more: Any) -> dict[str, Any]:
        return resource(
            "AWS::Lambda::EventSourceMapping", FunctionName={"Ref": name}, StartingPosition="TRIM_HORIZON", **more
        )

    return {
        "Rows": table(StreamSpecification={"StreamViewType": "NEW_IMAGE"}),
        "Stream": resource("AWS::Kinesis::Stream", ShardCount=1),
        "Files": resource("AWS::S3::Bucket", VersioningConfiguration={"Status": "Enabled"}),
        "Queue": resource("AWS::SQS::Queue"),
        "Read": function("handlers.read", environment={"SEEN": str(seen)}),
        "Stuck": function("handlers.stuck"),
        "FromStream": reads("Read", EventSourceArn=attribute("Stream")),
        "FromRows": reads("Stuck", EventSourceArn=attribute("Rows", "StreamArn")),
        "Bus": resource("AWS::Events::EventBus"),
        "Rule": resource(
            "AWS::Events::Rule",
            EventBusName={"Ref": "Bus"},
            EventPattern={"source": ["test"]},
            Targets=[{"Id": "t", "Arn": "arn:aws:sqs:eu-west-1:123456789012:gone"}],
        ),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_assembly(tmp_path / "cdk.out", resources(tmp_path / "seen"), CODE)
    return tmp_path


def start(folder: Path) -> Twin:
    return Twin(data=folder / "data", assembly=folder / "cdk.out")


ITEM = {
    "pk": {"S": "a"},
    "sk": {"S": "ế"},
    "b": {"B": b"\0\xff"},
    "deep": {
        "M": {
            "list": {"L": [{"B": b"x"}, {"N": "1.50"}, {"NULL": True}]},
            "set": {"SS": ["a", "b"]},
            "bytes": {"BS": [b"1"]},
        }
    },
}


def fill(twin: Twin) -> None:
    names = twin.env
    twin.client("dynamodb").put_item(TableName=names["tables"]["rows"], Item=ITEM)
    twin.client("kinesis").put_records(
        StreamName=names["streams"]["stream"], Records=[{"Data": b"1", "PartitionKey": "k"}] * 3
    )
    twin.client("s3").put_object(
        Bucket=names["buckets"]["files"], Key="a/ế.bin", Body=b"\0body", ContentType="text/x", Metadata={"who": "me"}
    )
    twin.client("s3").put_object(Bucket=names["buckets"]["files"], Key="gone", Body=b"x")
    twin.client("s3").delete_object(Bucket=names["buckets"]["files"], Key="gone")
    (url,) = names["queues"].values()
    twin.client("sqs").send_message(
        QueueUrl=url, MessageBody="hello", MessageAttributes={"a": {"DataType": "String", "StringValue": "1"}}
    )
    entry = {"EventBusName": names["names"]["Small/Bus"], "Source": "test", "DetailType": "d", "Detail": "{}"}
    twin.client("events").put_events(Entries=[entry])


def test_a_stopped_twin_starts_again_with_the_same_state(folder: Path) -> None:
    with start(folder) as twin:
        token_key = twin.jwks()
        twin.advance(86_400_000)
        offset = twin.clock.offset_ms
        fill(twin)
        time.sleep(0.5)  # the stream is read, the stuck things stay

    with start(folder) as twin:
        names = twin.env
        stored = twin.client("dynamodb").get_item(
            TableName=names["tables"]["rows"], Key={"pk": ITEM["pk"], "sk": ITEM["sk"]}
        )["Item"]
        assert stored == {
            **ITEM,
            "deep": {"M": {**ITEM["deep"]["M"], "list": {"L": [{"B": b"x"}, {"N": "1.5"}, {"NULL": True}]}}},
        }  # pyright: ignore
        listed = twin.client("s3").list_objects_v2(Bucket=names["buckets"]["files"])["Contents"]
        assert [entry["Key"] for entry in listed] == ["a/ế.bin"]
        got = twin.client("s3").get_object(Bucket=names["buckets"]["files"], Key="a/ế.bin")
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"\0body", "text/x", {"who": "me"})
        (url,) = names["queues"].values()
        (message,) = twin.client("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
        assert (message["Body"], message["MessageAttributes"]["a"]["StringValue"]) == ("hello", "1")
        assert (twin.clock.offset_ms, twin.jwks()) == (offset, token_key)
        stuck = twin.drain(0.5)
        assert any(text.startswith("1 records of Small-FromRows") for text in stuck)
        assert any(text.startswith("delivery to") for text in stuck)
        # Records that were read are not read again, and numbers go on where they stopped.
        twin.client("kinesis").put_record(StreamName=names["streams"]["stream"], Data=b"2", PartitionKey="k")
        time.sleep(0.3)
    seen = (folder / "seen").read_text().split()
    assert len(seen) == 4
    assert seen == sorted(set(seen))


def test_a_killed_twin_starts_with_its_last_whole_snapshot(folder: Path) -> None:
    script = f"""
import sys, time
sys.path[:0] = {[str(Path.cwd()), str(Path.cwd() / "functions")]!r}
from pathlib import Path
from infra.twin import Twin, snapshot
snapshot.EVERY_S = 0.05
with Twin(data=Path({str(folder / "data")!r}), assembly=Path({str(folder / "cdk.out")!r})) as twin:
    table = twin.env["tables"]["rows"]
    files = twin.env["buckets"]["files"]
    for n in range(100_000):
        # The object is always written before the row that speaks of it.
        twin.client("s3").put_object(Bucket=files, Key=f"{{n}}", Body=b"x" * 100)
        twin.client("dynamodb").put_item(TableName=table, Item={{"pk": {{"S": f"{{n}}"}}, "sk": {{"S": "-"}}}})
        if n == 50:
            print("going", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    with start(folder) as twin:
        rows = {item["pk"]["S"] for item in twin.client("dynamodb").scan(TableName=twin.env["tables"]["rows"])["Items"]}
        paginator = twin.client("s3").get_paginator("list_objects_v2")
        objects = {
            entry["Key"]
            for page in paginator.paginate(Bucket=twin.env["buckets"]["files"])
            for entry in page["Contents"]
        }
        assert len(rows) > 30
        assert rows <= objects
        assert len(objects - rows) <= 1


def test_a_stopped_twin_takes_its_layers_along(folder: Path) -> None:
    """They look into the repaired moto, which a test of stock moto in the same process takes away."""
    with start(folder):
        assert calls.layer("recorder")
        assert calls.layer("guards")

    assert (calls.layer("recorder"), calls.layer("guards")) == (None, None)


def test_unchanged_tables_are_not_written_again(folder: Path) -> None:
    with start(folder) as twin:
        fill(twin)
        twin.save()
        first = next((folder / "data" / "state").glob("*/*Rows.jsonl")).stat().st_ino
        twin.save()

        assert next((folder / "data" / "state").glob("*/*Rows.jsonl")).stat().st_ino == first
        numbers = [entry.name for entry in (folder / "data" / "state").iterdir() if entry.name.isdigit()]
        assert len(numbers) == 1


def test_a_half_written_snapshot_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start(folder) as twin:
        fill(twin)
        twin.save()
        twin.client("dynamodb").delete_item(
            TableName=twin.env["tables"]["rows"], Key={"pk": ITEM["pk"], "sk": ITEM["sk"]}
        )
        # The disk is full at the last file of the next snapshots.
        monkeypatch.setattr(snapshot.orjson, "dumps", _no_space)
        with pytest.raises(OSError, match="disk"):
            twin.save()
        monkeypatch.undo()
        monkeypatch.setattr(twin._store, "save", lambda: None)

    with start(folder) as twin:
        items = twin.client("dynamodb").scan(TableName=twin.env["tables"]["rows"])["Items"]
        assert len(items) == 1


def test_a_failed_snapshot_spoils_no_later_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start(folder) as twin:
        client, name = twin.client("dynamodb"), twin.env["tables"]["rows"]
        for n in range(5):
            client.put_item(TableName=name, Item={**ITEM, "sk": {"S": f"{n}"}, "n": {"N": str(n)}})
            with monkeypatch.context() as disk:
                disk.setattr(snapshot.orjson, "dumps", _no_space)
                with pytest.raises(OSError, match="disk"):
                    twin.save()
            if n % 2:
                twin.save()
        stored = client.scan(TableName=name)["Items"]

    with start(folder) as twin:
        assert twin.client("dynamodb").scan(TableName=name)["Items"] == stored


def _no_space(value: Any, *_: Any) -> bytes:
    if "positions" in value:
        raise OSError("disk full")
    return json.dumps(value).encode()


def test_many_snapshots_of_changing_rows_hold_the_present_ones(folder: Path) -> None:
    def put(key: str, n: int) -> None:
        item = {"pk": {"S": key}, "sk": {"S": "-"}, "n": {"N": str(n)}, "b": {"B": bytes(n)}}
        client.put_item(TableName=name, Item=item)

    with start(folder) as twin:
        client, name = twin.client("dynamodb"), twin.env["tables"]["rows"]
        for n in range(20):
            put(f"k{n % 7}", n)
            put(f"once-{n}", n)
            client.delete_item(TableName=name, Key={"pk": {"S": f"once-{n - 3}"}, "sk": {"S": "-"}})
            twin.save()
        stored = client.scan(TableName=name)["Items"]

    with start(folder) as twin:
        assert twin.client("dynamodb").scan(TableName=name)["Items"] == stored
        assert len(stored) == 10
