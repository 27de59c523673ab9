"""A list from a file and a bounce told by SES on a living twin: the command, the stream, the default bus."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import boto3
from typer.testing import CliRunner

from infra.cli.connection import Connection
from infra.cli.main import app
from infra.cli.serve import open_twin
from infra.cli.story import until

BOUNCES = "bounce+chi@simulator.amazonses.com"


def command(shop: Connection, *given: str) -> Any:
    found = CliRunner().invoke(app, [*given, "--json", "--url", shop.url])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def identify(shop: Connection, user: str, email: str) -> None:
    event = {"type": "identify", "userId": user, "messageId": uuid.uuid4().hex, "traits": {"email": email}}
    answer = shop.request("POST", "/v1/batch", json={"batch": [event]}, auth=(shop.write_key(), ""))
    assert answer.status_code == 200


def segments(shop: Connection, user: str) -> set[str]:
    answer = shop.request("GET", f"/v1/profiles/user_id:{user}", headers={"Authorization": f"Bearer {shop.token}"})
    return set(answer.json()["segments"]) if answer.status_code == 200 else set()


def test_r47_a_file_and_a_bounce_move_people_within_seconds(tmp_path: Path) -> None:
    with open_twin(tmp_path / "data", port=0) as shop:
        for key, rule in (
            ("vips", {"kind": "list", "key": "vip"}),
            ("unreachable", {"kind": "suppressed", "channel": "email"}),
        ):
            shop.call("PUT", f"/v1/segments/{key}", {"schema": "segment/1", "key": key, "rule": rule})
        file = tmp_path / "vip.csv"
        file.write_text("email,name\nan@example.vn,An\nbinh@example.vn,Bình\n")

        dry = command(shop, "lists", "upload", "vip", str(file), "--column", "email", "--dry-run")
        done = command(shop, "lists", "upload", "vip", str(file), "--column", "email")
        identify(shop, "u-an", "an@example.vn")
        identify(shop, "u-chi", BOUNCES)
        until(lambda: segments(shop, "u-an") == {"vips"}, "the listed person", 10)
        env = shop.request("GET", "/_twin/env").json()
        mail = boto3.client(
            "sesv2",
            region_name=env["region"],
            endpoint_url=env["aws_endpoint"],
            aws_access_key_id="twin",
            aws_secret_access_key="twin",
        )
        mail.send_email(
            FromEmailAddress="shop@example.vn",
            Destination={"ToAddresses": [BOUNCES]},
            Content={"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "x"}}}},
            EmailTags=[{"Name": "hoso-workspace", "Value": "main"}],
        )
        until(lambda: segments(shop, "u-chi") == {"unreachable"}, "the bounced address", 20)

        assert (dry["added"], done["added"], done["refused"]) == (2, 2, 0)
        assert len(list(shop.pages("/v1/suppressions", channel="email", by="channel"))) == 1
