"""Conditions on the person: traits, consent, identifiers, lists, scores, place, split."""

from __future__ import annotations

from hashlib import sha256
from math import asin, cos, radians, sin, sqrt
from typing import Any, cast

from hoso.segment.aggregates import Answer
from hoso.segment.language import Consent, Geo, HasId, OnList, ScoreTest, Split, Suppressed, Trait
from hoso.segment.measures import Leaf
from hoso.segment.operands import TIME_OPERATORS
from hoso.segment.operators import plain_test, timed_test
from hoso.segment.person import PersonState
from hoso.segment.values import getter, number, split_path
from hoso.segment.zones import NEVER, Duration, Zone, parse_duration

EARTH_RADIUS_KM = 6371.0088
EVERY_CHANNEL = "*"


def trait_leaf(rule: Trait, zone: Zone) -> Leaf:
    """A trait compares so; with ``for``: and it has had its present value for at least that long."""
    read = getter(rule.name)
    if rule.op in TIME_OPERATORS:
        timed = timed_test(rule.op, rule.value, zone)

        def leaf(person: PersonState, as_of: int) -> Answer:
            return timed(read(person.traits), as_of)
    else:
        test = plain_test(rule.op, rule.value, rule.ignore_case)

        def leaf(person: PersonState, as_of: int) -> Answer:  # noqa: ARG001
            return test(read(person.traits)), NEVER

    held_for = parse_duration(rule.held_for)
    return leaf if held_for is None else _held(leaf, rule.name, held_for, zone)


def _held(leaf: Leaf, name: str, held_for: Duration, zone: Zone) -> Leaf:
    whole = split_path(name)[0]

    def held(person: PersonState, as_of: int) -> Answer:
        holds, until = leaf(person, as_of)
        since = person.trait_since.get(name, person.trait_since.get(whole))
        if since is None:
            return False, NEVER
        if since > zone.back(as_of, held_for):
            return False, zone.when_back_reaches(since, held_for)
        return holds, until

    return held


def consent_leaf(rule: Consent) -> Leaf:
    """The purpose's own ``denied`` beats everything; else purpose and channel, else the purpose, else ``unset``."""
    own = rule.purpose
    both = f"{rule.purpose}/{rule.channel}" if rule.channel is not None else rule.purpose
    states: tuple[str, ...] = rule.state

    def leaf(person: PersonState, as_of: int) -> Answer:  # noqa: ARG001
        whole = person.consent.get(own)
        state = whole if whole == "denied" else person.consent.get(both) or whole or "unset"
        return state in states, NEVER

    return leaf


def suppressed_leaf(rule: Suppressed) -> Leaf:
    """The channel, or every channel, is suppressed."""
    channel = rule.channel
    return lambda person, _: (channel in person.suppressed or EVERY_CHANNEL in person.suppressed, NEVER)


def has_id_leaf(rule: HasId) -> Leaf:
    """There is an identifier of one of the types."""
    types = rule.types
    return lambda person, _: (any(person.identifiers.get(kind) for kind in types), NEVER)


def list_leaf(rule: OnList) -> Leaf:
    """The person is on the list."""
    key = rule.key
    return lambda person, _: (key in person.lists, NEVER)


def score_leaf(rule: ScoreTest, zone: Zone) -> Leaf:
    """A score that is not dated later than now, and young enough, compares so."""
    test = plain_test(rule.op, rule.value, ignore_case=False)
    max_age = parse_duration(rule.max_age)

    def leaf(person: PersonState, as_of: int) -> Answer:
        score = person.scores.get(rule.name)
        if score is None:
            return False, NEVER
        if score.at > as_of:
            return False, score.at
        if max_age is None:
            return test(score.value), NEVER
        if score.at <= zone.back(as_of, max_age):
            return False, NEVER
        return test(score.value), zone.when_back_reaches(score.at, max_age)

    return leaf


def geo_leaf(rule: Geo) -> Leaf:
    """The place in the trait is near enough, on a sphere."""
    read = getter(rule.trait)

    def leaf(person: PersonState, as_of: int) -> Answer:  # noqa: ARG001
        place = read(person.traits)
        if not isinstance(place, dict):
            return False, NEVER
        point = cast("dict[str, Any]", place)
        lat, lon = number(point.get("lat")), number(point.get("lon"))
        if lat is None or lon is None or not (-90 <= lat <= 90 and -180 <= lon <= 180):
            return False, NEVER
        return distance_km(rule.lat, rule.lon, lat, lon) <= rule.within_km, NEVER

    return leaf


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance (haversine)."""
    half_lat, half_lon = radians(lat2 - lat1) / 2, radians(lon2 - lon1) / 2
    chord = sin(half_lat) ** 2 + cos(radians(lat1)) * cos(radians(lat2)) * sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))


def split_leaf(rule: Split) -> Leaf:
    """The person's bucket lies in the range."""
    first, after = rule.buckets
    salt = rule.salt

    def leaf(person: PersonState, as_of: int) -> Answer:  # noqa: ARG001
        return first <= bucket(salt, person.split_id or person.id) < after, NEVER

    return leaf


def bucket(salt: str, identity: str) -> int:
    """One of 10,000 buckets: the first 4 bytes of SHA-256 of ``salt:id``, modulo 10,000."""
    digest = sha256(f"{salt}:{identity}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") % 10_000
