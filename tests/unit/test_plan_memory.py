"""What a plan remembers of faults never changes what it says of an event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.collect.plan_document import read_plan
from hoso.collect.plan_memory import MOST, KnownFaults, without
from hoso.collect.plans import Plan, plan_of
from hoso.collect.schemas import compiled

NAMES = ("a", "b", "properties", "0")


def plan(schema: Any) -> Plan:
    document = {"name": "P", "sources": {"web": {}}, "events": {"Seen": {"schema": schema}}}
    found = plan_of("p", 1, read_plan(document), "web")
    assert found is not None
    return found


def said(of: Plan, content: Any) -> Any:
    return of.fault("Seen", {"properties": content})


def kept(of: Plan) -> int:
    return len(of._known["Seen"]._kept)


def fault_in(schema: Any, content: Any) -> Any:
    return next(iter(compiled(schema).iter_errors(content)))


VALUES = st.recursive(
    st.sampled_from([None, True, 0, 3, 7.5, "", "p-1", "xyz", "2026-01-01"]),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=6,
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "number", "integer", ["string", "null"], "array", "object"]),
        "enum": st.just(["xyz", 3]),
        "const": st.just("p-1"),
        "minimum": st.just(1),
        "exclusiveMaximum": st.just(7),
        "multipleOf": st.just(2),
        "minLength": st.just(2),
        "maxLength": st.just(2),
        "pattern": st.just("^p-"),
        "format": st.just("date"),
        "minItems": st.just(1),
        "uniqueItems": st.just(True),
        "maxProperties": st.just(1),
        "required": st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True),
    },
)


def _wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    more = st.fixed_dictionaries(
        {"properties": st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=3)},
        optional={
            "items": inner,
            "additionalProperties": st.one_of(st.booleans(), inner),
            "patternProperties": st.fixed_dictionaries({"^a": inner}),
            "propertyNames": st.just({"maxLength": 1}),
            "contains": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentRequired": st.just({"a": ["b"]}),
            "dependentSchemas": st.fixed_dictionaries({"b": inner}),
            "unevaluatedProperties": st.just(False),
        },
    )
    return st.builds(lambda rules, wide: {**rules, **wide}, RULES, more)


SCHEMAS = st.recursive(RULES, _wider, max_leaves=5)


@given(SCHEMAS, st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4), min_size=2, max_size=8))
@settings(max_examples=120, deadline=None)
def test_a_plan_with_a_memory_says_what_one_without_says(schema: Any, contents: list[Any]) -> None:
    remembers = plan(schema)
    for content in [*contents, *contents]:
        assert said(remembers, content) == said(plan(schema), content)


@pytest.mark.parametrize(
    ("schema", "first", "later", "other"),
    [
        ({"properties": {"a": {"maximum": 1}}}, {"a": 2}, {"a": 3, "b": 1}, {"a": 1}),
        (
            {"properties": {"a": {"properties": {"b": {"type": "string"}}}}},
            {"a": {"b": 1}},
            {"a": {"b": []}},
            {"a": {}},
        ),
        ({"required": ["a", "b"]}, {"b": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ],
)
def test_a_rule_broken_alone_is_known_the_next_time(schema: Any, first: Any, later: Any, other: Any) -> None:
    known: KnownFaults[str] = KnownFaults(schema)
    assert known.find(first) is None

    known.learn(fault_in(schema, first), first, "said before")

    assert known.find(later) == "said before"
    assert said(plan(schema), other) is None


def test_a_rule_that_was_not_broken_alone_is_not_kept() -> None:
    schema = {"properties": {"a": {"maximum": 1}, "b": {"maximum": 1}}}
    known: KnownFaults[str] = KnownFaults(schema)

    known.learn(fault_in(schema, {"a": 2}), {"a": 2, "b": 2}, "said before")

    assert known.find({"a": 2, "b": 1}) is None


def test_of_names_that_are_demanded_each_is_known_by_itself() -> None:
    remembers = plan({"required": ["a", "b"]})

    assert [said(remembers, {name: 1}).reason for name in ("b", "a", "b", "a")] == [
        "properties lacks a",
        "properties lacks b",
    ] * 2
    assert said(remembers, {}).reason == "properties lacks a; properties lacks b"
    assert kept(remembers) == 2


@pytest.mark.parametrize(
    ("schema", "content"),
    [
        ({"items": {"type": "string"}, "properties": {"a": {"items": {"type": "string"}}}}, {"a": [1]}),
        ({"additionalProperties": False}, {"0": 1}),
        ({"additionalProperties": {"type": "string"}}, {"a": 1}),
        ({"anyOf": [{"required": ["a"]}]}, {}),
        ({"allOf": [{"required": ["a"]}]}, {}),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
        ({"properties": {"a": False}}, {"a": 1}),
        ({"properties": {"0": {"type": "string"}}}, {"0": 1}),
        ({"patternProperties": {"a": {"type": "string"}}}, {"a": 1}),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1}),
        ({"properties": {"a": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"type": "string"}}}, {"a": 1}),
    ],
)
def test_a_rule_of_more_than_one_value_or_place_is_not_kept(schema: Any, content: Any) -> None:
    assert without(schema, fault_in(schema, content)) is None


def test_that_properties_are_no_object_is_said_each_time() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}

    assert without(schema, fault_in(schema, [])) is None
    assert said(plan(schema), []).reason == "properties must be object"


def test_where_a_rule_asks_what_others_found_nothing_is_kept() -> None:
    remembers = plan({"properties": {"a": {"maximum": 1}}, "unevaluatedProperties": False})

    assert {said(remembers, {"a": number}) for number in (2, 3)} == {said(remembers, {"a": 4})}
    assert kept(remembers) == 0


def test_a_few_rules_are_kept_and_no_more() -> None:
    names = [f"n{number}" for number in range(MOST + 2)]
    remembers = plan({"properties": {name: {"type": "string"} for name in names}})

    for name in names * 2:
        assert said(remembers, {name: 1}).reason == f"properties.{name} must be string"
    assert kept(remembers) == MOST


def test_a_large_schema_is_not_kept_again_and_again() -> None:
    remembers = plan({"properties": {"a": {"type": "string", "description": "x" * 20_000}}})

    assert said(remembers, {"a": 1}).reason == "properties.a must be string"
    assert kept(remembers) == 0
