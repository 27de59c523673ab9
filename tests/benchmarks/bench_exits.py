"""5,000 people whose windows end at one instant, on a living twin: seconds until the last of them is out and told."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from hoso.model.time import DAY_MS, format_instant
from infra.cli.connection import Connection
from infra.cli.serve import open_twin

PEOPLE = 5_000
BATCH = 500
DEADLINE_S = 900
BEFORE_MS = 5_000
"""How long before the instant the clock stops jumping and goes on by itself."""
RULE = {"kind": "event", "event": "Order Completed", "window": {"last": "3d"}}


def measure(people: int = PEOPLE) -> dict[str, Any]:
    """The clock jumps to the instant; seconds from there to the last exit on the outbox and the last member gone."""
    with tempfile.TemporaryDirectory() as folder, open_twin(Path(folder), port=0) as connection:
        connection.call("PUT", "/v1/segments/lately", {"schema": "segment/1", "key": "lately", "rule": RULE})
        at = connection.call("GET", "/_twin/clock")["now_ms"]
        _arrive(connection, people, at)
        entered = _members(connection)
        connection.call("POST", "/_twin/clock", {"set": at + 3 * DAY_MS - BEFORE_MS})
        began = time.perf_counter()
        outbox = _outbox(connection)
        left_s = told_s = None
        while told_s is None and time.perf_counter() - began < DEADLINE_S:
            time.sleep(0.5)
            passed = round(time.perf_counter() - began - BEFORE_MS / 1_000, 1)
            if left_s is None and _members(connection) == 0:
                left_s = passed
            if left_s is not None and not _waiting(*outbox):
                told_s = passed
        swept = connection.call("GET", "/_twin/status")["functions"]["DueFunction"]
    return {
        "people": entered,
        "last_left_s": left_s,
        "last_told_s": told_s,
        "sweeps": swept["invocations"],
        "sweeping_ms": round(swept["duration_ms"]),
    }


def _arrive(connection: Connection, people: int, at: int) -> None:
    """Everybody orders at one instant."""
    key = connection.write_key()
    for start in range(0, people, BATCH):
        batch = [
            {
                "type": "track",
                "event": "Order Completed",
                "userId": f"u-{number}",
                "messageId": f"m-{number}",
                "timestamp": format_instant(at),
                "properties": {"order_id": f"o-{number}", "revenue": 1},
            }
            for number in range(start, min(start + BATCH, people))
        ]
        answer = connection.request("POST", "/v1/batch", json={"batch": batch}, auth=(key, ""))
        assert answer.status_code == 200, answer.text
    connection.drain(DEADLINE_S)


def _members(connection: Connection) -> int:
    return sum(1 for _ in connection.pages("/v1/segments/lately/members"))


def _outbox(connection: Connection) -> tuple[Any, str]:
    env = connection.call("GET", "/_twin/env")
    keys = {"aws_access_key_id": "twin", "aws_secret_access_key": "twin"}
    client = boto3.client("dynamodb", region_name=env["region"], endpoint_url=env["aws_endpoint"], **keys)
    return client, next(name for name in client.list_tables()["TableNames"] if "outbox" in name.lower())


def _waiting(client: Any, table: str) -> bool:
    """Whether announcements are on the outbox that were not handed to the bus yet."""
    pages = client.get_paginator("scan").paginate(TableName=table, Select="COUNT")
    return any(page["Count"] for page in pages)
