"""E-mail: at most once, whatever fails; caps, quiet hours, suppression; redrive asks all rules again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from hoso.activate.deliveries import LEASE_MS
from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS, HOUR_MS, MINUTE_MS
from hoso.unify.listings import Listing, suppression
from hoso.unify.lookup import Asked
from tests.activate_world import World, activate_world
from tests.faults import Faults

WELCOME: dict[str, Any] = {
    "trigger": {"kind": "segment.entered", "segment": "viewed"},
    "destination": "mail",
    "template": "hello",
    "purpose": "marketing",
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with activate_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def world(fresh: World) -> World:
    fresh.reset()
    fresh.shop()
    fresh.put("templates", "hello", {"subject": "Chào {{ traits.name }}", "text": "Chào"})
    fresh.put("activations", "welcome", WELCOME)
    return fresh


def failing(code: str, status: int = 400) -> Any:
    return lambda call: call.error(code, "injected", status)


def timing_out(kind: Any) -> Any:
    return lambda call: kind(endpoint_url="https://email.example", error="injected")


def once(problem: Any) -> Any:
    """The fault at the first call only."""
    left = [problem]
    return lambda call: left.pop()(call) if left else None


@pytest.mark.parametrize(
    "fault",
    [
        failing("TooManyRequestsException", 429),
        failing("LimitExceededException"),
        failing("ThrottlingException"),
        failing("SendingPausedException"),
        failing("MailFromDomainNotVerifiedException"),
        failing("AccessDeniedException", 403),
        timing_out(ConnectTimeoutError),
        timing_out(EndpointConnectionError),
    ],
)
def test_r47_what_is_known_not_to_be_sent_is_tried_again(world: World, fault: Any) -> None:
    world.mail_fault = once(fault)
    world.views("an")
    world.run(within_ms=HOUR_MS)

    assert len(world.mails) == 1
    assert world.outcomes() == [("welcome", "sent", "")]


@pytest.mark.parametrize(
    "fault",
    [failing("InternalServiceErrorException", 500), failing("ServiceUnavailable", 503), timing_out(ReadTimeoutError)],
)
@pytest.mark.parametrize("taken", [True, False])
def test_r40_an_unknown_outcome_is_parked_and_never_repeated_by_itself(world: World, fault: Any, taken: bool) -> None:
    world.mail_fault, world.mail_taken_before_fault = once(fault), taken
    world.views("an")
    world.run(within_ms=4 * DAY_MS)
    for detail in list(world.bus):
        world.enqueue("email", detail)
    world.run(within_ms=HOUR_MS)

    assert len(world.mails) == int(taken)
    ((_, status, reason),) = world.outcomes()
    assert (status, reason.partition(":")[0]) == ("parked", "outcome_unknown")


def test_a_refusal_of_ses_is_final_and_buried_with_its_reason(world: World) -> None:
    world.mail_fault = failing("MessageRejected")
    world.views("an")
    world.run(within_ms=HOUR_MS)

    assert world.outcomes() == [("welcome", "failed", "refused: SES says MessageRejected")]
    assert len(world.dead) == 1


def test_r45_an_email_is_given_up_when_it_makes_no_sense_any_more(world: World) -> None:
    world.mail_fault = failing("SendingPausedException")
    world.views("an")
    world.run(within_ms=4 * DAY_MS)

    assert world.mails == []
    ((_, status, reason),) = world.outcomes()
    assert (status, reason) in [("skipped", "too_old"), ("failed", "gave_up: SES says SendingPausedException")]
    assert world.queues == []


def test_r13_r40_every_call_failing_before_or_after_sends_at_most_one_email(world: World) -> None:
    """The sweep: whichever AWS call of a delivery fails, however, no second e-mail; and nothing is left undecided."""
    faults = Faults()
    world.views("p0")
    world.send_outbox()
    with faults.watch() as seen:
        world.step()
    assert len(world.mails) == 1
    for number in range(1, seen.calls + 1):
        for kind, inject in (("b", faults.fail_before), ("a", faults.fail_after)):
            world.mails.clear()
            pid = world.views(f"p{number}{kind}")
            world.send_outbox()
            with inject(number), suppress(Exception):
                world.step()
            world.run(within_ms=HOUR_MS)
            (delivery,) = world.deliveries(profile=pid)
            # Parked is right only where SES may have taken it, or the sender died holding the delivery.
            allowed = {1: ("sent", "parked"), 0: ("parked",)}[len(world.mails)]
            assert delivery["status"] in allowed, (number, kind, delivery)
            assert world.queues == []


def test_the_cap_holds_over_activations_of_the_channel(world: World) -> None:
    capped = {**WELCOME, "cap": {"count": 2, "per": "7d", "scope": "channel"}}
    for name in ("a", "b", "c"):
        world.put("activations", name, capped)
    world.put("activations", "welcome", {**WELCOME, "enabled": False})
    world.views("an")
    world.run()

    assert len(world.mails) == 2
    assert sorted(world.outcomes())[2] == ("c", "skipped", "frequency_cap")


def test_the_cap_of_an_activation_counts_its_own_sends_only(world: World) -> None:
    world.put("activations", "a", {**WELCOME, "cap": {"count": 1, "per": "7d"}})
    world.views("an")
    world.run()
    assert len(world.mails) == 2
    world.buys("an")
    world.advance(31 * DAY_MS)
    world.views("an")
    world.run()

    assert [status for _, status, _ in world.outcomes()] == ["sent"] * 4


def test_the_cap_holds_when_the_window_is_not_over(world: World) -> None:
    world.put("activations", "welcome", {**WELCOME, "cap": {"count": 1, "per": "60d"}})
    world.views("an")
    world.run()
    world.buys("an")
    world.advance(31 * DAY_MS)
    world.views("an")
    world.run()

    assert world.outcomes() == [("welcome", "sent", ""), ("welcome", "skipped", "frequency_cap")]


def test_quiet_hours_put_the_email_off_until_the_morning(world: World) -> None:
    world.put("activations", "welcome", {**WELCOME, "quiet_hours": {}})
    local_midnight_ms = (17 * HOUR_MS - world.now) % DAY_MS
    world.advance(local_midnight_ms)
    world.views("an")
    world.run()
    assert world.outcomes() == [("welcome", "waiting", "quiet_hours")]

    began = world.now
    world.run(within_ms=9 * HOUR_MS)

    assert len(world.mails) == 1
    assert world.now - began == pytest.approx(8 * HOUR_MS, abs=2 * MINUTE_MS)


@pytest.mark.parametrize(
    "told",
    [
        {"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "An@Example.vn"}]}},
        {
            "eventType": "Bounce",
            "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "an@example.vn"}]},
        },
    ],
)
def test_r47_a_bounce_or_complaint_suppresses_the_address(world: World, told: dict[str, Any]) -> None:
    world.enqueue("suppression", {**told, "mail": {"tags": {"hoso-workspace": ["main"]}}}, source="aws.ses")
    world.run()
    world.views("an")
    world.run()

    assert world.mails == []
    assert world.outcomes() == [("welcome", "skipped", "suppressed")]
    assert "an@example.vn" not in str([item for item in world.unify.items("delivery") if "#X#" in item["pk"]])


def test_r47_a_bounce_moves_the_person_in_segments_that_ask_for_suppression(world: World) -> None:
    world.unify.segment("unreachable", {"kind": "suppressed", "channel": "email"})
    world.views("an")
    told = {
        "eventType": "Bounce",
        "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "an@example.vn"}]},
    }

    world.enqueue("suppression", {**told, "mail": {"tags": {"hoso-workspace": ["main"]}}}, source="aws.ses")
    world.run()

    assert "unreachable" in world.unify.profile("email:an@example.vn")["segments"]
    assert world.unify.profile("email:an@example.vn")["suppressed"] == ["email"]


@pytest.mark.parametrize(("channel", "sent"), [("email", 0), ("*", 0), ("sms", 1)])
def test_s50_who_is_suppressed_by_hand_gets_nothing_on_the_channel(world: World, channel: str, sent: int) -> None:
    fresh = Listing(on=True, at=world.now)
    asked = [Asked(Identifier("email", "an@example.vn"), None)]
    world.unify.parts.listed.change("main", suppression(channel), asked, fresh)

    world.views("an")
    world.run()

    assert len(world.mails) == sent
    assert [outcome[1:] for outcome in world.outcomes()] == ([("sent", "")] if sent else [("skipped", "suppressed")])


def test_an_event_that_breaks_the_code_of_suppression_is_buried_with_its_reason(world: World) -> None:
    world.enqueue("suppression", {"eventType": "Bounce", "mail": []}, source="aws.ses")
    world.run()

    assert [one["MessageAttributes"]["reason"]["StringValue"] for one in world.dead] == ["error: AttributeError"]


def test_a_passing_bounce_suppresses_nothing(world: World) -> None:
    told = {
        "eventType": "Bounce",
        "bounce": {"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": "an@example.vn"}]},
    }
    world.enqueue("suppression", {**told, "mail": {"tags": {"hoso-workspace": ["main"]}}}, source="aws.ses")
    world.views("an")
    world.run()

    assert len(world.mails) == 1


def test_s16_a_name_with_a_line_break_never_becomes_a_header(world: World) -> None:
    body = {
        "type": "identify",
        "anonymousId": "an",
        "messageId": "evil",
        "traits": {"email": "an@example.vn", "name": "An\r\nBcc: all@example.com"},
        "context": {"consent": {"categoryPreferences": {"marketing": True}}},
    }
    world.unify.consume(body)
    world.track("an", "Product Viewed", {"product_id": "dress"})
    world.run()

    assert world.mails == []
    ((_, status, reason),) = world.outcomes()
    assert (status, reason.partition(":")[0]) == ("failed", "bad_header")


def redrive(world: World, **body: Any) -> dict[str, Any]:
    status, answer = world.call("POST /v1/deliveries/redrive", body=body)
    assert status == 200, answer
    return answer


def test_r44_a_redrive_sends_once_however_often_it_is_asked(world: World) -> None:
    world.mail_fault = failing("MessageRejected")
    world.views("an")
    world.run()
    world.mail_fault = lambda call: None

    assert redrive(world, status="failed", dry_run=True)["count"] == 1
    assert world.mails == []
    assert redrive(world, status="failed")["count"] == 1
    assert redrive(world, status="failed")["count"] == 0
    world.run()

    assert len(world.mails) == 1
    assert world.outcomes() == [("welcome", "sent", "")]


def test_a_redrive_is_for_its_own_activation_alone(world: World) -> None:
    world.put("activations", "second", WELCOME)
    world.mail_fault = once(failing("MessageRejected"))
    world.views("an")
    world.run()
    redrive(world, status="failed")
    world.bus.clear()
    world.run()

    ((activation,),) = (detail["activations"] for detail in world.bus)
    assert activation in ("second", "welcome")
    assert [status for _, status, _ in world.outcomes()] == ["sent", "sent"]


def test_r46_s50_a_redrive_asks_for_consent_again(world: World) -> None:
    world.mail_fault = once(timing_out(ReadTimeoutError))
    world.views("an")
    world.run()
    world.track("an", "Unsubscribed", {})
    redrive(world, status="parked")
    world.run()

    assert world.mails == []
    assert world.outcomes() == [("welcome", "skipped", "consent_denied")]


def test_r46_a_redrive_asks_for_membership_and_age_again(world: World) -> None:
    world.mail_fault = failing("MessageRejected")
    world.views("an")
    world.views("binh")
    world.run()
    world.buys("an")
    world.advance(DAY_MS + MINUTE_MS)
    redrive(world, status="failed")
    world.run()

    assert world.mails == []
    assert {reason for _, _, reason in world.outcomes()} == {"too_old"}


def test_a_template_that_vanished_fails_with_a_reason(world: World) -> None:
    control = world.unify.parts.control
    control.delete("main", "template", "hello")
    world.views("an")
    world.run()

    assert world.outcomes() == [("welcome", "failed", "not_found: no template has the key hello")]


def test_the_newest_address_that_identity_counts_as_hers_is_used(world: World) -> None:
    world.put("destinations", "mail", {"kind": "email", "sender_name": "Shop"})
    world.views("an")
    newer = {"type": "identify", "anonymousId": "an", "messageId": "newer", "traits": {"email": "An.Nguyen@Example.vn"}}
    world.unify.consume(newer)
    world.run()

    assert world.mails[0]["Destination"]["ToAddresses"] == ["an.nguyen@example.vn"]
    assert world.mails[0]["FromEmailAddress"] == "Shop <shop@example.com>"
    assert {tag["Name"] for tag in world.mails[0]["EmailTags"]} == {"hoso-workspace", "hoso-delivery"}


def test_p5_broken_messages_are_buried_and_hold_up_nothing(world: World) -> None:
    world.enqueue("email", {"hello": "world"})
    world.enqueue(
        "email", {"workspace": "main", "event_id": "e", "type": "segment.entered", "at": "soon", "activations": []}
    )
    world.queues[0].body = "not json"
    world.views("an")
    world.run()

    assert len(world.mails) == 1
    reasons = [one["MessageAttributes"]["reason"]["StringValue"] for one in world.dead]
    assert sorted(reasons) == ["bad_event", "bad_message"]


def test_a_message_that_breaks_the_code_is_buried_after_some_tries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hoso.activate.courier.Courier.deliver", broken)
    world.views("an")
    world.run(within_ms=HOUR_MS)

    assert [one["MessageAttributes"]["reason"]["StringValue"] for one in world.dead] == ["error: ZeroDivisionError"]


def test_r15_with_little_time_left_nothing_is_begun(world: World) -> None:
    world.views("an")
    world.send_outbox()
    world.step(left_ms=10_000)

    assert world.mails == []
    assert world.deliveries() == []
    assert len(world.queues) == 1


def test_r40_a_worker_that_died_while_sending_leads_to_parking_and_not_before_its_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr("hoso.activate.channels.email.EmailChannel.send", lambda *_: 1 / 0)
        world.views("an")
        world.send_outbox()
        world.step()
    world.advance(LEASE_MS - 30_000)
    world.step()
    assert world.outcomes() == []

    world.run(within_ms=HOUR_MS)

    assert world.mails == []
    assert [status for _, status, _ in world.outcomes()] == ["parked"]


def test_a_listing_does_not_believe_a_hint_that_is_no_longer_true(world: World) -> None:
    world.views("an")
    world.run()
    (hint,) = [item for item in world.unify.items("delivery") if item["pk"] == "main#O#sent"]
    world.unify.parts.store.delivery.put({**hint, "pk": "main#O#failed"})

    assert world.deliveries(status="failed") == []
    assert len(world.deliveries()) == 1


def test_deliveries_are_listed_by_person_and_status_and_paged(world: World) -> None:
    people = {who: world.views(who, consent=who != "p3") for who in ("p0", "p1", "p2", "p3", "p4")}
    world.run()

    assert {d["profile_id"] for d in world.deliveries(status="sent")} == {people[w] for w in people if w != "p3"}
    assert [d["reason"] for d in world.deliveries(profile=people["p3"])] == ["consent_denied"]
    seen, query = [], {"limit": "2"}
    while True:
        _, page = world.call("GET /v1/deliveries", **query)
        seen += [d["id"] for d in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert (len(seen), len(set(seen))) == (5, 5)
    assert world.call("GET /v1/deliveries", status="lost")[0] == 400
    assert world.call("GET /v1/deliveries", cursor="nonsense")[0] == 400
