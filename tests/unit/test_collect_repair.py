"""Mappings of quarantined payloads."""

from __future__ import annotations

from typing import Any

import pytest

from hoso.collect.repair import compile_map, readable, repair
from hoso.model.errors import InvalidInput


@pytest.mark.parametrize(
    ("spec", "payload", "expected"),
    [
        (None, {"a": 1}, {"a": 1}),
        ("merge(@, {event: name})", {"name": "E"}, {"name": "E", "event": "E"}),
        ("{type: type, event: event.name}", {"type": "track", "event": {"name": "E"}}, {"type": "track", "event": "E"}),
        ([{"op": "add", "path": "/a", "value": 1}], {}, {"a": 1}),
        ([{"op": "add", "path": "/a/-", "value": 1}], {"a": [0]}, {"a": [0, 1]}),
        ([{"op": "add", "path": "/a/0", "value": 1}], {"a": [0]}, {"a": [1, 0]}),
        ([{"op": "replace", "path": "/a", "value": None}], {"a": 1}, {"a": None}),
        ([{"op": "replace", "path": "", "value": {"b": 2}}], {"a": 1}, {"b": 2}),
        ([{"op": "remove", "path": "/a/b"}], {"a": {"b": 1}}, {"a": {}}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [1, 2]}, {"a": [2]}),
        ([{"op": "move", "from": "/user_id", "path": "/userId"}], {"user_id": "u"}, {"userId": "u"}),
        ([{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1]}, {"a": [1], "b": [1]}),
        (
            [{"op": "add", "path": "/a~1b", "value": 1}, {"op": "add", "path": "/~0", "value": 2}],
            {},
            {"a/b": 1, "~": 2},
        ),
        ([{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}], {"a": 1}, {}),
    ],
)
def test_a_mapping_makes_a_new_payload(spec: Any, payload: Any, expected: Any) -> None:
    assert compile_map(spec)(payload) == expected


@pytest.mark.parametrize(
    ("spec", "payload"),
    [
        ("missing.member", {}),
        ("sum(text)", {"text": ["a"]}),
        ([{"op": "remove", "path": "/a"}], {}),
        ([{"op": "replace", "path": "/a", "value": 1}], {}),
        ([{"op": "remove", "path": "/a/01"}], {"a": [1, 2]}),
        ([{"op": "remove", "path": "/a/2"}], {"a": [1, 2]}),
        ([{"op": "add", "path": "/a/9", "value": 1}], {"a": []}),
        ([{"op": "add", "path": "/a/b", "value": 1}], {"a": "text"}),
        ([{"op": "test", "path": "/a", "value": 2}], {"a": 1}),
        ([{"op": "remove", "path": ""}], {"a": 1}),
    ],
)
def test_a_mapping_that_does_not_fit_says_so(spec: Any, payload: Any) -> None:
    with pytest.raises(InvalidInput) as error:
        compile_map(spec)(payload)
    assert error.value.code == "map_failed"


def entry(*payloads: Any, **more: Any) -> dict[str, Any]:
    rows = [
        {"index": n, "message_id": None, "code": "c", "reason": "r", "payload": payload}
        for n, payload in enumerate(payloads)
    ]
    return {"id": "e", "workspace": "main", "source": "web", "at": 1_795_358_100_000, "rows": rows, **more}


def hashed(kind: str, value: str) -> str:
    return f"{kind}:{value}"


def test_before_and_after_are_told_for_each_row_and_the_entry_is_left_alone() -> None:
    given = entry({"type": "track", "userId": "u", "name": "E"}, {"type": "track", "userId": "u"})

    outcomes, judged = repair(given, compile_map("merge(@, {event: name})"), hashed)

    assert [(one.accepted, one.code) for one in outcomes] == [(True, ""), (False, "missing_event")]
    assert outcomes[0].after == {"type": "track", "userId": "u", "name": "E", "event": "E"}
    assert given["rows"][0]["payload"] == {"type": "track", "userId": "u", "name": "E"}
    assert (judged.accepted, len(judged.records)) == ([0], 1)


def test_rows_that_a_replay_has_taken_are_left_out() -> None:
    given = entry({"type": "track"}, {"type": "track"}, replays=[{"accepted": [0]}])
    outcomes, _ = repair(given, compile_map(None), hashed)
    assert [one.index for one in outcomes] == [1]


def test_a_payload_kept_as_text_is_mapped_as_json_where_it_is_some() -> None:
    assert readable('{"a": 1}') == {"a": 1}
    assert readable("{broken") == "{broken"
