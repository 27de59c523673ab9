"""Identity rules as a document: shown, checked, tried on recorded evidence, put in force, taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.unify.handlers import identity_rules
from hoso.unify.handlers.identity_rules import handler
from tests.admin_calls import admin_event, answered
from tests.unify_world import Context, World, unify_world

STRICT = {"schema": "identity/1", "types": {"email": {"rank": 4, "limit": 5, "fanout": 1}}, "names": False}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        identity_rules.parts.cache_clear()
        yield made
    identity_rules.parts.cache_clear()


def call(
    method: str, what: str = "", body: Any = None, roles: str = "[engineer]", *, without_preview: bool = True
) -> tuple[int, Any]:
    query = {"without_preview": "true"} if without_preview else None
    event = admin_event(f"{method} /v1/identity/rules{what}", body=body, roles=roles, query=query)
    return answered(handler(event, Context()))


def identify(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "identify", "messageId": f"m{number}", "timestamp": f"2026-11-0{number}T08:00:00Z", **more}


def two_at_one_address(world: World) -> None:
    world.consume(
        identify(1, userId="u1", traits={"email": "home@x.vn"}),
        identify(2, userId="u2", traits={"email": "home@x.vn"}),
        identify(3, anonymousId="a1", traits={"email": "home@x.vn"}),
    )


def people(world: World, *names: str) -> list[str]:
    return [world.profile(name)["profile_id"] for name in names]


def test_without_a_document_the_retail_rules_hold_and_are_shown_in_full(world: World) -> None:
    status, shown = call("GET", roles="[viewer]")
    assert (status, shown["revision"]) == (200, 0)
    types = shown["meaning"]["types"]
    assert {"user_id", "crm_id", "loyalty_id", "email", "phone", "device_id", "anonymous_id", "zalo_id"} <= set(types)
    assert {"gclid", "fbclid", "ttclid"} <= set(types)
    assert shown["meaning"]["protected"] == ["crm_id", "user_id"]


def test_a_preview_tells_who_would_part_and_writes_nothing(world: World) -> None:
    two_at_one_address(world)
    before = world.items()
    status, report = call("POST", "/preview", {"document": STRICT})
    assert (status, report["complete"]) == (200, True)
    assert (report["people_before"], report["people_after"]) == (2, 4)
    (example,) = report["examples"]
    assert example["effect"] == "split"
    assert {why["reason"] for why in example["because"]} == {"shared"}
    assert world.items() == before


def test_p4_rules_that_were_not_previewed_on_the_people_there_are_now_are_refused(world: World) -> None:
    def put(document: Any) -> tuple[int, str]:
        status, answer = call("PUT", body=document, without_preview=False)
        return status, answer.get("code", "")

    two_at_one_address(world)
    needed = (409, "preview_needed")
    assert put(STRICT) == needed
    call("POST", "/preview", {"document": STRICT})
    assert put({**STRICT, "max_ids": 50}) == needed
    assert put(STRICT) == (200, "")
    assert put(STRICT) == (200, ""), "what holds already needs none"

    call("POST", "/preview", {"document": {**STRICT, "max_ids": 50}})
    call("PUT", body={**STRICT, "max_ids": 60})
    assert put({**STRICT, "max_ids": 50}) == needed, "it was previewed against other rules"
    assert put({"revision": 1}) == needed
    call("POST", "/preview", {"document": STRICT})
    world.now += 86_400_001
    assert put({"revision": 1}) == needed, "it is a day old"
    call("POST", "/preview", {"document": STRICT})
    assert put({"revision": 1}) == (200, "")


def test_a_switch_derives_people_anew_and_a_former_revision_takes_it_back(world: World) -> None:
    assert call("PUT", body={"schema": "identity/1", "names": False})[1]["revision"] == 1
    two_at_one_address(world)
    together = people(world, "user_id:u1", "email:home@x.vn", "anonymous_id:a1")
    assert len(set(together)) == 1
    assert call("PUT", body=STRICT)[1]["revision"] == 2
    assert people(world, "user_id:u1", "email:home@x.vn") == together[:2], "people stay until they are derived anew"
    _, done = call("POST", "/rederive", {"revision": 2})
    assert (done["cursor"], done["left"]) == (None, 0)
    assert len(set(people(world, "user_id:u1", "user_id:u2", "email:home@x.vn", "anonymous_id:a1"))) == 4
    _, again = call("POST", "/rederive", {"revision": 2})
    assert again["changed"] == 0
    assert call("PUT", body={"revision": 1})[1]["revision"] == 3
    call("POST", "/rederive", {})
    assert people(world, "user_id:u1", "email:home@x.vn", "anonymous_id:a1") == together
    assert [one["revision"] for one in call("GET", "/revisions")[1]["items"]] == [3, 2, 1]


def test_new_events_are_judged_by_the_rules_in_force(world: World) -> None:
    call("PUT", body={"schema": "identity/1", "types": {"email": None}})
    two_at_one_address(world)
    world.consume(identify(4, userId="u1", traits={"phone": "0901234567"}))
    assert len(set(people(world, "user_id:u1", "user_id:u2", "anonymous_id:a1"))) == 3


def test_a_type_that_was_taken_out_joins_nobody_any_more(world: World) -> None:
    two_at_one_address(world)
    call("PUT", body={"schema": "identity/1", "types": {"email": None}})
    call("POST", "/rederive", {})
    assert len(set(people(world, "user_id:u1", "anonymous_id:a1"))) == 2


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"types": {"email": {"limit": 5}}}, "types.email.TypeRules.rank"),
        ({"types": {"email": {"rank": 4, "window_days": 7}}}, "window_days needs a limit"),
        ({"protected": ["shoe_size"]}, "protected"),
        ({"order": "newest"}, "order"),
        ({"max_ids": 1}, "max_ids"),
        ({"shoes": 1}, "shoes"),
    ],
)
def test_what_is_wrong_in_a_document_is_named(world: World, document: Any, named: str) -> None:
    status, problem = call("PUT", body=document)
    assert (status, problem["code"]) == (400, "invalid_identity_rules")
    assert named.split(".")[0] in problem["message"]


def test_only_engineers_change_rules_and_a_moved_revision_stops_a_derivation(world: World) -> None:
    assert call("PUT", body=STRICT, roles="[marketer]")[0] == 403
    assert call("POST", "/rederive", {}, roles="[viewer]")[0] == 403
    call("PUT", body=STRICT)
    assert call("POST", "/rederive", {"revision": 7})[1]["code"] == "rules_changed"
    assert call("PUT", body={"revision": 9})[0] == 400


def test_a_browser_may_not_say_that_two_user_ids_are_one_person(world: World) -> None:
    source = {"name": "Shop", "kind": "web", "enabled": True}
    world.parts.control.put("main", "source", "web", source)
    alias = {"type": "alias", "messageId": "m9", "timestamp": "2026-11-09T08:00:00Z"}
    world.consume({**alias, "userId": "u1", "previousId": "u2"}, source="web")
    world.consume({**alias, "userId": "u3", "previousId": "u4", "messageId": "m10"}, source="crm")
    world.consume(identify(1, userId="u2"), identify(2, userId="u4"))
    assert len(set(people(world, "user_id:u1", "user_id:u2"))) == 2
    assert len(set(people(world, "user_id:u3", "user_id:u4"))) == 1
