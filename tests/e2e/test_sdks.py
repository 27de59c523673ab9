"""The published SDKs, unchanged but for host and key, deliver every call once, with its content and its time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from infra.cli.connection import Connection
from infra.cli.query import stored_events

DRIVERS = Path(__file__).parent / "sdk"
SERVER_CLIENTS = {
    "segment-node": ["node", str(DRIVERS / "segment-node.mjs")],
    "segment-node-legacy": ["node", str(DRIVERS / "segment-node-legacy.cjs")],
    "rudder-node": ["node", str(DRIVERS / "rudder-node.mjs")],
    "segment-python": [sys.executable, str(DRIVERS / "segment_python.py")],
    "rudder-python": [sys.executable, str(DRIVERS / "rudder_python.py")],
}
SERVER_CALLS = {"identify": 1, "track": 1, "page": 1, "screen": 1, "group": 1, "alias": 1}
WEB_CALLS = {"identify": 1, "track": 1, "page": 1, "group": 1, "alias": 1}
DEADLINE_S = 60


def drive(command: list[str], hoso: Connection, key: str, user: str, *more: str) -> str:
    done = subprocess.run(
        [*command, hoso.url, hoso.write_keys[key], user, *more],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        cwd=DRIVERS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def events_since(hoso: Connection, started_ms: int) -> list[dict]:
    assert hoso.drain(60)["stuck"] == []
    return [event for event in stored_events(hoso) if event["received_at"] >= started_ms]


@pytest.mark.parametrize("client", SERVER_CLIENTS)
def test_server_sdk_delivers_each_call_once(hoso: Connection, client: str) -> None:
    user, started = f"{client}-{uuid.uuid4().hex[:8]}", int(time.time() * 1000)

    drive(SERVER_CLIENTS[client], hoso, "local-server", user)

    events = events_since(hoso, started)
    assert Counter(event["type"] for event in events) == SERVER_CALLS
    assert len({event["messageId"] for event in events}) == len(events)
    track = next(event for event in events if event["type"] == "track")
    assert track["event"] == "Product Viewed"
    assert track["properties"] == {"product_id": "p-1", "price": 500000, "name": "Váy xanh"}
    assert "writeKey" not in track


@pytest.mark.parametrize("client", SERVER_CLIENTS)
def test_server_sdk_traits_reach_the_profile(hoso: Connection, client: str) -> None:
    user = f"{client}-{uuid.uuid4().hex[:8]}"

    drive(SERVER_CLIENTS[client], hoso, "local-server", user)
    assert hoso.drain(60)["stuck"] == []

    profile = hoso.call("GET", f"/v1/profiles/user_id:{user}")
    assert profile["traits"]["email"]["value"] == f"{user}@example.vn"
    assert profile["traits"]["email"]["message_id"]


@pytest.mark.browser
@pytest.mark.parametrize("sdk", ["segment", "rudder"])
def test_web_sdk_in_chromium_delivers_each_call_once(hoso: Connection, chromium: str, sdk: str) -> None:
    user, started = f"web-{sdk}-{uuid.uuid4().hex[:8]}", int(time.time() * 1000)

    said = json.loads(drive(["node", str(DRIVERS / "browser.mjs")], hoso, "local-web", user, sdk))

    assert said["problems"] == []
    assert set(said["answers"]) == {200}
    events = events_since(hoso, started)
    assert Counter(event["type"] for event in events) == WEB_CALLS
    track = next(event for event in events if event["type"] == "track")
    assert track["properties"]["price"] == 500000
    profile = hoso.call("GET", f"/v1/profiles/user_id:{user}")
    assert {item["type"] for item in profile["identifiers"]} >= {"user_id", "anonymous_id"}
    assert profile["totals"]["events"] >= 4
