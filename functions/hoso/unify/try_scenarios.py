"""Scenario files: their items as evidence, and the outcome of a run in the form of a scenario's ``expect``.

The format is that of the identity fixtures: an arrival-ordered list of events and operator records, with whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hoso.model.errors import InvalidInput
from hoso.model.identifiers import Identifier, IdentityConfig, contradictory, normalise, ranked
from hoso.model.time import SECOND_MS
from hoso.unify.evidence import Apart, Cut, Erasure, Evidence, Operation, Pair, Probable, Restore, pair

Item = Mapping[str, Any]

_ABOUT_PAIRS = {"cut": Cut, "restore": Restore, "apart": Apart}

_LEAST = 1e-9
"""A scenario knows probable links of any score; as evidence a score of 0 would take one back."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario: its rules and its items in order of arrival. ``steps`` has None for events that identify nobody."""

    id: str
    config: IdentityConfig
    items: Sequence[Item]
    steps: Sequence[Evidence | Operation | None]
    order_independent: bool


def parse_scenario(document: Mapping[str, Any]) -> Scenario:
    """A scenario of a file. Raises ``InvalidInput`` when its rules or an item cannot be read."""
    config = IdentityConfig.parse(document.get("config", "default"))
    items = [_item(entry) for entry in document.get("items", [])]
    return Scenario(
        id=str(document.get("id", "")),
        config=config,
        items=items,
        steps=[parse_step(item, config) for item in items],
        order_independent=bool(document.get("order_independent", False)),
    )


def parse_step(item: Item, config: IdentityConfig) -> Evidence | Operation | None:
    """An item as evidence; None for an event without a usable identifier (R3) or with contradicting ones (R4), and
    for a record about values that identify nobody (R2)."""
    ts = int(item.get("ts", 0)) * SECOND_MS
    if "op" in item:
        return _operation(item, str(item.get("id", "")), ts, config)
    found = ranked(_identifiers(item.get("ids"), config), config)
    alias = item.get("type") == "alias"
    if not found or (not alias and contradictory(found, config)):
        return None
    previous = _identifiers(item.get("previous"), config) if alias else []
    return Evidence(
        event_id=str(item.get("id", "")),
        ts=ts,
        hub=found[0],
        ids=found[1:],
        previous=previous[0] if previous else None,
        name=item.get("name"),
    )


def parse_identifier(text: str, config: IdentityConfig) -> Identifier | None:
    """The identifier that ``type:value`` names, or None when it identifies nobody (R1, R2). Raises ``InvalidInput``."""
    kind, colon, value = text.partition(":")
    if not colon:
        raise InvalidInput("an identifier is written type:value", code="bad_identifier")
    clean = normalise(kind, value, config)
    return None if clean is None else Identifier(kind, clean)


def outcome(
    scenario: Scenario,
    profile_of: Mapping[Identifier, str],
    resolved: Mapping[str, Identifier],
    seen: Iterable[Identifier],
) -> dict[str, Any]:
    """The end of a run as ``expect`` writes it (without ``same_profile_history``).

    ``profile_of`` gives the final profile id of each identifier, ``resolved`` the hub under which each event stands
    (events that are missing have no profile), ``seen`` every identifier that is still in evidence (R10).
    """
    members: dict[str, set[Identifier]] = {}
    for found in seen:
        members.setdefault(profile_of[found], set()).add(found)
    events: dict[str, list[str]] = {profile: [] for profile in members}
    unresolved: list[str] = []
    for name in dict.fromkeys(str(item["id"]) for item in scenario.items if "op" not in item):
        hub = resolved.get(name)
        if hub is None:
            unresolved.append(name)
        else:
            events[profile_of[hub]].append(name)
    hubs = set(resolved.values())
    owned = {profile for profile, held in members.items() if len(held) > 1 or held & hubs}
    texts = {profile: sorted(map(str, held)) for profile, held in members.items()}
    return {
        "profiles": sorted(
            ({"ids": texts[profile], "events": events[profile]} for profile in owned), key=lambda found: found["ids"]
        ),
        "unowned": sorted(text for profile in members.keys() - owned for text in texts[profile]),
        "unresolved_events": unresolved,
    }


def _item(entry: object) -> Item:
    if not isinstance(entry, Mapping) or "id" not in entry:
        raise InvalidInput("an item of a scenario is an object with an id", code="bad_scenario")
    return cast("Item", entry)


def _identifiers(given: object, config: IdentityConfig) -> list[Identifier]:
    if not isinstance(given, Mapping):
        return []
    found: list[Identifier] = []
    for kind, values in cast("Mapping[str, Any]", given).items():
        for value in cast("list[Any]", values) if isinstance(values, list) else [values]:
            clean = normalise(kind, value, config)
            if clean is not None:
                found.append(Identifier(kind, clean))
    return found


def _operation(item: Item, name: str, ts: int, config: IdentityConfig) -> Operation | None:
    """An operator's record; None when it is about values that identify nobody."""
    kind = item["op"]
    if kind in _ABOUT_PAIRS:
        pairs = _pairs(item, config)
        return _ABOUT_PAIRS[kind](name, ts, pairs) if pairs else None
    if kind == "delete":
        of = parse_identifier(str(item["profile_of"]), config)
        return None if of is None else Erasure(name, ts, of)
    if kind == "probable":
        a, b = parse_identifier(str(item["a"]), config), parse_identifier(str(item["b"]), config)
        return None if a is None or b is None or a == b else Probable(name, ts, a, b, max(float(item["score"]), _LEAST))
    raise InvalidInput(f"no operator record is called {kind!r}", code="bad_scenario")


def _pairs(item: Item, config: IdentityConfig) -> list[Pair]:
    """Pairs of identifiers: ``links`` or ``pairs`` (lists of two), ``ids`` (two), or ``a`` and ``b``."""
    given: Any = item.get("links") or item.get("pairs")
    if given is None:
        given = [item["ids"]] if "ids" in item else [[item["a"], item["b"]]]
    ends = [(parse_identifier(one, config), parse_identifier(other, config)) for one, other in given]
    return [pair(one, other) for one, other in ends if one is not None and other is not None and one != other]
