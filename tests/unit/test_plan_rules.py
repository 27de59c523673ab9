"""Tracking plans: what a plan may hold, what it says of an event, what a new revision breaks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.collect.plan_changes import compare
from hoso.collect.plan_document import MAX_BYTES, read_plan
from hoso.collect.plans import plan_of
from hoso.collect.schemas import MAX_DEPTH
from hoso.model.errors import InvalidInput

SHOP = json.loads(Path("tests/fixtures/plans/shop.json").read_text())
PRODUCT = {"product_id": "p-1", "price": 12.5}
ORDER = {"order_id": "o-1", "revenue": 1, "currency": "VND", "products": [PRODUCT]}


def plan(schema: Any, name: str = "Signed Up", **policy: str) -> dict[str, Any]:
    return {"name": "P", "sources": {"web": policy}, "events": {name: {"schema": schema}}}


def says(document: dict[str, Any], name: str, body: dict[str, Any], source: str = "web") -> Any:
    found = plan_of("p", 1, read_plan(document), source)
    assert found is not None
    return found.fault(name, body)


def test_an_event_that_keeps_its_schema_is_passed() -> None:
    assert says(SHOP, "Order Completed", {"properties": ORDER}) is None
    assert says(SHOP, "$identify", {"traits": {"email": "an@example.vn"}}) is None
    assert says(SHOP, "order_completed", {"properties": {"anything": 1}}) is None


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({}, "properties lacks order_id"),
        ({**ORDER, "revenue": "1.250.000đ"}, "properties.revenue must be number"),
        ({**ORDER, "revenue": -1}, "properties.revenue must be at least 0"),
        ({**ORDER, "currency": "EUR"}, 'properties.currency must be one of "VND", "USD"'),
        ({**ORDER, "products": []}, "properties.products must have at least 1 items"),
        ({**ORDER, "products": [PRODUCT, {"price": 1}]}, "properties.products[1] lacks product_id"),
        ({**ORDER, "order_id": "an@example.vn"}, "properties.order_id must match ^[A-Za-z0-9-]+$"),
        ({**ORDER, "paid_at": "yesterday"}, "properties.paid_at must be a date-time"),
    ],
)
def test_a_violation_names_place_and_rule_but_no_value(properties: dict[str, Any], reason: str) -> None:
    fault = says(SHOP, "Order Completed", {"properties": properties})

    assert fault is not None
    assert fault.reason.startswith(reason)
    assert not fault.refuse
    assert "an@example.vn" not in fault.reason


def test_s14_a_reason_shows_no_name_that_may_be_a_value() -> None:
    closed = plan({"properties": {"size": {}}, "additionalProperties": False})
    fault = says(closed, "Signed Up", {"properties": {"an@example.vn": 1, "0901234567": 1, "colour": 1}})

    assert "colour" in fault.reason
    assert "an@" not in fault.reason
    assert "0901" not in fault.reason


def test_content_of_another_type_than_an_object_is_a_violation() -> None:
    assert says(plan({}), "Signed Up", {"properties": "text"}).reason == "properties must be object"
    assert says(plan({}), "Signed Up", {}) is None
    empty = says(plan({"additionalProperties": False}), "Signed Up", {"properties": {"a": 1}})
    assert empty.reason == "properties has what the plan does not name"


def test_identify_is_held_against_the_traits_wherever_they_are() -> None:
    bad: dict[str, Any] = {"age": 200}
    for body in ({"traits": bad}, {"context": {"traits": bad}}):
        assert says(SHOP, "$identify", body).reason == "traits.age must be at most 150"
    assert says(SHOP, "$identify", {"context": "mobile"}) is None


@pytest.mark.parametrize(
    ("policy", "violation", "unplanned"),
    [("allow", None, None), ("flag", False, False), ("quarantine", True, True)],
)
def test_the_source_says_what_becomes_of_violations_and_of_unplanned_events(
    policy: str, violation: bool | None, unplanned: bool | None
) -> None:
    document = plan({"required": ["a"]}, violation=policy, unplanned=policy)

    found = [says(document, name, {"properties": {}}) for name in ("Signed Up", "Other")]
    assert [None if fault is None else fault.refuse for fault in found] == [violation, unplanned]


def test_a_source_that_the_plan_does_not_name_follows_none() -> None:
    assert plan_of("p", 1, read_plan(SHOP), "mobile") is None


def test_the_reason_stays_short_for_an_event_full_of_faults() -> None:
    document = plan({"items": False, "properties": {f"p{n}": {"type": "string"} for n in range(200)}})
    fault = says(document, "Signed Up", {"properties": {f"p{n}": n for n in range(200)}})

    assert len(fault.reason) < 700
    assert fault.reason.endswith("…")


def test_s15_a_pattern_takes_linear_time() -> None:
    document = plan({"properties": {"a": {"pattern": "^(a+)+$"}, "b": {"pattern": "(x+x+)+y"}}})
    started = time.thread_time()
    fault = says(document, "Signed Up", {"properties": {"a": "a" * 30_000 + "!", "b": "x" * 30_000}})

    assert fault is not None
    assert time.thread_time() - started < 0.5


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


def doubled(levels: int) -> dict[str, Any]:
    """Each definition twice the size of the one before."""
    parts: dict[str, Any] = {"d0": {"type": "object"}}
    for level in range(levels):
        parts[f"d{level + 1}"] = {"allOf": [{"$ref": f"#/$defs/d{level}"}, {"$ref": f"#/$defs/d{level}"}]}
    return {"$ref": f"#/$defs/d{levels}", "$defs": parts}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "https://example.com/schema.json"}}},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"properties": {"x": {"$ref": "#/$defs/a"}}}}},
        {"$ref": "#/$defs/none"},
        {"$ref": 3},
        {"$dynamicRef": "#a"},
        {"$id": "https://example.com/"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"requierd": ["a"]},
        {"properties": {"a": {"type": "text"}}},
        {"properties": {"a": {"pattern": "(?=a)b"}}},
        {"properties": {"a": {"pattern": "(a)\\1"}}},
        {"properties": {"a": {"pattern": "(a{1000}){1000}"}}},
        {"patternProperties": {"(": {}}},
        {"properties": {"a": {"pattern": "a" * 501}}},
        {"properties": {"a": {"format": "credit-card"}}},
        {"properties": {"a": {"format": []}}},
        {"properties": {"a": 3}},
        {"properties": []},
        {"required": "a"},
        deep(MAX_DEPTH),
        doubled(20),
        [],
        "object",
    ],
)
def test_s15_a_schema_that_could_hang_fetch_or_mislead_is_refused(schema: Any) -> None:
    started = time.thread_time()
    with pytest.raises(InvalidInput) as caught:
        read_plan(plan(schema))
    assert caught.value.code in ("invalid_schema", "invalid_plan")
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"name": "P", "events": {"": {}}},
        {"name": "P", "events": {"$other": {}}},
        {"name": "P", "events": {"a" * 2_000: {}}},
        {"name": "P", "events": {"$alias": {"schema": {}}}},
        {"name": "P", "events": {}, "sources": {"Web!": {}}},
        {"name": "P", "events": {}, "sources": {"web": {"violation": "drop"}}},
        {"name": "P", "events": {}, "extra": 1},
        {"name": "P", "events": {str(n): {} for n in range(1_001)}},
        {"name": "P", "events": {"a": {"schema": {"title": "x" * MAX_BYTES}}}},
        [],
        None,
    ],
)
def test_a_document_that_is_no_plan_is_refused_with_a_reason(document: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_plan(document)
    assert caught.value.code == "invalid_plan"
    assert caught.value.message


def changes(old: Any, new: Any) -> list[tuple[str, str, bool]]:
    found = compare(read_plan(plan(old)), read_plan(plan(new)))
    return [(change.path, change.kind, change.breaking) for change in found]


def prop(schema: Any, **more: Any) -> dict[str, Any]:
    return {"properties": {"a": schema}, **more}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ({}, {"required": ["a"]}, "required_added"),
        (prop({"type": ["string", "null"]}), prop({"type": "string"}), "type_narrowed"),
        (prop({"type": "number"}), prop({"type": "integer"}), "type_narrowed"),
        (prop({}), prop({"type": "string"}), "type_narrowed"),
        (prop({"enum": [1, 2]}), prop({"enum": [1]}), "values_narrowed"),
        (prop({"type": "string"}), prop({"type": "string", "enum": ["x"]}), "values_narrowed"),
        (prop({"enum": ["x", "y"]}), prop({"const": "x"}), "values_narrowed"),
        (prop({"minimum": 0}), prop({"minimum": 1}), "bound_tightened"),
        (prop({"maximum": 9}), prop({"maximum": 8}), "bound_tightened"),
        (prop({}), prop({"maxLength": 8}), "bound_tightened"),
        (prop({"minItems": 1}), prop({"minItems": 2}), "bound_tightened"),
        (prop({"minimum": 1}), prop({"exclusiveMinimum": 1}), "bound_tightened"),
        (prop({"multipleOf": 2}), prop({"multipleOf": 4}), "bound_tightened"),
        (prop({}), prop({"uniqueItems": True}), "bound_tightened"),
        (prop({"pattern": "a"}), prop({"pattern": "b"}), "form_narrowed"),
        (prop({}), prop({"format": "email"}), "form_narrowed"),
        (prop({}), {"additionalProperties": False}, "property_removed"),
        ({}, {"additionalProperties": False}, "closed"),
        ({"additionalProperties": {"type": "number"}}, prop({"type": "string"}), "type_narrowed"),
        (prop({"items": {"type": "number"}}), prop({"items": {"type": "integer"}}), "type_narrowed"),
        (prop({"properties": {"b": {}}}), prop({"required": ["b"], "properties": {"b": {}}}), "required_added"),
        (prop({}), prop(False), "forbidden"),
        ({}, prop(False), "forbidden"),
        (prop({"anyOf": [{"type": "string"}, {"type": "null"}]}), prop({"anyOf": [{"type": "null"}]}), "rules_changed"),
        ({}, {"dependentRequired": {"a": ["b"]}}, "rules_changed"),
        (
            {"$ref": "#/$defs/x", "$defs": {"x": prop({"type": "number"})}},
            {"$ref": "#/$defs/x", "$defs": {"x": prop({"type": "integer"})}},
            "type_narrowed",
        ),
    ],
)
def test_what_refuses_events_that_were_taken_is_breaking(old: Any, new: Any, kind: str) -> None:
    assert (kind, True) in [(found, breaking) for _, found, breaking in changes(old, new)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {}),
        ({}, {"type": "object"}),
        ({"required": ["a"]}, {}),
        ({}, prop({"type": "string"})),
        (prop({"type": "integer"}), prop({"type": "number"})),
        (prop({"enum": [1]}), prop({"enum": [1, 2]})),
        (prop({"minimum": 1}), prop({"minimum": 0})),
        (prop({"exclusiveMinimum": 1}), prop({"minimum": 1})),
        (prop({}), prop({"minLength": 0})),
        (prop({"multipleOf": 4}), prop({"multipleOf": 2})),
        (prop({"pattern": "a"}), prop({})),
        (prop({"anyOf": [{"type": "null"}]}), prop({"anyOf": [{"type": "string"}, {"type": "null"}]})),
        ({"additionalProperties": False}, {}),
        ({"additionalProperties": False}, prop({"type": "string"}, additionalProperties=False)),
        (prop({"title": "A"}), prop({"title": "B", "description": "C"})),
        (prop({"$ref": "#/$defs/x"}, **{"$defs": {"x": {"type": "string"}}}), prop({"type": "string"})),
    ],
)
def test_what_takes_all_that_was_taken_is_not_breaking(old: Any, new: Any) -> None:
    assert not [found for found in changes(old, new) if found[2]]


def test_a_removed_event_and_a_stricter_policy_are_breaking_and_come_first() -> None:
    old = {"name": "P", "events": {"A": {}, "B": {}}, "sources": {"web": {}}}
    new = {"name": "P", "events": {"A": {}, "C": {}}, "sources": {"web": {"violation": "quarantine"}}}

    found = [(change.kind, change.breaking) for change in compare(read_plan(old), read_plan(new))]
    assert found == [("policy_tightened", True), ("event_removed", True), ("event_added", False)]


LEAF = st.sampled_from(
    [
        *({}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": ["string", "null"]}, False, True),
        *({"enum": [1, "x", None]}, {"enum": ["x"]}, {"const": 1}, {"minimum": 1}, {"maximum": 1}, {"minLength": 1}),
        *({"anyOf": [{"type": "string"}, {"minimum": 3}]}, {"not": {"type": "null"}}, {"exclusiveMinimum": 0}),
        *({"type": "array", "items": {"type": "integer"}}, {"minItems": 1}, {"multipleOf": 2}, {"format": "date"}),
        {"properties": {"b": {"type": "string"}}, "required": ["b"]},
    ]
)
SCHEMAS = st.fixed_dictionaries(
    {"properties": st.fixed_dictionaries({"a": LEAF, "b": LEAF})},
    optional={
        "required": st.sampled_from([[], ["a"], ["a", "b"]]),
        "additionalProperties": st.sampled_from([True, False]),
        "minProperties": st.integers(0, 2),
    },
)
VALUES = st.sampled_from(
    [None, 0, 1, 2, 3, 1.5, "", "x", "yy", "2026-01-01", [], [1], ["x"], {}, {"b": "x"}, {"b": 1}, True]
)
CONTENTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS, SCHEMAS, st.lists(CONTENTS, min_size=1, max_size=8))
def test_without_a_breaking_change_everything_that_was_taken_still_is(
    old: dict[str, Any], new: dict[str, Any], contents: list[dict[str, Any]]
) -> None:
    if any(breaking for _, _, breaking in changes(old, new)):
        return
    before, after = (jsonschema_rs.Draft202012Validator(s, validate_formats=True) for s in (old, new))
    for content in contents:
        assert not before.is_valid(content) or after.is_valid(content)
