"""A profile of ``unify`` as activation needs it: who can be reached how, and may be told what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hoso.activate.decide import Recipient

if TYPE_CHECKING:
    from hoso.segment.person import Verdict
    from hoso.unify.profiles import Profile


class PeopleReader(Protocol):
    """What activation asks of ``unify.people``."""

    def load_person(self, workspace: str, pid: str) -> Profile:
        """The person to whom a profile id leads now, strongly consistent."""
        ...

    def verdicts(self, profile: Profile, as_of: int, keys: frozenset[str] | None = None) -> dict[str, Verdict]:
        """What the live rules say of a person at an instant."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """Traits, plain, and identifiers by type; ``fragments`` carry what belongs to the person here."""

    pid: str
    traits: Mapping[str, Any]
    identifiers: Mapping[str, list[str]]
    fragments: tuple[str, ...]


def person_of(profile: Profile) -> Person:
    """The person in a profile."""
    identifiers: dict[str, list[str]] = {}
    for kind, value in profile.person.identifiers:
        identifiers.setdefault(kind, []).append(value)
    traits = {name: entry.value for name, entry in profile.traits.items() if entry.value is not None}
    return Person(profile.pid, traits, identifiers, profile.person.fragments)


def recipient_of(
    profile: Profile, people: PeopleReader, segments: frozenset[str], address: str | None, now: int, *, suppressed: bool
) -> Recipient:
    """The facts that the decision rests on; of the segments only the asked ones are looked at."""
    traits = profile.traits
    own_zone = traits["timezone"].value if "timezone" in traits else None
    return Recipient(
        exists=profile.exists,
        consent={key: entry.state for key, entry in profile.consent.items()},
        segments=_segments(profile, people, segments, now),
        split_id=profile.person.split_id or profile.pid,
        address=address,
        suppressed=suppressed,
        zone=own_zone if isinstance(own_zone, str) else None,
    )


def _segments(profile: Profile, people: PeopleReader, wanted: frozenset[str], now: int) -> frozenset[str]:
    """Which of these segments the person is in now.

    A stored membership that time may have ended, and everything of a person who merged or parted and was not evaluated
    since, is asked of the live rules; where their capped state cannot decide, the stored answer stands.
    """
    held = profile.person.memberships
    stored = wanted & held.keys()
    stale = {key for key in stored if (until := held[key].until) is not None and until <= now}
    doubtful = wanted if profile.person.dirty else frozenset(stale)
    if not doubtful:
        return stored
    verdicts = people.verdicts(profile, now, doubtful)
    ended = {key for key in doubtful if key in verdicts and not verdicts[key].spilled and not verdicts[key].member}
    begun = {key for key in doubtful if key in verdicts and not verdicts[key].spilled and verdicts[key].member}
    return frozenset((stored - ended) | begun)
