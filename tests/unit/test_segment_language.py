"""What the language refuses, where it says the fault is, and what it says in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hoso.segment.check import InvalidSegment, check_references, read_segment
from hoso.segment.describe import sentence
from hoso.segment.schema import json_schema

TRAIT = {"kind": "trait", "name": "plan", "op": "is", "value": "pro"}
EVENT = {"kind": "event", "event": "Order Completed"}
SEQUENCE = {"kind": "sequence", "steps": [{"event": "a"}, {"event": "b"}]}


def document(rule: Any, **more: Any) -> dict[str, Any]:
    return {"schema": "segment/1", "key": "s", "rule": rule, **more}


def refused(body: Any) -> InvalidSegment:
    with pytest.raises(InvalidSegment) as caught:
        read_segment(body)
    return caught.value


@pytest.mark.parametrize(
    ("rule", "path", "code"),
    [
        ({**TRAIT, "vallue": 1}, "rule.trait.vallue", "unknown_key"),
        ({"kind": "all", "of": [{**TRAIT, "op": "equals"}]}, "rule.all.of.0.trait.op", "op"),
        ({"kind": "trait", "op": "exists"}, "rule.trait.name", "missing_key"),
        ({**TRAIT, "name": "a..b"}, "rule.trait.name", "path"),
        ({**TRAIT, "value": None}, "rule.trait.value", "value"),
        ({**TRAIT, "value": ["pro"]}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "gte", "value": "5"}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "gte", "value": True}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "gte", "value": float("nan")}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "in", "value": []}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "in", "value": list(range(1_001))}, "rule.trait", "limit"),
        ({**TRAIT, "op": "contains", "value": ""}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "size_gte", "value": 1.0}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "on", "value": "2026-02-30"}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "before", "value": "2026-11-01T10:00:00+14:30"}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "in_last", "value": "7 days"}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "in_last", "value": "07d"}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "in_last", "value": "٧d"}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "anniversary", "value": {"from": 3, "to": 1}}, "rule.trait.value", "value"),
        ({**TRAIT, "op": "anniversary", "value": {"from": 0, "to": 1, "x": 2}}, "rule.trait.value", "value"),
        ({**TRAIT, "for": "soon"}, "rule.trait.for", "duration"),
        ({**EVENT, "value": 3}, "rule.event.value", "value"),
        ({**EVENT, "op": "contains", "value": "x"}, "rule.event.op", "op"),
        ({**EVENT, "op": "is", "value": "3"}, "rule.event.value", "value"),
        ({**EVENT, "event": []}, "rule.event.event", "event"),
        ({**EVENT, "event": [f"e{number}" for number in range(1_001)]}, "rule.event.event", "event"),
        ({"kind": "has_id", "types": [f"t{number}" for number in range(1_001)]}, "rule.has_id.types", "types"),
        ({**EVENT, "event": ""}, "rule.event.event.0", "event"),
        ({**EVENT, "window": {}}, "rule.event.window", "window"),
        ({**EVENT, "window": {"lsat": "7d"}}, "rule.event.window", "window"),
        ({**EVENT, "window": {"last": "7d", "to": "2026-01-01"}}, "rule.event.window.last.to", "unknown_key"),
        ({**EVENT, "window": {"from": "2026-02-01", "to": "2026-01-01"}}, "rule.event.window.absolute", "window"),
        ({**EVENT, "window": {"from": "2026-02-01T00:00"}}, "rule.event.window.absolute.from", "window"),
        ({**EVENT, "window": {"calendar": "month", "back": -1}}, "rule.event.window.calendar.back", "back"),
        ({**EVENT, "measure": {"agg": "median", "of": "a"}}, "rule.event.measure", "agg"),
        ({**EVENT, "measure": {"agg": "percentile", "of": "a", "p": 101}}, "rule.event.measure.percentile.p", "p"),
        ({**EVENT, "measure": {"agg": "sum"}, "op": "gt", "value": 1}, "rule.event.measure.sum.of", "missing_key"),
        ({**SEQUENCE, "steps": []}, "rule.sequence.steps", "steps"),
        ({**SEQUENCE, "steps": [{"event": "a", "absent": True}]}, "rule.sequence.steps", "steps"),
        ({**SEQUENCE, "steps": [{"event": "a", "within": "1h"}]}, "rule.sequence.steps", "steps"),
        (
            {**SEQUENCE, "steps": [{"event": "a"}] + [{"event": "b", "absent": True}] * 2},
            "rule.sequence.steps",
            "steps",
        ),
        ({**SEQUENCE, "steps": [{"event": "a"}] * 9}, "rule.sequence.steps", "steps"),
        ({**SEQUENCE, "within": "1y"}, "rule.sequence.within", "duration"),
        ({"kind": "consent", "purpose": "m", "state": []}, "rule.consent.state", "state"),
        ({"kind": "consent", "purpose": "m", "state": ["yes"]}, "rule.consent.state.0", "state"),
        ({"kind": "score", "name": "x", "op": "is", "value": 1}, "rule.score.op", "op"),
        ({"kind": "geo", "trait": "g", "lat": 91, "lon": 0, "within_km": 1}, "rule.geo.lat", "lat"),
        ({"kind": "geo", "trait": "g", "lat": 0, "lon": "0", "within_km": 1}, "rule.geo.lon", "lon"),
        ({"kind": "split", "salt": "x", "from": True, "to": 50}, "rule.split.from", "from"),
        ({"kind": "split", "salt": "x", "from": 50, "to": 50}, "rule.split.value", "value"),
        ({"kind": "split", "salt": "x", "from": 0, "to": 0.001}, "rule.split.value", "value"),
        ({"kind": "not", "of": [TRAIT]}, "rule.not.of", "of"),
        ("everyone", "rule", "rule"),
        (None, "rule", "rule"),
    ],
)
def test_a_fault_is_named_by_its_path(rule: Any, path: str, code: str) -> None:
    error = refused(document(rule))

    assert (error.faults[0].path, error.faults[0].code) == (path, code)
    assert path in error.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**document(TRAIT), "schema": "segment/2"}, "schema"),
        ({**document(TRAIT), "timezone": "Saigon"}, "timezone"),
        ({**document(TRAIT), "timezone": "../etc/passwd"}, "timezone"),
        ({**document(TRAIT), "key": "a#b"}, "key"),
        ({**document(TRAIT), "rules": 1}, "unknown_key"),
        ([], "document"),
        (None, "document"),
    ],
)
def test_the_document_itself_is_checked(body: Any, code: str) -> None:
    assert refused(body).code == code


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({**SEQUENCE, "steps": [{"event": "a"}] * 9}, "at most 8 entries, not 9"),
        ({"kind": "all", "of": []}, "at least 1 entries"),
        ({"kind": "consent", "purpose": "m", "state": "granted"}, "a list is needed"),
        ({"kind": "not", "of": [TRAIT]}, "an object is needed"),
        ({**TRAIT, "vallue": 1}, "there is no such key"),
        ({**TRAIT, "ignore_case": "yes"}, "true or false is needed"),
        ({"kind": "traits"}, "traits is none of 'everyone'"),
        ({**EVENT, "window": {"calendar": "day", "back": -1}}, "at least 0"),
    ],
)
def test_a_fault_is_told_in_words_of_documents(rule: Any, words: str) -> None:
    message = refused(document(rule)).faults[0].message

    assert message.startswith(words)


@pytest.mark.parametrize(
    "rule",
    [
        {**EVENT, "event": [f"e{number}" for number in range(1_000)]},
        {**SEQUENCE, "same": [f"properties.p{number}" for number in range(9)]},
        {"kind": "has_id", "types": [f"t{number}" for number in range(1_000)]},
        {"kind": "any", "of": [TRAIT] * 50},
    ],
)
def test_what_reaches_a_limit_is_taken(rule: Any) -> None:
    assert read_segment(document(rule)).rule.kind == rule["kind"]


def test_all_faults_are_told_at_once() -> None:
    error = refused(document({"kind": "all", "of": [{**TRAIT, "op": "x"}, {**EVENT, "foo": 1}]}))

    assert [fault.path for fault in error.faults] == ["rule.all.of.0.trait.op", "rule.all.of.1.event.foo"]


def test_a_hostile_depth_is_refused_without_a_crash() -> None:
    rule: dict[str, Any] = TRAIT
    for _ in range(5_000):
        rule = {"kind": "not", "of": rule}

    assert refused(document(rule)).code == "depth"


def test_eight_levels_and_fifty_leaves_are_allowed_and_one_more_is_not() -> None:
    rule: dict[str, Any] = TRAIT
    for _ in range(7):
        rule = {"kind": "not", "of": rule}
    read_segment(document(rule))
    read_segment(document({"kind": "all", "of": [TRAIT] * 50}))

    assert refused(document({"kind": "not", "of": rule})).code == "depth"
    assert refused(document({"kind": "all", "of": [TRAIT] * 51})).code == "limit"
    assert refused(document({**EVENT, "where": nested_filter(9)})).code == "depth"


def nested_filter(levels: int) -> dict[str, Any]:
    where: dict[str, Any] = {"kind": "prop", "path": "properties.x", "op": "exists"}
    for _ in range(levels - 1):
        where = {"kind": "not", "of": where}
    return where


def test_references_that_multiply_are_refused() -> None:
    segments = {"s0": read_segment({**document({"kind": "all", "of": [TRAIT] * 2}), "key": "s0"})}
    for number in range(1, 12):
        rule = {"kind": "all", "of": [{"kind": "segment", "key": f"s{number - 1}"}] * 2}
        segments[f"s{number}"] = read_segment({**document(rule), "key": f"s{number}"})

    with pytest.raises(InvalidSegment) as caught:
        check_references(segments["s11"], segments)
    assert caught.value.code == "limit"


def test_a_document_survives_being_written_out() -> None:
    body = json.loads((Path(__file__).parents[2] / "events" / "samples" / "segments.json").read_text())
    for sample in body.values():
        segment = read_segment(sample)
        written = segment.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert read_segment(written) == segment


def test_the_published_schema_is_the_one_of_the_models() -> None:
    published = json.loads((Path(__file__).parents[2] / "events" / "segments" / "segment-1.schema.json").read_text())

    assert published == json_schema()


@pytest.mark.parametrize(
    ("rule", "english", "vietnamese"),
    [
        (
            {
                "kind": "all",
                "of": [
                    {
                        "kind": "sequence",
                        "window": {"last": "3d"},
                        "steps": [
                            {
                                "event": "Cart Viewed",
                                "where": {"kind": "prop", "path": "properties.total", "op": "gte", "value": 500000},
                            },
                            {"event": "Order Completed", "absent": True, "within": "1h"},
                        ],
                    },
                    {"kind": "consent", "purpose": "marketing", "channel": "email", "state": ["granted"]},
                ],
            },
            "People for whom: they did “Cart Viewed” with properties.total is 500 000 or more in the last 3 days, then "
            "no “Order Completed” within 1 hour, and consent to marketing by email is granted (days of UTC).",
            "Những người mà: đã làm “Cart Viewed” có properties.total từ 500 000 trở lên trong 3 ngày qua, sau đó "
            "không có “Order Completed” trong vòng 1 giờ, và sự đồng ý cho marketing qua email là đã cho "
            "(ngày theo UTC).",
        ),
        (
            {**EVENT, "op": "is", "value": 0, "window": {"last": "60d"}},
            "People for whom: they did not do “Order Completed” in the last 60 days (days of UTC).",
            "Những người mà: không làm “Order Completed” trong 60 ngày qua (ngày theo UTC).",
        ),
        (
            {"kind": "any", "of": [TRAIT, {"kind": "all", "of": [TRAIT, {"kind": "not", "of": EVENT}]}]},
            "People for whom: plan is “pro” or (plan is “pro”, and it is not so that they did “Order Completed”) "
            "(days of UTC).",
            "Những người mà: plan là “pro” hoặc (plan là “pro”, và không đúng là đã làm “Order Completed”) "
            "(ngày theo UTC).",
        ),
    ],
)
def test_a_document_is_said_in_one_sentence(rule: Any, english: str, vietnamese: str) -> None:
    segment = read_segment(document(rule))

    assert sentence(segment) == english
    assert sentence(segment, "vi") == vietnamese


def test_braces_in_a_rule_stay_what_they_are() -> None:
    segment = read_segment(document({**TRAIT, "value": "{rule} {0}"}))

    assert "“{rule} {0}”" in sentence(segment)
