"""The published scenarios against the pure function: in the given order, and in any order where that may not matter."""

import json
import random
from itertools import islice, permutations
from math import factorial
from pathlib import Path

import pytest

from hoso.unify.evidence import Erasure, Evidence, Operation
from hoso.unify.facts import strip
from hoso.unify.graph import gather, resolve
from hoso.unify.try_scenarios import Scenario, outcome, parse_scenario

FILE = Path(__file__).parents[1] / "fixtures" / "identity" / "scenarios.json"
DOCUMENTS = json.loads(FILE.read_text())
ORDERS_PER_SCENARIO = 60


def as_sets(expect: dict) -> tuple:
    return (
        {(frozenset(profile["ids"]), frozenset(profile["events"])) for profile in expect["profiles"]},
        set(expect["unowned"]),
        set(expect["unresolved_events"]),
    )


def run(scenario: Scenario, steps: list[Evidence | Operation | None]) -> dict:
    known = [step for step in steps if step is not None]
    clusters = resolve(known, scenario.config)
    profile_of = {found: str(sorted(members)) for found, members in clusters.of.items()}
    erased = erased_until(known, scenario)
    left = [strip(step, erased, scenario.config) for step in known if isinstance(step, Evidence)]
    return outcome(scenario, profile_of, {step.event_id: step.hub for step in left if step is not None}, clusters.of)


def erased_until(steps: list[Evidence | Operation], scenario: Scenario) -> dict:
    erased: dict = {}
    for position, step in enumerate(steps):
        if isinstance(step, Erasure):
            held = resolve(steps[:position], scenario.config).of.get(step.of, {step.of})
            erased |= {found: max(step.ts, erased.get(found, step.ts)) for found in held}
    return erased


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["id"])
def test_scenario_in_the_given_order(document: dict) -> None:
    scenario = parse_scenario(document)
    assert as_sets(run(scenario, list(scenario.steps))) == as_sets(document["expect"])


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if document["order_independent"]],
    ids=lambda document: document["id"],
)
def test_scenario_in_every_order_with_repeats(document: dict) -> None:
    scenario = parse_scenario(document)
    steps, expected, chance = list(scenario.steps), as_sets(document["expect"]), random.Random(document["id"])
    if factorial(len(steps)) <= ORDERS_PER_SCENARIO:
        orders = [list(order) for order in islice(permutations(steps), ORDERS_PER_SCENARIO)]
    else:
        orders = [chance.sample(steps, len(steps)) for _ in range(ORDERS_PER_SCENARIO)]
    for order in orders:
        repeated = order + chance.choices(order, k=len(order))
        assert as_sets(run(scenario, repeated)) == expected


def test_facts_do_not_depend_on_the_order_of_events() -> None:
    scenario = parse_scenario(next(document for document in DOCUMENTS if document["id"] == "limit-04"))
    forward = gather([step for step in scenario.steps if step], scenario.config)
    backward = gather([step for step in reversed(scenario.steps) if step], scenario.config)
    assert forward == backward
