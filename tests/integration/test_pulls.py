"""Bulk files of CRMs on a schedule: window, job, file, import, next window; trouble, kills, races."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest

from hoso.collect.handlers import imports, pulls
from hoso.collect.pulls import contract, work
from hoso.model.time import HOUR_MS, MINUTE_MS, parse_instant
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.http import NoAnswer, Outbound
from hoso.platform.objects import Objects
from tests.hook_world import HookWorld, hook_world
from tests.vendor_api import Vendor, vendor

SINCE = "2026-01-05T00:00:00Z"
BEGIN = parse_instant(SINCE) or 0
LEADS = (
    "id,email,firstName,lastName,phone,unsubscribed,createdAt,updatedAt\n"
    "17,an.nguyen@example.com,An,Nguyễn,0912345678,true,2026-01-05T01:00:00Z,2026-01-05T02:00:00Z\n"
)
ACTIVITIES = (
    "marketoGUID,leadId,activityDate,activityTypeId,campaignId,primaryAttributeValueId,primaryAttributeValue,attributes\n"
    '9001,17,2026-01-05T03:00:00Z,10,5,44,Tết,"{""Device"": ""iPhone""}"\n'
)
CONTACTS = "Id,SystemModstamp,IsDeleted,Email,FirstName\n003A,2026-01-05T02:00:00.000Z,false,binh@example.com,Bình\n"
MORE_CONTACTS = "Id,SystemModstamp,IsDeleted,Email,FirstName\n003B,2026-01-05T02:30:00.000Z,false,chi@example.com,Chi\n"
Answer = tuple[int, dict[str, str], Any]


class Context:
    """Time enough."""

    left = 900_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left


class Crm:
    """Marketo and Salesforce as far as pulls ask them. ``faults`` answer in the place of the next questions."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.states = ["Queued", "Completed"]
        self.faults: list[Answer | None] = []
        self.leads = LEADS
        self.windows: list[tuple[str, str]] = []

    def __call__(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        self.asked.append((method, path, json.loads(body) if body[:1] == b"{" else body.decode()))
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return fault
        if "oauth" in path:
            given = query or parse_qs(body.decode())
            good = given["client_secret"] == ["bulk-secret-1"]
            return (200, {}, {"access_token": "T"}) if good else (401, {}, {})
        if headers.get("authorization") != "Bearer T":
            return 401, {}, {}
        return self.salesforce(method, path, query) if "/services/" in path else self.marketo(path)

    def marketo(self, path: str) -> Answer:
        kind = path.split("/")[3]
        if path.endswith("create.json"):
            span = next(iter(self.asked[-1][2]["filter"].values()))
            self.windows.append((span["startAt"], span["endAt"]))
            return 200, {}, {"success": True, "result": [{"exportId": f"ex-{kind}", "status": "Created"}]}
        if path.endswith("enqueue.json"):
            return 200, {}, {"success": True, "result": [{"exportId": f"ex-{kind}", "status": "Queued"}]}
        if path.endswith("status.json"):
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return 200, {}, {"success": True, "result": [{"exportId": f"ex-{kind}", "status": state}]}
        return 200, {}, (self.leads if kind == "leads" else ACTIVITIES).encode()

    def salesforce(self, method: str, path: str, query: dict[str, list[str]]) -> Answer:
        if method == "POST":
            return 200, {}, {"id": "750A", "state": "UploadComplete"}
        if not path.endswith("/results"):
            return 200, {}, {"id": "750A", "state": "JobComplete"}
        if "locator" in query:
            return 200, {"Sforce-Locator": "null"}, MORE_CONTACTS.encode()
        return 200, {"Sforce-Locator": "MTAw"}, CONTACTS.encode()


class Place:
    """The schedule, by hand, and what it drops, imported."""

    def __init__(self, inner: HookWorld, crm: Crm, api: Vendor) -> None:
        self.inner, self.crm, self.api = inner, crm, api
        self.now = BEGIN + 6 * HOUR_MS
        self._imported: set[str] = set()

    def marketo(self, secret: str | None = "bulk-secret-1", settings: Any = None, **more: Any) -> None:
        pull = {"api": self.api.url, "client_id": "app", "since": SINCE, "objects": ["leads"], **more}
        secrets = {"api_token": [secret]} if secret else {}
        self.inner.source("crm", "marketo", {**(settings or {}), "pull": pull}, secrets)

    def salesforce(self, settings: Any = None, **more: Any) -> None:
        pull = {"api": self.api.url, "client_id": "app", "since": SINCE, **more}
        settings = {"organization_id": "00D000000000001", **(settings or {}), "pull": pull}
        self.inner.source("sf", "salesforce", settings, {"api_token": ["bulk-secret-1"]})

    def tick(self, minutes: int = 15) -> None:
        """The schedule once, and the time to the next."""
        here = pulls.tools()
        frozen = here._replace(pulls=replace(here.pulls, clock=lambda: self.now, uniform=lambda _low, high: high))
        with patch.object(pulls, "tools", lambda: frozen):
            pulls.handler({}, Context())
        self.now += minutes * MINUTE_MS

    def files(self) -> list[str]:
        pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="imports/")
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def imported(self) -> list[dict[str, Any]]:
        """Import what was dropped since; all events on the stream, by their ids."""
        for key in self.files():
            if key not in self._imported:
                self._imported.add(key)
                imports.dropped({"detail": {"object": {"key": key}}}, None)
        return list({event["messageId"]: event for event in self.inner.events()}.values())

    def standing(self, source: str = "crm") -> list[dict[str, Any]]:
        status, told = self.inner.manage("GET", f"/{source}/pulls")
        assert status == 200
        return told["items"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    crm = Crm()
    with patch.dict(os.environ, {"HOSO_OUTBOUND_HTTP": "true"}), vendor(crm) as api, hook_world(tmp_path) as inner:
        for cached in (pulls.tools, imports.tools):
            cached.cache_clear()
        yield Place(inner, crm, api)
        for cached in (pulls.tools, imports.tools):
            cached.cache_clear()


def test_leads_and_activities_of_marketo_become_events(place: Place) -> None:
    place.marketo(objects=["leads", "activities"])
    place.crm.states = ["Completed"]

    place.tick()
    assert place.files() == []
    place.tick()

    events = place.imported()
    assert sorted((event["type"], event.get("event", "")) for event in events) == [
        ("identify", ""),
        ("track", "Consent Updated"),
        ("track", "Email Opened"),
    ]
    (identify,) = [event for event in events if event["type"] == "identify"]
    assert identify["traits"]["email"] == "an.nguyen@example.com"
    assert identify["timestamp"] == "2026-01-05T02:00:00.000Z"
    assert [(one["object"], one["since"], one["files"], one["trouble"]) for one in place.standing()] == [
        ("activities", "2026-01-05T05:59:00.000Z", 1, None),
        ("leads", "2026-01-05T05:59:00.000Z", 1, None),
    ]


def test_windows_meet_without_a_gap_and_a_job_is_waited_for(place: Place) -> None:
    place.marketo()
    for _ in range(12):
        place.tick()

    assert place.crm.windows == [
        ("2026-01-05T00:00:00.000Z", "2026-01-05T05:58:59.000Z"),
        ("2026-01-05T05:59:00.000Z", "2026-01-05T07:28:59.000Z"),
        ("2026-01-05T07:29:00.000Z", "2026-01-05T08:43:59.000Z"),
    ]
    assert {url for _, url, _ in place.crm.asked} >= {"/bulk/v1/leads/export/ex-leads/enqueue.json"}


def test_a_bulk_query_of_salesforce_comes_page_by_page(place: Place) -> None:
    place.salesforce(objects={"Contact": ["Email", "FirstName"]})
    place.tick()
    place.tick()

    (query,) = [told["query"] for method, _, told in place.crm.asked if method == "POST" and "query" in told]
    assert query == (
        "SELECT Id, SystemModstamp, IsDeleted, Email, FirstName FROM Contact "
        "WHERE SystemModstamp >= 2026-01-05T00:00:00.000Z AND SystemModstamp < 2026-01-05T05:59:00.000Z"
    )
    people = [event["traits"]["email"] for event in place.imported() if event["type"] == "identify"]
    assert sorted(people) == ["binh@example.com", "chi@example.com"]
    assert place.standing("sf")[0]["files"] == 2


def test_rows_name_people_by_the_type_of_identifier_of_their_source(place: Place) -> None:
    place.marketo(objects=["leads", "activities"], settings={"id_type": "marketo_lead"})
    place.salesforce(objects={"Contact": ["Email"]}, settings={"id_type": "sf_contact"})
    place.crm.states = ["Completed"]
    place.tick()
    place.tick()

    events = place.imported()

    types = {one["type"] for event in events for one in event["context"]["externalIds"]}
    assert (len(events), types) == (7, {"marketo_lead", "sf_contact"})


def test_a_file_without_rows_is_not_dropped(place: Place) -> None:
    place.marketo()
    place.crm.leads = LEADS.splitlines()[0] + "\n"
    place.crm.states = ["Completed"]
    place.tick()
    place.tick()

    assert place.files() == []
    assert place.standing()[0]["since"] == "2026-01-05T05:59:00.000Z"


@pytest.mark.parametrize(
    ("fault", "trouble"),
    [
        ((503, {}, {}), "the API answers 503"),
        ((200, {}, {"success": False, "errors": [{"code": "1029", "message": "x"}]}), "the API answers error 1029"),
        ((200, {}, b"<html>"), "the API's answer is no JSON"),
        ((200, {}, {"success": True, "result": [{}]}), "the export has no id"),
    ],
)
def test_trouble_is_shown_waits_and_the_same_window_is_asked_for_again(
    place: Place, fault: Answer, trouble: str
) -> None:
    place.marketo()
    place.crm.faults = [None, fault]

    place.tick()
    assert place.standing()[0]["trouble"] == trouble
    asked = len(place.crm.asked)
    place.tick(0)
    assert len(place.crm.asked) == asked
    place.now += 2 * HOUR_MS
    place.crm.states = ["Completed"]
    place.tick()
    place.tick()

    assert place.crm.windows[-1][0] == "2026-01-05T00:00:00.000Z"
    assert (len(place.imported()), place.standing()[0]["trouble"]) == (2, None)


def test_a_job_that_fails_is_asked_for_anew_and_one_that_is_ill_is_kept(place: Place) -> None:
    place.marketo()
    place.crm.states = ["Failed", "Completed"]
    place.tick()
    place.tick(120)
    assert place.standing()[0]["trouble"] == "the job is failed"
    place.tick()
    assert len(place.crm.windows) == 2
    place.crm.faults = [None, (502, {}, {})]
    place.tick(120)
    place.tick()

    assert len(place.crm.windows) == 2
    assert len(place.imported()) == 2


def test_a_window_with_too_large_a_file_is_cut_in_half(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MAX_FILE_BYTES", len(LEADS.encode()) - 1)
    place.marketo()
    place.crm.states = ["Completed"]
    place.tick()
    place.tick()
    assert place.files() == []

    monkeypatch.undo()
    place.tick()

    assert place.crm.windows[-1] == ("2026-01-05T00:00:00.000Z", "2026-01-05T02:59:29.000Z")


def test_without_a_secret_or_with_a_wrong_one_it_says_so(place: Place) -> None:
    place.marketo(secret=None)
    place.tick()
    assert place.standing()[0]["trouble"] == "the source has no secret for api_token"

    place.inner.manage("POST", "/crm/secrets", {"use": "api_token", "secret": "wrong-secret"})
    place.now += 2 * HOUR_MS
    place.tick()
    assert place.standing()[0]["trouble"] == "the API answers 401"


def test_a_source_that_is_switched_off_or_has_no_pull_is_not_asked(place: Place) -> None:
    place.marketo()
    place.inner.source("other", "marketo", {})
    body = {"name": "crm", "kind": "marketo", "enabled": False, "settings": {}}
    place.inner.manage("PUT", "/crm", body)

    place.tick()

    assert place.crm.asked == []
    assert place.standing() == []


@pytest.mark.parametrize(
    "pull",
    [
        {"api": "ftp://x", "client_id": "a", "since": SINCE},
        {"api": "https://x.mktorest.com", "client_id": "a", "since": "soon"},
        {"api": "https://x.mktorest.com", "client_id": "a", "since": SINCE, "every_minutes": 1},
        {"api": "https://x.mktorest.com", "client_id": "a", "since": SINCE, "fields": ["id) --"]},
    ],
)
def test_wrong_settings_are_refused_by_name(place: Place, pull: dict[str, Any]) -> None:
    status, told = place.inner.manage("PUT", "/x", {"name": "x", "kind": "marketo", "settings": {"pull": pull}})

    assert status == 400
    assert told["message"].startswith("settings.pull.")


def test_killed_at_every_call_the_windows_and_the_events_are_the_same(place: Place) -> None:
    """The file may be dropped twice, the job asked for twice: imports know what they had."""
    place.marketo()
    place.crm.states = ["Completed"]
    kills = 0

    def step(owner: type, name: str, calls: int) -> None:
        """Kill a step before its so-manieth call, for every call that it makes."""
        nonlocal kills
        real = getattr(owner, name)
        for at in range(calls):
            left = [at]

            def call(*given: Any, left: list[int] = left, **more: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise SystemExit
                return real(*given, **more)

            with patch.object(owner, name, call), pytest.raises(SystemExit):
                place.tick(0)
            kills += 1

    step(Outbound, "call", 3)
    step(Table, "put", 1)
    place.tick(0)
    step(Outbound, "call", 3)
    step(Objects, "put", 2)
    step(Table, "put", 1)
    place.tick(0)

    assert kills == 10
    assert place.standing()[0]["since"] == "2026-01-05T05:59:00.000Z"
    assert len(place.imported()) == 2
    assert len([key for key in place.files() if key.endswith(".csv")]) == 1


def test_of_two_steps_at_once_one_counts(place: Place) -> None:
    place.marketo()
    here = pulls.tools()
    (source,) = here.sources.all("main")
    mine = replace(here.pulls, clock=lambda: place.now)
    real = work.Pulls._keep

    def late(self: work.Pulls, *given: Any) -> None:
        with patch.object(work.Pulls, "_keep", real):
            mine.run(source)
        real(self, *given)

    with patch.object(work.Pulls, "_keep", late):
        mine.run(source)

    (held,) = Table("delivery", client("dynamodb")).query("main#U#crm").items
    assert (held["v"], held["job"]) == (1, "ex-leads")


def test_a_source_that_breaks_holds_up_no_other(place: Place) -> None:
    place.marketo()
    place.salesforce()
    with (
        patch.object(type(work.puller_of("marketo")), "objects", side_effect=KeyError("x")),
        pytest.raises(RuntimeError),
    ):
        place.tick()

    assert [path for _, path, _ in place.crm.asked if "/services/" in path]


def test_an_api_that_does_not_answer_is_trouble(place: Place) -> None:
    place.marketo()
    with patch.object(Outbound, "call", side_effect=NoAnswer("no answer: TimeoutError")):
        place.tick()

    assert place.standing()[0]["trouble"] == "no answer: TimeoutError"


def test_r15_with_little_time_left_nothing_is_begun(place: Place) -> None:
    place.marketo()
    with patch.object(Context, "left", 60_000):
        place.tick()

    assert place.crm.asked == []
