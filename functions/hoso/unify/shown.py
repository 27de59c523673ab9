"""A profile as JSON, section by section: what the API, the command line and the console show (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hoso.model.derived import normalised
from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant
from hoso.segment.meters import HELD
from hoso.unify.computed import Computed
from hoso.unify.fragments import New
from hoso.unify.habits import habits, zone_of
from hoso.unify.profiles import Profile, writes_of
from hoso.unify.trait_history import Write, notable
from hoso.unify.traits import Trait

Json = dict[str, Any]
EXTRA = frozenset({"relations", "timeline", "trait_history"})
"""Sections that need further reads, or that only who asks for them gets."""


def sections_of(text: str | None) -> Mapping[str, frozenset[str]] | None:
    """The sections that ``fields`` names, each with the members wanted of it (none: all); None for all sections.

    >>> sections_of("traits.city,traits.tier,segments") == {"traits": {"city", "tier"}, "segments": frozenset()}
    True

    Raises:
        InvalidInput: a section that there is not.
    """
    if not text:
        return None
    wanted: dict[str, set[str]] = {}
    whole: set[str] = set()
    for part in text.split(","):
        section, dot, member = part.strip().partition(".")
        if section not in SECTIONS and section not in EXTRA:
            raise InvalidInput(
                "fields names a section that there is not", hint=f"sections: {', '.join(sorted({*SECTIONS, *EXTRA}))}"
            )
        wanted.setdefault(section, set())
        if dot and member:
            wanted[section].add(member)
        else:
            whole.add(section)
    return {section: frozenset() if section in whole else frozenset(names) for section, names in wanted.items()}


def as_json(profile: Profile, wanted: Mapping[str, frozenset[str]] | None = None) -> Json:
    """The profile as the API shows it; times are ISO 8601. Of the sections in ``EXTRA`` only ``trait_history``."""
    shown: Json = {"profile_id": profile.pid}
    for name, section in SECTIONS.items():
        if wanted is None or name in wanted:
            content = section(profile)
            members = wanted.get(name) if wanted is not None else None
            shown[name] = {k: v for k, v in content.items() if k in members} if members else content
    if wanted is not None and "trait_history" in wanted:
        shown["trait_history"] = history(profile, wanted["trait_history"])
    return shown


def history(profile: Profile, names: Iterable[str] = ()) -> Json:
    """Per trait the writes that are known, newest first."""
    colds = [fragment.cold for fragment in profile.fragments]
    every = sorted({name for cold in colds for name in (*cold.traits, *cold.story.traits)})
    chosen = frozenset(names)
    return {
        name: [_write(write) for write in reversed(notable(writes_of(name, colds)))]
        for name in every
        if not chosen or name in chosen
    }


def event(new: New) -> Json:
    """An event of a timeline."""
    told = new.event
    return {
        "message_id": told.message_id,
        "event": told.name,
        "timestamp": format_instant(told.ts),
        "received_at": format_instant(new.received_at),
        "source": new.source,
        "body": told.body,
    }


def flags(new: New) -> list[Json]:
    """What a tracking plan found wrong with an event that is stored all the same."""
    return [{"plan": plan, "revision": revision, "reason": reason} for plan, revision, reason in new.flags]


def text(instant_ms: int | None) -> str | None:
    """An instant as ISO 8601, None as it is."""
    return None if instant_ms is None else format_instant(instant_ms)


def _identifiers(profile: Profile) -> Sequence[Json]:
    """The identifiers, best first; one without ``verification`` was never proven to be the person's."""
    shown: list[Json] = []
    for kind, value in profile.person.identifiers:
        entry: Json = {"type": kind, "value": value}
        told = profile.verified.get(f"{kind}:{value}")
        if told is not None:
            entry["verification"] = {
                "state": told.state,
                "method": told.method,
                "timestamp": format_instant(told.ts),
                "message_id": told.message_id,
                "source": told.source,
            }
        shown.append(entry)
    return shown


def _traits(profile: Profile) -> Json:
    return {
        name: {**_trait(entry), **({"policy": profile.policies[name].merge} if name in profile.policies else {})}
        for name, entry in sorted(profile.traits.items())
        if entry.value is not None
    }


def _normalised(profile: Profile) -> Json:
    """Reserved traits in the form that compares, as far as they can be read (``hoso.model.derived``)."""
    told = {name: entry.value for name, entry in profile.traits.items() if entry.value is not None}
    return normalised(told)


def _trait(entry: Trait) -> Json:
    return {
        "value": entry.value,
        "timestamp": format_instant(entry.ts),
        "since": format_instant(entry.since),
        "message_id": entry.message_id,
        "source": entry.source,
    }


def _write(write: Write) -> Json:
    return {
        "value": write.value,
        "timestamp": format_instant(write.ts),
        "message_id": write.message_id,
        "source": write.source,
    }


def _totals(profile: Profile) -> Json:
    return {**profile.totals, "firstSeen": text(profile.first_seen), "lastSeen": text(profile.last_seen)}


def _consent(profile: Profile) -> Json:
    return {
        key: {
            "state": entry.state,
            "timestamp": format_instant(entry.ts),
            "message_id": entry.message_id,
            "source": entry.source,
            "text_version": entry.text_version,
        }
        for key, entry in sorted(profile.consent.items())
    }


def _segments(profile: Profile) -> Json:
    """Memberships; ``approximate`` are those for which the nightly answer stands (decision 0060)."""
    reasons = profile.person.reasons
    nightly = {key for part in profile.fragments for key in part.hot.meters.get(HELD, ())}
    return {
        key: {
            "revision": held.revision,
            "since": format_instant(held.since),
            "until": text(held.until),
            "message_id": held.cause,
            "reason": {
                "kind": reasons[key][0] if key in reasons else None,
                "event": reasons[key][1] if key in reasons else None,
                "message_id": held.cause,
            },
            "approximate": key in nightly,
        }
        for key, held in sorted(profile.person.memberships.items())
    }


def _computed(kind: str) -> Callable[[Profile], Json]:
    def section(profile: Profile) -> Json:
        return {
            name: _value(entry)
            for name, entry in sorted(profile.computed.items())
            if entry.kind == kind and entry.value is not None
        }

    return section


def _value(entry: Computed) -> Json:
    return {
        "value": entry.value,
        "at": format_instant(entry.at),
        "since": format_instant(entry.since),
        "revision": entry.revision,
        "reason": entry.reason,
    }


def _habits(profile: Profile) -> Json:
    zone = profile.traits.get("timezone")
    return habits(profile.visits, zone_of(zone.value if zone is not None else None))


SECTIONS: Mapping[str, Callable[[Profile], Any]] = {
    "identifiers": _identifiers,
    "traits": _traits,
    "normalised": _normalised,
    "computed_traits": _computed("trait"),
    "scores": _computed("score"),
    "totals": _totals,
    "consent": _consent,
    "segments": _segments,
    "lists": lambda profile: list(profile.lists),
    "suppressed": lambda profile: list(profile.suppressed),
    "habits": _habits,
    "split_id": lambda profile: profile.person.split_id or profile.pid,
    "overflow": lambda profile: profile.overflow,
}
"""Sections that need nothing but the profile, in the order in which they are shown."""
