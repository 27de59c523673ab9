"""Under which identifier a stored event stands by other rules, and pages whose events went and came back (pure)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hoso.model.identifiers import DEFAULT, IdentityConfig
from hoso.model.identity_rules import config_in
from hoso.model.record import Event, Record, pack
from hoso.unify import pages
from hoso.unify.archive_range import Copies, Stored
from hoso.unify.dedupe import message_hash
from hoso.unify.rehub import copies_under, identifiers_under, stored_under
from hoso.unify.switch_report import bounded

HUB = ("user_id", "u1")
BODY: dict[str, Any] = {"type": "identify", "userId": "u1", "traits": {"email": "a@x.vn", "phone": "0901234567"}}
OTHERS = [["email", "a@x.vn"], ["phone", "+84901234567"]]


def rules(**types: Any) -> IdentityConfig:
    return config_in({"types": types})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DEFAULT, ["user_id:u1", "email:a@x.vn", "phone:+84901234567"]),
        (rules(phone={"rank": 0.5}), ["phone:+84901234567", "user_id:u1", "email:a@x.vn"]),
        (rules(user_id=None), ["email:a@x.vn", "phone:+84901234567"]),
        (config_in({"blocked": ["u1", "a@x.vn"]}), ["phone:+84901234567"]),
    ],
)
def test_p4_an_event_stands_under_the_best_of_what_the_rules_find_in_it(
    config: IdentityConfig, expected: list[str]
) -> None:
    assert list(map(str, identifiers_under(HUB, OTHERS, BODY, config))) == expected


def test_p4_an_event_that_nothing_identifies_any_more_stays_where_it_is() -> None:
    config = rules(user_id=None, email=None, phone=None)
    assert list(map(str, identifiers_under(HUB, OTHERS, BODY, config))) == ["user_id:u1"]


def test_p4_what_the_door_made_of_an_id_counts_though_the_body_says_it_otherwise() -> None:
    body = {**BODY, "userId": 7.0}
    assert str(identifiers_under(("user_id", "7"), OTHERS, body, DEFAULT)[0]) == "user_id:7"


def test_p4_of_a_type_that_became_unique_the_first_value_counts() -> None:
    body = {"type": "track", "userId": "u1", "context": {"externalIds": [{"type": "loyalty_id", "id": "2"}]}}
    config = rules(loyalty_id={"rank": 3, "limit": 1})
    found = identifiers_under(HUB, [["loyalty_id", "1"], ["loyalty_id", "2"]], body, config)
    assert list(map(str, found)) == ["user_id:u1", "loyalty_id:1"]


def test_p4_an_event_is_placed_by_the_rules_of_its_receipt() -> None:
    ids, body = orjson.dumps(OTHERS).decode(), orjson.dumps(BODY).decode()
    stored = Stored(5, "web", *HUB, "m1", 1, None, "$identify", ids, body, None)
    config = rules(phone={"rank": 0.5})

    moved = stored_under(stored, lambda _: config)

    assert (moved.hub_type, moved.hub_value) == ("phone", "+84901234567")
    assert orjson.loads(moved.ids)[0] == list(HUB)
    assert stored_under(stored, lambda at: config if at < 5 else None) is stored


def test_p2_copies_that_come_to_stand_with_their_original_are_none() -> None:
    def copy(kind: str, value: str, *ids: list[str]) -> dict[str, Any]:
        return {"type": kind, "value": value, "received_at": 1, "ids": orjson.dumps(ids).decode(), "body": "{}"}

    first = copy("anonymous_id", "a")
    message = Copies("m1", "web", True, [first, copy("user_id", "u1", ["anonymous_id", "a"])])
    assert copies_under([message], lambda _: None) == [message]
    assert copies_under([message], lambda _: rules(anonymous_id={"rank": 0.5})) == []


def test_a_report_of_very_long_identifiers_fits_its_item() -> None:
    person = {"size": 20, "identifiers": ["x" * 1_000] * 20}
    made = {"examples": [dict(person) for _ in range(20)], "largest_after": [dict(person)] * 10}
    found = bounded({**made, "memberships": {"examples": []}, "people": 7})
    assert len(orjson.dumps(found)) <= 150_000
    assert found["people"] == 7
    assert len(found["examples"]) + len(found["largest_after"]) >= 6
    assert (
        bounded({"examples": [1] * 200, "largest_after": [], "memberships": {"examples": []}})["examples"] == [1] * 200
    )


def page_of(*message_ids: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    events = [Event(one, 1, None, "Seen", [], {"type": "track", "messageId": one}) for one in message_ids]
    record = Record("main", "web", 1, HUB, events)
    digests = {one: message_hash(one, "web") for one in message_ids}
    stay = pages.Stay(pack(record), record, list(digests.values()), frozenset())
    chain = pages.chain("pk", [stay], version=1, previous=None, highest=None, keep_days=1)
    return chain.pages[0], digests


def names(page: dict[str, Any], *out: str) -> list[str]:
    return [new.event.message_id for new in pages.events_of(page, out=out)]


def test_p4_events_that_went_stay_known_and_count_again_when_they_come_back() -> None:
    page, digests = page_of("m1", "m2", "m3")
    gone = pages.strike(page, {digests["m1"], digests["m3"]}, pages.WENT)
    assert gone is not None
    left = {**page, **gone}
    assert names(left) == ["m2"]
    assert names(left, pages.COPY) == ["m2"]
    assert names(left, pages.WENT) == ["m1", "m2", "m3"]
    assert set(pages.find(left, pages.holds(left, set(digests.values())))) == set(digests.values())

    restored = pages.restore(left, {digests["m3"], digests["m2"]})

    assert restored is not None
    change, back = restored
    assert names({**left, **change}) == ["m2", "m3"]
    assert set(back) == {digests["m3"]}
    assert pages.restore(page, set(digests.values())) is None
