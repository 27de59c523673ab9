"""Presence in a shop: an opaque token of a person, a place, a time (connectors, 2.13). Never a biometric.

What recognises people stays with the shop. Whatever looks like an image, a template or a vector is refused whole, and
neither the quarantine nor a log keeps any of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from hoso.collect.sources.calls import person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json
from hoso.collect.sources.reading import given, instant, json_object, member, number, text_of
from hoso.collect.sources.standard import checked_secret, new_secret, verify_standard
from hoso.model.errors import InvalidInput

MAX_TOKEN = 128
_MAX_TEXT = 256
_MAX_NUMBERS = 3
"""A place has up to three coordinates; more numbers in a row are a vector."""

_MAX_INTEGER = 10**18

_TOKEN = re.compile(r"[A-Za-z0-9_.:=-]{1,128}")
_BIOMETRIC_NAME = re.compile(
    r"image|img|photo|picture|frame|video|face|facial|embedding|vector|feature|descriptor|template|landmark|biometric"
    r"|fingerprint|iris|retina|gait|voice|palm|skeleton|keypoint|encoding|jpe?g|png|base64|thumbnail|crop|bbox",
    re.IGNORECASE,
)
_PACKED = re.compile(r"[A-Za-z0-9+/_=-]{129,}")
_EVENTS = {"presence_detected": "Presence Detected", "presence_ended": "Presence Ended"}


def facts(delivery: Delivery) -> list[Fact]:
    """One detection. Of the data only the members that are known are kept."""
    told = json_object(delivery.body)
    refuse_biometrics(told)
    data, kind = member(told, "data"), text_of(told.get("type"))
    token, store = text_of(member(data, "person_token")), text_of(member(data, "store_id"))
    if kind not in _EVENTS:
        raise InvalidInput(f"type is one of {', '.join(_EVENTS)}", code="unknown_type")
    if not token or not store:
        raise InvalidInput("person_token or store_id is missing", code="missing_field")
    if not _TOKEN.fullmatch(token):
        raise InvalidInput("person_token is 1 to 128 of A-Z a-z 0-9 _ . : = -", code="invalid_token")
    detected = text_of(member(data, "detected_at"))
    at = instant(member(data, "detected_at")) or instant(told.get("timestamp"))
    properties = given(
        store_id=store,
        confidence=number(member(data, "confidence")),
        zone=text_of(member(data, "zone")),
        seat=text_of(member(data, "seat")),
        party_ref=text_of(member(data, "party_ref")),
    )
    who = person(anonymous_id=f"presence:{token}", ids=[("presence_token", token)])
    key = f"{store}|{token}|{kind}|{detected or delivery.headers.get('webhook-id', '')}"
    return [Fact(track(_EVENTS[kind], properties, who), key, key, at)]


def refuse_biometrics(value: object) -> None:
    """Raise ``InvalidInput`` (``biometric_refused``) when anything in the value looks like an image or a vector."""
    waiting: list[object] = [value]
    while waiting:
        part = waiting.pop()
        if type(part) is dict:
            members = cast("Json", part)
            if any(_BIOMETRIC_NAME.search(name) for name in members) or _numbers(members.values()) > _MAX_NUMBERS:
                raise _refusal()
            waiting.extend(members.values())
        elif type(part) is list:
            listed = cast("list[Any]", part)
            if _numbers(listed) > _MAX_NUMBERS:
                raise _refusal()
            waiting.extend(listed)
        elif type(part) is str:
            if len(part) > _MAX_TEXT or part.startswith("data:") or _PACKED.search(part):
                raise _refusal()
        elif type(part) is int and abs(part) >= _MAX_INTEGER:
            raise _refusal()


def _numbers(values: Iterable[object]) -> int:
    return sum(type(one) in (int, float) for one in values)


def _refusal() -> InvalidInput:
    return InvalidInput(
        "something looks like a biometric: only an opaque token is taken",
        code="biometric_refused",
        hint="send person_token, store_id, confidence and detected_at alone",
    )


SOURCES = (
    HookKind(
        name="presence",
        verify=verify_standard,
        facts=facts,
        keeps_refused=False,
        check_secret=checked_secret,
        new_secret=new_secret,
    ),
)
