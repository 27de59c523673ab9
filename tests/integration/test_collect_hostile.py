"""Whatever an event holds: it is refused by itself, its neighbours are stored, and nothing is ever a 5xx (R5, R8)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import orjson
import pytest

from tests.collect_world import World, says, track, world


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        made.source("web", "web")
        yield made


def with_value(text: bytes) -> bytes:
    """A good event with this raw text as the value of a property."""
    return orjson.dumps(track() | {"messageId": "odd", "properties": {"x": "@"}}).replace(b'"@"', text)


def with_member(**more: object) -> bytes:
    return orjson.dumps({**track(), "messageId": "odd", **more})


REFUSED = {
    "nan": (with_value(b"NaN"), "invalid_json"),
    "infinity": (with_value(b"Infinity"), "invalid_json"),
    "minus-infinity": (with_value(b"-Infinity"), "invalid_json"),
    "overflow": (with_value(b"1e400"), "invalid_json"),
    "minus-overflow": (with_value(b"-1e400"), "invalid_json"),
    "digits-39": (with_value(b"9" * 39), "number_too_long"),
    "digits-40": (with_value(b"1234567890" * 4), "number_too_long"),
    "digits-5000": (with_value(b"9" * 5_000), "number_too_long"),
    "fraction-60": (with_value(b"0." + b"3" * 60), "number_too_long"),
    "surrogate-low": (with_value(b'"\\ud800"'), "invalid_json"),
    "surrogate-high": (with_value(b'"\\udfff x"'), "invalid_json"),
    "surrogate-key": (with_value(b'{"\\ud800": 1}'), "invalid_json"),
    "raw-control": (with_value(b'"a\x01b"'), "invalid_json"),
    "raw-newline": (with_value(b'"a\nb"'), "invalid_json"),
    "utf8-cut": (with_value(b'"\xe1\xba"'), "invalid_utf8"),
    "utf8-overlong": (with_value(b'"\xc0\x80"'), "invalid_utf8"),
    "utf8-surrogate": (with_value(b'"\xed\xa0\x80"'), "invalid_utf8"),
    "single-quotes": (with_value(b"'x'"), "invalid_json"),
    "trailing-comma": (with_value(b"[1,]"), "invalid_json"),
    "bad-escape": (with_value(b'"\\x41"'), "invalid_json"),
    "comment": (with_value(b"1 /* one */"), "invalid_json"),
    "undefined": (with_value(b"undefined"), "invalid_json"),
    "leading-zero": (with_value(b"007"), "invalid_json"),
    "no-object": (b'"odd"', "invalid_event"),
    "null": (b"null", "invalid_event"),
    "list": (b"[]", "invalid_event"),
    "number": (b"7", "invalid_event"),
    "empty": (b"{}", "unknown_type"),
    "no-type": (b'{"userId":"u","event":"E"}', "unknown_type"),
    "type-null": (with_member(type=None), "unknown_type"),
    "type-list": (with_member(type=["track"]), "unknown_type"),
    "type-other": (with_member(type="merge"), "unknown_type"),
    "no-event": (b'{"type":"track","userId":"u"}', "missing_event"),
    "event-empty": (with_member(event=""), "missing_event"),
    "event-number": (with_member(event=7), "missing_event"),
    "event-long": (with_member(event="e" * 1_025), "invalid_event"),
    "no-id": (with_member(anonymousId=None), "missing_id"),
    "ids-empty": (with_member(anonymousId="", userId=""), "missing_id"),
    "ids-blank": (with_member(anonymousId=" ", userId="\t"), "missing_id"),
    "id-object": (with_member(userId={"a": 1}), "invalid_event"),
    "id-list": (with_member(userId=["u"]), "invalid_event"),
    "id-true": (with_member(anonymousId=True), "invalid_event"),
    "id-long": (with_member(userId="u" * 1_025), "invalid_event"),
    "id-long-multibyte": (with_member(userId="ế" * 400), "invalid_event"),
    "message-id-long": (with_member(messageId="m" * 1_025), "invalid_event"),
    "no-group": (b'{"type":"group","userId":"u"}', "missing_group"),
    "alias-without-previous": (b'{"type":"alias","userId":"u"}', "missing_id"),
    "alias-without-user": (b'{"type":"alias","previousId":"u","anonymousId":"a"}', "missing_id"),
    "before-2000": (with_member(timestamp="1999-12-31T23:59:59.999Z"), "invalid_timestamp"),
}

TAKEN = {
    "nul": with_value(b'"a\\u0000b"'),
    "nul-id": with_member(userId="a\0b"),
    "nul-name": with_member(event="a\0b"),
    "tiny": with_value(b"1e-200"),
    "underflow": with_value(b"1e-400"),
    "large": with_value(b"1e300"),
    "digits-38": with_value(b"9" * 38),
    "digits-in-text": with_value(b'"%s"' % (b"9" * 200)),
    "big-integer": with_value(b"18446744073709551616"),
    "minus-zero": with_value(b"-0"),
    "surrogate-pair": with_value(b'"\\ud83c\\udf38"'),
    "keys": with_value(b'{"": 1, "$set": 2, "a.b": 3, "__proto__": 4, "#": 5, "a b": 6}'),
    "repeated-key": with_value(b'{"a": 1, "a": 2}'),
    "brackets-in-text": with_value(b'"}]}{[[\\"{"'),
    "backslashes": with_value(b'"\\\\"'),
    "context-text": with_member(context="mobile"),
    "context-list": with_member(context=[1]),
    "context-null": with_member(context=None),
    "properties-text": with_member(properties="x"),
    "traits-list": with_member(type="identify", traits=["a"]),
    "traits-number": with_member(context={"traits": 7, "device": "phone", "externalIds": {"id": 1}}),
    "external-ids": with_member(context={"externalIds": [None, {"id": {"a": 1}, "type": []}, {"type": "email"}]}),
    "integrations-list": with_member(integrations=[1]),
    "id-number": with_member(userId=12345),
    "id-float": with_member(userId=12345.0),
    "id-zero": with_member(userId=0),
    "id-1024": with_member(userId="u" * 1_024),
    "event-1024": with_member(event="e" * 1_024),
    "id-hash": with_member(userId="P#1", anonymousId="../../x"),
    "id-newline": with_member(userId='a\n{"level":"ERROR"}'),
    "time-text": with_member(timestamp="yesterday"),
    "time-number": with_member(timestamp=1700000000),
    "time-february": with_member(timestamp="2026-02-30T00:00:00Z"),
    "time-99999": with_member(timestamp="99999-01-01T00:00:00Z"),
    "time-object": with_member(timestamp={}, sentAt=[], originalTimestamp=False),
    "message-id-100": with_member(messageId="m" * 100),
    "email-only": orjson.dumps({"type": "identify", "traits": {"email": "an@example.vn"}, "messageId": "odd"}),
    "external-only": orjson.dumps(
        {
            **track(),
            "messageId": "odd",
            "anonymousId": None,
            "context": {"externalIds": [{"type": "crm_id", "id": "C1"}]},
        }
    ),
}


def count(place: World) -> int:
    return len(place.events())


@pytest.mark.parametrize("name", REFUSED)
def test_r5_a_hostile_event_is_refused_and_its_neighbours_are_stored(place: World, name: str) -> None:
    bad, code = REFUSED[name]
    good = [orjson.dumps(track(n) | {"messageId": f"{name}-{n}"}) for n in (1, 2)]
    before, _ = count(place), place.quarantined()

    reply = place.send("/v1/batch", b'{"batch":[%s,%s,%s]}' % (good[0], bad, good[1]), key=place.keys["web"])

    body = says(reply)
    assert (reply["statusCode"], body["success"], body["accepted"]) == (200, True, 2), body
    (rejected,) = body["rejected"]
    assert (rejected["index"], rejected["code"]) == (1, code)
    assert rejected["message"]
    assert [event["messageId"] for event in place.events()[before:]] == [f"{name}-1", f"{name}-2"]
    (entry,) = place.quarantined()
    (row,) = entry["rows"]
    assert (row["index"], row["code"], entry["stage"], entry["source"]) == (1, code, "collect", "web")


BY_PATH = {name for name in REFUSED if "type" in name or "alias" in name or "group" in name or name == "empty"}
"""On ``/v1/track`` these are other events: the path decides the type."""


@pytest.mark.parametrize(
    ("name", "path"),
    [*((name, "/v1/batch") for name in REFUSED), *((name, "/v1/track") for name in REFUSED if name not in BY_PATH)],
)
def test_r5_a_hostile_event_alone_is_400(place: World, name: str, path: str) -> None:
    bad, _ = REFUSED[name]
    before = count(place)

    reply = place.send(path, bad if path == "/v1/track" else b'{"batch":[%s]}' % bad, key=place.keys["web"])

    body = says(reply)
    assert (reply["statusCode"], body["success"]) == (400, False)
    assert body["code"]
    assert body["message"]
    assert count(place) == before


@pytest.mark.parametrize("name", TAKEN)
def test_r5_an_odd_event_is_stored_as_it_was_sent(place: World, name: str) -> None:
    odd = TAKEN[name]
    before = count(place)

    reply = place.send("/v1/batch", b'{"batch":[%s]}' % odd, key=place.keys["web"])

    assert (reply["statusCode"], says(reply)) == (200, {"success": True})
    # an integer of more than 64 bits is kept as text (decision 0081)
    kept = json.loads(odd, parse_int=lambda digits: int(digits) if int(digits) < 2**64 else digits)
    assert place.events()[before:] == [kept]


@pytest.mark.parametrize("given", [None, "", 7, [], {}, True])
def test_an_event_without_a_usable_message_id_gets_one(place: World, given: object) -> None:
    event = {**track(), "messageId": given, "event": "No id"}
    before = count(place)

    for _ in range(2):
        assert place.send("/v1/t", event, key=place.keys["web"])["statusCode"] == 200

    first, second = (stored["messageId"] for stored in place.events()[before:])
    assert first
    assert second
    assert first != second


@pytest.mark.parametrize("position", range(0, 100, 9))
def test_r8_one_bad_event_never_spoils_a_batch(place: World, position: int) -> None:
    events: list[object] = [track(n) | {"messageId": f"r8-{position}-{n}"} for n in range(100)]
    events[position] = {"type": "track"}
    before = count(place)

    reply = place.send("/v1/batch", {"batch": events}, key=place.keys["web"])

    assert says(reply)["accepted"] == 99
    assert [rejected["index"] for rejected in says(reply)["rejected"]] == [position]
    assert count(place) - before == 99


def test_a_batch_of_nothing_but_bad_events_is_400(place: World) -> None:
    reply = place.send("/v1/batch", {"batch": [{}, {"type": "track"}]}, key=place.keys["web"])

    assert reply["statusCode"] == 400
    assert [rejected["code"] for rejected in says(reply)["rejected"]] == ["unknown_type", "missing_event"]


LARGE = ["nan", "digits-40", "digits-5000", "surrogate-low", "utf8-cut", "deep-60", "deep-300", "deep-2000", "keys"]


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("blanks", [b"", b" " * 500])
def test_r5_a_hostile_event_in_a_large_batch_is_refused_by_itself(place: World, name: str, blanks: bytes) -> None:
    more = {f"deep-{n}": with_value(b'{"a":' * n + b"1" + b"}" * n) for n in (60, 300, 2_000)}
    more["keys"] = with_value(orjson.dumps({f"k{n}": 1 for n in range(2_100)}))
    bad = more.get(name) or REFUSED[name][0]
    good = [orjson.dumps(track(n) | {"messageId": f"large-{n}", "text": "x" * 1_000}) for n in range(50)]
    before = count(place)

    raw = b'{"batch":[%s,%s%s]}' % (b",".join(good), blanks, bad)
    reply = place.send("/v1/batch", raw, key=place.keys["web"])

    assert (reply["statusCode"], says(reply)["accepted"]) == (200, 50), reply
    assert [rejected["index"] for rejected in says(reply)["rejected"]] == [50]
    assert count(place) - before == 50


@pytest.mark.parametrize("levels", [60, 300, 2_000])
def test_deep_batch_members_are_refused(place: World, levels: int) -> None:
    deep = b'{"batch":[%s],"context":%s}' % (orjson.dumps(track()), b'{"a":' * levels + b"1" + b"}" * levels)

    reply = place.send("/v1/batch", deep, key=place.keys["web"])

    assert (reply["statusCode"], says(reply)["code"]) == (400, "too_deep")


def test_s14_what_customers_send_is_not_in_the_log(place: World, caplog: pytest.LogCaptureFixture) -> None:
    secret = {"email": "marked-pii@example.vn", "phone": "+84909999999"}
    bad = {"type": "nothing", "userId": "marked-pii", "traits": secret, "messageId": 'x\n{"level":"ERROR"}'}

    place.send(
        "/v1/batch", {"batch": [bad, {"type": "identify", "userId": "u", "traits": secret}]}, key=place.keys["web"]
    )
    place.send("/v1/batch", b'{"marked-pii": ', key=place.keys["web"])

    said = [str(record.__dict__) for record in caplog.records]
    assert len(said) >= 2
    for mark in ("marked-pii", "84909999999", "203.0.113", place.keys["web"], "\n"):
        assert not any(mark in line for line in said)
