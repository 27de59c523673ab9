"""Webhook sources by the admin API, and what holds for the deliveries of all of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import hooks
from hoso.platform.aws import client
from hoso.platform.stream import Stream, stream_client
from tests.faults import Faults
from tests.hook_world import HookWorld, hook_world

SECRET = "TESTHASHSECRET0123456789ABCDEFGH"
OLDER = "OLDHASHSECRET0123456789ABCDEFGHI"
GOOGLE = {"lead_id": "L-1", "google_key": "google-test-key", "user_column_data": []}
ALL_ROLES = ("viewer", "marketer", "analyst", "engineer", "privacy", "admin")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[HookWorld]:
    with hook_world(tmp_path) as made:
        yield made


def vnpay(secret: str = SECRET, **fields: str) -> str:
    given = {
        "vnp_Amount": "45000000",
        "vnp_PayDate": "20260105140532",
        "vnp_ResponseCode": "00",
        "vnp_TmnCode": "DEMOTMN1",
        "vnp_TransactionNo": "1",
        "vnp_TransactionStatus": "00",
        "vnp_TxnRef": "ORD-1",
        **fields,
    }
    query = "&".join(f"{name}={value}" for name, value in sorted(given.items()))
    return f"{query}&vnp_SecureHash={hmac.new(secret.encode(), query.encode(), hashlib.sha512).hexdigest()}"


def pay(place: HookWorld, path: str, secret: str = SECRET, **fields: str) -> str:
    answer = place.deliver(path, method="GET", query=vnpay(secret, **fields))
    return json.loads(answer["body"])["RspCode"]


def lead(place: HookWorld, path: str, **members: Any) -> int:
    return place.deliver(path, json.dumps({**GOOGLE, **members}))["statusCode"]


# sources and secrets


def test_a_source_is_made_listed_and_shown_with_the_address_for_its_sender(place: HookWorld) -> None:
    status, made = place.manage("PUT", "/pay", {"name": "Payments", "kind": "vnpay"})

    (address,) = made["addresses"]
    assert (status, made["kind"], made["enabled"], made["settings"]) == (200, "vnpay", True, {})
    assert "missing" in made
    assert place.manage("GET", "/pay")[1]["addresses"] == [address]
    (listed,) = place.manage("GET")[1]["items"]
    assert listed["addresses"][0]["path"] != address["path"]
    assert place.manage("POST", "/pay/secrets", {"secret": SECRET})[0] == 200
    assert "missing" not in place.manage("GET", "/pay")[1]
    assert pay(place, address["path"]) == "00"


def test_sources_are_listed_in_pages(place: HookWorld) -> None:
    for key in ("a", "b", "c"):
        place.source(key, "vnpay")

    page = place.manage("GET", query={"limit": "2"})[1]
    rest = place.manage("GET", query={"limit": "2", "cursor": page["next"]})[1]

    assert [item["key"] for item in page["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next"] is None


def test_s2_secrets_are_shown_masked_and_stand_in_no_document_log_or_quarantine(
    place: HookWorld, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})
    assert lead(place, path) == 200
    assert lead(place, path, lead_id="") == 400

    documents = [
        item for item in client("dynamodb").scan(TableName="control")["Items"] if "#secret" not in item["pk"]["S"]
    ]
    seen = str(documents) + str(place.manage("GET", "/lead")) + str(place.events()) + str(place.inner.quarantined())
    seen += str([record.__dict__ for record in caplog.records]) + "".join(capsys.readouterr())
    assert "google-test-key" not in seen
    assert path.rpartition("/")[2] not in str(documents)
    assert "…-key" in seen


def test_s3_two_secrets_live_while_one_is_exchanged(place: HookWorld) -> None:
    path = place.source("pay", "vnpay", secrets={"signing": [OLDER]})
    assert pay(place, path, OLDER) == "00"
    added = place.manage("POST", "/pay/secrets", {"secret": SECRET})[1]
    assert place.manage("POST", "/pay/secrets", {"secret": "a-third-secret"})[0] == 409
    place.now += 31_000
    assert [pay(place, path, secret, vnp_TransactionNo="2") for secret in (OLDER, SECRET)] == ["00", "02"]

    (old,) = [held for held in place.manage("GET", "/pay")[1]["secrets"] if held["id"] != added["id"]]
    assert place.manage("DELETE", f"/pay/secrets/{old['id']}")[0] == 200
    place.now += 31_000
    assert [pay(place, path, secret, vnp_TransactionNo="3") for secret in (OLDER, SECRET)] == ["97", "00"]
    assert place.manage("DELETE", f"/pay/secrets/{old['id']}")[0] == 404


def test_o5_a_signature_that_does_not_hold_is_counted_by_kind(
    place: HookWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place.source("pay", "vnpay", secrets={"signing": [SECRET]})
    capsys.readouterr()

    assert pay(place, path, "another-secret") == "97"

    assert '"verification_failed":1,"source_kind":"vnpay"' in capsys.readouterr().out


def test_s3_an_address_is_exchanged_the_same_way(place: HookWorld) -> None:
    first = place.source("news", "mailchimp")
    second = place.manage("POST", "/news/addresses")[1]
    assert place.manage("POST", "/news/addresses")[0] == 409
    assert [place.deliver(path, method="GET")["statusCode"] for path in (first, second["path"])] == [200, 200]

    (old,) = [held for held in place.manage("GET", "/news")[1]["addresses"] if held["id"] != second["id"]]
    assert place.manage("DELETE", f"/news/addresses/{old['id']}")[0] == 200
    place.now += 31_000
    assert [place.deliver(path, method="GET")["statusCode"] for path in (first, second["path"])] == [404, 200]


def test_a_disabled_source_takes_nothing(place: HookWorld) -> None:
    path = place.source("news", "mailchimp")
    place.manage("PUT", "/news", {"name": "n", "kind": "mailchimp", "enabled": False})
    place.now += 31_000

    assert place.deliver(path, method="GET")["statusCode"] == 404


def test_a_made_secret_is_shown_once(place: HookWorld) -> None:
    place.source("crm", "crm")

    made = place.manage("POST", "/crm/secrets", {})[1]

    assert made["secret"].startswith("whsec_")
    assert made["secret"] not in str(place.manage("GET", "/crm"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/Shop", {"name": "x", "kind": "vnpay"}, 400),
        ("PUT", "/shop", {"name": "x", "kind": "fax"}, 400),
        ("PUT", "/shop", {"name": "x", "kind": "vnpay", "settings": {"secret": "s"}}, 400),
        ("PUT", "/shop", {"name": "x", "kind": "zalopay", "settings": {"duplicate_code": 3}}, 400),
        ("PUT", "/shop", {"name": "x", "kind": "salesforce"}, 400),
        ("PUT", "/shop", {"name": "x", "kind": "webhook"}, 400),
        ("PUT", "/shop", {"name": "x", "kind": "webhook", "settings": {"mapping": {"records": "a["}}}, 400),
        ("PUT", "/server", {"name": "x", "kind": "vnpay"}, 409),
        ("PUT", "/old", {"name": "x", "kind": "hubspot"}, 409),
        ("GET", "/server", None, 404),
        ("GET", "/nothing", None, 404),
        ("POST", "/nothing/secrets", {}, 404),
        ("POST", "/nothing/addresses", {}, 404),
        ("POST", "/old/secrets", {"use": "verify", "secret": "long enough"}, 400),
        ("POST", "/old/secrets", {"secret": "short"}, 400),
        ("POST", "/old/secrets", {"secret": "with\nanother line"}, 400),
        ("DELETE", "/old/secrets/0000", None, 404),
        ("DELETE", "/nothing/addresses/0000", None, 404),
    ],
)
def test_bad_orders_are_refused(place: HookWorld, method: str, path: str, body: Any, status: int) -> None:
    place.inner.source("server", "server")
    place.source("old", "vnpay")

    answer = place.manage(method, path, body)

    assert answer[0] == status, answer
    assert "s3cret" not in str(answer)


@pytest.mark.parametrize(
    ("method", "path", "body", "allowed"),
    [
        ("GET", "", None, set(ALL_ROLES)),
        ("GET", "/a", None, {"engineer", "admin"}),
        ("PUT", "/a", {"name": "a", "kind": "vnpay"}, {"engineer", "admin"}),
        ("POST", "/a/secrets", {}, {"engineer", "admin"}),
        ("DELETE", "/a/secrets/1", None, {"engineer", "admin"}),
        ("POST", "/a/addresses", {}, {"engineer", "admin"}),
        ("DELETE", "/a/addresses/1", None, {"engineer", "admin"}),
    ],
)
def test_s11_each_route_wants_its_role(place: HookWorld, method: str, path: str, body: Any, allowed: set[str]) -> None:
    for role in (*ALL_ROLES, "stranger"):
        status = place.manage(method, path, body, roles=f"[{role}]")[0]
        assert (status == 403) is (role not in allowed), role


def test_s41_changes_are_audited_without_secrets(place: HookWorld) -> None:
    path = place.source("pay", "vnpay", secrets={"signing": [SECRET]})
    held = place.manage("GET", "/pay")[1]["secrets"][0]["id"]
    place.manage("DELETE", f"/pay/secrets/{held}")

    entries = list(place.inner.table.query_all("main#audit"))
    assert [entry["action"] for entry in entries if entry["subject"].startswith("pay")].count("hook.add") == 2
    assert {entry["action"] for entry in entries} == {"hook.put", "hook.add", "hook.revoke"}
    assert SECRET not in str(entries)
    assert path.rpartition("/")[2] not in str(entries)


def test_a_webhook_source_has_no_write_keys_and_is_not_made_a_tracking_source(place: HookWorld) -> None:
    place.source("pay", "vnpay")

    assert place.inner.manage("POST /v1/sources/{key}/keys", path={"key": "pay"})[0] == 409
    taken = place.inner.manage("PUT /v1/sources/{key}", {"name": "x", "kind": "web"}, path={"key": "pay"})
    assert taken[0] == 409
    assert [item["kind"] for item in place.inner.manage("GET /v1/sources")[1]["items"]] == ["vnpay"]


# deliveries


def test_s4_workspace_and_source_come_from_the_address_alone(place: HookWorld) -> None:
    path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})
    forged = {**GOOGLE, "workspace": "other", "workspaceId": "other", "writeKey": "wk_x", "source": "evil"}
    headers = {"x-workspace": "other", "authorization": "Basic b3RoZXI6"}

    assert place.deliver(path, json.dumps(forged), headers=headers, query="workspace=other")["statusCode"] == 200

    assert {(record.workspace, record.source) for record in place.inner.records()} == {("main", "lead")}


@pytest.mark.parametrize(
    "path", ["/v1/hooks/", "/v1/hooks/x", "/v1/hooks/a/b", "/v1/hooks/" + "x" * 5000, "/v1/hooks/%00"]
)
def test_unknown_addresses_are_all_answered_alike(place: HookWorld, path: str) -> None:
    answer = place.deliver(path, "{}")

    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (404, "not_found")


def test_r4_what_is_not_stored_is_not_confirmed(place: HookWorld) -> None:
    pay_path = place.source("pay", "vnpay", secrets={"signing": [SECRET]})
    lead_path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})
    dead = Stream("nothing", stream_client(), sleep=lambda _: None, now_s=iter(range(10_000)).__next__)
    broken = replace(hooks.reception(), store=replace(hooks.reception().store, stream=dead), clock=lambda: place.now)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HookWorld, "deliver", _deliver_with(broken))
        assert pay(place, pay_path) == "99"
        assert lead(place, lead_path) == 503

    assert place.events() == []
    assert pay(place, pay_path) == "00"


def _deliver_with(reception: Any) -> Any:
    def deliver(_place: HookWorld, path: str, body: str = "", method: str = "POST", query: str = "") -> Any:
        http = {"method": method, "path": path, "sourceIp": ""}
        event = {
            "rawPath": path,
            "rawQueryString": query,
            "headers": {},
            "requestContext": {"http": http},
            "body": body,
        }
        return reception.receive(event)

    return deliver


def test_r9_a_mark_that_is_not_written_costs_no_payment(place: HookWorld) -> None:
    path = place.source("pay", "vnpay", secrets={"signing": [SECRET]})
    with Faults(services={"dynamodb"}, operations={"PutItem"}).throttle(1, times=10):
        assert pay(place, path) == "00"

    assert pay(place, path) == "00"
    assert len({event["messageId"] for event in place.events()}) == 1


@pytest.mark.parametrize(
    ("size", "status"), [(1024 * 1024 - 1, 401), (1024 * 1024, 401), (1024 * 1024 + 1, 413), (3_000_000, 413)]
)
@pytest.mark.parametrize("as_base64", [False, True])
def test_r3_bodies_are_bounded_before_they_are_read(place: HookWorld, size: int, status: int, as_base64: bool) -> None:
    path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})
    body = json.dumps({"google_key": "wrong", "pad": ""})
    body = body.replace('"pad": ""', '"pad": "' + "x" * (size - len(body)) + '"')
    assert len(body) == size

    assert place.deliver(path, body, as_base64=as_base64)["statusCode"] == status


def test_s6_a_packed_body_is_not_unpacked(place: HookWorld) -> None:
    path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})

    assert place.deliver(path, json.dumps(GOOGLE), headers={"content-encoding": "gzip"})["statusCode"] == 400


def test_the_signature_is_over_the_bytes_however_the_gateway_hands_them_over(place: HookWorld) -> None:
    path = place.source("shop", "shopify", secrets={"signing": ["shopify-test-secret"]})
    body = '{"id": 1,\r\n "name":  "Đầm\\u0020xanh" }'
    headers = {
        "x-shopify-hmac-sha256": base64.b64encode(hmac.digest(b"shopify-test-secret", body.encode(), "sha256")).decode()
    }

    answers = [place.deliver(path, body, headers=headers, as_base64=form)["statusCode"] for form in (False, True)]

    assert answers == [200, 200]


def test_s7_a_flood_is_told_to_wait(place: HookWorld) -> None:
    path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})
    settings = {"name": "lead", "kind": "google_leads", "events_per_minute": 2}
    assert place.manage("PUT", "/lead", settings)[1]["events_per_minute"] == 2

    answers = [lead(place, path, lead_id=f"L-{n}") for n in range(4)]

    assert answers == [200, 200, 429, 429]
    assert len(place.events()) == 2


@pytest.mark.parametrize("fault", [KeyError("x"), RecursionError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")])
def test_a_module_that_breaks_is_bad_input_not_a_breakdown(
    place: HookWorld, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    from hoso.collect.sources import kind_of

    known = kind_of("google_leads")
    assert known is not None

    def broken(_delivery: Any) -> Any:
        raise fault

    monkeypatch.setattr("hoso.collect.sources.reception.kind_of", lambda _name: replace(known, facts=broken))
    path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})

    assert lead(place, path) == 400
    (entry,) = place.inner.quarantined()
    assert entry["rows"][0]["code"] == "unreadable"


# the quarantine


def test_a_kept_delivery_is_repaired_and_replayed_by_its_senders_module(place: HookWorld) -> None:
    path = place.source("lead", "google_leads", secrets={"signing": ["google-test-key"]})
    told = [{"column_id": "EMAIL", "string_value": "an@example.com"}]
    assert lead(place, path, lead_id="", user_column_data=told) == 400
    (entry,) = place.inner.quarantined()
    kept = entry["rows"][0]["payload"]
    replay = "POST /v1/quarantine/{id}/replay"

    refused = place.inner.manage(replay, path={"id": entry["id"]})[1]
    assert [row["code"] for row in refused["rejected"]] == ["missing_field"]
    fixed = {**kept, "body": kept["body"].replace('"lead_id": ""', '"lead_id": "L-9"')}
    done = place.inner.manage(replay, {"rows": [{"index": 0, "payload": fixed}]}, path={"id": entry["id"]})[1]

    assert done["accepted"] == 1
    assert {event.get("event") or event["type"] for event in place.events()} == {"identify", "Lead Submitted"}
    assert lead(place, path, lead_id="L-9", user_column_data=told) == 200
    assert len({event["messageId"] for event in place.events()}) == 2


def test_a_refused_presence_leaves_no_trace_of_what_was_sent(place: HookWorld) -> None:
    secret = "whsec_Y2RwLXRlc3Qtc2lnbmluZy1rZXktMDEyMzQ1Njc4OSE="
    path = place.source("door", "presence", secrets={"signing": [secret]})
    body = '{"type":"presence_detected","data":{"store_id":"A","person_token":"t","embedding":[0.123456]}}'
    key, stamp = base64.b64decode(secret[6:]), str(place.now // 1000)
    signature = base64.b64encode(hmac.digest(key, f"m.{stamp}.{body}".encode(), "sha256")).decode()
    headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}"}

    assert place.deliver(path, body, headers=headers)["statusCode"] == 400

    (entry,) = place.inner.quarantined()
    assert entry["code"] == "biometric_refused"
    assert "0.123456" not in str(entry)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_signatures_of_hubspot_without_a_time_are_taken_only_where_the_settings_say_so(
    place: HookWorld, version: str
) -> None:
    path = place.source("crm", "hubspot", secrets={"signing": ["hubspot-secret"]})
    middle = f"POSThttps://cdp.example.com{path}" if version == "v2" else ""
    headers = {
        "x-hubspot-signature-version": version,
        "x-hubspot-signature": hashlib.sha256(f"hubspot-secret{middle}[]".encode()).hexdigest(),
    }

    assert place.deliver(path, "[]", headers=headers)["statusCode"] == 401
    place.manage("PUT", "/crm", {"name": "crm", "kind": "hubspot", "settings": {"old_signatures": True}})
    place.now += 31_000
    assert place.deliver(path, "[]", headers=headers)["statusCode"] == 200
