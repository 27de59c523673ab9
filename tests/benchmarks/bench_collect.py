"""CPU of collect per event, as a ratio to ``orjson.loads + dumps`` of the same events.

``python -m tests.benchmarks.bench_collect`` prints JSON. The whole handler is measured, from the gateway's event to the
answer: once with a stream that only takes what it is given, once with the real botocore client, its HTTP exchange
answered at once. ``server`` is a server's batch: about 50 people in 100 events, so about 50 records.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
from botocore.awsrequest import AWSResponse

from hoso.collect.handlers import ingest
from hoso.platform.stream import Stream, stream_client
from tests.benchmarks.traffic import shop_events, visits
from tests.collect_world import gateway_event, world

LIMIT = 3.0
EVENTS = 1_000
ROUNDS = 10
_FEW = 50
"""Requests through botocore: one takes longer than all others together."""


class Sink:
    """A stream that takes everything at no cost."""

    def put_records(self, **_request: Any) -> dict[str, Any]:
        return {"FailedRecordCount": 0}


class Taken:
    """An HTTP body that says that all records are stored."""

    def __init__(self, records: int) -> None:
        result = {"SequenceNumber": "49590338271490256608559692538361571095921575989136588898", "ShardId": "shardId-0"}
        self._body = orjson.dumps({"FailedRecordCount": 0, "Records": [result] * records})

    def stream(self, *_args: object, **_more: object) -> list[bytes]:
        return [self._body]


def measure() -> dict[str, Any]:
    """Ratios at 1, 10 and 100 events a request; ``limit`` holds for ``100``."""
    with (
        tempfile.TemporaryDirectory() as folder,
        world(Path(folder)) as place,
        patch.dict(os.environ, {"HOSO_CLOCK_FILE": ""}),  # the twin's clock file is read at each look at the clock
    ):
        key = place.source("web", "web")
        found: dict[str, Any] = {"limit": LIMIT}
        for per_request in (1, 10, 100):
            requests = list(visits(EVENTS // per_request, per_request, 50))
            found[str(per_request)] = _ratios(requests, key)
        events = list(shop_events(EVENTS, 5_000))
        found["server"] = _ratios([events[first : first + 100] for first in range(0, len(events), 100)], key)
    return found


def _ratios(requests: list[list[dict[str, Any]]], key: str) -> dict[str, float]:
    bodies = [orjson.dumps({"batch": events, "sentAt": "2026-01-01T00:00:00.000Z"}) for events in requests]
    headers = {"authorization": "Basic " + _base64(f"{key}:"), "content-type": "application/json"}
    calls = [gateway_event("POST", "/v1/batch", body, headers) for body in bodies]
    plain = replace(ingest.reception(), stream=Stream("events", Sink()))

    client = stream_client()
    client.meta.events.register_first("before-send.kinesis.PutRecords", _answer_at_once)

    def without_botocore() -> None:
        with patch.object(ingest, "reception", lambda: plain):
            _run(calls)

    try:
        base, making, without, whole = _cpu_us(
            lambda: [orjson.dumps(orjson.loads(body)) for body in bodies],
            lambda: [_fresh(call) for call in calls],
            without_botocore,
            lambda: _run(calls[:_FEW]),
        )
        whole *= len(calls) / len(calls[:_FEW])
    finally:
        client.meta.events.unregister("before-send.kinesis.PutRecords", _answer_at_once)
    events = sum(map(len, requests))
    return {
        "base_us_per_event": round(base / events, 2),
        "us_per_event": round((without - making) / events, 2),
        "ratio": round((without - making) / base, 2),
        "ratio_with_botocore": round((whole - making) / base, 2),
    }


def _run(calls: list[dict[str, Any]]) -> None:
    # what a function prints is part of its work, where it goes is not
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        _run_all(calls)


def _run_all(calls: list[dict[str, Any]]) -> None:
    for call in calls:
        answer = ingest.handler(_fresh(call), None)
        assert answer["body"] == '{"success":true}', answer


def _fresh(call: dict[str, Any]) -> dict[str, Any]:
    """The call with a body that is a new text, as each request brings one: its UTF-8 form is not known yet."""
    return {**call, "body": call["body"][:-1] + "}"}


def _answer_at_once(request: Any, **_more: object) -> AWSResponse:
    records = orjson.loads(request.body)["Records"] if request.body[:1] == b"{" else [None]
    return AWSResponse(request.url, 200, {"content-type": "application/x-amz-json-1.1"}, Taken(len(records)))  # type: ignore[arg-type]


def _cpu_us(*works: Callable[[], object]) -> list[float]:
    """The least CPU time of each work, measured in turn so that a busy machine treats them alike."""
    least = [float("inf")] * len(works)
    for _ in range(ROUNDS + 1):
        for number, work in enumerate(works):
            started = time.process_time()
            work()
            least[number] = min(least[number], time.process_time() - started)
    return [seconds * 1e6 for seconds in least]


def _base64(text: str) -> str:
    from base64 import b64encode

    return b64encode(text.encode()).decode()


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
