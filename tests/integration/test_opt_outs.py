"""From the raw webhook to rules and sends: an unsubscribe can be taken back, a complaint and a dead address cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from hoso.collect.handlers import archive
from hoso.model.record import pack
from hoso.model.time import HOUR_MS, MINUTE_MS, format_instant
from tests.activate_world import World, activate_world
from tests.hook_world import hook_world
from tests.nightly_world import Night, night
from tests.unify_world import NOW

ADDRESS = "an@example.vn"
SILENT = {"kind": "suppressed", "channel": "email"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
WELCOME = {
    "trigger": {"kind": "segment.entered", "segment": "viewed"},
    "destination": "mail",
    "template": "hello",
    "purpose": "marketing",
}


def mailchimp(kind: str, at: int = NOW - MINUTE_MS, **data: str) -> tuple[str, str, dict[str, str]]:
    """What Mailchimp posts."""
    fired = f"{datetime.fromtimestamp(at / 1_000, UTC):%Y-%m-%d %H:%M:%S}"
    told = {"id": "8a25ff1d98", "list_id": "a6b5da1054", "email": ADDRESS, **data}
    fields = {"type": kind, "fired_at": fired, **{f"data[{name}]": value for name, value in told.items()}}
    return "mailchimp", urlencode(fields), FORM


def ses(kind: str, part: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
    """What EventBridge posts of an event of SES."""
    at = format_instant(NOW - MINUTE_MS)
    mail = {"timestamp": at, "messageId": "ses-1", "destination": [ADDRESS]}
    detail = {"eventType": kind, "mail": mail, kind.lower(): {**part, "timestamp": at}}
    return "ses", json.dumps({"detail": detail}), {"content-type": "application/json", "x-cdp-key": "key-0123456789"}


RECIPIENT = [{"emailAddress": ADDRESS}]
UNSUBSCRIBE = mailchimp("unsubscribe", action="unsub", reason="manual")
ABUSE = mailchimp("cleaned", reason="abuse")
CLEANED = mailchimp("cleaned", reason="hard")
BOUNCE = ses("Bounce", {"bounceType": "Permanent", "bouncedRecipients": RECIPIENT})
COMPLAINT = ses("Complaint", {"complaintFeedbackType": "abuse", "complainedRecipients": RECIPIENT})
PASSING = ses("Bounce", {"bounceType": "Transient", "bouncedRecipients": RECIPIENT})
AGAIN = mailchimp("subscribe", NOW + HOUR_MS)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """The records that collect makes of each delivery, by name."""
    secrets = {"ses": {"signing": ["key-0123456789"]}}
    made: dict[str, list[bytes]] = {}
    with hook_world(tmp_path_factory.mktemp("hooks")) as place:
        paths = {kind: place.source(kind, kind, None, secrets.get(kind)) for kind in ("mailchimp", "ses")}
        for name, (kind, body, headers) in DELIVERIES.items():
            place.now = NOW + HOUR_MS if name == "again" else NOW
            before = len(place.inner.records())
            assert place.deliver(paths[kind], body, headers=headers)["statusCode"] == 200
            made[name] = [pack(record) for record in place.inner.records()[before:]]
    return made


DELIVERIES = {
    "unsubscribe": UNSUBSCRIBE,
    "abuse": ABUSE,
    "cleaned": CLEANED,
    "bounce": BOUNCE,
    "complaint": COMPLAINT,
    "passing": PASSING,
    "again": AGAIN,
}


@pytest.fixture
def tonight(tmp_path: Path) -> Iterator[Night]:
    with night(tmp_path) as world:
        yield world


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with activate_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def shop(fresh: World) -> World:
    fresh.reset()
    fresh.shop()
    fresh.put("templates", "hello", {"subject": "Chào", "text": "Chào"})
    fresh.put("activations", "welcome", WELCOME)
    return fresh


def take(tonight: Night, blobs: list[bytes]) -> None:
    """Records through the stream: both consumers."""
    batch = tonight.world.kinesis(blobs)
    for row in batch["Records"]:
        row["eventID"] = f"shardId-0:{row['kinesis']['sequenceNumber']}"
    assert tonight.world.deliver(batch) == []
    assert archive.handler(json.loads(json.dumps(batch)), None) == {"batchItemFailures": []}


def signed_in(tonight: Night) -> None:
    tonight.consume(
        {"type": "identify", "userId": "u-an", "messageId": "i-an", "traits": {"email": ADDRESS}},
        {"type": "track", "event": "Product Viewed", "userId": "u-an", "messageId": "v-an"},
    )


def segments(tonight: Night) -> list[str]:
    return sorted(tonight.world.profile("user_id:u-an")["segments"])


@pytest.mark.parametrize(
    ("name", "left", "after"),
    [
        ("unsubscribe", ["silent"], []),
        ("abuse", ["silent"], ["silent"]),
        ("cleaned", ["silent"], ["silent"]),
        ("bounce", ["silent"], ["silent"]),
        ("complaint", ["silent"], ["silent"]),
        ("passing", [], []),
    ],
)
def test_what_a_source_told_is_seen_by_suppressed_rules_and_only_an_unsubscribe_is_lifted(
    tonight: Night, told: dict[str, list[bytes]], name: str, left: list[str], after: list[str]
) -> None:
    tonight.world.segment("silent", SILENT)
    signed_in(tonight)
    assert segments(tonight) == []

    take(tonight, told[name])
    take(tonight, told[name])

    assert segments(tonight) == left
    assert tonight.world.profile("user_id:u-an")["suppressed"] == (["email"] if left else [])
    assert tonight.run()["differences"] == 0
    assert segments(tonight) == left

    tonight.world.now += 2 * HOUR_MS
    take(tonight, told["again"])

    assert segments(tonight) == after
    assert tonight.run(execution="two")["differences"] == 0


@pytest.mark.parametrize("name", ["unsubscribe", "complaint"])
def test_the_night_finds_by_itself_who_left_before_the_rule_was_made(
    tonight: Night, told: dict[str, list[bytes]], name: str
) -> None:
    signed_in(tonight)
    take(tonight, told[name])
    tonight.world.segment("silent", SILENT)
    assert segments(tonight) == []

    tonight.run()

    assert segments(tonight) == ["silent"]


def test_a_subscription_that_comes_in_late_order_lifts_the_unsubscribe_all_the_same(
    tonight: Night, told: dict[str, list[bytes]]
) -> None:
    tonight.world.segment("silent", SILENT)
    signed_in(tonight)
    tonight.world.now += 2 * HOUR_MS

    take(tonight, told["again"])
    take(tonight, told["unsubscribe"])

    assert segments(tonight) == []


def deliver(shop: World, blobs: list[bytes]) -> None:
    assert shop.unify.deliver(shop.unify.kinesis(blobs)) == []


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (["unsubscribe"], ("skipped", "consent_denied")),
        (["unsubscribe", "again"], ("sent", "")),
        (["complaint"], ("skipped", "consent_denied")),
        (["complaint", "again"], ("skipped", "suppressed")),
        (["bounce", "again"], ("skipped", "suppressed")),
        (["cleaned", "again"], ("skipped", "suppressed")),
        (["passing"], ("sent", "")),
    ],
)
def test_s50_what_a_source_told_stops_the_next_send_with_its_reason(
    shop: World, told: dict[str, list[bytes]], names: list[str], outcome: tuple[str, str]
) -> None:
    for name in names:
        deliver(shop, told[name])
    shop.advance(2 * HOUR_MS)
    shop.views("an")
    shop.run()

    assert shop.outcomes() == [("welcome", *outcome)]
    assert len(shop.mails) == (outcome[0] == "sent")


@pytest.mark.parametrize(("name", "sent"), [("unsubscribe", 1), ("complaint", 0)])
def test_who_unsubscribed_still_gets_a_receipt_and_who_complained_does_not(
    shop: World, told: dict[str, list[bytes]], name: str, sent: int
) -> None:
    shop.put("activations", "welcome", {**WELCOME, "purpose": "essential"})
    deliver(shop, told[name])

    shop.views("an")
    shop.run()

    assert len(shop.mails) == sent
    assert [one[1:] for one in shop.outcomes()] == ([("sent", "")] if sent else [("skipped", "suppressed")])
