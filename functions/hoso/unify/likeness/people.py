"""People as records to match: one per person as exact identifiers know it, without the links that matching made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from hoso.model.errors import Conflict
from hoso.model.identifiers import Identifier, IdentityConfig, ranked
from hoso.unify.graph import cluster
from hoso.unify.identities import Identities
from hoso.unify.identity_component import TooLarge, Unfinished
from hoso.unify.profiles import Profile, merge_traits

HEADER = (
    *("record_id", "first_name", "last_name", "name", "email", "phone", "dob", "gender"),
    *("address", "ward", "district", "city", "postcode", "country"),
)
_ADDRESS = {
    "address": ("street", "address", "line1", "address1"),
    "ward": ("ward", "commune"),
    "district": ("district", "county"),
    "city": ("city", "province", "state"),
    "postcode": ("postalCode", "postal_code", "zip", "postcode"),
    "country": ("country", "countryCode"),
}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """One record. ``id`` is the profile id that its identifiers make alone; ``ids`` come best first."""

    id: str
    ids: tuple[Identifier, ...]
    row: tuple[str, ...]
    """In the order of ``HEADER``."""

    @property
    def fingerprint(self) -> str:
        """16 digits that are a function of what the record says: it tells a changed record."""
        return hashlib.sha256(orjson.dumps(self.row[1:])).hexdigest()[:16]

    def document(self) -> list[Any]:
        """The subject as JSON, without its row."""
        return [self.id, self.fingerprint, [list(one) for one in self.ids]]


def subjects(people: Iterable[Profile], identities: Identities, linked: frozenset[Identifier]) -> Iterator[Subject]:
    """The records of these people. Who holds an identifier of ``linked`` is taken apart into what was exact.

    A shared identifier (R9) is nobody's: what came under it is no record, and no link to it would count.
    """
    for profile in people:
        if not profile.exists or profile.person.moved_to is not None:
            continue
        ids = [Identifier(*one) for one in profile.person.identifiers]
        if not ids:
            ids = [Identifier(*fragment.hot.hub) for fragment in profile.fragments if fragment.hot.version]
        shared: list[str] = profile.person.rest.get("sh", [])
        ids = [one for one in ids if str(one) not in shared]
        if not ids:
            continue
        if linked.isdisjoint(ids):
            yield subject(ids, {name: held.value for name, held in profile.traits.items()}, identities)
        else:
            yield from _parts(profile, ids, identities)


def subject(ids: Iterable[Identifier], traits: Mapping[str, Any], identities: Identities) -> Subject:
    """The record of some identifiers with their traits."""
    best = tuple(ranked(ids, identities.config))
    name = identities.keys.profile(best[0])
    return Subject(name, best, (name, *_said(best, traits)))


def contradict(one: Subject, other: Subject, config: IdentityConfig) -> bool:
    """Whether two records hold different values of a type of which a person has one."""
    for kind in config.unique_types:
        mine = {found.value for found in one.ids if found.type == kind}
        theirs = {found.value for found in other.ids if found.type == kind}
        if mine and theirs and mine != theirs:
            return True
    return False


def _parts(profile: Profile, ids: list[Identifier], identities: Identities) -> Iterator[Subject]:
    """A person's records: its identifiers in the groups that they make without probable links."""
    try:
        facts = identities.facts_of(ids[0])
    except (TooLarge, Unfinished, Conflict):
        # too large, or in motion: matched as it stands, and taken apart another night
        yield subject(ids, {name: held.value for name, held in profile.traits.items()}, identities)
        return
    facts.probable.clear()
    of = cluster(facts, identities.config).of
    groups: dict[frozenset[Identifier], list[Identifier]] = {}
    for one in ids:
        groups.setdefault(of.get(one, frozenset((one,))), []).append(one)
    for members in groups.values():
        fids = {identities.keys.fragment(one) for one in members}
        traits = merge_traits([part.cold for part in profile.fragments if part.fid in fids])
        yield subject(members, {name: held.value for name, held in traits.items()}, identities)


def _said(ids: Iterable[Identifier], traits: Mapping[str, Any]) -> list[str]:
    values = {
        "first_name": _text(traits.get("firstName")),
        "last_name": _text(traits.get("lastName")),
        "name": _text(traits.get("name")),
        "email": _text(traits.get("email")),
        "phone": _text(traits.get("phone")),
        "dob": _text(traits.get("birthday")),
        "gender": _text(traits.get("gender")),
    }
    for kind in ("email", "phone"):
        if not values[kind]:
            values[kind] = next((one.value for one in ids if one.type == kind), "")
    address = traits.get("address")
    if isinstance(address, Mapping):
        given = cast("Mapping[str, Any]", address)
        for column, names in _ADDRESS.items():
            values[column] = next((text for name in names if (text := _text(given.get(name)))), "")
    else:
        values["address"] = _text(address)
    return [values.get(column, "") for column in HEADER[1:]]


def _text(value: object) -> str:
    """A text or a number as one line of text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return " ".join(str(value).split())
