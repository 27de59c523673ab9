"""What senders only name is fetched from their APIs: queue, question, answer, tries, quarantine, replay."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest

from hoso.collect.handlers import lookups
from hoso.collect.sources import kind_of
from hoso.collect.sources import lookups as sources_lookups
from hoso.model.time import DAY_MS
from hoso.platform.aws import client
from tests.faults import Faults
from tests.hook_world import HookWorld, hook_world
from tests.vendor_api import FORM, LEAD, told, vendor

CONTACTS = {
    "results": [
        {
            "id": "101",
            "properties": {
                "email": "binh@example.com",
                "phone": "0987654321",
                "mobilephone": "",
                "firstname": "Bình",
                "lastname": "Trần",
                "hs_email_optout": "true",
                "lastmodifieddate": "2026-01-05T06:50:00.000Z",
            },
        }
    ]
}


class Context:
    """Time enough."""

    left = 300_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left


class Place:
    """The door with its queue of look-ups, and the function that works it off."""

    def __init__(self, inner: HookWorld) -> None:
        self.inner = inner
        self.sqs = client("sqs")
        self.url, self.dead = os.environ["HOSO_LOOKUPS"], os.environ["HOSO_DEAD_LETTERS"]

    def source(self, kind: str, api: str, tokens: tuple[str, ...] = ("page-token-1",)) -> str:
        secrets: dict[str, Any] = {"signing": ["meta-test-app-secret"], "api_token": tokens}
        return self.inner.source("ads", kind, {"api": api}, secrets)

    def lead(self, path: str, *leads: str, **more: Any) -> int:
        values = [{"leadgen_id": lead, "page_id": "1531", "created_time": 1_767_596_399, **more} for lead in leads]
        changes = [{"field": "leadgen", "value": value} for value in values]
        body = json.dumps({"object": "page", "entry": [{"id": "1531", "time": 1_767_596_400, "changes": changes}]})
        signature = hmac.new(b"meta-test-app-secret", body.encode(), hashlib.sha256).hexdigest()
        headers = {"x-hub-signature-256": f"sha256={signature}"}
        return self.inner.deliver(path, body, headers=headers)["statusCode"]

    def contact(self, path: str, what: str, *contacts: int) -> int:
        changes = [
            {"eventId": n, "subscriptionId": 1, "portalId": 2, "occurredAt": self.inner.now - 1_000}
            | {"subscriptionType": what, "objectId": contact, "attemptNumber": 0, "propertyName": "city"}
            for n, contact in enumerate(contacts)
        ]
        body, stamp = json.dumps(changes), str(self.inner.now)
        signed = f"POSThttps://cdp.example.com{path}{body}{stamp}"
        digest = hmac.new(b"meta-test-app-secret", signed.encode(), hashlib.sha256).digest()
        headers = {
            "x-hubspot-signature-v3": base64.b64encode(digest).decode(),
            "x-hubspot-request-timestamp": stamp,
        }
        return self.inner.deliver(path, body, headers=headers)["statusCode"]

    def run(self, tries: int = 1, left: int = 300_000, *, shown: bool = False) -> int:
        """Work off what is visible; how many messages have to come again. ``tries`` is what the queue counted; what
        comes again is ``shown`` at once, or hidden as long as the function said."""
        here = lookups.tools()
        frozen = here._replace(desk=replace(here.desk, clock=lambda: self.inner.now))
        context = Context()
        context.left = left
        got = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {"ApproximateReceiveCount": str(tries)},
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:lookups",
            }
            for message in got
        ]
        with patch.object(lookups, "tools", lambda: frozen):
            again = {
                one["itemIdentifier"] for one in lookups.handler({"Records": records}, context)["batchItemFailures"]
            }
        for message in got:
            named = {"QueueUrl": self.url, "ReceiptHandle": message["ReceiptHandle"]}
            if message["MessageId"] not in again:
                self.sqs.delete_message(**named)
            elif shown:
                self.sqs.change_message_visibility(**named, VisibilityTimeout=0)
        return len(again)

    def waiting(self, url: str = "") -> int:
        """Messages on the queue, hidden ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)["Attributes"]
        return sum(int(count) for count in told.values())

    def events(self) -> list[dict[str, Any]]:
        return self.inner.events()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    root = "https://sqs.eu-central-1.amazonaws.com/123456789012/"
    given = {"HOSO_LOOKUPS": f"{root}lookups", "HOSO_DEAD_LETTERS": f"{root}dead", "HOSO_OUTBOUND_HTTP": "true"}
    with patch.dict(os.environ, given), hook_world(tmp_path) as inner:
        lookups.tools.cache_clear()
        for name in ("lookups", "dead"):
            client("sqs").create_queue(QueueName=name)
        yield Place(inner)
        lookups.tools.cache_clear()


def test_a_lead_that_meta_only_names_becomes_a_person_with_the_answers_of_its_form(place: Place) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url)

        assert place.lead(path, LEAD) == 200
        assert place.run() == 0

    submitted, *rest = place.events()
    identify, answered = sorted(rest, key=lambda event: event["type"])
    assert (submitted["event"], submitted["anonymousId"]) == ("Lead Submitted", f"meta-lead:{LEAD}")
    assert identify["anonymousId"] == answered["anonymousId"] == submitted["anonymousId"]
    assert identify["traits"] == {
        "email": "an.nguyen@example.com",
        "phone": "0912345678",
        "name": "Nguyễn Thị An",
    }
    assert identify["timestamp"] == "2026-01-05T06:59:59.000Z"
    assert answered["event"] == "Lead Answered"
    assert answered["properties"]["answers"]["cỡ_giày"] == "39"
    assert answered["properties"]["disclaimers"] == FORM["custom_disclaimer_responses"]
    method, url, _, _ = meta.asked[0]
    assert (method, urlsplit(url).path, parse_qs(urlsplit(url).query)["access_token"]) == (
        "GET",
        f"/{LEAD}",
        ["page-token-1"],
    )


def test_a_contact_that_hubspot_only_names_is_asked_about_once_for_all_its_changes(place: Place) -> None:
    with vendor(told(CONTACTS)) as hubspot:
        path = place.source("hubspot", hubspot.url)

        assert place.contact(path, "contact.creation", 101, 101) == 200
        assert place.run() == 0

    assert len(hubspot.asked) == 1
    _, url, headers, body = hubspot.asked[0]
    assert (url, headers["authorization"]) == ("/crm/v3/objects/contacts/batch/read", "Bearer page-token-1")
    assert json.loads(body)["inputs"] == [{"id": "101"}]
    (identify,) = [event for event in place.events() if event["type"] == "identify"]
    assert identify["traits"] == {
        "email": "binh@example.com",
        "phone": "0987654321",
        "firstName": "Bình",
        "lastName": "Trần",
    }
    assert identify["timestamp"] == "2026-01-05T06:50:00.000Z"
    assert [held["id"] for held in identify["context"]["externalIds"]] == ["101"]
    (consent,) = [event for event in place.events() if event.get("event") == "Consent Updated"]
    assert consent["properties"] == {"purpose": "marketing", "channel": "email", "state": "denied"}


@pytest.mark.parametrize(
    ("what", "contacts", "asked"),
    [("contact.propertyChange", (7,), 1), ("contact.deletion", (7,), 0), ("deal.creation", (7,), 0)],
)
def test_only_contacts_that_are_there_are_asked_about(
    place: Place, what: str, contacts: tuple[int, ...], asked: int
) -> None:
    with vendor(told(CONTACTS)) as hubspot:
        path = place.source("hubspot", hubspot.url)

        place.contact(path, what, *contacts)
        place.run()

    assert len(hubspot.asked) == asked


def test_without_a_token_nothing_is_asked(place: Place) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url, tokens=())

        assert place.lead(path, LEAD) == 200

    assert place.waiting() == 0
    assert [event["event"] for event in place.events()] == ["Lead Submitted"]


def test_a_lead_whose_answers_came_along_is_not_asked_about(place: Place) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url)

        place.lead(path, LEAD, field_data=FORM["field_data"])

    assert place.waiting() == 0


def test_a_lead_told_and_fetched_twice_makes_the_same_messages(place: Place) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url)
        for _ in range(2):
            place.lead(path, LEAD)
            place.run()

    ids = [event["messageId"] for event in place.events()]
    assert len(ids) == 6
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("answer", "headers", "at_least_s"),
    [
        (500, {}, 1),
        (429, {"retry-after": "120"}, 120),
        (401, {}, 1),
    ],
)
def test_r41_trouble_of_the_api_lets_the_look_up_wait_and_then_it_is_done(
    place: Place, answer: int, headers: dict[str, str], at_least_s: int
) -> None:
    with vendor(told({}, answer, **headers)) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        hidden: list[int] = []
        with patch("hoso.platform.queue.Queue.hide", lambda _self, _arn, _receipt, seconds: hidden.append(seconds)):
            assert place.run(shown=True) == 1
        meta.answer = told(FORM)
        assert place.run(tries=2) == 0

    assert hidden[0] >= at_least_s
    assert len(place.events()) == 3
    assert place.inner.inner.quarantined() == []


def test_an_error_that_the_graph_api_calls_passing_is_tried_again(place: Place) -> None:
    with vendor(told({"error": {"code": 190, "message": "the token has run out"}}, 400)) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)

        assert place.run() == 1


def test_what_the_api_does_not_give_waits_in_quarantine_and_a_replay_asks_once_more(place: Place) -> None:
    with vendor(told({"error": {"code": 100, "message": "no such lead"}}, 400)) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        assert place.run() == 0
        (entry,) = place.inner.inner.quarantined()
        assert (entry["stage"], entry["code"], entry["reason"]) == (
            "lookup",
            "refused_lookup",
            "the sender's API answers 400",
        )
        assert "page-token-1" not in json.dumps(entry)
        meta.answer = told(FORM)

        route, where = "POST /v1/quarantine/{id}/replay", {"id": entry["id"]}
        dry = place.inner.inner.manage(route, {"dry_run": True}, path=where)
        assert dry == (200, {"accepted": 1, "rejected": [], "already": 0, "dry_run": True})
        assert place.waiting() == 0
        assert place.inner.inner.manage(route, {}, path=where)[1]["accepted"] == 1
        assert place.run() == 0
        assert place.inner.inner.manage(route, {}, path=where)[1] == {
            "accepted": 0,
            "rejected": [],
            "already": 1,
            "dry_run": False,
        }

    assert len(place.events()) == 3


def test_one_lead_that_is_gone_keeps_no_other_waiting(place: Place) -> None:
    def answer(_method: str, url: str, *_: Any) -> tuple[int, dict[str, str], Any]:
        return (404, {}, {"error": {}}) if url.startswith("/2?") else (200, {}, {**FORM, "id": url[1]})

    with vendor(answer) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, "1", "2", "3")
        assert place.run() == 0

    assert sum(event["type"] == "identify" for event in place.events()) == 2
    (entry,) = place.inner.inner.quarantined()
    assert [row["payload"]["id"] for row in entry["rows"]] == ["2"]


def test_a_contact_that_is_missing_in_the_answer_is_kept_with_its_reason(place: Place) -> None:
    with vendor(told(CONTACTS)) as hubspot:
        path = place.source("hubspot", hubspot.url)
        place.contact(path, "contact.creation", 101, 102)
        assert place.run() == 0

    (entry,) = place.inner.inner.quarantined()
    assert (entry["code"], [row["payload"]["id"] for row in entry["rows"]]) == ("not_found", ["102"])


def test_r45_after_three_days_of_trouble_the_look_up_is_given_up_with_its_reason(place: Place) -> None:
    with vendor(told({}, 503)) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        place.inner.now += 3 * DAY_MS + 1

        assert place.run(tries=9) == 0

    (entry,) = place.inner.inner.quarantined()
    assert (entry["code"], entry["reason"]) == ("retry", "the sender's API answers 503")


def test_both_tokens_are_tried_while_one_is_exchanged(place: Place) -> None:
    def answer(_method: str, url: str, *_: Any) -> tuple[int, dict[str, str], Any]:
        return (200, {}, FORM) if "page-token-1" in url else (403, {}, {})

    with vendor(answer) as meta:
        path = place.source("meta_leads", meta.url, tokens=("page-token-1", "page-token-2"))
        place.lead(path, LEAD)
        assert place.run() == 0

    assert len(place.events()) == 3


def test_what_became_of_look_ups_is_counted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url)
        for status, expected in ((200, "told"), (404, "refused"), (500, "waits")):
            meta.answer = told(FORM, status)
            place.lead(path, f"{status}")
            capsys.readouterr()
            place.run()
            counted = capsys.readouterr().out
            assert f'"outcome":"{expected}"' in counted
            assert ('"accepted":2' in counted) == (status == 200)
            assert ('"stage":"lookup"' in counted) == (status == 404)


def test_an_answer_that_the_door_refuses_waits_beside_those_that_it_takes(place: Place) -> None:
    long = [*FORM["field_data"], {"name": "story", "values": ["x" * 40_000]}]  # type: ignore[misc]
    with vendor(told({**FORM, "field_data": long})) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        place.run()

    assert [event["type"] for event in place.events()] == ["track", "identify"]
    (entry,) = place.inner.inner.quarantined()
    assert (entry["stage"], entry["code"]) == ("collect", "event_too_large")


def test_an_answer_that_breaks_the_module_of_its_sender_is_kept(place: Place) -> None:
    kind = kind_of("meta_leads")
    assert kind is not None
    assert kind.details is not None
    broken = replace(kind, details=replace(kind.details, facts=lambda *_: [{}["missing"]]))
    with vendor(told(FORM)) as meta, patch.object(sources_lookups, "kind_of", lambda _name: broken):
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        assert place.run() == 0

    (entry,) = place.inner.inner.quarantined()
    assert entry["code"] == "unreadable"


def test_a_page_instead_of_an_answer_makes_no_event(place: Place) -> None:
    with vendor(told(b"<html>")) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        assert place.run() == 0

    assert [event["event"] for event in place.events()] == ["Lead Submitted"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"results": "' + b"x" * 2_000_000])
def test_an_answer_that_cannot_be_read_is_no_loss(place: Place, body: bytes) -> None:
    with vendor(told(body)) as hubspot:
        path = place.source("hubspot", hubspot.url)
        place.contact(path, "contact.creation", 101)
        assert place.run() == 0

    (entry,) = place.inner.inner.quarantined()
    assert entry["stage"] == "lookup"


def test_r4_a_queue_that_does_not_answer_is_not_confirmed(place: Place) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url)
        with Faults(services={"sqs"}, operations={"SendMessageBatch"}).throttle(1, times=10):
            assert place.lead(path, LEAD) == 503
        assert place.lead(path, LEAD) == 200
        place.run()

    assert len({event["messageId"] for event in place.events()}) == 3


def test_a_source_that_lost_its_token_keeps_its_look_ups(place: Place) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        (token,) = [one for one in place.inner.manage("GET", "/ads")[1]["secrets"] if one["use"] == "api_token"]
        place.inner.manage("DELETE", f"/ads/secrets/{token['id']}")
        assert place.run() == 0
        assert meta.asked == []

    (entry,) = place.inner.inner.quarantined()
    assert entry["code"] == "no_access"


def test_a_message_that_is_none_is_buried_with_its_reason(place: Place) -> None:
    place.sqs.send_message(QueueUrl=place.url, MessageBody="{}")

    assert place.run() == 0

    (buried,) = place.sqs.receive_message(QueueUrl=place.dead, MessageAttributeNames=["All"])["Messages"]
    assert buried["MessageAttributes"]["reason"]["StringValue"] == "bad_message"


def test_r15_with_little_time_left_nothing_is_begun(place: Place) -> None:
    with vendor(told(FORM)) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)

        assert place.run(left=60_000) == 1
        assert meta.asked == []


def test_s20_the_address_of_an_api_may_not_lead_inside(place: Place) -> None:
    path = place.source("meta_leads", "https://169.254.169.254/latest")
    with patch.dict(os.environ, {"HOSO_OUTBOUND_HTTP": "false"}):
        lookups.tools.cache_clear()
        place.lead(path, LEAD)
        assert place.run() == 0

    (entry,) = place.inner.inner.quarantined()
    assert entry["code"] == "bad_url"


def test_look_ups_are_asked_again_by_stage_never_mapped_and_can_be_dropped(place: Place) -> None:
    with vendor(told({}, 404)) as meta:
        path = place.source("meta_leads", meta.url)
        place.lead(path, LEAD)
        place.run()
        route = "POST /v1/quarantine/repair"

        mapped = place.inner.inner.manage(route, {"stage": "lookup", "map": "@", "dry_run": False})[1]
        dry = place.inner.inner.manage(route, {"stage": "lookup"})[1]
        assert (mapped["matched"], dry["accepted"], place.waiting()) == (0, 1, 0)

        assert place.inner.inner.manage(route, {"stage": "lookup", "dry_run": False})[1]["accepted"] == 1
        assert place.waiting() == 1
        place.inner.now += 1
        place.run()
        dropped = place.inner.inner.manage(route, {"stage": "lookup", "drop": True, "dry_run": False})[1]

    assert (dropped["accepted"], place.waiting()) == (1, 0)
