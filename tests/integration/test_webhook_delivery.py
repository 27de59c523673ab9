"""Webhooks: signed, at least once with one id, retried as told, removed from lists, given up with a reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from standardwebhooks.webhooks import Webhook

from hoso.activate.channels import Delivered
from hoso.activate.channels.webhook import WebhookChannel
from hoso.activate.deliveries import LEASE_MS
from hoso.activate.handlers import channel
from hoso.activate.store import DeliveryStore
from hoso.model.time import DAY_MS, HOUR_MS, MINUTE_MS
from hoso.platform import retry
from hoso.platform.aws import client
from tests.activate_world import AUDIENCE, CACHED, OTHER_SECRET, SECRET, Receiver, World, activate_world, receiving
from tests.faults import Faults
from tests.unify_world import Context

ADD = {"action": "add", "segment": "viewed"}
REMOVE = {"action": "remove", "segment": "viewed"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with activate_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def world(fresh: World, receiver: Receiver) -> World:
    fresh.reset()
    fresh.shop(receiver.url)
    return fresh


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [{name: message["data"][name] for name in ("action", "segment")} for message in receiver.messages]


def test_entry_adds_to_the_audience_and_exit_removes(world: World, receiver: Receiver) -> None:
    pid = world.views("an")
    world.run()
    world.advance(HOUR_MS)
    world.buys("an")
    world.run()

    assert told(receiver) == [ADD, REMOVE]
    assert [message["type"] for message in receiver.messages] == ["segment.entered", "segment.exited"]
    assert {message["data"]["profile_id"] for message in receiver.messages} == {pid}
    assert world.outcomes() == [("audience", "sent", ""), ("audience", "sent", "")]


def test_s60_the_destination_gets_no_more_than_it_asked_for(world: World, receiver: Receiver) -> None:
    pid = world.views("an")
    world.run()

    ((_, body),) = receiver.requests
    data = json.loads(body)["data"]
    assert b"an@example.vn" not in body
    assert data.keys() == {
        *("event_id", "type", "at", "profile_id", "segment", "revision", "reason"),
        *("delivery_id", "activation", "action"),
    }
    assert data["profile_id"] == pid


def test_s60_identifiers_are_hashed_where_the_destination_wants_it(world: World, receiver: Receiver) -> None:
    payload = {"identifiers": ["email", "phone"], "traits": ["name", "missing"], "hashed": True}
    world.put("destinations", "ads", {"kind": "webhook", "url": receiver.url, "payload": payload})
    world.views("an")
    world.run()
    world.buys("an")
    world.run()

    added, removed = (message["data"] for message in receiver.messages)
    hashed = hashlib.sha256(b"an@example.vn").hexdigest()
    assert (added["identifiers"], added["traits"]) == ({"email": [hashed]}, {"name": "An"})
    assert removed["identifiers"] == {"email": [hashed]}
    assert "traits" not in removed


def test_s25_the_signature_is_good_for_the_published_verifier(world: World, receiver: Receiver) -> None:
    world.views("an")
    world.run()

    ((headers, body),) = receiver.requests
    # The verifier compares the timestamp with the machine's clock; the world has its own.
    with patch("standardwebhooks.webhooks.datetime") as clock:
        clock.now.return_value = datetime.fromtimestamp(world.now / 1_000, UTC)
        clock.fromtimestamp = datetime.fromtimestamp
        assert Webhook(SECRET).verify(body, headers) == json.loads(body)
    assert headers["webhook-id"] == json.loads(body)["data"]["delivery_id"]


def test_s25_r53_two_secrets_sign_during_a_rotation(world: World, receiver: Receiver) -> None:
    body = {"kind": "webhook", "url": receiver.url, "secrets": [OTHER_SECRET, SECRET]}
    world.put("destinations", "ads", body)
    world.views("an")
    world.run()

    assert len(receiver.requests[0][0]["webhook-signature"].split(" ")) == 2


def test_r53_a_rotation_that_this_process_missed_fails_no_delivery(world: World, receiver: Receiver) -> None:
    world.views("an")
    world.run()
    credentials = {"pk": "main#secret", "sk": "destination#ads", "secrets": [OTHER_SECRET], "headers": {}}
    world.unify.parts.control._table.put(credentials)  # as another process does
    receiver.answers = [(401, {}, b""), (200, {}, b"")]
    world.views("binh")
    world.run()

    first, second = (headers["webhook-signature"] for headers, _ in receiver.requests[1:])
    assert first != second
    assert [d["status"] for d in world.deliveries()] == ["sent", "sent"]


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "calls"),
    [
        (200, {}, "sent", 1),
        (201, {}, "sent", 1),
        (202, {}, "sent", 1),
        (204, {}, "sent", 1),
        (301, {"location": "http://127.0.0.1:1/"}, "failed", 1),
        (302, {}, "failed", 1),
        (307, {}, "failed", 1),
        (400, {}, "failed", 1),
        (401, {}, "failed", 1),
        (403, {}, "failed", 1),
        (404, {}, "failed", 1),
        (408, {}, "sent", 2),
        (410, {}, "failed", 1),
        (413, {}, "failed", 1),
        (422, {}, "failed", 1),
        (425, {}, "sent", 2),
        (429, {"retry-after": "40"}, "sent", 2),
        (500, {}, "sent", 2),
        (503, {"retry-after": "40"}, "sent", 2),
        (504, {}, "sent", 2),
    ],
)
def test_r41_what_each_answer_leads_to(
    world: World, receiver: Receiver, status: int, headers: dict[str, str], outcome: str, calls: int
) -> None:
    receiver.answers = [(status, headers, b"because"), (200, {}, b"")]
    began = world.views("an") and world.now
    world.run(within_ms=HOUR_MS)

    (delivery,) = world.deliveries()
    assert (delivery["status"], len(receiver.requests)) == (outcome, calls)
    assert len({request["webhook-id"] for request, _ in receiver.requests}) == 1
    if "retry-after" in headers:
        assert world.now - began >= 40_000
    if outcome == "failed":
        assert delivery["reason"] == f"refused: {status} because"
        (buried,) = world.dead
        assert buried["MessageAttributes"]["reason"]["StringValue"] == delivery["reason"]
    else:
        assert world.dead == []


def test_s25_the_timestamp_of_each_try_is_its_own(world: World, receiver: Receiver) -> None:
    receiver.answers = [(503, {"retry-after": "40"}, b""), (200, {}, b"")]
    world.views("an")
    world.run(within_ms=HOUR_MS)

    first, second = (headers for headers, _ in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) >= int(first["webhook-timestamp"]) + 40
    assert first["webhook-signature"] != second["webhook-signature"]


def test_r41_r45_given_up_after_three_days_and_all_tries_with_the_reason_in_the_dead_letter(
    world: World, receiver: Receiver
) -> None:
    receiver.answers = [(503, {}, b"down")]
    world.views("an")
    began = world.now
    world.run(within_ms=5 * DAY_MS)

    (delivery,) = world.deliveries()
    assert (delivery["status"], delivery["reason"]) == ("failed", "gave_up: 503 down")
    assert retry.WEBHOOK.length_ms <= world.now - began <= retry.QUEUE_KEEPS_MS
    assert delivery["tries"] >= retry.WEBHOOK.least_tries
    assert len(delivery["attempts"]) == 20
    assert [one["MessageAttributes"]["reason"]["StringValue"] for one in world.dead] == ["gave_up: 503 down"]
    assert world.queues == []


def test_r41_410_disables_the_destination_until_it_is_stored_again(world: World, receiver: Receiver) -> None:
    receiver.answers = [(410, {}, b"closed"), (200, {}, b"")]
    world.views("an")
    world.run()
    world.views("binh")
    world.run()

    assert len(receiver.requests) == 1
    status, shown = world.call("GET /v1/destinations/{key}", {"key": "ads"})
    assert (status, shown["breaker"], shown["disabled_reason"]) == (200, "disabled", "410 closed")
    assert sorted(reason for _, _, reason in world.outcomes()) == [
        "destination_disabled: 410 closed",
        "refused: 410 closed",
    ]

    world.put("destinations", "ads", {"kind": "webhook", "url": receiver.url})
    _, answer = world.call("POST /v1/deliveries/redrive", body={"status": "failed"})
    world.run()

    assert answer["count"] == 2
    assert len(receiver.requests) == 3


def test_r43_a_dead_destination_is_called_seldom_and_slows_no_other(world: World, receiver: Receiver) -> None:
    with receiving() as dead:
        dead.answers = [(500, {}, b"")]
        world.put("destinations", "dead", {"kind": "webhook", "url": dead.url})
        world.put("activations", "to-dead", {**AUDIENCE, "destination": "dead"})
        for number in range(30):
            world.views(f"p{number}")
        world.run(within_ms=10_000)
        called = len(dead.requests)
        assert len(receiver.requests) == 30
        assert called <= 10
        world.run(within_ms=10 * 60_000)
        assert len(dead.requests) <= called + 15

        dead.answers = [(200, {}, b"")]
        world.run(within_ms=3 * HOUR_MS)

        assert [d["status"] for d in world.deliveries(limit="500")] == ["sent"] * 60
        assert {request["webhook-id"] for request, _ in dead.requests} == {
            d["id"] for d in world.deliveries(limit="500") if d["destination"] == "dead"
        }


def test_r43_after_the_pause_one_caller_probes_while_the_others_still_wait(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answers = [(500, {}, b"")]
    for number in range(8):
        world.views(f"p{number}")
    world.run(within_ms=2 * MINUTE_MS)
    store = DeliveryStore(client("dynamodb"), world.unify.parts.store.delivery, world.unify.parts.outbox)
    waits: list[int] = []

    def probing(self: Any, order: Any, message: bytes, now: int) -> Delivered:
        waits.append(store.breaker("main", "ads", 1).wait_ms(now))
        return Delivered("200")

    monkeypatch.setattr(WebhookChannel, "send", probing)
    world.run(within_ms=HOUR_MS)

    assert waits[0] > 0
    assert [d["status"] for d in world.deliveries()] == ["sent"] * 8


def test_r45_what_could_never_be_tried_is_given_up_before_the_queue_forgets_it(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hoso.activate.breaker.Breaker.wait_ms", lambda self, now: HOUR_MS)
    world.views("an")
    began = world.now
    world.run(within_ms=5 * DAY_MS)

    assert world.outcomes() == [("audience", "failed", "gave_up: destination_unavailable")]
    assert world.now - began <= 4 * DAY_MS
    assert (len(world.dead), world.queues, receiver.requests) == (1, [], [])


def test_a_channel_that_keeps_older_documents_still_finds_a_new_activation(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSO_CONFIG_TTL_MS", "60000")
    for made in CACHED:
        made.cache_clear()
    world.views("binh")
    world.run()
    world.put("activations", "newer", AUDIENCE)
    world.advance(2_000)
    world.views("an")
    world.run()

    assert [one["data"]["activation"] for one in receiver.messages] == ["audience", "audience", "newer"]


def test_r43_one_batch_waits_for_a_silent_destination_once(world: World, receiver: Receiver) -> None:
    with receiving() as dead:
        dead.answers = [(503, {}, b"")]
        world.put("destinations", "dead", {"kind": "webhook", "url": dead.url})
        world.put("activations", "to-dead", {**AUDIENCE, "destination": "dead"})
        for number in range(8):
            world.views(f"p{number}")
        world.send_outbox()
        world.step()

        assert (len(dead.requests), len(receiver.requests)) == (1, 8)


def test_r40_repeated_messages_are_delivered_once(world: World, receiver: Receiver) -> None:
    world.views("an")
    world.run()
    for detail in list(world.bus):
        for kind in detail["channels"]:
            for _ in range(5):
                world.enqueue(kind, detail)
    world.run()

    assert told(receiver) == [ADD]


def test_s50_withdrawal_between_two_tries_stops_the_next(world: World, receiver: Receiver) -> None:
    receiver.answers = [(500, {}, b""), (200, {}, b"")]
    world.views("an")
    world.run()
    world.track("an", "Consent Updated", {"purpose": "marketing", "state": "denied"})
    world.run(within_ms=HOUR_MS)

    assert len(receiver.requests) == 1
    assert ("audience", "skipped", "consent_denied") in world.outcomes()


def test_s50_the_removal_is_told_even_when_consent_is_gone(world: World, receiver: Receiver) -> None:
    world.views("an")
    world.run()
    world.track("an", "Consent Updated", {"purpose": "marketing", "state": "denied"})
    world.buys("an")
    world.run()

    assert told(receiver) == [ADD, REMOVE]


def test_who_was_never_told_of_is_not_named_at_the_exit(world: World, receiver: Receiver) -> None:
    world.views("an", consent=None)
    world.buys("an")
    world.run()

    assert receiver.requests == []
    assert ("audience", "skipped", "never_listed") in world.outcomes()


def test_a_removal_finds_the_person_after_a_merge(world: World, receiver: Receiver) -> None:
    world.views("an")
    world.run()
    both = {"type": "identify", "anonymousId": "an", "userId": "u1", "messageId": "link", "traits": {"city": "Huế"}}
    other = {"type": "track", "event": "Seen", "userId": "u1", "messageId": "other"}
    world.unify.consume(other)
    world.unify.consume(both)
    world.run()
    world.buys("an")
    world.run()

    assert told(receiver)[-1] == REMOVE
    assert world.outcomes()[-1][1] == "sent"


def test_who_was_taken_off_and_not_put_back_is_not_named_again(world: World, receiver: Receiver) -> None:
    world.views("an")
    world.run()
    world.buys("an")
    world.run()
    world.track("an", "Consent Updated", {"purpose": "marketing", "state": "denied"})
    world.advance(31 * DAY_MS)
    world.views("an", consent=None)
    world.buys("an")
    world.run()

    assert told(receiver) == [ADD, REMOVE]
    assert ("audience", "skipped", "never_listed") in world.outcomes()


def test_a_late_add_or_remove_that_is_no_longer_true_is_left_out(world: World, receiver: Receiver) -> None:
    receiver.answers = [(500, {}, b""), (200, {}, b"")]
    world.views("an")
    world.run()
    world.buys("an")
    world.run(within_ms=HOUR_MS)

    assert told(receiver)[-1] == REMOVE
    assert ("audience", "skipped", "not_in_segment") in world.outcomes()


def test_a_destination_may_subscribe_to_events_as_they_are(world: World, receiver: Receiver) -> None:
    body = {"kind": "webhook", "url": receiver.url, "types": ["product.price_changed", "segment.entered"]}
    world.put("destinations", "raw", body)
    world.put("activations", "audience", {**AUDIENCE, "enabled": False})
    world.price(500)
    world.price(400)
    world.views("an", consent=None)
    world.run()

    kinds = sorted(message["type"] for message in receiver.messages)
    assert kinds == ["product.price_changed", "segment.entered"]
    assert all("activation" not in message["data"] for message in receiver.messages)


def test_s24_an_answer_is_kept_as_short_plain_text(world: World, receiver: Receiver) -> None:
    receiver.answers = [(400, {}, b"<script>alert(1)</script>\r\n\x1b[31m" + b"x" * 70_000)]
    world.views("an")
    world.run()

    (delivery,) = world.deliveries()
    assert len(delivery["reason"]) <= 300
    assert delivery["reason"].isprintable()


def test_r42_a_target_that_is_not_public_is_refused_outside_the_twin(world: World, receiver: Receiver) -> None:
    with patch.dict("os.environ", {"HOSO_OUTBOUND_HTTP": "false"}):
        channel._inbox.cache_clear()
        world.views("an")
        world.run()

    assert receiver.requests == []
    assert world.deliveries()[0]["status"] == "failed"


def test_r13_r40_every_call_failing_before_or_after_ends_in_one_effect(world: World, receiver: Receiver) -> None:
    """The sweep: whichever AWS call fails, however, the receiver is told at least once, always with the same id."""
    faults = Faults()
    world.views("p")
    world.send_outbox()
    with faults.watch() as seen:
        world.step()
    for number in range(1, seen.calls + 1):
        for kind, inject in (("b", faults.fail_before), ("a", faults.fail_after)):
            who = f"p{number}{kind}"
            receiver.requests.clear()
            pid = world.views(who)
            world.send_outbox()
            with inject(number), suppress(Exception):
                world.step()
            world.run(within_ms=HOUR_MS)
            (delivery,) = world.deliveries(profile=pid)
            assert delivery["status"] == "sent", (number, kind, delivery)
            assert {headers["webhook-id"] for headers, _ in receiver.requests} == {delivery["id"]}
            world.buys(who)
            world.run(within_ms=HOUR_MS)
            assert told(receiver)[-1] == REMOVE


def test_r9_a_worker_that_died_while_sending_is_waited_for_and_then_replaced(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(WebhookChannel, "send", lambda *_: 1 / 0)
        world.views("an")
        world.send_outbox()
        world.step()
    world.advance(LEASE_MS - 30_000)
    world.step()
    assert (receiver.requests, world.deliveries()) == ([], [])

    world.run(within_ms=HOUR_MS)

    assert told(receiver) == [ADD]
    assert world.outcomes() == [("audience", "sent", "")]


def test_two_workers_with_the_same_message_call_once(world: World, receiver: Receiver) -> None:
    world.views("an")
    world.send_outbox()
    (message,) = world.queues
    record = {
        "messageId": "m",
        "receiptHandle": "none",
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:webhook",
    }
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: channel.webhook({"Records": [record]}, Context()), range(4)))

    assert len(receiver.requests) == 1
    assert {"batchItemFailures": []} in answers
    world.run(within_ms=HOUR_MS)
    assert len(receiver.requests) == 1
