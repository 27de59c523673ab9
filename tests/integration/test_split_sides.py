"""Hold-outs and random splits: a merge keeps the side of whoever was there before, an un-merge gives each its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoso.model.identifiers import Identifier
from hoso.unify.evidence import pair
from hoso.unify.parting import Parting, by_edge
from tests.unify_world import World, unify_world

ARM = {"kind": "split", "salt": "spring", "from": 0, "to": 50}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with unify_world(tmp_path) as made:
        yield made


def view(who: str) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "anonymousId": who, "messageId": f"v-{who}", "properties": {}}


def login(who: str, user: str) -> dict[str, Any]:
    return {"type": "identify", "anonymousId": who, "userId": user, "messageId": f"l-{who}-{user}", "traits": {}}


def side(world: World, who: str) -> tuple[str, bool]:
    shown = world.profile(who)
    return shown["split_id"], "arm" in shown["segments"]


@pytest.mark.parametrize("number", range(6))
def test_a_visitor_who_logs_in_for_the_first_time_keeps_its_side(world: World, number: int) -> None:
    world.segment("arm", ARM)
    world.consume(view(f"v{number}"))
    before = side(world, f"anonymous_id:v{number}")

    world.consume(login(f"v{number}", f"u{number}"))

    assert side(world, f"user_id:u{number}") == before


def test_a_known_person_keeps_its_side_when_a_visitor_with_another_is_joined_to_it(world: World) -> None:
    world.segment("arm", ARM)
    sides: set[bool] = set()
    for number in range(8):
        world.consume({**view(""), "anonymousId": None, "userId": f"u{number}", "messageId": f"u-{number}"})
        world.consume(view(f"v{number}"))
        before = side(world, f"user_id:u{number}")
        sides.add(side(world, f"anonymous_id:v{number}")[1] is before[1])

        world.consume(login(f"v{number}", f"u{number}"))

        assert side(world, f"user_id:u{number}") == before
    assert sides == {True, False}  # some of the visitors were on the other side


@pytest.mark.parametrize("known", [True, False])
def test_an_unmerge_gives_each_part_the_side_it_had(world: World, known: bool) -> None:
    world.segment("arm", ARM)
    if known:
        world.consume({**view(""), "anonymousId": None, "userId": "u", "messageId": "u-1"})
    world.consume(view("v"))
    visitor = side(world, "anonymous_id:v")
    world.consume(login("v", "u"))

    parts = world.parts
    link = pair(Identifier("user_id", "u"), Identifier("anonymous_id", "v"))
    plan = by_edge(parts.people.identity_facts("main", link[0]), parts.people.identity_config("main"), [link])
    note = {"by": "support", "action": "unmerge", "reason": "wrong"}
    parting = Parting(parts.identities("main"), parts.people, "main")
    parting.carry_out(lambda: plan.records("r-1", world.now), note, world.now, dry_run=False)

    assert side(world, "anonymous_id:v") == visitor
    assert side(world, "user_id:u")[0] == world.profile("user_id:u")["profile_id"]


def test_three_devices_of_one_person_end_on_the_side_of_the_first(world: World) -> None:
    world.segment("arm", ARM)
    world.consume({**view("a"), "timestamp": "2026-01-02T00:00:00Z"})
    first = side(world, "anonymous_id:a")
    world.consume(login("a", "u"))
    for other in ("b", "c"):
        world.consume(view(other))
        world.consume(login(other, "u"))
        assert side(world, "user_id:u") == first
