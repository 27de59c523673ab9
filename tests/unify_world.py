"""A small AWS for the tests of unify: the tables and the bucket in moto, and the real handlers on it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from moto import mock_aws

from hoso.model.identifiers import DEFAULT, Identifier, IdentityConfig, extract
from hoso.model.record import Event, Record, pack
from hoso.model.time import parse_instant
from hoso.platform.aws import client
from hoso.unify.build import Parts
from hoso.unify.handlers import consume, erasures, profiles
from infra.twin import moto_fixes
from tests.admin_calls import admin_event, answered

ENV = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "HOSO_PROFILES_TABLE": "profiles",
    "HOSO_CONTROL_TABLE": "control",
    "HOSO_DELIVERY_TABLE": "delivery",
    "HOSO_OUTBOX_TABLE": "outbox",
    "HOSO_BUCKET": "bucket",
}
TABLES = ("profiles", "control", "delivery", "outbox")
NOW = 1_795_358_100_000
CACHED = (client, consume.consumer, profiles.parts, erasures.parts)


class Context:
    """A Lambda context with time left."""

    aws_request_id = "r-1"

    def __init__(self, left_ms: int = 60_000) -> None:
        self.left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


class World:
    """The handlers with their tables, at a fixed time."""

    def __init__(self, clock: Path) -> None:
        self._clock = clock
        self._serial = 0
        self.now = NOW

    @property
    def parts(self) -> Parts:
        """What the consumer's process works with."""
        return profiles.parts()

    def kinesis(self, blobs: Iterable[bytes]) -> dict[str, Any]:
        """An event source mapping's batch."""
        rows: list[dict[str, Any]] = []
        for blob in blobs:
            self._serial += 1
            rows.append(
                {
                    "kinesis": {
                        "sequenceNumber": f"{self._serial:020d}",
                        "data": base64.b64encode(blob).decode(),
                        "approximateArrivalTimestamp": self.now / 1_000,
                    }
                }
            )
        return {"Records": rows}

    def deliver(self, batch: dict[str, Any], left_ms: int = 60_000) -> list[int]:
        """Call the handler; the places of the records that have to come again."""
        answer = consume.handler(batch, Context(left_ms))
        named = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        return [place for place, row in enumerate(batch["Records"]) if row["kinesis"]["sequenceNumber"] in named]

    def consume(self, *events: dict[str, Any], source: str = "web") -> None:
        """Deliver events, one record per run of events of the same hub; nothing may fail."""
        assert self.deliver(self.kinesis(packed(events, self.now, source=source))) == []

    def profile(self, who: str) -> dict[str, Any]:
        """A profile as the API shows it."""
        status, body = self.get("GET /v1/profiles/{id}", who)
        assert status == 200, body
        return body

    def get(self, route: str, who: str, roles: str = "[engineer]", **query: str) -> tuple[int, Any]:
        """Status and body of an admin call."""
        event = admin_event(route, {"id": quote(who, safe="")}, roles=roles, query=query)
        return answered(profiles.handler(event, Context()))

    def segment(self, key: str, rule: dict[str, Any]) -> None:
        """Store a segment document."""
        body = {"schema": "segment/1", "key": key, "name": key, "rule": rule}
        self.parts.control.put("main", "segment", key, body)

    def items(self, table: str = "profiles", kind: str = "") -> list[dict[str, Any]]:
        """All items of a table; ``kind`` is the letter in the partition key (F, P, S, I)."""
        tables = {"profiles": self.parts.profiles, "outbox": self.parts.outbox, "delivery": self.parts.store.delivery}
        found = [item for item in tables[table].scan() if not kind or f"#{kind}#" in item["pk"]]
        return sorted(found, key=lambda item: (item["pk"], item["sk"]))

    def announced(self) -> list[tuple[str, str]]:
        """(type, segment) of all outbox rows about segments, sorted."""
        details = [json.loads(row["detail"]) for row in self.items("outbox")]
        return sorted((one["type"], one["segment"]) for one in details if "segment" in one)

    def members(self, segment: str) -> set[str]:
        """Profile ids in a segment's list."""
        return {item["sk"] for item in self.items(kind="S") if item["pk"].startswith(f"main#S#{segment}#")}

    def quarantined(self) -> list[dict[str, Any]]:
        """All quarantine entries."""
        s3 = client("s3")
        listed = s3.list_objects_v2(Bucket="bucket", Prefix="quarantine/").get("Contents", [])
        return [json.loads(s3.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()) for entry in listed]

    def fid(self, kind: str, value: str) -> str:
        """The fragment id of a hub."""
        return self.parts.store.fragment_id("main", (kind, value))

    def wipe(self) -> None:
        """Empty all tables but the control table."""
        for table in (self.parts.profiles, self.parts.outbox, self.parts.store.delivery):
            table.batch_write((), [(item["pk"], item["sk"]) for item in table.scan()])


@contextmanager
def unify_world(folder: Path, config_ttl_ms: int = 0) -> Iterator[World]:
    """The world, for the length of a ``with`` block."""
    clock = folder / "clock"
    moto_fixes.apply()
    with (
        patch.dict(os.environ, {**ENV, "HOSO_CLOCK_FILE": str(clock), "HOSO_CONFIG_TTL_MS": str(config_ttl_ms)}),
        mock_aws(),
    ):
        for made in CACHED:
            made.cache_clear()
        dynamo = client("dynamodb")
        for name in TABLES:
            dynamo.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "S"},
                ],
            )
        client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        world = World(clock)
        with patch("hoso.platform.clock.system_clock", lambda: world.now):
            yield world
    for made in CACHED:
        made.cache_clear()


def packed(
    events: Iterable[dict[str, Any]], received_at: int, *, source: str = "web", identity: IdentityConfig = DEFAULT
) -> list[bytes]:
    """The records that collect makes of events: one per run of events of the same hub by these identity rules."""
    records: list[Record] = []
    for body in events:
        ids = extract(body, identity)
        hub, rest = ids[0], ids[1:]
        original = parse_instant(body.get("timestamp"))
        event = Event(
            body["messageId"],
            original if original is not None else received_at,
            original,
            body.get("event") or f"${body['type']}",
            [list(one) for one in rest],
            body,
        )
        if records and records[-1].hub == tuple(hub):
            records[-1].events.append(event)  # type: ignore[attr-defined]
        else:
            records.append(Record("main", source, received_at, Identifier(*hub), [event]))
    return [pack(record) for record in records]


def shadow_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shadow, empty, for functions whose settings name it."""
    monkeypatch.setenv("HOSO_SHADOW_TABLE", "shadow")
    monkeypatch.setenv("HOSO_STREAM", "events")
    client("dynamodb").create_table(
        TableName="shadow",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )
