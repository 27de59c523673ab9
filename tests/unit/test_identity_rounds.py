"""Un-merges that part more people than one transaction holds, killed at any call, and against new evidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hoso.model.identifiers import STANDARD, Identifier
from hoso.model.time import MINUTE_MS
from hoso.unify.evidence import Apart, Cut, Evidence, pair
from hoso.unify.graph import resolve
from tests.identity_table import MemoryDynamo
from tests.people_in_memory import KillAt, Killed, people_api, post, swept
from tests.unify_in_memory import START, MemoryWorld, copy_of

DAY = 86_400_000
HUB = Identifier("user_id", "kiosk")
MAIL = Identifier("email", "kiosk@shop.vn")
BROWSERS = [Identifier("anonymous_id", f"a{number}") for number in range(110)]
TOLD = [
    Evidence("mail", START, HUB, [MAIL]),
    *(Evidence(one.value, START + place * 2 * DAY, HUB, [one]) for place, one in enumerate(BROWSERS)),
]
WISH: dict[str, Any] = {"identifier": str(HUB), "request_id": "r1"}
KILLS = int(os.environ.get("ROUNDS_KILLS", "2"))
"""Of the calls up to the end of the rounds; 1,000 tries them all."""
ROUNDS = 7


class Calls:
    """A client that remembers which calls there were."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.names.append(name)
        return getattr(self.client, name)

    @property
    def rounds(self) -> int:
        """The calls up to the end of the last round."""
        written = [place for place, name in enumerate(self.names, 1) if name == "transact_write_items"]
        return written[ROUNDS - 1]


@pytest.fixture(autouse=True)
def _api() -> Iterator[None]:
    with people_api():
        yield


def world_on(client: Any) -> MemoryWorld:
    return MemoryWorld(client, STANDARD)


@pytest.fixture(scope="module")
def ready() -> MemoryDynamo:
    client = MemoryDynamo()
    world = world_on(client)
    for first in range(0, len(TOLD), 10):
        world.identities.learn(TOLD[first : first + 10])
    return client


def wish(client: Any, action: str = "unmerge", body: dict[str, Any] = WISH) -> Any:
    status, answer = post(world_on(client), client, action, str(HUB), body)
    assert status == 200, answer
    return answer


def people(client: MemoryDynamo) -> dict[Identifier, str]:
    identities = world_on(client).identities
    return {one: identities.person_of(one) for one in (HUB, MAIL, *BROWSERS)}


def said_of(client: MemoryDynamo) -> tuple[Any, ...]:
    """Who is who, and what is kept of the operator's word."""
    kept = world_on(client).identities.kept([pair(HUB, one) for one in (MAIL, *BROWSERS)])
    record = world_on(client).identities.applied("unmerge-r1")
    assert record is not None
    return people(client), kept, {name: record[name] for name in record if name not in ("v", "at")}


def test_r14_an_identifier_with_more_links_than_a_transaction_holds_is_taken_out(ready: MemoryDynamo) -> None:
    client = copy_of(ready)
    # when
    answer = wish(client)
    # then: everybody is alone, as the pure function says, and the whole wish is one record
    links = [pair(HUB, one) for one in (MAIL, *BROWSERS)]
    expected = resolve([*TOLD, Cut("c", START, links), Apart("x", START, links)], STANDARD)
    found = people(client)
    assert all((found[one] == found[HUB]) is (expected.of[one] is expected.of[HUB]) for one in found)
    assert len(set(found.values())) == len(found)
    assert {tuple(link) for link in answer["cut"]} == {(str(a), str(b)) for a, b in links}
    assert {tuple(one["identifiers"]) for one in answer["after"]} == {(str(one),) for one in found}
    assert [len(one["identifiers"]) for one in answer["before"]] == [len(found)]
    # and it is taken back whole
    wish(client, "allow", {"record": answer["record"]})
    assert len(set(people(client).values())) == 1


def test_r27_rounds_that_were_killed_at_any_call_are_finished_by_repetition_and_rejoin_nobody(
    ready: MemoryDynamo,
) -> None:
    clean = copy_of(ready)
    calls = Calls(clean)
    wish(calls)
    wanted = said_of(clean)
    applied_half = 0
    for fatal in range(calls.rounds + 3, 0, -max(1, calls.rounds // KILLS)):
        client = copy_of(ready)
        with pytest.raises(Killed):
            wish(KillAt(client, fatal, after=True))
        # whoever came apart stays apart, whatever is told meanwhile and whatever the sweeper does
        world = world_on(client)
        parted = {one for one, pid in people(client).items() if pid != world.identities.person_of(HUB)}
        applied_half += 0 < len(parted) < len(BROWSERS)
        assert swept(world, client).left == 0  # what is left of the rounds is not due yet
        world.identities.learn([Evidence(f"again-{one.value}", START, HUB, [one]) for one in sorted(parted)[:3]])
        detour = [Evidence("d1", START, HUB, [BROWSERS[-1]]), Evidence("d2", START, MAIL, sorted(parted)[:1])]
        if fatal % 2 and MAIL not in parted:
            world.identities.learn(detour)
        assert all(world.identities.person_of(one) != world.identities.person_of(HUB) for one in parted)
        wish(client)
        if fatal % 2:
            assert len({pid for one, pid in people(client).items() if one == HUB}) == 1
            assert all(pid != people(client)[HUB] for one, pid in people(client).items() if one != HUB)
        else:
            assert said_of(client) == wanted, f"killed after call {fatal}"
    assert applied_half


def test_r27_rounds_that_were_killed_are_finished_by_the_sweeper(ready: MemoryDynamo) -> None:
    calls = Calls(clean := copy_of(ready))
    wish(calls)
    for fatal in range(calls.rounds + 3, 0, -max(1, calls.rounds // KILLS)):
        client = copy_of(ready)
        with pytest.raises(Killed):
            wish(KillAt(client, fatal, after=True))
        begun = world_on(client).identities.applied("unmerge-r1") is not None
        world = world_on(client)
        world.now += MINUTE_MS
        assert swept(world, client).left == 0
        if begun:
            assert said_of(client) == said_of(clean), f"killed after call {fatal}"
        else:
            assert people(client) == people(ready)
        swept(world, client)  # whoever came apart just now
        assert swept(world, client).people == 0


def test_r27_rounds_that_are_taken_back_half_way_do_not_go_on(ready: MemoryDynamo) -> None:
    calls = Calls(copy_of(ready))
    wish(calls)
    client = copy_of(ready)
    with pytest.raises(Killed):
        wish(KillAt(client, calls.rounds - 5, after=True))
    record = world_on(client).identities.applied("unmerge-r1")
    assert record is not None
    assert record["open"]
    # when: it is taken back, and the first wish is repeated after that
    wish(client, "allow", {"record": "unmerge-r1", "request_id": "r2"})
    assert wish(client)["repeated"]
    # then
    assert len(set(people(client).values())) == 1
