"""The coffee shop: the host's tablet knows what a regular takes and where they sit, and says nothing it may not say."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from infra.cli.connection import Connection
from infra.cli.main import app

SHOP = "A"
VIETNAM = timedelta(hours=7)


@dataclass
class Guest:
    """Somebody with an account, who opted in to the shop's door, and comes on mornings."""

    hoso: Connection
    name: str
    user: str = field(default_factory=lambda: f"guest-{uuid.uuid4()}")
    token: str = field(default_factory=lambda: f"door-{uuid.uuid4()}")

    def joins(self, consent: str | None = "granted") -> None:
        """Sign up in the app: name, and the opaque token by which the door will know the phone."""
        context = {"externalIds": [{"type": "presence_token", "id": self.token, "collection": "users"}]}
        self._send({"type": "identify", "traits": {"firstName": self.name}, "context": context})
        if consent:
            self.says(consent)

    def says(self, consent: str) -> None:
        """Allow, or no longer allow, to be greeted by name."""
        told = {"purpose": "personalization", "state": consent, "textVersion": "v2"}
        self._send({"type": "track", "event": "Consent Updated", "properties": told})

    def comes(self, day: int, party: str, *, item: str = "Bạc xỉu", hour: int = 8) -> None:
        """Take a coffee so many days ago; the till writes one bill for the party."""
        at = morning(day, hour)
        body = {
            "order_id": f"{self.user}-{day}-{hour}",
            "store_id": SHOP,
            "table_or_seat": "window 3",
            "party_ref": party,
            "total": 45_000,
            "currency": "VND",
            "products": [{"product_id": item, "name": item, "quantity": 1, "price": 45_000}],
        }
        self._send({"type": "track", "event": "Order Completed", "properties": body, "timestamp": at})

    def stands_at_the_door(self) -> None:
        """What the door tells: an opaque token, a shop, a time. It does not know who that is."""
        context = {"externalIds": [{"type": "presence_token", "id": self.token}]}
        body = {"type": "track", "event": "Presence Detected", "properties": {"store_id": SHOP, "confidence": 0.97}}
        self._send({**body, "userId": None, "anonymousId": f"presence:{self.token}", "context": context})

    def _send(self, *events: dict[str, Any]) -> None:
        batch = [{"userId": self.user, "messageId": str(uuid.uuid4()), **event} for event in events]
        key = self.hoso.write_key("local-server")
        answer = self.hoso.request("POST", "/v1/batch", json={"batch": batch}, auth=(key, ""))
        assert answer.status_code == 200, answer.text


def morning(days_ago: int, hour: int = 8) -> str:
    local = datetime.now(UTC) + VIETNAM - timedelta(days=days_ago)
    return (local.replace(hour=hour, minute=5, second=0, microsecond=0) - VIETNAM).isoformat().replace("+00:00", "Z")


def regulars(hoso: Connection, an_says: str | None = "granted") -> tuple[Guest, Guest]:
    """An and Bình, who take their coffee together on five mornings."""
    an, binh = Guest(hoso, "An"), Guest(hoso, "Bình")
    for guest, consent in ((an, an_says), (binh, "granted")):
        guest.joins(consent)
        for day in range(2, 7):
            guest.comes(day, f"party-{an.user}-{day}")
    assert hoso.drain(60)["stuck"] == []
    return an, binh


def greeting(hoso: Connection, token: str, at: str | None = None) -> tuple[int, dict[str, Any]]:
    answer = hoso.request(
        "GET",
        f"/v1/host/{SHOP}/greeting",
        params={"token": token, "at": at or morning(0)},
        headers={"Authorization": f"Bearer {hoso.token}"},
    )
    return answer.status_code, answer.json()


def nothing_personal(body: dict[str, Any]) -> bool:
    return not any(body[part] for part in ("profile_id", "name", "usual", "companion")) and "Bình" not in str(body)


def test_the_host_knows_the_regular_at_the_door(hoso: Connection) -> None:
    an, _ = regulars(hoso)
    an.stands_at_the_door()
    assert hoso.drain(60)["stuck"] == []
    status, said = greeting(hoso, an.token)

    assert (status, said["known"], said["name"]) == (200, True, "An")
    assert said["usual"]["item"] == {"value": "Bạc xỉu", "share": 1.0, "support": 5, "of": 5}
    assert (said["usual"]["seat"]["value"], said["usual"]["time"]["value"]) == ("window 3", "08:00")
    assert said["companion"] == {"name": "Bình", "support": 5}
    seen = hoso.call("GET", f"/v1/profiles/{quote('user_id:' + an.user)}/timeline", event="Presence Detected")["items"]
    assert [event["body"]["properties"]["store_id"] for event in seen] == [SHOP]


def test_a_stranger_gets_an_empty_404(hoso: Connection) -> None:
    status, said = greeting(hoso, f"door-{uuid.uuid4()}")

    assert (status, said["known"], said["reason"]) == (404, False, "unknown_token")
    assert nothing_personal(said)


@pytest.mark.parametrize("consent", [None, "denied"])
def test_s50_who_does_not_allow_it_is_a_stranger(hoso: Connection, consent: str | None) -> None:
    an, _ = regulars(hoso, consent)
    status, said = greeting(hoso, an.token)

    assert (status, said["known"], said["reason"]) == (200, False, "no_consent")
    assert nothing_personal(said)


def test_s50_a_withdrawal_holds_from_the_next_question_on(hoso: Connection) -> None:
    an, binh = regulars(hoso)
    binh.says("denied")
    assert hoso.drain(60)["stuck"] == []
    assert greeting(hoso, an.token)[1]["companion"] is None
    an.says("denied")
    assert hoso.drain(60)["stuck"] == []

    assert nothing_personal(greeting(hoso, an.token)[1])


def test_in_the_evening_the_morning_habit_is_not_told(hoso: Connection) -> None:
    an, _ = regulars(hoso)
    said = greeting(hoso, an.token, morning(0, 19))[1]

    assert (said["known"], said["usual"], said["reason"]) == (True, None, "no_habit_at_this_time")


def test_command_line_api_and_segments_clients_tell_of_the_same_person(hoso: Connection) -> None:
    an, _ = regulars(hoso)
    who = f"user_id:{an.user}"
    arguments = ["--url", hoso.url]
    run = CliRunner()
    told = json.loads(run.invoke(app, ["profile", who, "--json", "--fields", "habits,relations", *arguments]).stdout)
    shown = run.invoke(app, ["profile", who, *arguments], env={"COLUMNS": "200"})
    listed = run.invoke(app, ["timeline", who, "--event", "Consent Updated", "--json", *arguments])
    met = run.invoke(app, ["sessions", who, *arguments])
    said = run.invoke(app, ["greet", SHOP, an.token, "--at", morning(0), *arguments])
    batch = hoso.call("POST", "/v1/profiles/batch", {"ids": [who, "user_id:nobody"], "fields": ["traits"]})
    token = hoso.call("POST", "/v1/tokens", {"name": "site"})["token"]
    path = f"/v1/spaces/main/collections/users/profiles/{quote(who)}/traits"
    traits = hoso.request("GET", path, auth=(token, ""))
    tablet = hoso.call("POST", "/v1/tokens", {"name": "counter", "scope": "host"})["token"]
    door = f"/v1/spaces/main/host/{SHOP}/greeting"
    at_the_door = hoso.request("GET", door, auth=(tablet, ""), params={"token": an.token, "at": morning(0)})
    snooping = hoso.request("GET", path, auth=(tablet, ""))
    refused = hoso.request("GET", path, auth=(hoso.write_key("local-server"), ""))

    assert told["habits"]["usual"]["item"]["value"] == "Bạc xỉu"
    assert told["relations"]["items"][0]["kinds"] == ["companion"]
    assert shown.exit_code == 0 and "usual seat window 3 (5 of 5)" in shown.stdout
    assert json.loads(listed.stdout)["body"]["properties"]["state"] == "granted"
    assert met.exit_code == 0
    assert "Bình (5 times together)" in said.stdout
    assert [item["profile"] and item["profile"]["traits"]["firstName"]["value"] for item in batch["items"]] == [
        "An",
        None,
    ]
    assert (traits.status_code, traits.json()["traits"]) == (200, {"firstName": "An"})
    assert (at_the_door.json()["name"], snooping.status_code) == ("An", 403)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "authentication_error")
