"""A webhook on a living twin: made by command, signed and delivered over HTTP, stored once, on the profile."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import requests
from typer.testing import CliRunner

from infra.cli.connection import Connection
from infra.cli.main import app
from infra.cli.query import stored_events

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
