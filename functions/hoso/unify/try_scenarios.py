"""Scenario files: their items as evidence, and the outcome of a run in the form of a scenario's ``expect``.

The format is that of the identity fixtures: an arrival-ordered list of events and operator records, with whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

from hoso.model.errors import InvalidInput
from hoso.model.identifiers import Identifier, IdentityConfig, contradictory, normalise, ranked
from hoso.model.time import SECOND_MS
from hoso.unify.evidence import Apart, Cut, Erasure, Evidence, Operation, Pair, Probable, Restore, pair

Item = Mapping[str, Any]

_ABOUT_PAIRS = {"cut": Cut, "restore": Restore, "apart": Apart}

_LATEST_S = 10**11
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
    """A scenario of a file. An event that comes again, by its id, is a delivery of the first one again (R6).

    Raises:
        InvalidInput: its rules, an item or its ``expect`` cannot be read; the text names the place.
    """
    given = document.get("config", "default")
    if not isinstance(given, str | Mapping):
        raise _bad("config is a preset's name or an object")
    config = IdentityConfig.parse({"base": "default", **cast("Item", given)} if isinstance(given, Mapping) else given)
    listed = document.get("items", [])
    if not isinstance(listed, list):
        raise _bad("items is a list")
    items = [_item(entry, place) for place, entry in enumerate(cast("list[object]", listed), 1)]
    _check_expect(document.get("expect"))
    first: dict[object, Evidence | Operation | None] = {}
    steps: list[Evidence | Operation | None] = []
    for place, item in enumerate(items, 1):
        try:
            step = parse_step(item, config)
        except InvalidInput as error:
            raise _bad(f"item {place} ({item['id']}): {error.message}") from error
        steps.append(step if "op" in item else first.setdefault(item["id"], step))
    return Scenario(
        id=str(document.get("id", "")),
        config=config,
        items=items,
        steps=steps,
        order_independent=bool(document.get("order_independent", False)),
    )


def parse_step(item: Item, config: IdentityConfig) -> Evidence | Operation | None:
    """An item as evidence; None for an event without a usable identifier (R3) or with contradicting ones (R4), and
    for a record about values that identify nobody (R2). Raises ``InvalidInput``."""
    ts = _time(item.get("ts", 0))
    if "op" in item:
        return _operation(item, str(item.get("id", "")), ts, config)
    found = ranked(_identifiers(item, "ids", config), config)
    alias = item.get("type") == "alias"
    if not found or (not alias and contradictory(found, config)):
        return None
    previous = _identifiers(item, "previous", config) if alias else []
    name = item.get("name")
    if name is not None and not isinstance(name, str):
        raise _bad("name is a text")
    return Evidence(
        event_id=str(item.get("id", "")),
        ts=ts,
        hub=found[0],
        ids=found[1:],
        previous=previous[0] if previous else None,
        name=name,
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


def _bad(what: str) -> InvalidInput:
    return InvalidInput(what, code="bad_scenario")


def _item(entry: object, place: int) -> Item:
    if not isinstance(entry, Mapping) or not isinstance(cast("Item", entry).get("id"), str | int):
        raise _bad(f"item {place}: an item is an object with an id")
    return cast("Item", entry)


def _time(given: object) -> int:
    """A time of whole seconds in ms."""
    whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    if isinstance(given, bool) or not whole or abs(cast("int", given)) > _LATEST_S:
        raise _bad("ts is a time in whole seconds")
    return int(cast("int", given)) * SECOND_MS


def _identifiers(item: Item, member: str, config: IdentityConfig) -> list[Identifier]:
    given = item.get(member)
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise _bad(f"{member} is an object: type to value, or to a list of values")
    found: list[Identifier] = []
    for kind, values in cast("Item", given).items():
        for value in cast("list[Any]", values) if isinstance(values, list) else [values]:
            clean = normalise(kind, value, config)
            if clean is not None:
                found.append(Identifier(kind, clean))
    return found


def _operation(item: Item, name: str, ts: int, config: IdentityConfig) -> Operation | None:
    """An operator's record; None when it is about values that identify nobody."""
    kind = item["op"]
    if not isinstance(kind, str):
        raise _bad("op is a text")
    if kind in _ABOUT_PAIRS:
        pairs = _pairs(item, config)
        return _ABOUT_PAIRS[kind](name, ts, pairs) if pairs else None
    if kind == "delete":
        of = _named(item.get("profile_of"), "profile_of", config)
        return None if of is None else Erasure(name, ts, of)
    if kind == "probable":
        a, b = _named(item.get("a"), "a", config), _named(item.get("b"), "b", config)
        score = item.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not isfinite(score):
            raise _bad("score is a number")
        return None if a is None or b is None or a == b else Probable(name, ts, a, b, max(float(score), _LEAST))
    raise _bad(f"no operator record is called {kind!r}")


def _named(given: object, member: str, config: IdentityConfig) -> Identifier | None:
    if not isinstance(given, str):
        raise _bad(f"{member} names an identifier: type:value")
    return parse_identifier(given, config)


def _pairs(item: Item, config: IdentityConfig) -> list[Pair]:
    """Pairs of identifiers: ``links`` or ``pairs`` (lists of two), ``ids`` (two), or ``a`` and ``b``."""
    member = next((name for name in ("links", "pairs", "ids") if item.get(name) is not None), None)
    given: object = [[item.get("a"), item.get("b")]] if member is None else item[member]
    if member == "ids":
        given = [given]
    if not isinstance(given, list):
        raise _bad(f"{member} is a list of pairs of identifiers")
    found: list[Pair] = []
    for ends in cast("list[object]", given):
        if not isinstance(ends, list | tuple) or len(cast("list[object]", ends)) != 2:
            raise _bad(f"{member} holds pairs of identifiers")
        one, other = (_named(end, "each end of a pair", config) for end in cast("list[object]", ends))
        if one is not None and other is not None and one != other:
            found.append(pair(one, other))
    return found


def _check_expect(given: object) -> None:
    """Raise ``InvalidInput`` for an ``expect`` that no outcome can be compared with."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise _bad("expect is an object")
    expect = cast("Item", given)
    for name in ("unowned", "unresolved_events", "same_profile_history"):
        if not _are_texts(expect.get(name, [])):
            raise _bad(f"expect.{name} is a list of texts")
    profiles = expect.get("profiles", [])
    if not isinstance(profiles, list) or not all(
        isinstance(one, Mapping) and all(_are_texts(cast("Item", one).get(name)) for name in ("ids", "events"))
        for one in cast("list[object]", profiles)
    ):
        raise _bad("expect.profiles is a list of objects with ids and events, lists of texts")


def _are_texts(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(one, str) for one in cast("list[object]", given))
