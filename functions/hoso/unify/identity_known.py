"""Whether evidence adds anything to what identifier items say (pure), and which items tell so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.dynamo import Item
from hoso.unify.evidence import Evidence
from hoso.unify.facts import NAMES_KEPT, Beside, beside_links, named_by
from hoso.unify.identity_items import SHARED, passed_text, weaker_last

Items = Mapping[Identifier, Item | None]

_LETS_GO = (True, SHARED)
"""Values of ``sh`` under which new links are not kept."""


def all_of(told: Evidence) -> list[Identifier]:
    """Every identifier that an event names."""
    named = [told.hub, *told.ids]
    return named if told.previous is None else [*named, told.previous]


def condensed(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The same evidence with one entry per combination of identifiers at its first, and one at its last time."""
    first: dict[Any, Evidence] = {}
    last: dict[Any, Evidence] = {}
    for told in evidence:
        key = (told.hub, tuple(told.ids), told.previous, told.name)
        known = first.get(key)
        if known is None:
            first[key] = last[key] = told
        elif told.ts < known.ts:
            first[key] = told
        elif told.ts > last[key].ts:
            last[key] = told
    return [*first.values(), *(told for key, told in last.items() if told is not first[key])]


def steady_reads(told: Iterable[Evidence], config: IdentityConfig) -> set[Identifier]:
    """The items that show whether evidence is known: the weaker ends of its links, or the hub when it is alone."""
    wanted: set[Identifier] = set()
    for one in told:
        others = [other for other in all_of(one) if other != one.hub]
        if not others or (config.names and one.name is not None):
            wanted.add(one.hub)
        wanted.update(weaker_last((one.hub, other), config)[1] for other in others)
    return wanted


def is_known(told: Evidence, items: Items, config: IdentityConfig, *, kept: bool = False) -> bool:
    """Whether these items show that the evidence adds nothing; ``kept``: and that all its links are stored, none let go
    because a value is shared by many. What is kept stays known until an erasure, which finds whom it concerns by these
    links, or until the rules change."""
    for one in all_of(told):
        item = items.get(one)
        if item is not None and ("pend" in item or told.ts <= item.get("er", told.ts - 1)):
            return False
    linked = [other for other in told.ids if other != told.hub]
    if told.previous is not None and told.previous != told.hub:
        if told.previous.type != told.hub.type:
            linked.append(told.previous)
        elif not _has_alias(told.hub, told.previous, items, config):
            return False
    if not all(_has_link(told, other, items, config, kept=kept) for other in linked):
        return False
    if not config.names:
        return True
    if not all(_is_beside(key, told.ts, items, config) for key in beside_links(told, config)):
        return False
    return told.name is None or all(
        _has_name(owner, told.name, told.ts, items[owner], config) for owner in named_by(told, config)
    )


def _is_beside(key: Beside, ts: int, items: Items, config: IdentityConfig) -> bool:
    strong, weak, passed = key
    item = items[weak] or {}
    entry = item.get("bs", {}).get(passed_text(strong, passed))
    if entry is None:
        return item.get("sh") in _LETS_GO
    return entry[0] <= ts and (config.order == "first" or ts <= entry[1])


def _has_link(told: Evidence, other: Identifier, items: Items, config: IdentityConfig, *, kept: bool) -> bool:
    strong, weak = weaker_last((told.hub, other), config)
    ts, item = told.ts, items[weak]
    if item is None:
        return False
    entry = item.get("l", {}).get(str(strong))
    if entry is None:
        if kept or item.get("sh") not in _LETS_GO:
            return False
        return _is_met(strong, None, ts, config) and _is_met(weak, item, ts, config)
    if entry[0] <= item.get("er", -1):
        return False  # it was not found when this identifier was erased
    return entry[0] <= ts and (config.order == "first" or ts <= entry[1])


def _is_met(one: Identifier, item: Item | None, ts: int, config: IdentityConfig) -> bool:
    """Whether an earlier meeting of this identifier is known, for limits with a window (R8)."""
    if config.types[one.type].window_ms is None:
        return True
    return item is not None and item.get("w", ts + 1) <= ts


def _has_alias(hub: Identifier, previous: Identifier, items: Items, config: IdentityConfig) -> bool:
    strong, weak = weaker_last((hub, previous), config)
    return str(strong) in (items[weak] or {}).get("al", ())


def _has_name(owner: Identifier, name: str, ts: int, item: Item | None, config: IdentityConfig) -> bool:
    names: dict[str, int] = (item or {}).get("nm", {})
    if owner.type in config.unique_types:
        return any((known, kept) <= (ts, name) for kept, known in names.items())
    return name in names or (len(names) >= NAMES_KEPT and name > max(names))
