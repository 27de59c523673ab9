"""A webhook on a living twin: made by command, signed and delivered over HTTP, stored once, on the profile."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from infra.cli.connection import Connection
from infra.cli.main import app
from infra.cli.query import stored_events
from tests.vendor_api import FORM, LEAD, told, vendor

SECRET = "TESTHASHSECRET0123456789ABCDEFGH"
KEY2 = "test-key2-0123456789abcdefghijklm"


def command(hoso: Connection, *words: str) -> Any:
    done = CliRunner().invoke(app, ["sources", *words, "--data", str(hoso.data), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def source(hoso: Connection, key: str, kind: str, secret: str) -> str:
    """The URL for the vendor."""
    made = command(hoso, "put", key, "--kind", kind)
    command(hoso, "secret", key, "--value", secret)
    return made["addresses"][0]["url"]


def signed(query: str) -> str:
    joined = "&".join(sorted(query.split("&")))
    return f"{query}&vnp_SecureHash={hmac.new(SECRET.encode(), joined.encode(), hashlib.sha512).hexdigest()}"


def events_since(hoso: Connection, started_ms: int) -> list[dict[str, Any]]:
    assert hoso.drain(60)["stuck"] == []
    return [event for event in stored_events(hoso) if event["received_at"] >= started_ms]


@pytest.mark.both_ways
def test_a_vnpay_payment_is_stored_once_and_shown(hoso: Connection) -> None:
    started = int(time.time() * 1000)
    url = source(hoso, "shop-vnpay", "vnpay", SECRET)
    query = signed(
        "vnp_Amount=45000000&vnp_OrderInfo=%C3%81o+%C4%91%E1%BA%A7m*xanh~1&vnp_PayDate=20260105140532&vnp_ResponseCode=00"
        "&vnp_TmnCode=DEMOTMN1&vnp_TransactionNo=14422574&vnp_TransactionStatus=00&vnp_TxnRef=ORD-2026-0005"
    )

    answers = [requests.get(f"{url}?{query}", timeout=20).json()["RspCode"] for _ in range(2)]
    forged = requests.get(f"{url}?{query}".replace("Amount=45", "Amount=95"), timeout=20).json()

    assert (answers, forged["RspCode"]) == (["00", "02"], "97")
    (event,) = events_since(hoso, started)
    assert (event["event"], event["properties"]["revenue"], event["timestamp"]) == (
        "Payment Succeeded",
        450000,
        "2026-01-05T07:05:32.000Z",
    )
    assert event["context"]["source"] == {
        "type": "vnpay",
        "connection_id": "shop-vnpay",
        "external_event_id": "14422574",
    }


def test_a_zalopay_payment_reaches_the_profile_that_the_order_names(hoso: Connection) -> None:
    url = source(hoso, "shop-zalopay", "zalopay", KEY2)
    data = json.dumps(
        {
            "app_id": 2553,
            "app_trans_id": "260105_ORD0005",
            "amount": 450000,
            "zp_trans_id": 260105000001234,
            "server_time": 1767596745123,
            "embed_data": json.dumps({"userId": "buyer-7"}),
        }
    )
    mac = hmac.new(KEY2.encode(), data.encode(), hashlib.sha256).hexdigest()

    answer = requests.post(url, json={"data": data, "mac": mac, "type": 1}, timeout=20).json()

    assert answer["return_code"] == 1
    assert hoso.drain(60)["stuck"] == []
    profile = hoso.call("GET", "/v1/profiles/user_id:buyer-7")
    assert [entry["event"] for entry in profile["timeline"]["items"]] == ["Payment Succeeded"]


def test_head_and_unknown_addresses_are_answered(hoso: Connection) -> None:
    url = command(hoso, "put", "letters", "--kind", "mailchimp")["addresses"][0]["url"]

    assert requests.head(url, timeout=20).status_code == 200
    assert requests.get(url[:-3] + "xyz", timeout=20).status_code == 404
    assert requests.post(url, data=b"x" * (1024 * 1024 + 1), timeout=20).status_code == 413


def digest(secret: str, message: str, name: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), message.encode(), name)


def now_ms(hoso: Connection) -> int:
    return hoso.call("GET", "/_twin/clock")["now_ms"]


def test_hubspot_signs_the_url_that_it_called(hoso: Connection) -> None:
    url = source(hoso, "crm-hubspot", "hubspot", "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy") + "?src=1&to=a%40b"
    change = {
        "eventId": 1,
        "subscriptionId": 12345,
        "portalId": 62515,
        "occurredAt": 1767596400000,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": 77123,
        "propertyName": "email",
        "propertyValue": "an.hubspot@example.com",
    }

    def send(attempt: int) -> int:
        body, stamp = json.dumps([{**change, "attemptNumber": attempt}]), str(now_ms(hoso))
        signature = digest("yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy", "POST" + url + body + stamp)
        headers = {
            "content-type": "application/json",
            "x-hubspot-signature-v3": base64.b64encode(signature).decode(),
            "x-hubspot-request-timestamp": stamp,
        }
        return requests.post(url, data=body, headers=headers, timeout=20).status_code

    assert [send(attempt) for attempt in range(3)] == [200, 200, 200]
    assert hoso.drain(60)["stuck"] == []
    profile = hoso.call("GET", "/v1/profiles/email:an.hubspot@example.com")
    assert profile["totals"]["events"] == 2
    assert {item["type"] for item in profile["identifiers"]} >= {"email", "crm_id"}


def test_an_order_signed_as_shopify_does_counts_once_on_the_buyer(hoso: Connection) -> None:
    url = source(hoso, "shop-orders", "shopify", "shopify-test-secret")
    order = {"id": 820982911946154508, "email": "buyer.shop@example.com", "total_price": "450000.00", "currency": "VND"}
    body = json.dumps(order)
    headers = {
        "content-type": "application/json",
        "x-shopify-hmac-sha256": base64.b64encode(digest("shopify-test-secret", body)).decode(),
        "x-shopify-topic": "orders/create",
        "x-shopify-webhook-id": "wh-e2e-1",
    }

    answers = [requests.post(url, data=body, headers=headers, timeout=20).status_code for _ in range(3)]
    forged = requests.post(url, data=body.replace("45", "95"), headers=headers, timeout=20).status_code

    assert (answers, forged) == ([200, 200, 200], 401)
    assert hoso.drain(60)["stuck"] == []
    totals = hoso.call("GET", "/v1/profiles/email:buyer.shop@example.com")["totals"]
    assert (totals["orders"], totals["revenue"]) == (1, 450000)


def test_an_outbound_message_of_salesforce_is_acknowledged(hoso: Connection) -> None:
    made = command(
        hoso, "put", "crm-salesforce", "--kind", "salesforce", "--settings", '{"organization_id": "00D000000000001EAA"}'
    )
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
        'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        "<OrganizationId>00D000000000001EAA</OrganizationId>"
        '<Notification><Id>04l1</Id><sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><sf:Id>003A</sf:Id>'
        "<sf:Email>an.force@example.com</sf:Email></sObject></Notification>"
        "</notifications></soapenv:Body></soapenv:Envelope>"
    )

    answer = requests.post(
        made["addresses"][0]["url"], data=body, headers={"content-type": "text/xml; charset=utf-8"}, timeout=20
    )

    assert answer.status_code == 200
    assert "<Ack>true</Ack>" in answer.text
    assert answer.headers["content-type"].startswith("text/xml")
    assert hoso.drain(60)["stuck"] == []
    found = hoso.call("GET", "/v1/profiles/crm_id:003A")
    assert found["traits"]["email"]["value"] == "an.force@example.com"


def test_unsubscribing_at_mailchimp_withdraws_consent(hoso: Connection) -> None:
    url = command(hoso, "put", "news", "--kind", "mailchimp")["addresses"][0]["url"]
    fields = {
        "fired_at": "2026-01-05 07:00:00",
        "data[id]": "8a25",
        "data[list_id]": "a6b5",
        "data[email]": "an.chimp@example.com",
    }

    assert requests.post(url, data={"type": "subscribe", **fields}, timeout=20).status_code == 200
    later = {**fields, "fired_at": "2026-01-06 07:00:00", "data[action]": "unsub"}
    assert requests.post(url, data={"type": "unsubscribe", **later}, timeout=20).status_code == 200

    assert hoso.drain(60)["stuck"] == []
    consent = hoso.call("GET", "/v1/profiles/email:an.chimp@example.com")["consent"]
    assert consent["marketing/email"]["state"] == "denied"


def test_the_command_shows_what_to_give_to_the_sender_and_exchanges_secrets(hoso: Connection) -> None:
    def says(*words: str) -> str:
        done = CliRunner().invoke(app, ["sources", *words, "--data", str(hoso.data)])
        assert done.exit_code == 0, done.output
        return done.output

    url = command(hoso, "put", "bot", "--kind", "chatbot")["addresses"][0]["url"]
    assert "hoso sources secret bot" in says("show", "bot")
    made = command(hoso, "secret", "bot")
    assert url in says("show", "bot")
    assert made["secret"] not in says("show", "bot")
    assert "success" in says("secret", "bot", "--revoke", made["id"])
    assert "bot" in says("list")
    assert command(hoso, "address", "bot")["url"] != url


def test_a_lead_that_meta_only_names_gets_the_answers_of_its_form(hoso: Connection) -> None:
    with vendor(told(FORM)) as meta:
        settings = json.dumps({"api": meta.url})
        url = command(hoso, "put", "ads-meta", "--kind", "meta_leads", "--settings", settings)["addresses"][0]["url"]
        command(hoso, "secret", "ads-meta", "--value", "meta-test-app-secret")
        command(hoso, "secret", "ads-meta", "--use", "api_token", "--value", "page-token-1")
        value = {"leadgen_id": LEAD, "page_id": "1531", "created_time": 1_767_596_399}
        entry = {"id": "1531", "time": 1_767_596_400, "changes": [{"field": "leadgen", "value": value}]}
        body = json.dumps({"object": "page", "entry": [entry]})
        headers = {"x-hub-signature-256": "sha256=" + digest("meta-test-app-secret", body).hex()}

        assert requests.post(url, data=body, headers=headers, timeout=20).status_code == 200
        assert hoso.drain(60)["stuck"] == []

    profile = hoso.call("GET", "/v1/profiles/email:an.nguyen@example.com")
    assert {entry["event"] for entry in profile["timeline"]["items"]} >= {"Lead Submitted", "Lead Answered"}
    assert profile["traits"]["name"]["value"] == "Nguyễn Thị An"


HUBSPOT = "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"


def hubspot(hoso: Connection, url: str, **change: Any) -> requests.Response:
    """A change that HubSpot tells, signed as it signs."""
    stamp = str(now_ms(hoso))
    told_change = {"eventId": 7, "subscriptionId": 1, "portalId": 6, "occurredAt": int(stamp), "attemptNumber": 0}
    body = json.dumps([{**told_change, **change}])
    signature = base64.b64encode(digest(HUBSPOT, "POST" + url + body + stamp)).decode()
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": stamp}
    return requests.post(url, data=body, headers={"content-type": "application/json", **headers}, timeout=20)


@pytest.fixture(scope="module")
def silent(hoso: Connection) -> dict[str, str]:
    """Segments of those whom a channel may not reach."""
    for channel in ("email", "zalo"):
        key, rule = f"silent-{channel}", {"kind": "suppressed", "channel": channel}
        hoso.call("PUT", f"/v1/segments/{key}", {"schema": "segment/1", "key": key, "rule": rule})
    time.sleep(6)  # a warm consumer reads its rules again
    return {"email": "silent-email", "zalo": "silent-zalo"}


def opted_out_at_hubspot(hoso: Connection) -> tuple[str, str]:
    url = source(hoso, "out-hubspot", "hubspot", HUBSPOT)
    change = {"subscriptionType": "contact.propertyChange", "propertyName": "hs_email_optout", "propertyValue": "true"}
    assert hubspot(hoso, url, objectId=88001, **change).status_code == 200
    return "crm_id:88001", "email"


def opted_out_at_salesforce(hoso: Connection) -> tuple[str, str]:
    settings = '{"organization_id": "00D000000000001EAA"}'
    made = command(hoso, "put", "out-sf", "--kind", "salesforce", "--settings", settings)
    url = made["addresses"][0]["url"]
    command(hoso, "secret", "out-sf", "--value", "salesforce-test-key")
    record = {"Id": "003OUT", "Email": "an.out@example.com", "HasOptedOutOfEmail": True}
    header = {"entityName": "Contact", "recordIds": ["003OUT"], "changeType": "UPDATE", "commitNumber": 1}
    body = json.dumps({"payload": {"ChangeEventHeader": {**header, "commitTimestamp": now_ms(hoso)}, **record}})
    headers = {"content-type": "application/json", "x-cdp-key": "salesforce-test-key"}
    assert requests.post(url, data=body, headers=headers, timeout=20).status_code == 200
    return "crm_id:003OUT", "email"


def unfollowed_at_zalo(hoso: Connection) -> tuple[str, str]:
    url = source(hoso, "out-zalo", "zalo_oa", "zalo-secret")
    stamp = str(now_ms(hoso))
    told_event = {"app_id": "43", "oa_id": "99", "event_name": "unfollow", "follower": {"id": "24"}, "timestamp": stamp}
    body = json.dumps(told_event)
    signature = hashlib.sha256(f"43{body}{stamp}zalo-secret".encode()).hexdigest()
    headers = {"content-type": "application/json", "x-zevent-signature": f"mac={signature}"}
    assert requests.post(url, data=body, headers=headers, timeout=20).status_code == 200
    return "zalo_id:99:24", "zalo"


@pytest.mark.parametrize("leaves", [opted_out_at_hubspot, opted_out_at_salesforce, unfollowed_at_zalo])
def test_who_opts_out_at_a_vendor_is_silent_on_that_channel(
    hoso: Connection, silent: dict[str, str], leaves: Callable[[Connection], tuple[str, str]]
) -> None:
    identifier, channel = leaves(hoso)

    assert hoso.drain(60)["stuck"] == []
    profile = hoso.call("GET", f"/v1/profiles/{identifier}")
    assert profile["consent"][f"marketing/{channel}"]["state"] == "denied"
    assert set(profile["segments"]) == {silent[channel]}


def test_a_contact_that_hubspot_only_names_is_asked_for(hoso: Connection) -> None:
    contact = {"id": "99001", "updatedAt": "2026-01-05T07:00:00Z"}
    held = {"firstname": "Bình", "lastname": "Trần", "email": "binh.tran@example.com", "hs_email_optout": "true"}
    with vendor(told({"results": [{**contact, "properties": held}]})) as api:
        settings = json.dumps({"api": api.url})
        url = command(hoso, "put", "ask-hubspot", "--kind", "hubspot", "--settings", settings)["addresses"][0]["url"]
        command(hoso, "secret", "ask-hubspot", "--value", HUBSPOT)
        command(hoso, "secret", "ask-hubspot", "--use", "api_token", "--value", "pat-0001")

        assert hubspot(hoso, url, objectId=99001, subscriptionType="contact.creation").status_code == 200
        assert hoso.drain(60)["stuck"] == []

    ((method, path, headers, _),) = api.asked
    assert (method, path, headers["authorization"]) == (
        "POST",
        "/crm/v3/objects/contacts/batch/read",
        "Bearer pat-0001",
    )
    profile = hoso.call("GET", "/v1/profiles/crm_id:99001")
    assert profile["traits"]["email"]["value"] == "binh.tran@example.com"
    assert profile["consent"]["marketing/email"]["state"] == "denied"
