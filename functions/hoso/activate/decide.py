"""Whether a message may go to a person now: the last question before every send (pure).

Asked with strongly consistent data at the first try, at every later try and at a redrive (security S50; reliability
P6, R46). A ``Skip`` ends the delivery and is stored with its reason; a ``Wait`` asks again later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hoso.activate.documents import Activation, QuietHours, SegmentTrigger, duration_ms
from hoso.govern import consent
from hoso.model.time import DAY_MS, MINUTE_MS
from hoso.segment.zones import zone


@dataclass(frozen=True, slots=True)
class Recipient:
    """What is known of a person when it counts.

    ``consent`` maps ``purpose`` or ``purpose/channel`` to a state, ``segments`` are those it is in now. ``address`` is
    None where the channel needs one and there is none. ``zone`` is the person's own, None when not known.
    """

    exists: bool = True
    consent: Mapping[str, str] = field(default_factory=dict[str, str])
    segments: frozenset[str] = frozenset()
    split_id: str = ""
    address: str | None = None
    suppressed: bool = False
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What the channel asks.

    ``channel`` is that of the consent record, ``sends`` are the times of earlier sends that the cap counts,
    ``max_age_ms`` how old a cause may be where the activation does not say (None: any age).
    """

    channel: str
    needs_address: bool = False
    sends: Sequence[int] = ()
    max_age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """What happened, when (UTC ms), and whether it takes the person off a list instead of telling it something."""

    at: int
    removal: bool = False
    listed: bool = True
    """For a removal: whether the destination was ever told of the person."""


@dataclass(frozen=True, slots=True)
class Send:
    """It may go."""


@dataclass(frozen=True, slots=True)
class Skip:
    """It must not go, and asking again will not change that."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now; ask again at this instant (UTC ms)."""

    until: int
    reason: str


Decision = Send | Skip | Wait


def decide(activation: Activation, key: str, person: Recipient, cause: Cause, policy: Policy, now: int) -> Decision:
    """Whether this activation (its document and its key) may reach this person now, because of this cause."""
    if not activation.enabled:
        return Skip("activation_disabled")
    if cause.removal:
        return _removal(activation, person, cause)
    if not person.exists:
        return Skip("no_person")
    max_age_ms = duration_ms(activation.max_age) if activation.max_age else policy.max_age_ms
    if max_age_ms is not None and now - cause.at > max_age_ms:
        return Skip("too_old")
    reason = _no_permission(activation, person, policy) or _not_concerned(activation, key, person, policy, now)
    if reason is not None:
        return Skip(reason)
    if activation.quiet_hours is not None:
        until = quiet_until(activation.quiet_hours, person.zone, now)
        if until is not None:
            return Wait(until, "quiet_hours")
    return Send()


def quiet_until(quiet: QuietHours, person_zone: str | None, now: int) -> int | None:
    """When the quiet hours that ``now`` lies in end (UTC ms), None outside of them. A zone that is none is not used."""
    try:
        place = zone(person_zone or quiet.zone)
    except (KeyError, ValueError, OSError):
        place = zone(quiet.zone)
    clock = (now + place.offset_ms(now)) % DAY_MS
    start, end = _clock_ms(quiet.start), _clock_ms(quiet.end)
    inside = start <= clock < end if start <= end else clock >= start or clock < end
    if not inside:
        return None
    until = now + (end - clock) % DAY_MS
    # A change of the clock in between moves the end.
    return max(until + place.offset_ms(now) - place.offset_ms(until), now + MINUTE_MS)


def _removal(activation: Activation, person: Recipient, cause: Cause) -> Decision:
    """A removal needs no consent and never comes too late; it falls away if the person is back, or was never there."""
    trigger = activation.trigger
    if isinstance(trigger, SegmentTrigger) and trigger.segment in person.segments:
        return Skip("back_in_segment")
    return Send() if cause.listed else Skip("never_listed")


def _no_permission(activation: Activation, person: Recipient, policy: Policy) -> str | None:
    """Why the person must not be reached on this channel, for this purpose."""
    if not consent.allows(person.consent, activation.purpose, policy.channel):
        denied = consent.state(person.consent, activation.purpose, policy.channel) == consent.DENIED
        return "consent_denied" if denied else "no_consent"
    if person.suppressed:
        return "suppressed"
    return "no_address" if policy.needs_address and person.address is None else None


def _not_concerned(activation: Activation, key: str, person: Recipient, policy: Policy, now: int) -> str | None:
    """Why this activation is not for this person, now."""
    if activation.segment is not None and activation.segment not in person.segments:
        return "not_in_segment"
    if _is_held_out(key, person.split_id, activation.holdout_percent):
        return "hold_out"
    if activation.cap is not None:
        since = now - duration_ms(activation.cap.per)
        if sum(1 for at in policy.sends if at > since) >= activation.cap.count:
            return "frequency_cap"
    return None


def _is_held_out(key: str, split_id: str, percent: float) -> bool:
    """The same people at every ask: a hash of the activation and the person's split id, which survives merges."""
    if percent <= 0:
        return False
    digest = hashlib.sha256(f"{key}\0{split_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 10_000 < percent * 100


def _clock_ms(text: str) -> int:
    hours, minutes = text.split(":")
    return (int(hours) * 60 + int(minutes)) * MINUTE_MS
