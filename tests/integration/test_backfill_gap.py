"""A backfill while processes still work with the rules of before: nobody falls between the two.

The steps are taken in the order of the machine's own definition; its wait moves the clock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import archive
from hoso.model.time import SECOND_MS, format_instant
from hoso.platform.settings import Settings
from hoso.segment.handlers import nightly
from hoso.unify.build import Parts
from infra.constructs.nightly import STEPS, definition
from tests.nightly_world import Night
from tests.unify_world import packed, unify_world

KEPT_MS = 5 * SECOND_MS
VIEWED = {"kind": "event", "event": "Product Viewed"}
BOUGHT = {"kind": "event", "event": "Order Completed"}


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    """The world of a night in which processes keep what they read of the control documents for five seconds."""
    with unify_world(tmp_path, config_ttl_ms=KEPT_MS) as world:
        archive._tools.cache_clear()
        nightly.steps_of.cache_clear()
        yield Night(world)
    archive._tools.cache_clear()
    nightly.steps_of.cache_clear()


class Plan:
    """What happens at which instant while a run goes on."""

    def __init__(self, night: Night) -> None:
        self._night = night
        self._acts: list[tuple[int, Callable[[], object]]] = []

    def at(self, instant: int, act: Callable[[], object]) -> None:
        self._acts.append((instant, act))

    def pass_to(self, instant: int) -> None:
        """Let the time go on, and happen what is planned until then."""
        for planned, act in sorted(self._acts, key=lambda one: one[0]):
            if planned <= instant:
                self._night.world.now = max(self._night.world.now, planned)
                act()
        self._acts = [one for one in self._acts if one[0] > instant]
        self._night.world.now = max(self._night.world.now, instant)


def backfill(night: Night, plan: Plan, key: str) -> dict[str, Any]:
    """The machine from its start to its end, a second a step."""
    states = definition({step: step for step in STEPS})["States"]
    name, given = (
        "Compact",
        {"as_of": format_instant(night.world.now), "execution": "b", "segments": [key], "lease": "backfill-b"},
    )
    while True:
        state = states[name]
        if state["Type"] == "Choice":
            name = state["Choices"][0]["Next"]  # the run names its segments
            continue
        if state["Type"] == "Wait":
            assert state["Seconds"] == "{% $states.input.wait_s %}"
            plan.pass_to(night.world.now + given["wait_s"] * SECOND_MS)
        elif state["Type"] == "Map":
            for item in night.items(given):
                night.step(name.lower(), {"Items": [item], "BatchInput": given})
        else:
            given = night.step(name.lower(), given)
        if state.get("End"):
            return given
        plan.pass_to(night.world.now + SECOND_MS)
        name = state["Next"]


def fold(night: Night, who: str, name: str) -> None:
    """An event that is folded and has not come to the archive yet."""
    event = night.event(who, name)
    assert night.world.deliver(night.world.kinesis(packed([event], night.world.now))) == []


def known(night: Night, *who: str) -> None:
    """People whose events are all in the archive; the consumer has read the rules for them just now."""
    night.consume(*(night.event(one, "Other") for one in who))


@pytest.mark.parametrize("later_ms", [500, 1_500, 2_500, 3_500, 4_900])
def test_whom_a_process_with_the_rules_of_before_folds_enters_by_the_backfill(night: Night, later_ms: int) -> None:
    known(night, "an", "binh")
    night.world.segment("buyers", BOUGHT)
    start, plan = night.world.now, Plan(night)
    plan.at(start + later_ms, lambda: fold(night, "an", "Order Completed"))

    backfill(night, plan, "buyers")
    plan.pass_to(start + 60 * SECOND_MS)

    assert len(night.world.members("buyers")) == 1


@pytest.mark.parametrize("later_ms", [0, 1_500, 4_900])
def test_the_same_for_a_segment_that_asks_what_another_asked_before(night: Night, later_ms: int) -> None:
    """Then nobody's state is of older rules, and only the archive, which has not everything yet, would be asked."""
    night.world.segment("buyers", BOUGHT)
    known(night, "an", "binh")
    night.world.segment("also", {"kind": "any", "of": [BOUGHT, {"kind": "trait", "name": "vip", "op": "exists"}]})
    start, plan = night.world.now, Plan(night)
    plan.at(start + later_ms, lambda: fold(night, "an", "Order Completed"))

    backfill(night, plan, "also")
    plan.pass_to(start + 60 * SECOND_MS)

    assert [len(night.world.members(key)) for key in ("buyers", "also")] == [1, 1]


def test_whoever_is_evaluated_with_the_rules_of_before_stays_where_the_backfill_put_them(night: Night) -> None:
    """An evaluation of everything ends memberships in segments that it does not know."""
    night.consume(night.event("an", "Order Completed"))
    sweeper = Parts(Settings.from_env(os.environ)).people
    assert sweeper.book("main").revisions == {}
    night.world.segment("buyers", BOUGHT)
    start, plan = night.world.now, Plan(night)
    pid = f"p_{night.world.fid('anonymous_id', 'an')}"
    plan.at(start + 4_900, lambda: sweeper.reevaluate("main", pid, as_of=night.world.now))

    backfill(night, plan, "buyers")
    plan.pass_to(start + 60 * SECOND_MS)

    assert night.world.members("buyers") == {pid}


def test_a_segment_that_was_not_touched_for_a_while_is_filled_at_once(night: Night) -> None:
    known(night, "an")
    night.world.segment("buyers", BOUGHT)
    night.world.now += 2 * KEPT_MS
    given = {"as_of": format_instant(night.world.now), "execution": "b", "segments": ["buyers"], "lease": "backfill-b"}

    assert night.step("compact", given)["wait_s"] == 0
    assert night.step("compact", {"as_of": given["as_of"], "execution": "night"})["wait_s"] == 0


@pytest.mark.parametrize("state", ["paused", "active"])
def test_a_change_of_state_is_waited_for_like_a_change_of_the_rule(night: Night, state: str) -> None:
    night.world.segment("buyers", BOUGHT)
    night.world.now += 2 * KEPT_MS
    night.world.parts.control.put("main", "segment_state", "buyers", {"state": state})
    night.world.now += 3 * SECOND_MS
    given = {"as_of": format_instant(night.world.now), "execution": "b", "segments": ["buyers"], "lease": "backfill-b"}

    assert json.loads(json.dumps(night.step("compact", given)))["wait_s"] == 7
