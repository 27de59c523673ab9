"""The twin on the project's own templates: what an event's way needs is there, fast, allowed, and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.synth import assembly
from infra.twin import Twin

EVENTS: list[dict[str, Any]] = [
    {
        "type": "identify",
        "userId": "an",
        "anonymousId": "device",
        "messageId": "m1",
        "traits": {"email": "an@example.vn"},
    },
    {"type": "track", "event": "Product Viewed", "userId": "an", "messageId": "m2", "properties": {"price": 500_000}},
]


class Shop:
    """A client of a running twin."""

    def __init__(self, twin: Twin) -> None:
        self.url = twin.url
        self.headers = {"Authorization": f"Bearer {twin.admin_token(['admin'])}"}

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, self.url + path, json=body, headers=self.headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def key(self) -> str:
        self.admin("PUT", "/v1/sources/shop", {"name": "shop", "kind": "server"})
        return self.admin("POST", "/v1/sources/shop/keys", {})["key"]

    def send(self, key: str, events: list[dict[str, Any]]) -> None:
        answer = requests.post(f"{self.url}/v1/batch", json={"batch": events}, auth=(key, ""), timeout=30)
        assert answer.status_code == 200, answer.text

    def profile(self) -> dict[str, Any]:
        return self.admin("GET", "/v1/profiles/user_id:an")


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    with Twin(data=tmp_path) as twin:
        shop = Shop(twin)
        key = shop.key()
        shop.send(key, EVENTS)
        shop.send(key, EVENTS)  # sent twice, counted once
        assert twin.drain(60) == []
        yield twin


def test_an_accepted_event_reaches_the_profile_once(twin: Twin) -> None:
    profile = Shop(twin).profile()

    assert profile["traits"]["email"]["value"] == "an@example.vn"
    assert profile["totals"]["events"] == 2
    assert {item["type"] for item in profile["identifiers"]} == {"user_id", "anonymous_id", "email"}


def test_every_call_of_a_function_is_allowed_by_its_role(twin: Twin) -> None:
    Shop(twin).profile()

    assert twin.denied() == []
    # An action less in a policy is noticed.
    statements = twin.deployment.policies.pop("ConsumeFunction")
    twin.deployment.policies["ConsumeFunction"] = []
    assert {entry.need.function for entry in twin.denied()} == {"ConsumeFunction"}
    twin.deployment.policies["ConsumeFunction"] = statements


def test_the_functions_of_the_contract_are_there(twin: Twin) -> None:
    told = Path("docs/data-model.md").read_text().partition("## Functions")[2].partition("##")[0]
    named = {name for name in told.replace(",", " ").replace("|", " ").split() if name.endswith("Function")}

    assert named <= set(twin.env["functions"])


def test_a_started_again_twin_has_the_same_people_within_seconds(tmp_path: Path) -> None:
    assembly("dev")
    with Twin(data=tmp_path) as twin:
        shop = Shop(twin)
        shop.send(shop.key(), EVENTS)
        assert twin.drain(60) == []
        before = shop.profile()

    started = time.process_time()
    with Twin(data=tmp_path) as again:
        seconds = time.process_time() - started
        shop = Shop(again)
        shop.send(shop.key(), EVENTS)  # what was counted before the restart is not counted again
        assert again.drain(60) == []
        assert shop.profile() == before

    assert seconds < 5
