"""Rows to events: mapping documents, customer lists, exported events, receipts of tills."""

from __future__ import annotations

from typing import Any

import pytest

from hoso.collect.imports.layouts import layout_of
from hoso.collect.imports.mapping import Mapped, parse_mapping
from hoso.model.errors import InvalidInput

ORDER = {
    "currency": "VND",
    "events": [
        {
            "type": "track",
            "event": "Order Completed",
            "when": "status != 'draft'",
            "fields": {
                "userId": {"column": "customer", "as": "text"},
                "timestamp": "created",
                "context.traits.phone": {"column": "phone", "as": "phone", "lenient": True},
                "properties.order_id": {"column": "no", "required": True},
                "properties.total": {"column": "total", "as": "money"},
                "properties.tags": {"jmespath": "split_tags || tags", "as": "list"},
                "properties.channel": {"value": "pos"},
            },
        }
    ],
}
RECEIPT = {
    "receipt_id": "R1",
    "store_id": "007",
    "occurred_at": "05/01/2026 14:05",
    "line_no": "1",
    "sku": "D1",
    "qty": "2",
    "unit_price": "450.000",
}


def mapped(rows: list[dict[str, Any]], document: dict[str, Any] | None = None, source: str = "erp") -> Mapped:
    mapping = None if document is None else parse_mapping(document)
    layout = layout_of(mapping, list(rows[0]), source)
    into = Mapped()
    if layout.group_of is None:
        layout.map_rows(list(enumerate(rows, 2)), into)
    else:
        layout.map_rows([(line, row) for line, row in enumerate(rows, 2)], into)
    return into


def test_a_mapping_makes_the_event_and_keeps_originals() -> None:
    row = {
        "customer": 77,
        "created": "05/01/2026 14:05",
        "phone": "912345678",
        "no": "A1",
        "total": "1.250.000đ",
        "tags": "a;b",
        "status": "paid",
    }
    (event,) = mapped([row], ORDER).events
    assert event["timestamp"] == "2026-01-05T07:05:00.000Z"
    assert (event["userId"], event["event"]) == ("77", "Order Completed")
    assert event["properties"] == {"order_id": "A1", "total": 1_250_000, "tags": ["a", "b"], "channel": "pos"}
    assert event["context"]["traits"] == {"phone": "+84912345678"}
    assert event["context"]["original"]["context.traits.phone"] == "912345678"
    assert event["context"]["original"]["properties.total"] == "1.250.000đ"
    assert event["context"]["source"] == {"type": "import", "connection_id": "erp"}


def test_message_ids_are_a_function_of_the_content() -> None:
    row = {"customer": "1", "created": "2026-01-05", "phone": "", "no": "A1", "total": "5", "status": "x"}
    first, again, other = (mapped([{**row, "no": no}], ORDER).events[0] for no in ("A1", "A1", "A2"))
    assert first["messageId"] == again["messageId"] != other["messageId"]
    elsewhere = mapped([row], ORDER, source="shop").events[0]
    assert elsewhere["messageId"] != first["messageId"]


def test_every_problem_of_a_row_is_told_with_its_line() -> None:
    good = {"customer": "1", "created": "2026-01-05", "phone": "no", "no": "A1", "total": "5", "status": "x"}
    bad = {"customer": "1", "created": "soon", "phone": "", "no": "", "total": "450.5", "status": "x"}
    found = mapped([good, bad, {**good, "status": "draft"}], ORDER)
    assert [(line, code) for line, code, _ in found.problems] == [
        (3, "bad_value"),
        (3, "missing_value"),
        (3, "bad_value"),
        (3, "missing_timestamp"),
        (4, "no_event"),
    ]
    assert len(found.events) == 1
    assert found.events[0]["context"]["traits"]["phone"] == "no"


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"events": [{"type": "track", "fields": {}}]}, "name"),
        ({"events": [{"type": "buy", "fields": {}}]}, "type"),
        ({"events": [{"type": "identify", "fields": {"who.x": "a"}}]}, "member"),
        ({"events": [{"type": "identify", "fields": {"userId": {"jmespath": "a.["}}}]}, "JMESPath"),
        ({"events": [{"type": "identify", "fields": {"userId": {"column": "a", "value": 1}}}]}, "one of"),
        ({"events": [{"type": "identify", "fields": {"userId": {"column": "a", "as": "magic"}}}]}, "as is"),
        ({"zone": "Mars/Base"}, "zone"),
        ({"colour": 1}, "colour"),
        ([], "mapping"),
    ],
)
def test_wrong_mappings_are_refused_with_the_place(document: Any, word: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_mapping(document)
    assert refused.value.code == "invalid_mapping"
    assert word in refused.value.message


def test_the_simple_form_and_a_customer_list_without_a_mapping() -> None:
    (simple,) = mapped(
        [{"Mail": "AN@x.vn", "Since": "05/01/2026"}], {"columns": {"Mail": "traits.email", "Since": "timestamp"}}
    ).events
    assert (simple["type"], simple["traits"]["email"], simple["timestamp"][:10]) == (
        "identify",
        "an@x.vn",
        "2026-01-04",
    )
    (listed,) = mapped(
        [{"Email": "an@x.vn", "SĐT": "9.12345678E+08", "Họ tên": "TrÇn V¨n Th¾ng", "Hạng": "Vàng"}]
    ).events
    assert listed["traits"] == {"email": "an@x.vn", "phone": "+84912345678", "name": "Trần Văn Thắng", "Hạng": "Vàng"}
    assert listed["context"]["original"]["traits.name"] == "TrÇn V¨n Th¾ng"


def test_columns_that_tell_nothing_are_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        layout_of(None, ["a", "b"], "erp")
    assert refused.value.code == "unknown_layout"


def test_r49_exported_events_keep_their_own_time_whatever_clock_sent_them() -> None:
    row = {
        "type": "track",
        "event": "X",
        "userId": "u",
        "timestamp": "2020-01-01T00:00:00Z",
        "sentAt": "2020-01-01T00:00:05Z",
        "originalTimestamp": "2019-12-31T00:00:00Z",
        "properties.n": 5,
    }
    (event,) = mapped([row]).events
    assert "sentAt" not in event
    assert "originalTimestamp" not in event
    assert event["context"]["original"]["sentAt"] == "2020-01-01T00:00:05Z"
    assert event["properties"] == {"n": 5}
    bad = mapped([{**row, "timestamp": "soon"}, {**row, "type": "buy"}])
    assert [(line, code) for line, code, _ in bad.problems] == [(2, "bad_timestamp"), (3, "unknown_type")]


def test_a_receipt_is_one_order_with_its_lines() -> None:
    second = {**RECEIPT, "line_no": "2", "sku": "S1", "qty": "1", "unit_price": "250,000", "discount": "50.000"}
    total = {
        "total": "1.100.000",
        "phone": "912345678",
        "customer_name": "Trần An",
        "loyalty_id": "LC9",
        "payment_ref": "T1",
    }
    order, who = mapped([{**RECEIPT, **total}, {**second, **total}]).events
    assert order["properties"]["order_id"] == "007-R1"
    assert (order["properties"]["total"], order["properties"]["currency"]) == (1_100_000, "VND")
    assert [(line["sku"], line["quantity"], line["price"]) for line in order["properties"]["products"]] == [
        ("D1", 2, 450_000),
        ("S1", 1, 250_000),
    ]
    assert order["properties"]["payment_ref"] == "T1"
    assert order["context"]["externalIds"] == [{"type": "loyalty_id", "id": "LC9"}]
    assert (who["type"], who["traits"]) == ("identify", {"phone": "+84912345678", "name": "Trần An"})
    assert "anonymousId" not in order


def test_a_total_that_is_not_the_sum_goes_to_quarantine() -> None:
    assert mapped([{**RECEIPT, "total": "900.001"}]).problems == []
    for total, code in (("900.002", "total_differs"), ("x", "bad_value")):
        assert [(line, told) for line, told, _ in mapped([{**RECEIPT, "total": total}]).problems] == [(2, code)]


def test_a_return_is_a_refund_and_an_anonymous_receipt_is_valid() -> None:
    (back,) = mapped([{**RECEIPT, "qty": "-1"}]).events
    assert (back["event"], back["properties"]["total"]) == ("Order Refunded", 450_000)
    assert back["anonymousId"].startswith("pos-")


def test_consent_is_evidence_and_never_inferred_from_a_blank() -> None:
    person = {
        **RECEIPT,
        "email": "an@x.vn",
        "consent_marketing": "",
        "consent_text_id": "v3",
        "consent_at": "04/01/2026 09:00",
    }
    assert [event.get("event") for event in mapped([person]).events] == ["Order Completed", None]
    *_, said = mapped([{**person, "consent_marketing": "Không"}]).events
    assert (said["event"], said["timestamp"]) == ("Consent Updated", "2026-01-04T02:00:00.000Z")
    assert said["properties"] == {"purpose": "marketing", "state": "denied", "textVersion": "v3"}


def test_bulk_files_of_crms_are_known_by_their_columns() -> None:
    contact = {"Id": "003A", "Email": "an@x.vn", "SystemModstamp": "2026-01-05T07:00:00.000Z", "IsDeleted": "false"}
    found = mapped([contact, {**contact, "Id": ""}])
    assert found.events[0]["type"] == "identify"
    assert found.events[0]["timestamp"] == "2026-01-05T07:00:00.000Z"
    assert [(line, code) for line, code, _ in found.problems] == [(3, "missing_value")]
    activity = {"marketoGUID": "g1", "leadId": "7", "activityDate": "2026-01-05T07:00:00Z", "activityTypeId": "1"}
    (event,) = mapped([activity]).events
    assert event["type"] == "track"
    (lead,) = mapped(
        [{"id": "7", "email": "an@x.vn", "updatedAt": "2026-01-05T07:00:00Z"}], {"layout": "marketo"}
    ).events
    assert lead["type"] == "identify"


@pytest.mark.parametrize(
    ("row", "layout", "usual"),
    [
        ({"Id": "003A", "Email": "an@x.vn", "SystemModstamp": "2026-01-05T07:00:00.000Z"}, "salesforce", "crm_id"),
        ({"id": "7", "email": "an@x.vn", "updatedAt": "2026-01-05T07:00:00Z"}, "marketo", "customer_id"),
    ],
)
def test_a_mapping_tells_what_kind_of_identifier_the_ids_of_a_bulk_file_are(
    row: dict[str, Any], layout: str, usual: str
) -> None:
    for document, kind in (({"layout": layout}, usual), ({"layout": layout, "id_type": "other_crm"}, "other_crm")):
        assert [one["type"] for one in mapped([row], document).events[0]["context"]["externalIds"]] == [kind]
