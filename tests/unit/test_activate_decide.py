"""Whether a message may go: every rule, its reason, and what beats what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoso.activate.decide import Cause, Policy, Recipient, Send, Skip, Wait, decide, quiet_until
from hoso.activate.documents import Activation, QuietHours
from hoso.govern import consent
from hoso.model.time import DAY_MS, HOUR_MS, parse_instant

NOW = parse_instant("2026-11-24T05:00:00Z") or 0  # noon in Vietnam
AN = Recipient(
    consent={"marketing": "granted"}, segments=frozenset({"viewed"}), split_id="p_an", address="an@example.vn"
)
CAUSE = Cause(at=NOW - HOUR_MS)
EMAIL = Policy("email", needs_address=True, max_age_ms=DAY_MS)


def activation(**more: Any) -> Activation:
    base: dict[str, Any] = {
        "trigger": {"kind": "segment.entered", "segment": "viewed"},
        "destination": "mail",
        "purpose": "marketing",
    }
    return Activation.model_validate({**base, **more})


def ask(document: Activation | None = None, person: Recipient = AN, **more: Any) -> Any:
    given: dict[str, Any] = {"cause": CAUSE, "policy": EMAIL, "now": NOW, "key": "hello", **more}
    return decide(document or activation(), given["key"], person, given["cause"], given["policy"], given["now"])


def test_who_is_reachable_allowed_and_still_a_member_gets_it() -> None:
    assert ask() == Send()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exists": False}, "no_person"),
        ({"consent": {}}, "no_consent"),
        ({"consent": {"marketing": "unset"}}, "no_consent"),
        ({"consent": {"marketing": "denied", "marketing/email": "granted"}}, "consent_denied"),
        ({"consent": {"marketing": "granted", "marketing/email": "denied"}}, "consent_denied"),
        ({"consent": {"analytics": "granted"}}, "no_consent"),
        ({"suppressed": True}, "suppressed"),
        ({"address": None}, "no_address"),
        ({"segments": frozenset()}, "not_in_segment"),
    ],
)
def test_s50_p6_every_refusal_has_its_reason(change: dict[str, Any], reason: str) -> None:
    assert ask(person=replace(AN, **change)) == Skip(reason)


def test_a_disabled_activation_sends_nothing() -> None:
    assert ask(activation(enabled=False)) == Skip("activation_disabled")


@pytest.mark.parametrize(
    ("max_age", "age_ms", "answer"),
    [
        (None, DAY_MS, Send()),
        (None, DAY_MS + 1, Skip("too_old")),
        ("30min", 1_800_000, Send()),
        ("30min", 1_800_001, Skip("too_old")),
        ("7d", 6 * DAY_MS, Send()),
    ],
)
def test_r46_a_cause_may_be_too_old(max_age: str | None, age_ms: int, answer: Any) -> None:
    assert ask(activation(max_age=max_age), cause=Cause(NOW - age_ms)) == answer


def test_a_cap_counts_the_sends_of_its_window() -> None:
    document = activation(cap={"count": 2, "per": "7d"})

    assert ask(document, policy=replace(EMAIL, sends=[NOW - 1])) == Send()
    assert ask(document, policy=replace(EMAIL, sends=[NOW - 1, NOW - 7 * DAY_MS])) == Send()
    assert ask(document, policy=replace(EMAIL, sends=[NOW - 1, NOW - 7 * DAY_MS + 1])) == Skip("frequency_cap")


@pytest.mark.parametrize(
    ("at", "zone", "ends"),
    [
        ("2026-11-24T13:59:59Z", None, None),
        ("2026-11-24T14:00:00Z", None, "2026-11-25T01:00:00Z"),
        ("2026-11-24T20:00:00Z", None, "2026-11-25T01:00:00Z"),
        ("2026-11-25T00:59:00Z", None, "2026-11-25T01:00:00Z"),
        ("2026-11-25T01:00:00Z", None, None),
        ("2026-11-24T14:00:00Z", "Europe/Berlin", None),
        ("2026-11-24T20:30:00Z", "Europe/Berlin", "2026-11-25T07:00:00Z"),
        ("2026-11-24T14:00:00Z", "Nowhere/Land", "2026-11-25T01:00:00Z"),
        # Clocks go forward and back in the night.
        ("2026-03-28T22:00:00Z", "Europe/Berlin", "2026-03-29T06:00:00Z"),
        ("2026-10-24T22:00:00Z", "Europe/Berlin", "2026-10-25T07:00:00Z"),
    ],
)
def test_quiet_hours_are_those_of_where_the_person_is(at: str, zone: str | None, ends: str | None) -> None:
    now = parse_instant(at) or 0

    assert quiet_until(QuietHours(), zone, now) == (parse_instant(ends) if ends else None)


def test_quiet_hours_put_off_and_do_not_refuse() -> None:
    night = parse_instant("2026-11-24T20:00:00Z") or 0

    answer = ask(activation(quiet_hours={}), cause=Cause(night), now=night)

    assert answer == Wait(parse_instant("2026-11-25T01:00:00Z") or 0, "quiet_hours")


def test_quiet_hours_within_a_day() -> None:
    quiet = QuietHours(start="12:00", end="13:30")

    assert quiet_until(quiet, None, NOW) == NOW + 90 * 60_000
    assert quiet_until(quiet, None, NOW - 1) is None
    assert quiet_until(QuietHours(start="12:00", end="12:00"), None, NOW) is None


@given(st.text(max_size=30), st.integers(0, 50))
def test_the_hold_out_is_the_same_at_every_ask(split_id: str, percent: int) -> None:
    person, document = replace(AN, split_id=split_id), activation(holdout_percent=percent)

    assert ask(document, person) == ask(document, person)


def test_the_hold_out_has_its_size_and_differs_by_activation() -> None:
    people = [replace(AN, split_id=f"p_{number}") for number in range(4_000)]
    document = activation(holdout_percent=10)
    out = {person.split_id for person in people if ask(document, person) == Skip("hold_out")}
    other = {person.split_id for person in people if ask(document, person, key="other") == Skip("hold_out")}

    assert 320 < len(out) < 480
    assert len(out & other) < 100


def test_s50_a_removal_needs_no_consent_and_is_never_too_late() -> None:
    gone = replace(AN, consent={"marketing": "denied"}, segments=frozenset(), exists=False)
    document = activation(trigger={"kind": "segment.changed", "segment": "viewed"})

    assert ask(document, gone, cause=Cause(NOW - 90 * DAY_MS, removal=True)) == Send()
    assert ask(document, gone, cause=Cause(NOW, removal=True, listed=False)) == Skip("never_listed")
    assert ask(document, AN, cause=Cause(NOW, removal=True)) == Skip("back_in_segment")


def test_an_announcement_of_an_exit_is_for_people_who_are_out() -> None:
    left = activation(trigger={"kind": "segment.exited", "segment": "viewed"}, audience="vip")

    assert ask(left, replace(AN, segments=frozenset({"vip"}))) == Send()
    assert ask(left, replace(AN, segments=frozenset())) == Skip("not_in_segment")
    assert ask(left.model_copy(update={"audience": None}), replace(AN, segments=frozenset())) == Send()


STATES = st.sampled_from(["granted", "denied", "unset", None])


@given(STATES, STATES)
def test_s50_the_consent_rule(whole: str | None, own: str | None) -> None:
    given = {"marketing": whole, "marketing/email": own}
    records = {key: found for key, found in given.items() if found is not None}
    answer = consent.state(records, "marketing", "email")

    if whole == "denied":
        assert answer == "denied"
    elif own in ("granted", "denied"):
        assert answer == own
    else:
        assert answer == (whole or "unset")
    assert consent.allows(records, "marketing", "email") == (answer == "granted")


def test_s50_unknown_is_no_but_for_what_needs_no_consent() -> None:
    assert not consent.allows({}, "marketing", "email")
    assert consent.allows({}, "essential", "email")
    assert not consent.allows({"essential": "denied"}, "essential", "email")
