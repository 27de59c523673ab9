"""The published SDKs through the faults of a network: each event is stored once, unchanged, with the right time.

Servers and phones first, then web SDKs in a real Chromium: offline queues, beacons, wrong clocks, and consent before
anything is sent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli import keys
from infra.cli.connection import Connection
from infra.cli.serve import open_twin
from tests.e2e.conftest import assert_permitted
from tests.e2e.fault_proxy import FAULT_EVENTS, FAULTS, FaultProxy, fault_proxy

DRIVERS = Path(__file__).parent / "sdk"
NODE = ["node", str(DRIVERS / "faults-node.cjs")]
PYTHON = [sys.executable, str(DRIVERS / "faults_python.py")]
CLIENTS = {
    "segment-node": (NODE, "segment"),
    "segment-node-legacy": (NODE, "segment-legacy"),
    "rudder-node": (NODE, "rudder"),
    "segment-python": (PYTHON, "segment"),
    "rudder-python": (PYTHON, "rudder"),
    "react-native": (NODE, "react-native"),
}
SKEW_MS = -3_600_000
DEADLINE_S = 120


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with open_twin(tmp_path_factory.mktemp("faults"), port=0) as connection:
        yield connection
        assert_permitted(connection)


@pytest.fixture(scope="module")
def proxy(twin: Connection) -> Iterator[FaultProxy]:
    with fault_proxy(twin.url) as made:
        yield made


class Driven:
    """What the server SDKs did, all at the same time: their waiting for retries costs no one anything."""

    def __init__(self, twin: Connection, proxy: FaultProxy) -> None:
        self.started = int(time.time() * 1_000)
        self.users = {client: f"{client}-{uuid.uuid4().hex[:8]}" for client in CLIENTS}
        key = twin.write_keys["local-server"]
        skewed = {**os.environ, "SKEW_MS": str(SKEW_MS), "NODE_OPTIONS": f"--require={DRIVERS / 'skew.cjs'}"}
        running = {
            client: subprocess.Popen(
                [*command, proxy.url, key, self.users[client], name],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=DRIVERS,
                env=skewed,
            )
            for client, (command, name) in CLIENTS.items()
        }
        said = {client: process.communicate(timeout=DEADLINE_S)[0] for client, process in running.items()}
        self.problems = {client: said[client] for client, process in running.items() if process.returncode != 0}
        self.ended = int(time.time() * 1_000)
        assert twin.drain(60)["stuck"] == []


@pytest.fixture(scope="module")
def driven(twin: Connection, proxy: FaultProxy) -> Driven:
    return Driven(twin, proxy)


def stored(twin: Connection, user: str) -> list[dict[str, Any]]:
    """The stored events of a run: body and times."""
    query = (
        "SELECT message_id, event, type, ts, original_ts, sent_at, received_at, body FROM events "
        f"WHERE body LIKE '%{user}%' ORDER BY ts, message_id LIMIT 200"
    )
    rows = twin.call("POST", "/v1/sql", {"query": query, "limit": 200})["items"]
    return [{**row, "body": json.loads(row["body"])} for row in rows]


@pytest.mark.parametrize("client", CLIENTS)
def test_every_fault_costs_a_retry_and_no_event(
    twin: Connection, proxy: FaultProxy, driven: Driven, client: str
) -> None:
    assert driven.problems.get(client) is None
    user = driven.users[client]

    assert sorted(one.fault for one in proxy.of(user) if one.fault) == sorted(FAULTS)
    events = [event for event in stored(twin, user) if event["event"] in FAULT_EVENTS]
    assert sorted(event["event"] for event in events) == sorted(FAULT_EVENTS)
    for event in events:
        assert event["body"]["properties"] == {"run": user, "product_id": "p-1", "price": 500000, "name": "Váy xanh"}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_resent_event_counts_once(twin: Connection, driven: Driven, client: str) -> None:
    user = driven.users[client]

    events = stored(twin, user)

    assert len({event["message_id"] for event in events}) == len(events)
    of_person = [event for event in events if event["type"] != "alias" or client != "react-native"]
    assert twin.call("GET", f"/v1/profiles/user_id:{user}")["totals"]["events"] >= len(of_person)
    sent_twice = [event for event in events if event["event"] == "fault lost"]
    assert len(sent_twice) == 1


@pytest.mark.parametrize("client", [name for name, (command, _) in CLIENTS.items() if command is NODE])
def test_r7_a_clock_that_is_an_hour_slow_makes_no_wrong_time(twin: Connection, driven: Driven, client: str) -> None:
    for event in stored(twin, driven.users[client]):
        assert abs(event["original_ts"] - event["received_at"]) > 3_500_000
        assert abs(event["sent_at"] - event["received_at"]) > 3_500_000
        assert driven.started - 1_000 <= event["ts"] <= driven.ended + 1_000


def test_react_native_reads_its_settings_and_makes_every_call(
    twin: Connection, proxy: FaultProxy, driven: Driven
) -> None:
    user = driven.users["react-native"]

    settings = [one for one in proxy.seen if one.path.endswith("/settings")]
    assert [one.status for one in settings] == [200]
    assert {one.path for one in proxy.of(user)} == {"/v1/b"}
    assert all("authorization" not in map(str.lower, one.headers) for one in proxy.of(user))
    types = {event["type"] for event in stored(twin, user)}
    assert types == {"identify", "track", "screen", "group", "alias"}


WEB_DRIVER = DRIVERS / "faults-web.mjs"
HOUR_MS = 3_600_000
BATCHING = {"strategy": "batching", "config": {"size": 3, "timeout": 400}}
RETRYING: dict[str, dict[str, Any]] = {
    "segment-snippet": {"sdk": "segment-snippet", "skewMs": -HOUR_MS},
    "segment-npm": {"sdk": "segment-npm"},
    "segment-batching": {
        "sdk": "segment-npm",
        "options": {"integrations": {"Segment.io": {"deliveryStrategy": BATCHING}}},
    },
    "rudder": {"sdk": "rudder", "skewMs": HOUR_MS},
    "rudder-batching": {
        "sdk": "rudder",
        "options": {"queueOptions": {"batch": {"enabled": True, "maxItems": 3, "flushInterval": 800}}},
    },
}
BLIND: dict[str, dict[str, Any]] = {
    "rudder-beacon": {
        "sdk": "rudder",
        "options": {"useBeacon": True, "beaconQueueOptions": {"maxItems": 3, "flushQueueInterval": 500}},
        "blind": 2_500,
    },
    "jitsu": {"sdk": "jitsu", "blind": 2_500},
}
CONSENT = {"segment-consent": {"sdk": "segment-consent"}, "rudder-consent": {"sdk": "rudder-consent"}}
STATE: dict[str, Any] = {"default": "denied", "categories": {"analytics": "denied", "functional": "granted"}}


class Browsed:
    """What one Chromium did with all SDKs at the same time."""

    def __init__(self, twin: Connection, proxy: FaultProxy) -> None:
        told = [f"--category={name}={state}" for name, state in STATE["categories"].items()]
        create = [
            "create",
            "asks-first",
            "--kind=web",
            f"--consent={STATE['default']}",
            *told,
            "--data",
            str(twin.data),
        ]
        assert CliRunner().invoke(keys.app, create).exit_code == 0
        asks_first = twin.call("POST", "/v1/sources/asks-first/keys", {})["key"]
        common = {"url": proxy.url, "writeKey": twin.write_keys["local-web"], "events": []}
        scenarios = [
            *({**common, "name": n, **s, "events": FAULT_EVENTS, "offline": True} for n, s in RETRYING.items()),
            *({**common, "name": n, **s, "events": ["last"]} for n, s in BLIND.items()),
            *({**common, "name": n, **s, "writeKey": asks_first, "consent": True} for n, s in CONSENT.items()),
        ]
        self.users: dict[str, str] = {}
        for scenario in scenarios:
            scenario["user"] = self.users[scenario["name"]] = f"{scenario['name']}-{uuid.uuid4().hex[:8]}"
        self.started = int(time.time() * 1_000)
        done = subprocess.run(
            ["node", str(WEB_DRIVER)],
            input=json.dumps(scenarios),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.said: dict[str, Any] = json.loads(done.stdout)
        self.ended = int(time.time() * 1_000)
        assert twin.drain(60)["stuck"] == []


@pytest.fixture(scope="module")
def browsed(twin: Connection, proxy: FaultProxy, chromium: str) -> Iterator[Browsed]:
    yield Browsed(twin, proxy)


@pytest.mark.browser
@pytest.mark.parametrize("name", RETRYING)
def test_in_a_browser_every_fault_costs_a_retry_and_no_event(
    twin: Connection, proxy: FaultProxy, browsed: Browsed, name: str
) -> None:
    said, user = browsed.said[name], browsed.users[name]
    assert "broken" not in said, said

    events = stored(twin, user)

    assert sorted(one.fault for one in proxy.of(user) if one.fault) == sorted(FAULTS)
    tracked = [event for event in events if event["type"] == "track"]
    expected = ["Product Viewed", *FAULT_EVENTS, "offline", "left behind"]
    assert sorted(event["event"] for event in tracked) == sorted(expected), said
    for event in tracked:
        assert event["body"]["properties"].items() >= {"run": user, "price": 500000, "name": "Váy xanh"}.items()
    assert {event["type"] for event in events} == {"identify", "track", "page", "group", "alias"}
    assert len({event["message_id"] for event in events}) == len(events)
    assert said["deliveredOffline"] is False
    assert said["pageErrors"] == []


@pytest.mark.browser
@pytest.mark.parametrize("name", RETRYING)
def test_r7_a_browser_with_a_wrong_clock_makes_no_wrong_time(twin: Connection, browsed: Browsed, name: str) -> None:
    for event in stored(twin, browsed.users[name]):
        assert browsed.started - 2_000 <= event["ts"] <= browsed.ended + 2_000, event
        if skew := RETRYING[name].get("skewMs"):
            assert abs(event["original_ts"] - event["ts"] - skew) < 2_000


@pytest.mark.browser
def test_retries_carry_their_headers_and_need_no_preflight_of_their_own(proxy: FaultProxy, browsed: Browsed) -> None:
    preflights = [one for one in proxy.seen if one.method == "OPTIONS"]
    posts = [one for one in proxy.seen if one.method == "POST"]

    assert {one.status for one in preflights} == {204}
    sent = {name.lower() for one in posts for name in one.headers}
    assert sent >= {"x-retry-count", "rsa-retry-attempt", "rsa-retry-reason", "anonymousid", "sentat", "authorization"}
    asked = {name for one in preflights for name in one.headers["Access-Control-Request-Headers"].split(",")}
    assert not asked & {"x-retry-count", "rsa-retry-attempt"}  # the first answer allowed them already
    paths = {one.path.partition("?")[0] for one in posts}
    assert paths >= {"/v1/t", "/v1/i", "/v1/p", "/v1/g", "/v1/a", "/v1/b", "/v1/track", "/v1/identify", "/v1/batch"}
    assert paths >= {"/beacon/v1/batch", "/api/s/track"}


@pytest.mark.browser
@pytest.mark.parametrize("name", BLIND)
def test_clients_that_read_no_answer_deliver_each_call_once(twin: Connection, browsed: Browsed, name: str) -> None:
    said, user = browsed.said[name], browsed.users[name]
    assert "broken" not in said, said

    events = stored(twin, user)

    assert sorted(event["event"] for event in events if event["type"] == "track") == ["Product Viewed", "last"]
    assert {event["type"] for event in events} >= {"identify", "track", "page", "group"}
    assert len({event["message_id"] for event in events}) == len(events)
    assert all("writeKey" not in event["body"] for event in events)


@pytest.mark.browser
@pytest.mark.parametrize("name", CONSENT)
def test_nothing_is_sent_until_consent_is_given_and_then_what_waited(
    twin: Connection, browsed: Browsed, name: str
) -> None:
    said, user = browsed.said[name], browsed.users[name]
    assert "broken" not in said, said

    assert said["consent"] == STATE
    assert said["postsBeforeConsent"] == 0
    assert sorted(event["event"] for event in stored(twin, user)) == ["after consent", "before consent"]
