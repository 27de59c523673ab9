"""The pure parts of webhook sources: readers, mappings in JMESPath, rows of files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hoso.collect.events import Frame
from hoso.collect.intake import Sender, take
from hoso.collect.parse import parse_batch
from hoso.collect.sources import KINDS, crm, kind_of, marketo, salesforce
from hoso.collect.sources.calls import stamp
from hoso.collect.sources.contract import Delivery, Fact, HookSource
from hoso.collect.sources.mapping import Mapping, mapped
from hoso.collect.sources.presence import refuse_biometrics
from hoso.collect.sources.reading import instant, number
from hoso.collect.sources.vnpay import signed_strings
from hoso.collect.sources.xml import parse_xml
from hoso.model.errors import InvalidInput

TABLES = Path(__file__).parent.parent / "fixtures" / "sources"
NOW = 1_767_596_410_000

# amounts and times


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("450000.00", 450000),
        ("450000", 450000),
        ("0.50", 0.5),
        (" 12 ", 12),
        (450000, 450000),
        (450000.0, 450000),
        ("-3", -3),
        ("1e5", None),
        ("1.234.567", None),
        ("", None),
        ("NaN", None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("9" * 40, None),
    ],
)
def test_amounts_are_exact_or_nothing(given_value: object, expected: object) -> None:
    assert number(given_value) == expected


@pytest.mark.parametrize(
    ("given_value", "zone", "expected"),
    [
        ("20260105140532", "Asia/Ho_Chi_Minh", 1767596732000),
        ("2026-01-05 14:05:32", "Asia/Ho_Chi_Minh", 1767596732000),
        ("2026-01-05T07:05:32Z", "Asia/Ho_Chi_Minh", 1767596732000),
        ("2026-01-05 07:05:32 UTC", "UTC", 1767596732000),
        ("2026-01-05", "UTC", 1767571200000),
        (1767596732, "UTC", 1767596732000),
        (1767596732000, "UTC", 1767596732000),
        ("1767596732000", "UTC", 1767596732000),
        (1767596732.5, "UTC", 1767596732500),
        ("20261305140532", "Asia/Ho_Chi_Minh", None),
        ("yesterday", "UTC", None),
        ("", "UTC", None),
        (0, "UTC", None),
        (10**18, "UTC", None),
        (True, "UTC", None),
    ],
)
def test_times_of_senders(given_value: object, zone: str, expected: int | None) -> None:
    assert instant(given_value, zone) == expected


# VNPay


@given(
    st.dictionaries(st.from_regex(r"vnp_[A-Za-z]{1,12}", fullmatch=True), st.text(min_size=1, max_size=20)),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_vnpay_what_was_signed_does_not_depend_on_the_order_of_the_fields(
    fields: dict[str, str], shuffled: Any
) -> None:
    from urllib.parse import quote_plus

    for name in ("vnp_SecureHash", "vnp_SecureHashType"):
        fields.pop(name, None)
    pairs = [f"{name}={quote_plus(value)}" for name, value in fields.items()]
    expected = "&".join(f"{name}={quote_plus(fields[name])}" for name in sorted(fields))
    shuffled.shuffle(pairs)

    signed = list(signed_strings("&".join([*pairs, "vnp_SecureHash=AB", "vnp_Empty=", "other=1"])))

    assert signed[0] == signed[1] == expected


# XML


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "unsafe_xml"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x"><a/>', "unsafe_xml"),
        (b'<?xml version="1.0" encoding="UTF-16"?><a/>', "unsafe_xml"),
        ('<?xml version="1.0"?><!DOCTYPE a><a/>'.encode("utf-16"), "unsafe_xml"),
        (b"<a>" * 200 + b"</a>" * 200, "too_deep"),
        (b"<a>" + b"<b/>" * 30_000 + b"</a>", "too_deep"),
        (b"<a>&unknown;</a>", "invalid_xml"),
        (b"<a>\x00</a>", "invalid_xml"),
        (b"<a><b></a>", "invalid_xml"),
        (b"", "invalid_xml"),
    ],
)
def test_s6_hostile_xml_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_xml(body)
    assert refused.value.code == code


def test_xml_is_read_by_local_names() -> None:
    root = parse_xml(b'<x:a xmlns:x="urn:1"><x:b>1 &amp; <![CDATA[<2>]]></x:b><b>other</b></x:a>')

    assert (root.name, root.text_of("b"), [child.text for child in root.children]) == (
        "a",
        "1 & <2>",
        ["1 & <2>", "other"],
    )


# biometrics


@pytest.mark.parametrize(
    "value",
    [
        {"face_id": "1"},
        {"data": {"Embedding": None}},
        {"a": [{"faceVector": 1}]},
        {"a": [0.1, 0.2, 0.3, 0.4]},
        {"a": {"x": 1, "y": 2, "z": 3, "w": 4}},
        {"a": "data:image/jpeg;base64,AA"},
        {"a": "Q" * 129},
        {"a": "b c" * 100},
        {"a": 10**18},
        {"photo": ""},
    ],
)
def test_what_looks_like_a_biometric_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="biometric"):
        refuse_biometrics(value)


def test_a_token_and_a_place_are_no_biometrics() -> None:
    refuse_biometrics({"type": "presence_detected", "data": {"person_token": "a" * 64, "confidence": 0.97, "seat": 12}})


# mappings


def read(mapping: dict[str, Any], body: Any, delivery: str = "") -> list[Any]:
    document = Mapping.model_validate({"event": "Told", **mapping}).model_dump(mode="json")
    return mapped(body, document, delivery)


@pytest.mark.parametrize(
    "expression",
    [
        "a[",
        "",
        "unknown(@)",
        "sort_by(@, &x)",
        "map(&x, @)",
        "[@,@]|[@,@]|[@,@]|[@,@]",
        "to_string([@,@])",
        "join(',', [a,b])",
        "x" * 401,
    ],
)
def test_an_expression_that_is_wrong_or_may_grow_is_refused(expression: str) -> None:
    with pytest.raises(ValidationError):
        Mapping.model_validate({"event": "Told", "key": expression})


def test_s15_a_mapping_that_makes_much_of_little_is_refused_alone() -> None:
    wide = "[" + ",".join(["@"] * 45) + "]"
    found = read({"properties": {"all": f"{wide}|{wide}|{wide}"}}, {"a": 1})

    assert [error.code for error in found] == ["mapping_too_large"]


def test_one_record_that_does_not_fit_leaves_the_others() -> None:
    found = read({"records": "rows", "properties": {"n": "abs(n)"}}, {"rows": [{"n": -1}, {"n": "x"}, {"n": 2}]})

    assert [isinstance(fact, Fact) for fact in found] == [True, False, True]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-10, 10) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcid"), inner, max_size=3),
        max_leaves=15,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_a_mapping_makes_facts_or_refusals(body: Any) -> None:
    found = read({"records": "a || @", "key": "id", "user_id": "b", "traits": {"x": "c[0].d"}, "timestamp": "d"}, body)

    for fact in found:
        assert isinstance(fact, (Fact, InvalidInput))
        if isinstance(fact, Fact):
            json.dumps(fact.body)


def test_a_repetition_has_the_same_key_whatever_the_mapping_names() -> None:
    body = {"id": 7, "x": 1}
    by_key, by_delivery, by_content = ({"key": "id"}, ""), ({}, "msg_1"), ({}, "")

    for mapping, delivery in (by_key, by_delivery, by_content):
        first, second = read(mapping, body, delivery), read(mapping, dict(body), delivery)
        assert [fact.key for fact in first] == [fact.key for fact in second]


# rows of files


def test_rows_of_a_marketo_lead_export() -> None:
    rows = [
        {
            "id": "1",
            "email": "an@example.com",
            "firstName": "An",
            "unsubscribed": "true",
            "updatedAt": "2026-01-05T07:00:00Z",
        },
        {"id": "", "email": "nobody@example.com"},
    ]

    calls = list(marketo.lead_rows(rows, "mk"))

    assert [call.get("event") or call["type"] for call in calls] == ["identify", "Consent Updated"]
    assert calls[0]["traits"] == {"email": "an@example.com", "firstName": "An"}
    assert {call["timestamp"] for call in calls} == {"2026-01-05T07:00:00.000Z"}
    assert [call["messageId"] for call in calls] == [call["messageId"] for call in marketo.lead_rows(rows, "mk")]


def test_rows_of_a_marketo_activity_export() -> None:
    row = {
        "marketoGUID": "g1",
        "leadId": "1",
        "activityDate": "2026-01-05T07:00:00Z",
        "activityTypeId": "11",
        "primaryAttributeValue": "Tet",
        "attributes": '{"Link":"https://x"}',
    }

    known, other = marketo.activity_rows([row, {**row, "marketoGUID": "g2", "activityTypeId": "999"}], "mk")

    assert (known["event"], other["event"]) == ("Email Link Clicked", "Marketo Activity 999")
    assert known["properties"] == {"subject": "Tet", "attributes": {"Link": "https://x"}}
    assert known["context"]["source"] == {"type": "marketo", "connection_id": "mk", "external_event_id": "g1"}


def test_a_bounce_of_marketo_says_whether_it_is_for_good() -> None:
    rows = [
        {"marketoGUID": kind, "leadId": "1", "activityDate": "2026-01-05T07:00:00Z", "activityTypeId": kind}
        for kind in ("8", "27")
    ]

    told = [(call["event"], call["properties"]["bounce_type"]) for call in marketo.activity_rows(rows, "mk")]

    assert told == [("Email Bounced", "hard"), ("Email Bounced", "soft")]


def test_rows_of_a_salesforce_bulk_query() -> None:
    contact = {
        "Id": "003A",
        "Email": "an@example.com",
        "SystemModstamp": "2026-01-05T07:00:00.000Z",
        "HasOptedOutOfEmail": "true",
    }
    order = {"Id": "801A", "BillToContactId": "003A", "SystemModstamp": "2026-01-05T07:00:00.000Z"}

    people = list(salesforce.bulk_rows([contact, {"Id": ""}], "Contact", "sf"))
    (bought,) = salesforce.bulk_rows([order], "Order", "sf")
    (gone,) = salesforce.bulk_rows([{**contact, "IsDeleted": "true"}], "Contact", "sf")

    assert [call.get("event") or call["type"] for call in people] == [
        "identify",
        "Consent Updated",
        "CRM Contact Updated",
    ]
    assert (bought["event"], bought["context"]["externalIds"][0]["id"]) == ("CRM Order Updated", "003A")
    assert gone["event"] == "CRM Contact Deleted"


def test_rows_of_an_own_crm_say_nothing_of_consent_by_a_blank() -> None:
    calls = list(crm.rows([{"id": "1", "email": "a@example.com", "consent_marketing": ""}, {"email": "x"}], "own"))

    assert [call["type"] for call in calls] == ["identify"]
    assert calls[0]["traits"] == {"email": "a@example.com"}


# whatever genuine senders send


POISON = [
    None,
    True,
    0,
    -1,
    10**17,
    1.5,
    "",
    "\0",
    "null",
    [],
    {},
    [[]],
    {"a": 1},
    "é" * 50,
    "9" * 30,
    10**19,
    "2026-13-40",
]


def mutated(value: Any, chance: Any) -> Any:
    """The value with members lost, added, repeated and of other types."""
    if chance.random() < 0.12:
        return chance.choice(POISON)
    if isinstance(value, dict):
        kept = {name: mutated(part, chance) for name, part in value.items() if chance.random() > 0.05}
        return {**kept, "more": chance.choice(POISON)} if chance.random() < 0.1 else kept
    if isinstance(value, list):
        return [mutated(part, chance) for part in value] * chance.choice([1, 1, 2])
    return value


def damaged(text: str, chance: Any) -> str:
    letters = list(text)
    for _ in range(chance.randint(1, 6)):
        letters[chance.randrange(len(letters))] = chance.choice('&=%<>"\\{}[]x0é\0')
    return "".join(letters)


@pytest.mark.parametrize("name", KINDS)
def test_s6_a_genuine_sender_may_send_anything_and_gets_events_or_a_typed_refusal(name: str) -> None:
    table = json.loads((TABLES / f"{name}.json").read_text())
    kind = kind_of(name)
    assert kind is not None
    how = kind.settings.model_validate(table["settings"]).model_dump(mode="json")
    chance = random.Random(name)
    good = [case for case in table["cases"] if case.get("events")]

    for case in good * 6:
        body, query = case.get("body", ""), case.get("query", "")
        try:
            raw = orjson.dumps(mutated(json.loads(body), chance))
        except ValueError:
            raw, query = (damaged(body, chance).encode(), query) if body else (b"", damaged(query, chance))
        source = HookSource("main", name, name, how)
        delivery = Delivery(source, case.get("method", "POST"), case.get("headers", {}), query, raw, NOW)
        try:
            told = [stamp(fact, name, name) for fact in kind.facts(delivery) if isinstance(fact, Fact)]
        except InvalidInput:
            continue
        again = [stamp(fact, name, name) for fact in kind.facts(delivery) if isinstance(fact, Fact)]
        assert told == again
        batch = parse_batch(orjson.dumps({"batch": told}))
        taken = take(b"", batch, Frame(NOW, str), Sender("main", name), lambda _kind, _value: "h")
        assert {row.code for row in taken.rejected} <= {"invalid_timestamp", "event_too_large", "missing_id"}
