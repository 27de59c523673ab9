"""Random streams of identity evidence, small enough that identifiers collide all the time."""

from __future__ import annotations

import random
from typing import Any

from hoso.unify.evidence import Erasure, Evidence, Operation
from hoso.unify.facts import strip
from hoso.unify.graph import resolve
from hoso.unify.try_scenarios import Scenario, outcome, parse_scenario

TYPES = {
    "default": ["user_id", "crm_id", "loyalty_id", "email", "phone", "device_id", "anonymous_id"],
    "graph-linking": ["crm_id", "email", "phone", "login_id", "device_id", "anonymous_id"],
}
NAMES = ["an nguyen", "binh nguyen", "an", "chi tran"]


def random_scenario(seed: int, *, records: bool = False, erasures: bool = False) -> Scenario:
    """A stream of 4 to 30 items under random rules; with ``records``, operator records stand among them."""
    chance = random.Random(seed)
    base = chance.choice(list(TYPES))
    types, spread = TYPES[base], chance.choice([2, 3, 5])
    config: dict[str, Any] = {"base": base, "order": chance.choice(["first", "last"]), "names": chance.random() < 0.4}
    if chance.random() < 0.5:
        config["types"] = {
            "email": {
                "rank": 4 if base == "default" else 2,
                "limit": chance.choice([1, 2, 3]),
                "fanout": chance.choice([1, 2, None]),
            },
            "anonymous_id": {
                "rank": 8 if base == "default" else 6,
                "limit": chance.choice([1, 2]),
                "window_days": chance.choice([0.001, 0.01, 7]),
                "fanout": chance.choice([1, 2, None]),
            },
        }
    if chance.random() < 0.3:
        config["max_ids"] = chance.choice([2, 3, 4, 6])
    span = chance.choice([10, 200, 3_000])

    def value(kind: str) -> str:
        number = chance.randrange(spread)
        return {"email": f"m{number}@x.vn", "phone": f"+8490100200{number}"}.get(kind, f"{kind[0]}{number}")

    def named() -> str:
        kind = chance.choice(types)
        return f"{kind}:{value(kind)}"

    def two() -> tuple[str, str]:
        one, other = named(), named()
        return (one, other) if one != other else two()

    def item(number: int) -> dict[str, Any]:
        kind = chance.random()
        if kind < 0.06:
            one, other = two()
            return {"op": "probable", "id": f"o{number}", "ts": 9_999, "score": chance.random(), "a": one, "b": other}
        if records and kind < 0.2:
            op = chance.choice(["cut", "cut", "restore", "apart", *(["delete"] if erasures else [])])
            record = {"op": op, "id": f"o{number}", "ts": 10_000 * number}
            return record | ({"profile_of": named()} if op == "delete" else {"links": [two()]})
        found = {
            "id": f"e{number}",
            "ts": chance.randrange(span) + (10_000 * number if records and chance.random() < 0.7 else 0),
            "type": "track",
            "ids": {
                kind: value(kind) if chance.random() > 0.05 else [value(kind), value(kind)]
                for kind in chance.sample(types, chance.choice([1, 1, 2, 2, 2, 3]))
            },
        }
        if chance.random() < 0.06:
            previous = chance.choice(types)
            found |= {"type": "alias", "previous": {previous: value(previous)}}
        if config["names"] and chance.random() < 0.5:
            found["name"] = chance.choice(NAMES)
        return found

    items = [item(number) for number in range(chance.choice([4, 8, 15, 30]))]
    return parse_scenario({"id": f"s{seed}", "config": config, "items": items, "order_independent": not records})


def batch_outcome(scenario: Scenario) -> dict[str, Any]:
    """What the pure function says of a scenario in its given order, in the form of ``expect``."""
    steps: list[Evidence | Operation] = [step for step in scenario.steps if step is not None]
    erased: dict[Any, int] = {}
    for position, step in enumerate(steps):
        if isinstance(step, Erasure):
            held = resolve(steps[:position], scenario.config).of.get(step.of, {step.of})
            erased |= {found: max(step.ts, erased.get(found, step.ts)) for found in held}
    events = [strip(step, erased, scenario.config) for step in steps if isinstance(step, Evidence)]
    left = [event for event in events if event is not None]
    seen = {one for event in left for one in (event.hub, *event.ids, *([event.previous] if event.previous else []))}
    clusters = resolve(steps, scenario.config).of
    seen |= {one for members in clusters.values() if len(members) > 1 for one in members}
    profile_of = {one: str(sorted(clusters[one])) for one in seen}
    return outcome(scenario, profile_of, {event.event_id: event.hub for event in left}, seen)


def as_sets(expect: dict[str, Any]) -> tuple[Any, ...]:
    """An outcome without order, for comparison."""
    return (
        {(frozenset(profile["ids"]), frozenset(profile["events"])) for profile in expect["profiles"]},
        set(expect["unowned"]),
        set(expect["unresolved_events"]),
    )
