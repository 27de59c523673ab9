"""What the host of a shop may know of who stands at the door: one call for the tablet.

A camera or a phone tells an opaque token (identifier type ``presence_token``), never who somebody is. The answer is
what the person usually does around this time of day in this shop. Nothing personal is said without consent to the
purpose ``personalization``; of the companion only with the companion's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hoso.govern.consent import allows
from hoso.model.identifiers import Identifier, normalise
from hoso.unify.habits import at_time, stays, zone_of
from hoso.unify.people import People
from hoso.unify.profiles import Profile
from hoso.unify.relations import COMPANION, relations

PURPOSE = "personalization"
TOKEN = "presence_token"  # noqa: S105  the name of an identifier type
UNKNOWN, NO_CONSENT, NO_HABIT = "unknown_token", "no_consent", "no_habit_at_this_time"
LEAST_TOGETHER = 2
"""Shared bills or cards from which on somebody is the usual companion."""
_LONGEST_NAME = 60

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer. ``known`` is false for an unknown token and for somebody who does not allow it; ``reason`` says why
    there is nothing."""

    known: bool
    reason: str | None
    body: Json


def greet(people: People, workspace: str, store: str, token: str, now: int, timezone: str | None = None) -> Greeting:
    """What to say to the person who carries this token, in this shop, now (UTC ms); ``timezone`` is the shop's."""
    clean = normalise(TOKEN, token, people.identity_config(workspace))
    if clean is None:
        return _nothing(UNKNOWN)
    who = Identifier(TOKEN, clean)
    pid = people.people_of(workspace, [who])[who]
    profile = people.load_many(workspace, [pid], {pid: who})[0]
    if not profile.exists:
        return _nothing(UNKNOWN)
    if not allowed(profile):
        return _nothing(NO_CONSENT)
    zone = zone_of(timezone)
    local = datetime.fromtimestamp(now / 1_000, zone)
    usual = at_time(stays(profile.visits, zone), local.hour * 60 + local.minute, store)
    companion = _companion(people, profile)
    empty = not any(usual.values())
    return Greeting(
        True,
        NO_HABIT if empty else None,
        {
            "profile_id": profile.pid,
            "name": _name(profile),
            "usual": None if empty else usual,
            "companion": companion,
            "around": f"{local.hour:02d}:{local.minute:02d}",
            "freshness": "live",
        },
    )


def allowed(profile: Profile) -> bool:
    """Whether the person lets data be used to be greeted with."""
    return allows({key: entry.state for key, entry in profile.consent.items()}, PURPOSE)


def _companion(people: People, profile: Profile) -> Json | None:
    """The one with whom the person most often shares a bill or cards, if that one allows it too."""
    for relation in relations(people, profile, 3):
        together = relation.by.get("bill", 0) + relation.by.get("card", 0)
        if COMPANION in relation.kinds and together >= LEAST_TOGETHER:
            return {"name": _name(relation.profile), "support": together} if allowed(relation.profile) else None
    return None


def _nothing(reason: str) -> Greeting:
    return Greeting(False, reason, {"profile_id": None, "name": None, "usual": None, "companion": None})


def _name(profile: Profile) -> str | None:
    """How the person is called: the first name, else the whole one."""
    for trait in ("firstName", "name"):
        entry = profile.traits.get(trait)
        if entry is not None and isinstance(entry.value, str) and entry.value.strip():
            return entry.value.strip()[:_LONGEST_NAME]
    return None
