"""By the command line on a twin: repair what was refused, rebuild from the archive, and nobody is sent anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from typer.testing import CliRunner, Result

from hoso.model.record import Event, Record, pack
from hoso.model.time import format_instant
from infra.cli import samples, story
from infra.cli.connection import Connection
from infra.cli.main import app
from infra.cli.receiver import Audience, audience
from infra.cli.serve import open_twin
from infra.cli.story import OLD_PRICE, Visitor, set_price, until
from tests.e2e.conftest import assert_permitted
from tests.e2e.test_files import bucket_of_the_twin

NOW = 1_795_358_100_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Connection, Audience]]:
    """A twin with the documents of the sample store, and the ads audience that its webhook calls."""
    folder = tmp_path_factory.mktemp("repair")
    with (
        open_twin(folder, port=0) as connection,
        audience(story.SECRET, folder / "audience.ndjson") as sink,
    ):
        samples.load_documents(connection, sink.url, story.SECRET)
        set_price(connection, OLD_PRICE)
        yield connection, sink
        assert_permitted(connection)


@pytest.fixture
def twin(shop: tuple[Connection, Audience]) -> Connection:
    return shop[0]


def hoso(twin: Connection, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--data", str(twin.data)])


def test_what_was_refused_is_repaired_by_a_mapping_and_counted(twin: Connection) -> None:
    event = {"type": "track", "userId": "repair-1", "messageId": "repair-1", "properties": {"name": "Paid"}}
    body = {"batch": [event, {**event, "event": "Seen", "messageId": "repair-2"}]}
    answer = twin.request("POST", "/v1/batch", json=body, auth=(twin.write_key(), "")).json()
    assert [refused["code"] for refused in answer["rejected"]] == ["missing_event"]
    mapping = ("--code", "missing_event", "--map", "merge(@, {event: properties.name})", "--json")

    tried = hoso(twin, "quarantine", "repair", *mapping).stdout.splitlines()
    assert json.loads(tried[0])["after"]["event"] == "Paid"
    done = hoso(twin, "quarantine", "repair", *mapping, "--apply").stdout.splitlines()

    assert json.loads(done[-1]) == {"matched": 1, "accepted": 1, "dry_run": False}
    assert twin.drain(60)["stuck"] == []
    assert twin.call("GET", "/v1/profiles/user_id:repair-1")["totals"]["events"] == 2
    assert hoso(twin, "quarantine", "--json").stdout == ""
    figures = json.loads(hoso(twin, "status", "--json").stdout)
    assert figures["refused"]["code"]["missing_event"] == 1
    assert figures["quarantined"]["stage"]["collect"] == 1


def test_p2_a_message_under_two_identifiers_is_taken_out_by_the_command_line(twin: Connection) -> None:
    event = {"type": "track", "event": "Seen", "messageId": "twice-1"}
    since = format_instant(twin.request("GET", "/_twin/clock").json()["now_ms"] - 60_000)
    for ids in ({"anonymousId": "twice-a"}, {"userId": "twice-u"}):
        body = {"batch": [{**event, **ids}]}
        assert twin.request("POST", "/v1/batch", json=body, auth=(twin.write_key(), "")).status_code == 200
        assert twin.drain(60)["stuck"] == []
    (found,) = [json.loads(line) for line in hoso(twin, "duplicates", "--from", since, "--json").stdout.splitlines()]
    assert [copy["value"] for copy in found["copies"]] == ["twice-a", "twice-u"]

    tried = json.loads(hoso(twin, "duplicates", "repair", "--from", since).stdout)
    done = json.loads(hoso(twin, "duplicates", "repair", "--from", since, "--apply").stdout)

    assert (tried["dry_run"], tried["struck"], done["struck"]) == (True, 1, 1)
    people = [twin.call("GET", f"/v1/profiles/{who}") for who in ("anonymous_id:twice-a", "user_id:twice-u")]
    assert [person["totals"]["events"] for person in people] == [1, 0]


def test_r44_a_batch_that_was_given_up_is_done_again_by_the_command_line(twin: Connection) -> None:
    event = Event("given-up-1", NOW, None, "Seen", [], {"type": "track", "event": "Seen", "messageId": "given-up-1"})
    record = pack(Record("main", "local-server", NOW, ("user_id", "given-up"), [event]))
    kinesis = {"sequenceNumber": "1", "data": base64.b64encode(record).decode(), "approximateArrivalTimestamp": 1.0}
    s3, bucket = bucket_of_the_twin()
    for function in ("ConsumeFunction", "ArchiveFunction"):
        document = {
            "requestContext": {"functionArn": f"arn:aws:lambda:r:1:function:x-{function}-y"},
            "payload": json.dumps({"Records": [{"eventID": "shardId-0:1", "kinesis": kinesis}]}),
        }
        s3.put_object(Bucket=bucket, Key=f"aws/lambda/{function}/shardId-0/x", Body=json.dumps(document).encode())
    listed = [json.loads(line) for line in hoso(twin, "redrive", "batches", "list", "--json").stdout.splitlines()]
    assert [one["function"] for one in listed] == ["ArchiveFunction", "ConsumeFunction"]
    shown = json.loads(hoso(twin, "redrive", "batches", "show", listed[0]["id"]).stdout)
    assert len(shown["event"]["Records"]) == 1

    answer = json.loads(hoso(twin, "redrive", "batches", "replay").stdout)

    assert [one["status"] for one in answer["items"]] == ["done", "done"]
    assert twin.call("GET", "/v1/profiles/user_id:given-up")["totals"]["events"] == 1
    assert hoso(twin, "redrive", "batches", "list", "--json").stdout == ""


def test_s51_a_person_is_erased_by_the_command_line_and_what_comes_late_stays_out(twin: Connection) -> None:
    clock = twin.request("GET", "/_twin/clock").json()["now_ms"]
    event = {"type": "track", "event": "Seen", "userId": "erase-1", "timestamp": format_instant(clock - 60_000)}

    def send(message: str, **more: Any) -> None:
        body = {"batch": [{**event, "messageId": message, **more}]}
        assert twin.request("POST", "/v1/batch", json=body, auth=(twin.write_key(), "")).status_code == 200
        assert twin.drain(60)["stuck"] == []

    send("erase-1", anonymousId="erase-a")
    send("erase-2", context={"traits": {"email": "erase@example.vn"}})
    plan = json.loads(hoso(twin, "erase", "user_id:erase-1", "--dry-run", "--json").stdout)
    assert (plan["dry_run"], plan["counts"]["events"], plan["identifiers"]["anonymous_id"]) == (True, 2, 1)
    assert "erase-1" in hoso(twin, "events", "--json").stdout

    done = json.loads(hoso(twin, "erase", "user_id:erase-1", "--json").stdout)
    send("erase-3")

    assert (done["state"], done["archive"]) == ("settling", "pending")
    assert twin.request("GET", "/v1/profiles/user_id:erase-1", headers=admin(twin)).status_code == 404
    assert "erase-1" not in hoso(twin, "events", "--json").stdout
    assert json.loads(hoso(twin, "status", "--json").stdout)["erased"]["total"] == 1
    assert json.loads(hoso(twin, "erasures", "--json").stdout)["id"] == done["id"]
    assert json.loads(hoso(twin, "erasures", done["id"]).stdout)["counts"] == plan["counts"]
    twin.request("POST", "/_twin/clock", json={"advance_ms": 16 * 60_000})
    path = f"/v1/erasures/{done['id']}"
    until(lambda: twin.call("GET", path)["state"] == "partial", "is looked at again", 30)


def test_s3_keys_are_made_rotated_and_revoked_by_the_command_line(twin: Connection) -> None:
    assert set(json.loads(hoso(twin, "keys", "--json").stdout)) >= {"local-web", "local-server", "admin"}
    assert hoso(twin, "keys", "create", "till", "--kind", "server").exit_code == 0
    first = json.loads(hoso(twin, "keys", "new", "till", "--json").stdout)
    second = json.loads(hoso(twin, "keys", "rotate", "till", "--json").stdout)
    assert hoso(twin, "keys", "revoke", "till", first["prefix"]).exit_code == 0
    twin.request("POST", "/_twin/clock", json={"advance_ms": 60_000})

    event = {"type": "track", "event": "E", "userId": "u"}
    statuses = [twin.request("POST", "/v1/t", json=event, auth=(key["key"], "")).status_code for key in (first, second)]
    assert statuses == [401, 200]


def test_r48_people_are_restored_from_the_archive_and_no_channel_is_called(shop: tuple[Connection, Audience]) -> None:
    twin, sink = shop
    visitor = Visitor(twin, "restored@example.vn")
    visitor.looks()
    visitor.subscribes()
    until(visitor.is_member, "enters the segment", 30)
    assert twin.drain(60)["stuck"] == []
    before, told = known(twin), len(sink.messages)
    assert told > 0
    compared = json.loads(hoso(twin, "replay", "--from", "2020-01-01T00:00:00Z", "--json").stdout)
    assert compared["report"]["equal"], compared
    empty(twin)
    assert twin.request("GET", "/v1/profiles/email:restored@example.vn", headers=admin(twin)).status_code == 404

    restored = hoso(twin, "replay", "--from", "2020-01-01T00:00:00Z", "--into", "live", "--restore", "--json")

    assert restored.exit_code == 0, restored.stdout
    assert twin.drain(60)["stuck"] == []
    assert known(twin) == before
    assert visitor.is_member()
    assert len(sink.messages) == told
    assert list(twin.pages("/v1/deliveries")) == []


def test_p4_identity_rules_are_switched_and_switched_back_by_the_command_line(twin: Connection, tmp_path: Path) -> None:
    event = {"type": "identify", "userId": "switch-1", "messageId": "switch-1"}
    events = [{**event, "traits": {"phone": "0901234599"}}, {**event, "messageId": "switch-2"}]
    assert twin.request("POST", "/v1/batch", json={"batch": events}, auth=(twin.write_key(), "")).status_code == 200
    rules, former = tmp_path / "rules.json", tmp_path / "former.json"
    rules.write_text(json.dumps({"schema": "identity/1", "types": {"phone": {"rank": 0.5, "limit": 5}}}))
    former.write_text(json.dumps({"schema": "identity/1"}))
    refused = hoso(twin, "identity", "rules", "apply", str(rules))
    assert (refused.exit_code, "not previewed" in str(refused.exception or refused.output)) == (1, True)

    ready = json.loads(hoso(twin, "identity", "switch", str(rules), "--json").stdout)
    assert (ready["status"], ready["report"]["compared"]["equal"]) == ("ready", False)
    before = twin.call("GET", "/v1/profiles/user_id:switch-1")
    assert before["totals"]["events"] == 2
    shown = hoso(twin, "identity", "switch", "report")
    assert "people changed" in shown.stdout
    done = hoso(twin, "identity", "switch", "commit", ready["id"], "--yes", "--lag-s", "0", "--json")

    assert done.exit_code == 0, done.stdout
    assert json.loads(done.stdout)["moved"] >= 1
    identifiers = twin.call("GET", "/v1/profiles/user_id:switch-1")["identifiers"]
    assert [one["type"] for one in identifiers[:2]] == ["phone", "user_id"]
    ready = json.loads(hoso(twin, "identity", "switch", str(former), "--json").stdout)
    done = hoso(twin, "identity", "switch", "commit", ready["id"], "--yes", "--lag-s", "0", "--json")
    assert done.exit_code == 0, done.stdout
    after = twin.call("GET", "/v1/profiles/phone:+84901234599")
    assert (after["profile_id"], after["totals"]["events"]) == (before["profile_id"], 2)
    statuses = [json.loads(line) for line in hoso(twin, "identity", "switch", "status", "--json").stdout.splitlines()]
    assert [one["status"] for one in statuses] == ["done", "done"]


def known(twin: Connection) -> dict[str, Any]:
    """The person without its memberships and computed values, whose times are those of the rebuild and of the look."""
    shown = twin.call("GET", "/v1/profiles/email:restored@example.vn")
    return {name: value for name, value in shown.items() if name not in ("segments", "computed_traits")}


def empty(twin: Connection) -> None:
    """Lose the tables of people, announcements and deliveries."""
    told = twin.request("GET", "/_twin/env").json()
    session = botocore.session.Session()
    session.set_credentials("twin", "twin")
    client = session.create_client("dynamodb", region_name=told["region"], endpoint_url=told["aws_endpoint"])
    for path, name in told["names"].items():
        if path.rpartition("/")[2] in ("Profiles", "Outbox", "Delivery") and name in told["tables"].values():
            for item in client.scan(TableName=name)["Items"]:
                client.delete_item(TableName=name, Key={"pk": item["pk"], "sk": item["sk"]})


def admin(twin: Connection) -> dict[str, str]:
    return {"Authorization": f"Bearer {twin.token}"}
