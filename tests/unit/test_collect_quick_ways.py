"""The quick ways through collect say what the thorough ones say."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.collect.events import Frame, _admit_closely, admit
from hoso.collect.intake import Sender, take
from hoso.collect.parse import FEW_KEYS_BYTES, parse_batch
from hoso.model import time
from hoso.model.errors import InvalidInput
from hoso.model.identifiers import DEFAULT, IdentityConfig
from hoso.model.record import MAX_DEPTH, unpack
from hoso.model.time import parse_instant

NOW = 1_800_000_000_000
BLOCKING = IdentityConfig(DEFAULT.types, blocked=frozenset({"a-1"}))
LONG = "é" * 520  # more than 1,024 bytes, though few enough characters
TEXTS = st.sampled_from(["", "a-1", "null", " a-1 ", "x" * 256, "x" * 257, "x" * 1_025, LONG, "a" + " " * 1_020 + "é"])
ODD = st.sampled_from([None, 0, 7, 1.5, True, [], {}, ["x"], {"email": "an@example.vn"}])
TIMES = st.sampled_from(
    [
        "2027-01-15T08:00:00.000Z",
        "2027-01-15T08:09:59.999Z",
        "2027-01-15T09:00:00Z",
        "1999-12-31T23:59:59.999Z",
        "soon",
        "",
    ]
)
BAGS = st.dictionaries(
    st.sampled_from(["email", "phone", "device", "traits", "externalIds", "source", "page"]), st.one_of(ODD, TEXTS)
)
EVENTS = st.one_of(
    ODD,
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(st.sampled_from(["track", "page", "screen", "identify", "group", "alias", "x"]), ODD),
            "event": st.one_of(TEXTS, ODD),
            "messageId": st.one_of(st.just("m-1"), TEXTS, ODD),
            "anonymousId": st.one_of(st.just("a-1"), TEXTS, ODD),
            "userId": st.one_of(st.none(), TEXTS, ODD),
            "timestamp": st.one_of(TIMES, ODD),
            "originalTimestamp": st.one_of(TIMES, ODD),
            "sentAt": st.one_of(TIMES, ODD),
            "writeKey": st.just("k"),
            "context": st.one_of(BAGS, ODD),
            "properties": st.one_of(BAGS, ODD),
            "traits": st.one_of(BAGS, ODD),
            "integrations": st.one_of(st.just({}), st.just({"Google Analytics": {"clientId": "1.2"}}), ODD),
        },
    ),
)
PLAIN = {
    "type": "track",
    "event": "Seen",
    "messageId": "m-1",
    "anonymousId": "a-1",
    "timestamp": "2027-01-15T08:00:00.000Z",
    "context": {"page": {}},
    "properties": {"price": 1},
}


def outcome(way: Any, event: Any, sent_at: int | None, identity: IdentityConfig) -> Any:
    own, ids = copy.deepcopy(event), itertools.count()
    try:
        return way(own, Frame(NOW, lambda: f"made-{next(ids)}", sent_at=sent_at, identity=identity))
    except InvalidInput as error:
        return error.code, error.message


@given(EVENTS, st.sampled_from([None, NOW, NOW - 60_000, NOW + 60_000]), st.sampled_from([DEFAULT, BLOCKING]))
@settings(max_examples=300, deadline=None)
def test_the_plain_way_admits_as_the_close_look_does(event: Any, sent_at: int | None, identity: IdentityConfig) -> None:
    assert outcome(admit, event, sent_at, identity) == outcome(_admit_closely, event, sent_at, identity)


@given(
    st.dictionaries(
        st.sampled_from([*PLAIN, "userId", "sentAt", "writeKey", "integrations"]),
        st.one_of(TEXTS, ODD, TIMES, BAGS),
        max_size=2,
    ),
    st.sets(st.sampled_from(list(PLAIN)), max_size=1),
    st.sampled_from([None, NOW - 60_000, NOW + 1_000_000_000_000]),
)
@settings(max_examples=300, deadline=None)
def test_an_event_that_is_almost_plain_is_admitted_as_by_the_close_look(
    other: dict[str, Any], missing: set[str], sent_at: int | None
) -> None:
    event = {name: value for name, value in {**PLAIN, **other}.items() if name not in missing}
    assert outcome(admit, event, sent_at, DEFAULT) == outcome(_admit_closely, event, sent_at, DEFAULT)


@pytest.mark.parametrize(
    "other",
    [
        {"context": {"device": {"id": "d-1"}}},
        {"context": {"traits": {"email": "an@example.vn"}}},
        {"context": {"externalIds": [{"type": "crmId", "id": "7"}]}},
        {"context": None},
        {"context": "device"},
        {"properties": {"email": "an@example.vn"}},
        {"properties": {"phone": "0901 234 567"}},
        {"properties": None},
        {"properties": "email"},
        {"userId": "u-1"},
        {"userId": None, "integrations": {}, "traits": {}, "originalTimestamp": None},
        {"traits": {"email": "an@example.vn"}},
        {"integrations": {"Google Analytics": {"clientId": "1.2"}}},
        {"originalTimestamp": "2027-01-15T07:00:00.000Z"},
        {"sentAt": "2027-01-15T07:59:00.000Z"},
        {"sentAt": "soon"},
        {"writeKey": "k"},
        {"timestamp": "2027-01-15T08:09:59.999Z"},
        {"timestamp": "2027-01-15T09:00:00.000Z"},
        {"timestamp": "1999-12-31T23:59:59.999Z"},
        {"timestamp": "soon"},
        {"timestamp": None},
        {"messageId": ""},
        {"messageId": "m" * 257},
        {"messageId": LONG},
        {"event": ""},
        {"event": LONG},
        {"type": "page"},
        {"type": "screen", "event": None},
        {"type": "group"},
        {"type": ["track"]},
        {"anonymousId": []},
        {"anonymousId": ["a-1"]},
        {"anonymousId": {}},
        {"anonymousId": 7},
        {"anonymousId": True},
        {"messageId": ["m-1"]},
        {"messageId": 7},
        {"event": ["Seen"]},
        {},
    ],
)
@pytest.mark.parametrize("identity", [DEFAULT, BLOCKING])
def test_an_event_with_one_oddity_is_admitted_as_by_the_close_look(
    other: dict[str, Any], identity: IdentityConfig
) -> None:
    event = {**PLAIN, **other}
    assert outcome(admit, event, NOW - 1_000, identity) == outcome(_admit_closely, event, NOW - 1_000, identity)
    for name in PLAIN:
        less = {key: value for key, value in event.items() if key != name}
        assert outcome(admit, less, None, identity) == outcome(_admit_closely, less, None, identity)


@pytest.mark.parametrize(
    "anonymous", [LONG, "x" * 257, "a" + " " * 1_020 + "é", "x" * 1_024, "x" * 1_025, " a-1 ", "null"]
)
def test_an_odd_anonymous_id_is_admitted_as_by_the_close_look(anonymous: str) -> None:
    event = {**PLAIN, "anonymousId": anonymous}
    assert outcome(admit, event, None, DEFAULT) == outcome(_admit_closely, event, None, DEFAULT)


def test_of_a_time_that_is_corrected_to_before_the_year_2000_nothing_is_taken() -> None:
    assert outcome(admit, PLAIN, NOW + 1_000_000_000_000, DEFAULT)[0] == "invalid_timestamp"


DIGITS = "98765432109876543210"


def body(*events: str, before: str = "", after: str = "") -> bytes:
    """A batch in compact form, long enough for the quick way."""
    filler = orjson.dumps([PLAIN] * (FEW_KEYS_BYTES // 100)).decode()[1:-1]
    return f'{{{before}"batch":[{filler}{"".join("," + event for event in events)}]{after}}}'.encode()


@pytest.mark.parametrize(
    "event",
    [f'{{"n":{DIGITS}}}', f'{{"n":[{DIGITS}]}}', f'{{"n":[1,-{DIGITS}]}}', f'{{"a":{{"b":{DIGITS}}},"c":1}}'],
)
def test_a_long_number_in_any_event_of_a_compact_body_is_kept_as_text(event: str) -> None:
    found = parse_batch(body('{"type":"track"}', event))
    assert DIGITS in orjson.dumps(found.events[-1]).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f',"context":{{"n":{DIGITS}}}'),
        (f'"context":{{"n":{DIGITS}}},', ""),
        (f'"context":{{"batch":[1{DIGITS}]}},', ""),
        (f'"context":{{"batch":[{{"n":{DIGITS}}}]}},', ""),
        ("", f',"context":{{"batch":[{{"n":{DIGITS}}}]}}'),
        (f'"context":{{"\\"batch\\":[":{DIGITS}}},', ""),
    ],
)
def test_a_long_number_beside_the_events_of_a_compact_body_is_kept_as_text(before: str, after: str) -> None:
    assert DIGITS in orjson.dumps(parse_batch(body(before=before, after=after)).envelope["context"]).decode()


def test_events_that_stand_elsewhere_too_do_not_hide_a_long_number() -> None:
    filler = body()[len('{"batch":[') : -len("]}")].decode()
    sent = body("1", before=f'"context":{{"batch":[{filler},1{DIGITS[:19]}]}},')
    assert parse_batch(sent).envelope["context"]["batch"][-1] == f"1{DIGITS[:19]}"


def test_a_compact_body_is_read_as_the_same_body_with_blanks() -> None:
    for number in ("0.00001234567890123456", "18446744073709551615", "-9223372036854775808", "1e300", f'"{DIGITS}"'):
        sent = body(f'{{"n":{number}}}', "7", "null")
        spaced = sent.replace(b'"batch":[', b'"batch": [ ')
        assert parse_batch(sent).events == parse_batch(spaced).events


@given(
    st.one_of(
        st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1_000:03d}Z"),
        st.from_regex(r"2027-(01|W0|13|1)[-0-9]{1,4}[T t]?[0-9+:]{5,9}[.,:][0-9]{2,4}[Zz+]?", fullmatch=True),
    )
)
@settings(max_examples=300, deadline=None)
def test_an_instant_of_a_minute_that_is_known_is_the_same(text: str) -> None:
    parse_instant(text[:17] + "00.000Z")
    assert parse_instant(text) == time._parse(text)


@pytest.mark.parametrize("other", ["05.000+07:00", "05.123456Z", "05Z", "05.000"])
def test_a_minute_of_another_zone_is_not_remembered(other: str) -> None:
    time._MINUTES.clear()
    parse_instant(f"2027-01-15T08:00:{other}")
    assert parse_instant("2027-01-15T08:00:05.000Z") == 1_800_000_005_000


def test_few_minutes_are_remembered() -> None:
    for minute in range(0, 2 * time._MOST_MINUTES):
        parse_instant(time.format_instant(NOW + minute * 60_000))
    assert len(time._MINUTES) <= time._MOST_MINUTES


@pytest.mark.parametrize("people", [1, 8, 9, 40])
@pytest.mark.parametrize("shared", [False, True])
def test_of_many_people_one_event_that_nests_too_deep_is_refused_alone(people: int, shared: bool) -> None:
    def nested(levels: int) -> Any:
        return {"in": nested(levels - 1)} if levels else 1

    events = [{**PLAIN, "anonymousId": f"a-{number}", "messageId": f"m-{number}"} for number in range(people)]
    events.append({**PLAIN, "anonymousId": "deep", "properties": nested(MAX_DEPTH - 1)})
    events.append({**PLAIN, "anonymousId": "deeper", "properties": nested(MAX_DEPTH)})
    raw = orjson.dumps({"batch": events, **({"context": {"app": 1}} if shared else {})})

    result = take(raw, parse_batch(raw), Frame(NOW, str), Sender("main", "web"), lambda _kind, value: value)

    assert [(bad.index, bad.code) for bad in result.rejected] == [(people + 1, "too_deep")]
    assert [key for key, _ in result.records] == [f"main#a-{number}" for number in range(people)] + ["main#deep"]
    assert [unpack(data).events[0].body["messageId"] for _, data in result.records] == [
        event["messageId"] for event in events[:-1]
    ]


def test_records_of_many_people_are_written_as_those_of_few() -> None:
    events = [{**PLAIN, "anonymousId": f"a-{number % 30}", "messageId": f"m-{number}"} for number in range(60)]

    def bytes_of(part: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
        raw = orjson.dumps({"batch": part})
        return take(raw, parse_batch(raw), Frame(NOW, str), Sender("main", "web"), lambda _kind, value: value).records

    alone = [bytes_of([event for event in events if event["anonymousId"] == f"a-{who}"]) for who in range(30)]
    assert bytes_of(events) == [record for (record,) in alone]


@pytest.mark.parametrize("place", [0, 1, 100, 200])
@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"text": "x" * 33_000}, "event_too_large"),
        ({f"k{number}": number for number in range(2_001)}, "too_many_keys"),
        ({"text": "x" * 32_000}, None),
        ({f"k{number}": number for number in range(1_900)}, None),
    ],
)
def test_a_large_event_among_small_ones_is_found(place: int, members: dict[str, Any], code: str | None) -> None:
    events = [{**PLAIN, "messageId": f"m-{number}"} for number in range(201)]
    events[place] = {**events[place], "properties": members}

    compact = orjson.dumps({"batch": events})
    for raw in (compact, compact.replace(b'"batch":[', b'"batch":[ ')):
        found = [(bad.index, bad.code) for bad in parse_batch(raw).rejected]
        assert found == ([(place, code)] if code else [])
