"""Which identifiers an event carries, in which form, and which values identify nobody (R1, R2, R4, R5, R12)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.model.errors import InvalidInput
from hoso.model.identifiers import (
    DEFAULT,
    GRAPH_LINKING,
    STANDARD,
    Identifier,
    IdentityConfig,
    alias_previous,
    contradictory,
    extract,
    normalise,
)
from hoso.model.names import fold_name, names_contradict, person_name

DEVICE = "8656c504-4b5d-4e48-a636-bbb7a60a746b"


@pytest.mark.parametrize(
    ("kind", "value", "clean"),
    [
        ("email", " Lan@Shop.VN ", "lan@shop.vn"),
        ("phone", "0901234567", "+84901234567"),
        ("phone", "+84 901 234 567", "+84901234567"),
        ("phone", "84901234567", "+84901234567"),
        ("phone", "0084.901.234.567", "+84901234567"),
        ("phone", "(+84) (0)901-234-567", "+84901234567"),
        ("phone", "+1 415 555 2671", "+14155552671"),
        ("phone", 84901234567, "+84901234567"),
        ("user_id", "  AbC ", "AbC"),
        ("user_id", 42, "42"),
        ("user_id", "0042", "0042"),
        ("user_id", "x" * 1_024, "x" * 1_024),
    ],
)
def test_r1_values_are_normalised(kind: str, value: object, clean: str) -> None:
    assert normalise(kind, value) == clean


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[
            ("user_id", word)
            for word in ("null", "NONE", "nil", "undefined", "NaN", "n/a", "NA", "anonymous", "Unknown")
        ],
        *[("user_id", word) for word in ("invalid", "void", "-1", "not-specified", "[object Object]", "true", "False")],
        *[("user_id", value) for value in ("", "   ", "0", "000-000", "00000000-0000-0000-0000-000000000000", "---")],
        *[("user_id", value) for value in ("x" * 1_025, True, None, 1.5, ["u1"], {"id": "u1"}, "a\ud800")],
        *[("email", value) for value in ("test@test.com", "A@a.com", "none@none.com", "noemail@noemail.com")],
        *[("email", value) for value in ("noreply@shop.vn", "No-Reply@shop.vn", "donotreply@shop.vn")],
        *[
            ("email", value)
            for value in ("lan", "lan@", "@shop.vn", "lan@shop", "a b@shop.vn", "a@b@shop.vn", "a@x..vn")
        ],
        *[
            ("phone", value)
            for value in ("1234567", "-", "1234567890123456", "+84999999999", "0000000000", "+15555555555")
        ],
        *[("phone", value) for value in ("0123456789", "+84123456789")],
        ("group_id", "acme"),
    ],
)
def test_r2_r28_values_that_identify_nobody(kind: str, value: object) -> None:
    assert normalise(kind, value) is None


def test_r2_the_workspace_blocks_values_of_its_own() -> None:
    config = IdentityConfig.parse({"base": "default", "blocked": ["qa-user", "0901234567"]})
    assert normalise("user_id", " qa-user", config) is None
    assert normalise("phone", "0901234567", config) is None
    assert normalise("user_id", "QA-user", config) == "QA-user"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("phone", "+84 901 234 567"), ("phone", "901234567"), ("email", "HELLO@shop.VN "), ("email", "Hello@Shop.vn")],
)
def test_r2_a_blocked_address_or_number_is_blocked_in_every_spelling(kind: str, value: str) -> None:
    config = IdentityConfig.parse({"base": "default", "blocked": ["Hello@Shop.vn", "0901 234 567", "qa-20230101"]})
    assert normalise(kind, value, config) is None
    assert config.retired(kind, normalise(kind, value) or "")
    assert normalise("phone", "+20230101", config) == "+20230101"


def of(event: dict[str, Any], config: IdentityConfig = DEFAULT) -> list[str]:
    return [str(found) for found in extract(event, config)]


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"type": "track", "anonymousId": DEVICE}, [f"anonymous_id:{DEVICE}"]),
        ({"type": "page", "userId": "", "anonymousId": "a1"}, ["anonymous_id:a1"]),
        ({"type": "track", "userId": None, "anonymousId": "a1"}, ["anonymous_id:a1"]),
        (
            {
                "type": "identify",
                "userId": "u1",
                "anonymousId": "a1",
                "traits": {"phone": "0901234567", "email": "A@x.vn"},
            },
            ["user_id:u1", "email:a@x.vn", "phone:+84901234567", "anonymous_id:a1"],
        ),
        (
            {"type": "screen", "anonymousId": "a1", "context": {"device": {"id": "d1"}}},
            ["device_id:d1", "anonymous_id:a1"],
        ),
        (
            {
                "type": "track",
                "anonymousId": "pos-9411",
                "context": {
                    "source": "pos",
                    "traits": {"phone": "0901234567", "name": "Lan"},
                    "externalIds": [
                        {"id": "LC1", "type": "loyalty_card"},
                        {"id": "g", "type": "group"},
                        "odd",
                        {"id": 1},
                    ],
                },
            },
            ["loyalty_id:LC1", "phone:+84901234567"],
        ),
        ({"type": "track", "anonymousId": "pos-1", "context": {"source": "pos"}}, ["anonymous_id:pos-1"]),
        ({"type": "track", "userId": "u1", "anonymousId": "m1", "messageId": "m1"}, ["user_id:u1"]),
        (
            {
                "type": "track",
                "event": "Payment Succeeded",
                "context": {"externalIds": [{"id": "cus_1", "type": "payment_customer_id"}]},
            },
            ["payment_customer_id:cus_1"],
        ),
        (
            {"type": "track", "event": "Order Completed", "anonymousId": "a1", "properties": {"email": "a@x.vn"}},
            ["email:a@x.vn", "anonymous_id:a1"],
        ),
        (
            {"type": "track", "event": "Product Shared", "anonymousId": "a1", "properties": {"email": "friend@x.vn"}},
            ["anonymous_id:a1"],
        ),
        ({"type": "page", "anonymousId": "a1", "properties": {"email": "a@x.vn"}}, ["anonymous_id:a1"]),
        ({"type": "group", "userId": "u1", "groupId": "g", "traits": {"email": "office@x.vn"}}, ["user_id:u1"]),
        (
            {
                "type": "identify",
                "traits": {"crmId": "C1", "loyaltyCard": "L1"},
                "context": {"externalIds": [{"id": "C1", "type": "crm_id"}]},
            },
            ["crm_id:C1", "loyalty_id:L1"],
        ),
        (
            {"type": "track", "anonymousId": "a1", "context": {"externalId": [{"id": "k1", "type": "customer_id"}]}},
            ["customer_id:k1", "anonymous_id:a1"],
        ),
        (
            {
                "type": "track",
                "anonymousId": "a1",
                "integrations": {"Google Analytics": {"clientId": "1.2"}, "All": True},
            },
            ["ga_client_id:1.2", "anonymous_id:a1"],
        ),
        ({"type": "track"}, []),
    ],
    ids=range(17),
)
def test_r5_identifiers_of_an_event_best_first(event: dict[str, Any], found: list[str]) -> None:
    assert of(event) == found


def test_a_type_that_is_not_configured_does_not_identify() -> None:
    event = {"type": "track", "userId": "u1", "context": {"externalIds": [{"id": "t1", "type": "login_id"}]}}
    assert of(event) == ["user_id:u1"]
    assert of(event, GRAPH_LINKING) == ["login_id:t1"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = [
    "userId",
    "anonymousId",
    "previousId",
    "traits",
    "properties",
    "context",
    "integrations",
    "messageId",
    "event",
]


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["track", "identify", "alias"])}, optional=dict.fromkeys(MEMBERS, JSON)
    )
)
def test_wrongly_typed_members_never_raise(event: dict[str, Any]) -> None:
    extract(event)
    extract({"type": "track", "context": event, "traits": event, "properties": event})
    extract(
        {"type": "track", "context": {"traits": event, "externalIds": [event], "device": event, "integrations": event}}
    )
    alias_previous(event)
    person_name(event)


def test_r4_two_values_of_a_limit_one_type_contradict() -> None:
    users = [Identifier("user_id", "u1"), Identifier("user_id", "u2")]
    mails = [Identifier("email", "a@x.vn"), Identifier("email", "b@x.vn")]
    assert contradictory(users)
    assert not contradictory(users[:1] * 2)
    assert not contradictory([*users[:1], *mails])
    assert not contradictory(users, GRAPH_LINKING)


@pytest.mark.parametrize(
    ("event", "previous"),
    [
        ({"type": "alias", "userId": "u1", "previousId": DEVICE}, f"anonymous_id:{DEVICE}"),
        ({"type": "alias", "userId": "u1", "previousId": "a1", "anonymousId": "a1"}, "anonymous_id:a1"),
        ({"type": "alias", "userId": "u2", "previousId": "u1"}, "user_id:u1"),
        ({"type": "alias", "userId": "u1", "previousId": "u1"}, "None"),
        ({"type": "alias", "userId": "u1", "previousId": "null"}, "None"),
        ({"type": "track", "userId": "u1", "previousId": "u0"}, "None"),
    ],
)
def test_r12_what_an_alias_replaces(event: dict[str, Any], previous: str) -> None:
    assert str(alias_previous(event)) == previous


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Đinh Ánh Tuyết", "TUYET DINH ANH", True),
        ("Nguyễn Minh An", "An", True),
        ("Nguyễn Minh An", "Nguyễn Minh Bình", False),
        ("Phan Tường Hạnh", "Phan Thị Hạnh", False),
    ],
)
def test_names_that_can_be_one_persons(one: str, other: str, same: bool) -> None:
    assert names_contradict(fold_name(one) or "", fold_name(other) or "") is not same


def test_a_name_comes_from_traits_wherever_they_stand() -> None:
    assert person_name({"type": "identify", "traits": {"name": "Lê Thị Lan"}}) == "lan le thi"
    assert person_name({"type": "track", "context": {"traits": {"firstName": "Lan", "lastName": "Lê"}}}) == "lan le"
    assert person_name({"type": "group", "traits": {"name": "Acme"}}) is None
    assert person_name({"type": "track", "context": {"traits": {"name": "Khách lẻ"}}}) is None


@pytest.mark.parametrize(
    "document",
    [
        "nothing",
        {"base": "nothing"},
        {"colour": "red"},
        {"order": "newest"},
        {"max_ids": 0},
        {"blocked": "qa"},
        {"types": {"email": {"limit": 1}}},
        {"types": {"email": {"rank": 1, "limit": "one"}}},
        {"types": {"email": {"rank": 1, "color": 2}}},
        {"types": []},
    ],
    ids=str,
)
def test_rules_that_cannot_be_read_are_refused(document: Any) -> None:
    with pytest.raises(InvalidInput):
        IdentityConfig.parse(document)


def test_rules_are_told_apart_by_their_fingerprint() -> None:
    assert IdentityConfig.parse("default").fingerprint == STANDARD.fingerprint
    changed = IdentityConfig.parse({"base": "default", "types": {"phone": None}})
    assert "phone" not in changed.types
    assert len({STANDARD.fingerprint, DEFAULT.fingerprint, GRAPH_LINKING.fingerprint, changed.fingerprint}) == 4
