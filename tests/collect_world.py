"""A small AWS for the tests of collect: control table, stream and bucket in moto, and the real handlers on it."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import orjson
from moto import mock_aws

from hoso.collect.handlers import admin, ingest, plans, seen
from hoso.collect.write_keys import SourceAdmin
from hoso.model.record import Record, unpack
from hoso.platform.aws import client
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from tests.admin_calls import admin_event, answered

ENV = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "HOSO_CONTROL_TABLE": "control",
    "HOSO_DELIVERY_TABLE": "delivery",
    "HOSO_STREAM": "events",
    "HOSO_BUCKET": "bucket",
}
NOW = 1_795_358_100_000
CACHED = (client, ingest.reception, admin.desk, plans.plan_admin, seen.desk)


class World:
    """The handlers with their tables. ``now`` is the clock (UTC ms)."""

    def __init__(self, clock_file: Any) -> None:
        self._clock_file = clock_file
        self._patches: list[Any] = []
        self._seen: set[str] = set()
        self.keys: dict[str, str] = {}
        self.table = Table("control", client("dynamodb"))
        self.advance(0)

    def advance(self, offset_ms: int) -> None:
        self._clock_file.write_text(str(offset_ms))

    def clock(self) -> int:
        """The handlers' time (UTC ms)."""
        return admin.desk().clock()

    def freeze(self, now: int) -> None:
        """Stop the ingestion handler's clock at this instant (UTC ms)."""
        frozen = replace(ingest.reception(), clock=lambda: now)
        self._patches.append(patch.object(ingest, "reception", lambda: frozen))
        self._patches[-1].start()

    def close(self) -> None:
        for patched in self._patches:
            patched.stop()

    def source(self, name: str = "web", kind: str = "web", workspace: str = "main", enabled: bool = True) -> str:
        """A new source with a key."""
        control = ControlStore(self.table, client("dynamodb"), lambda: NOW, 0)
        sources = SourceAdmin(self.table, client("dynamodb"), control, lambda: NOW, workspace)
        sources.put(name, {"name": name, "kind": kind, "enabled": enabled}, "test")
        key = self.keys[name] = sources.new_key(name, "test")["key"]
        return key

    def send(
        self,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        query: str = "",
        zipped: bool = False,
    ) -> dict[str, Any]:
        """The answer of the ingestion handler; ``key`` goes into Basic authorization."""
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        sent.setdefault("host", "cdp.example.com")
        if key is not None:
            sent["authorization"] = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
        if zipped:
            raw = gzip.compress(raw)
            sent["content-encoding"] = "gzip"
        return ingest.handler(gateway_event(method, path, raw, sent, query), None)

    def records(self) -> list[Record]:
        """Everything on the stream."""
        kinesis = client("kinesis")
        shard = kinesis.list_shards(StreamName="events")["Shards"][0]["ShardId"]
        iterator = kinesis.get_shard_iterator(StreamName="events", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        found = kinesis.get_records(ShardIterator=iterator["ShardIterator"], Limit=10_000)["Records"]
        return [unpack(record["Data"]) for record in found]

    def events(self) -> list[dict[str, Any]]:
        """The bodies on the stream."""
        return [event.body for record in self.records() for event in record.events]

    def quarantined(self) -> list[dict[str, Any]]:
        """The quarantine entries that are new since the last call."""
        s3 = client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="quarantine/")
        keys = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        fresh, self._seen = sorted(keys - self._seen), keys
        return [json.loads(s3.get_object(Bucket="bucket", Key=key)["Body"].read()) for key in fresh]

    def manage(self, route: str, body: object = None, *, roles: str = "[admin]", **more: Any) -> tuple[int, Any]:
        """Status and body of an admin call."""
        event = admin_event(route, more.get("path"), body, roles=roles, query=more.get("query"))
        return answered(more.get("handler", admin.handler)(event, None))


def gateway_event(method: str, path: str, raw: bytes, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    """An HTTP API event (payload 2.0) as the gateway makes it."""
    from urllib.parse import parse_qsl

    try:
        text = raw.decode() if raw and "content-encoding" not in headers else None
    except UnicodeDecodeError:
        text = None
    as_base64 = bool(raw) and text is None
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "queryStringParameters": dict(parse_qsl(query)) or None,
        "requestContext": {
            "requestId": "r-1",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.77"},
        },
        "body": base64.b64encode(raw).decode() if as_base64 else text,
        "isBase64Encoded": as_base64,
    }


def says(answer: dict[str, Any]) -> dict[str, Any]:
    """The JSON body of an answer."""
    assert answer["headers"]["content-type"] == "application/json"
    return json.loads(answer["body"])


def track(number: int = 1, **more: Any) -> dict[str, Any]:
    """A good track call."""
    return {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": "anon-1",
        "messageId": f"m-{number}",
        "properties": {"n": number},
        **more,
    }


@contextmanager
def world(folder: Any) -> Iterator[World]:
    """An empty world."""
    clock_file = folder / "clock"
    with mock_aws(), patch.dict(os.environ, {**ENV, "HOSO_CLOCK_FILE": str(clock_file)}):
        for cached in CACHED:
            cached.cache_clear()
        for table in ("control", "delivery"):
            client("dynamodb").create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        client("kinesis").create_stream(StreamName="events", ShardCount=1)
        client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        try:
            made = World(clock_file)
            yield made
        finally:
            made.close()
            for cached in CACHED:
                cached.cache_clear()
