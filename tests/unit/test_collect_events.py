"""The time of events, and the parser that saves the good events of a bad batch."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.collect.events import Frame
from hoso.collect.intake import Sender, Taken, open_single, take
from hoso.collect.parse import MAX_EVENTS, parse_batch
from hoso.collect.plan_document import read_plan
from hoso.collect.plans import plan_of
from hoso.collect.scan import depth_of, find_events, holds_long_number, loads
from hoso.model.errors import InvalidInput
from hoso.model.record import Record, unpack
from hoso.model.time import format_instant, parse_instant

NOW = 1_795_358_100_000
DAY = 86_400_000


def taken(raw: bytes, sent_at: int | None = None) -> Taken:
    batch = parse_batch(raw) if b'"batch"' in raw else open_single(raw)
    frame = Frame(NOW, new_id=lambda: "made", sent_at=sent_at)
    return take(raw, batch, frame, Sender("main", "web"), lambda kind, value: f"{kind}:{value}")


def records(result: Taken) -> list[Record]:
    return [unpack(data) for _, data in result.records]


def track(**more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "E", "anonymousId": "a", "messageId": "m", **more}


@pytest.mark.parametrize(
    ("original", "sent", "corrected"),
    [
        (0, 0, 0),
        (-DAY - 5_000, -DAY, -5_000),
        (DAY - 5_000, DAY, -5_000),
        (100 * 365 * DAY, 100 * 365 * DAY, 0),
        (-5_000, None, -5_000),
        (-6 * 365 * DAY, 0, -6 * 365 * DAY),
        (100 * 365 * DAY, 0, 600_000),
        (DAY, None, 600_000),
        (600_000, None, 600_000),
        (-5_000, "garbage", -5_000),
        (None, 0, 0),
        ("garbage", 0, 0),
    ],
)
@pytest.mark.parametrize("where", ["event", "batch", "header"])
@pytest.mark.parametrize("name", ["timestamp", "originalTimestamp"])
def test_r7_the_time_of_an_event_is_free_of_the_clients_clock_error(
    original: Any, sent: Any, corrected: int, where: str, name: str
) -> None:
    told = format_instant(NOW + sent) if isinstance(sent, int) else sent
    event = track()
    if original is not None:
        event[name] = format_instant(NOW + original) if isinstance(original, int) else original
    body: dict[str, Any] = {"batch": [event]}
    if told is not None and where != "header":
        (event if where == "event" else body)["sentAt"] = told

    (record,) = records(taken(orjson.dumps(body), parse_instant(told) if where == "header" else None))

    assert record.received_at == NOW
    assert record.events[0].ts == NOW + corrected
    assert record.events[0].original_ts == (NOW + original if isinstance(original, int) else None)
    assert record.events[0].body.get(name) == event.get(name)
    assert record.sent_at == (NOW + sent if isinstance(sent, int) and where != "event" else None)


def test_the_events_own_sent_at_wins_over_the_batchs() -> None:
    event = track(timestamp=format_instant(NOW - 5_000), sentAt=format_instant(NOW - 1_000))
    (record,) = records(taken(orjson.dumps({"batch": [event], "sentAt": format_instant(NOW - DAY)})))

    assert record.events[0].ts == NOW - 4_000


def test_original_timestamp_wins_over_timestamp() -> None:
    event = track(timestamp="2025-05-05T00:00:00Z", originalTimestamp="2025-01-01T00:00:00Z")
    (record,) = records(taken(orjson.dumps(event)))

    assert record.events[0].original_ts == parse_instant("2025-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (track(), "E"),
        ({"type": "identify", "userId": "u"}, "$identify"),
        ({"type": "page", "userId": "u", "name": "Home"}, "$page"),
        ({"type": "screen", "userId": "u"}, "$screen"),
        ({"type": "group", "userId": "u", "groupId": 7}, "$group"),
        ({"type": "alias", "userId": "u", "previousId": "v"}, "$alias"),
    ],
)
def test_events_have_the_name_that_rules_know_them_by(event: dict[str, Any], name: str) -> None:
    (record,) = records(taken(orjson.dumps(event)))

    assert record.events[0].name == name


def test_the_hub_is_the_best_ranked_identifier_and_the_others_go_with_the_event() -> None:
    event = track(userId="u", context={"traits": {"email": "An@Example.vn"}})
    (record,) = records(taken(orjson.dumps(event)))

    assert record.hub == ("user_id", "u")
    assert sorted(record.events[0].ids) == [["anonymous_id", "a"], ["email", "an@example.vn"]]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
BLANKS = st.sampled_from(["", " ", "\n", "\t \r\n"])


@settings(max_examples=200, deadline=None)
@given(events=st.lists(JSON, max_size=6), blank=BLANKS, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_events_are_found_in_the_raw_text_however_it_is_written(
    events: list[Any], blank: str, indent: int | None, ascii_only: bool
) -> None:
    document = {"before": {"batch": [1, [2]]}, "batch": events, "after": [{"batch": []}], "x": '"batch":['}
    text = blank + json.dumps(document, indent=indent, ensure_ascii=ascii_only).replace("}, ", "}," + blank) + blank
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return

    layout = find_events(raw, MAX_EVENTS)

    assert [json.loads(raw[span.start : span.end]) for span in layout.spans] == json.loads(raw)["batch"]
    assert [span.depth for span in layout.spans] == [depth_of(raw[span.start : span.end]) for span in layout.spans]


BAD = [b"NaN", b"{]", b'{"a":1e999}', b"nul", b'{"a" 1}', b'{"a":"\xff"}', b'"\\ud800"', b"'x'", b"{}}{", b'{"a":tru}']


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 99), st.sampled_from(BAD[:8])), min_size=1, max_size=8))
def test_r8_good_events_are_saved_whatever_stands_beside_them(parts: list[int | bytes]) -> None:
    texts = [part if isinstance(part, bytes) else orjson.dumps(track(messageId=f"m{part}")) for part in parts]
    broken = any(part == b"{]" for part in parts)
    try:
        result = taken(b'{"batch":[' + b",".join(texts) + b'],"sentAt":null}')
    except InvalidInput as error:
        assert broken, error.code
        return

    ids = [event.message_id for record in records(result) for event in record.events]
    assert ids == [f"m{part}" for part in parts if isinstance(part, int)]
    assert [row.index for row in result.rejected] == [index for index, part in enumerate(parts) if type(part) is bytes]


@pytest.mark.parametrize("bad", BAD)
def test_r8_an_event_of_broken_syntax_never_breaks_the_parser(bad: bytes) -> None:
    try:
        result = taken(b'{"batch":[%s,%s]}' % (bad, orjson.dumps(track())))
    except InvalidInput as error:
        assert error.code in {"invalid_json", "invalid_batch", "invalid_utf8"}
    else:
        assert result.accepted == 1


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"batch":["' + b'\\"' * 500_000,
        b'{"batch":[' + b"[" * 1_000_000,
        b'{"batch":[' + b'"' * 999_999,
        b'{"batch":[{' + b"," * 1_000_000,
        b'"\\' * 500_000,
        b'{"batch":[{"a":' + b'{"a":' * 200_000,
        b'{"batch":[' + b"9" * 1_000_000 + b"]}",
    ],
)
def test_s6_hostile_text_is_refused_in_linear_time(hostile: bytes) -> None:
    started = time.process_time()
    with suppress(InvalidInput):
        assert taken(hostile).accepted == 0
    assert time.process_time() - started < 1.5


def test_numbers_are_measured_outside_of_strings_only() -> None:
    assert holds_long_number(b'{"a":%s}' % (b"1" * 39))
    assert not holds_long_number(b'{"a":"%s","b":%s}' % (b"1" * 39, b"1" * 38))
    assert not holds_long_number(b'{"a":"\\"%s"}' % (b"1" * 39))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", "18446744073709551616"),
        ("-12345678901234567890", "-12345678901234567890"),
        ("98765432109876543210987654321098765432", "98765432109876543210987654321098765432"),
        ("[98765432109876543210 , 1]", ["98765432109876543210", 1]),
        ("98765432109876543210.5", 98765432109876543210.5),
        ("98765432109876543210e2", 98765432109876543210e2),
        ('"a \\" 98765432109876543210, b"', 'a " 98765432109876543210, b'),
    ],
)
@pytest.mark.parametrize("blanks", ["", " " * 9_000])
def test_s6_no_digit_of_an_integer_up_to_38_digits_is_lost(written: str, read: object, blanks: str) -> None:
    event = json.dumps(track(properties={"v": "HERE"})).replace('"HERE"', written)
    neighbour = json.dumps(track(messageId="n", properties={"pad": "x" * len(blanks)}))
    body = f'{{"batch": [{neighbour},{blanks}{event}]}}'.encode()
    kept = {one.message_id: one.body for record in records(taken(body)) for one in record.events}
    assert kept["m"]["properties"]["v"] == read
    assert set(kept) == {"m", "n"}


def test_numbers_as_ids_that_differ_in_their_last_digit_are_two_people() -> None:
    one, other = "98765432109876543210", "98765432109876543211"
    body = json.dumps({"batch": [{"type": "page", "userId": int(one)}, {"type": "page", "userId": int(other)}]})
    assert [tuple(record.hub) for record in records(taken(body.encode()))] == [("user_id", one), ("user_id", other)]


@pytest.mark.parametrize(
    "text",
    [b"[098765432109876543210]", b"[98765432109876543210 1]", b"{98765432109876543210 : 1}", b"[98765432109876543210"],
)
def test_text_that_is_no_json_does_not_become_json_by_its_numbers(text: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        loads(text)


@given(
    st.recursive(
        st.integers(-(10**37), 10**38 - 1) | st.text() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_integers_keep_all_their_digits_wherever_they_stand(value: Any) -> None:
    text = json.dumps({"v": value}).encode()
    assert json.loads(text) == {"v": value}
    assert _digits(loads(text)) == _digits({"v": value})


def _digits(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _digits(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_digits(inner) for inner in value]
    return str(value) if isinstance(value, int) and not -(10**19) < value < 2**64 else value


def test_flags_of_a_plan_stay_with_their_events_where_some_came_direct() -> None:
    schema = {"required": ["sku"]}
    document = {"name": "P", "sources": {"s": {"violation": "flag"}}, "events": {"Viewed": {"schema": schema}}}
    said: list[tuple[bool, dict[str, Any]]] = [(True, {}), (False, {"sku": "1"}), (False, {}), (True, {"sku": "1"})]
    events = [
        track(messageId=f"m{n}", event="Viewed", properties=of, context={"direct": direct})
        for n, (direct, of) in enumerate(said)
    ]
    raw = orjson.dumps({"batch": events})
    sender = Sender("main", "s", {}, plan_of("p", 1, read_plan(document), "s"), direct={"ip": "203.0.113.0"})

    result = take(raw, parse_batch(raw), Frame(NOW, lambda: "new"), sender, lambda _, value: value)

    flagged = {record.events[flag[0]].message_id for record in records(result) for flag in record.flags}
    direct = {event.message_id for record in records(result) for event in record.events if record.origin}
    assert (result.flagged, flagged, direct) == (2, {"m0", "m2"}, {"m0", "m3"})
