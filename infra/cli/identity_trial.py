"""Run a scenario of identity through the live service, in a chosen order and by interleaved workers."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hoso.model.errors import Transient
from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import Table
from hoso.platform.ids import Hasher
from hoso.unify.evidence import Erasure, Evidence, Operation, Probable
from hoso.unify.identities import Identities
from hoso.unify.try_scenarios import Scenario, outcome

ORDERS = ("given", "shuffled", "shuffled-repeats")
_TRIES = 20
TABLES = {"profiles": "try-profiles", "outbox": "try-outbox", "delivery": "try-delivery"}

Step = Evidence | Operation


class Turns:
    """Lets several threads run one at a time and hands over, by lot, before each call of the table's client."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._waiting: dict[int, threading.Event] = {}
        self._moved = threading.Condition()

    def run(self, jobs: Sequence[Callable[[int], None]]) -> None:
        """Run the jobs, each in a thread, to their end. Raises what a job raised."""
        failures: list[BaseException] = []
        running = set(range(len(jobs)))

        def work(number: int) -> None:
            try:
                self.wait(number)
                jobs[number](number)
            except BaseException as error:
                failures.append(error)
            finally:
                with self._moved:
                    running.discard(number)
                    self._moved.notify()

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in running]
        for thread in threads:
            thread.start()
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self._waiting.keys() == running)
                if not running:
                    break
                number = self._chance.choice(sorted(running))
                gate = self._waiting.pop(number)
            gate.set()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def wait(self, number: int) -> None:
        """Wait for this thread's next turn."""
        gate = threading.Event()
        with self._moved:
            self._waiting[number] = gate
            self._moved.notify()
        gate.wait()


class TurnClient:
    """A table client of one worker, which waits for its turn before every call."""

    def __init__(self, client: Any, turns: Turns, number: int) -> None:
        self._client = client
        self._turns = turns
        self._number = number

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def waiting(**request: Any) -> Any:
            self._turns.wait(self._number)
            return call(**request)

        return waiting


def deliveries(scenario: Scenario, order: str, chance: random.Random) -> list[Step | None]:
    """The scenario's steps as they are to be delivered. Where order matters, it stays as given."""
    steps = list(scenario.steps)
    if order == "given" or not scenario.order_independent:
        return steps
    repeats = chance.choices(steps, k=len(steps)) if order == "shuffled-repeats" and steps else []
    return chance.sample(steps + repeats, len(steps) + len(repeats))


def open_identities(client: Any, scenario: Scenario) -> Identities:
    """The live service on two tables of this client."""
    return Identities(
        profiles=Table(TABLES["profiles"], client, sleep=lambda _: None),
        outbox=Table(TABLES["outbox"], client),
        delivery=Table(TABLES["delivery"], client),
        client=client,
        hasher=Hasher(b"scenario"),
        workspace="main",
        config=scenario.config,
        clock=lambda: 0,
        sleep=lambda _: None,
    )


def run_scenario(
    client: Any, scenario: Scenario, expect: dict[str, Any], order: str = "given", workers: int = 1, seed: int = 0
) -> dict[str, Any]:
    """Deliver a scenario on empty tables; its outcome in the form of ``expect``.

    ``history`` tells beside it to which identifiers the profile id leads that each event got when it was handled.
    """
    chance = random.Random(f"{seed}:{scenario.id}")  # noqa: S311  a reproducible schedule, no secret
    steps = [step for step in deliveries(scenario, order, chance) if step is not None]
    workers = workers if scenario.order_independent else 1
    handled: dict[str, str] = {}
    if workers == 1:
        _deliver(open_identities(client, scenario), steps, handled)
    else:
        turns = Turns(chance)

        def job(number: int) -> None:
            mine = open_identities(TurnClient(client, turns, number), scenario)
            _deliver(mine, steps[number::workers], handled)

        turns.run([job] * workers)
    return _outcome(open_identities(client, scenario), scenario, expect, handled)


def _deliver(identities: Identities, steps: Sequence[Step], handled: dict[str, str]) -> None:
    """Handle steps one by one; what fails for the time being is handled again, as the stream would.

    After an erasure what remains of earlier events is learnt again, as the erasure's replay of timelines does.
    """
    for position, step in enumerate(steps):
        again = steps[:position] if isinstance(step, Erasure) else ()
        for one in (step, *again):
            for attempt in range(_TRIES):
                try:
                    _handle(identities, one, handled)
                    break
                except Transient:
                    if attempt == _TRIES - 1:
                        raise


def _handle(identities: Identities, step: Step, handled: dict[str, str]) -> None:
    if not isinstance(step, Evidence):
        identities.apply(step)
        return
    left = identities.remaining(step)
    if left is not None:
        handled.setdefault(step.event_id, identities.learn([left])[left.hub])


def _outcome(
    identities: Identities, scenario: Scenario, expect: dict[str, Any], handled: dict[str, str]
) -> dict[str, Any]:
    resolved: dict[str, Identifier] = {}
    seen: set[Identifier] = set()
    for step in scenario.steps:
        left = identities.remaining(step) if isinstance(step, Evidence) else None
        if left is not None:
            resolved[left.event_id] = left.hub
            seen.update((left.hub, *left.ids, *([left.previous] if left.previous else [])))
    guessed = {end for step in scenario.steps if isinstance(step, Probable) for end in (step.a, step.b)} - seen
    profile_of = {one: identities.person_of(one) for one in seen | guessed}
    held = Counter(profile_of.values())
    seen |= {one for one in guessed if held[profile_of[one]] > 1}  # no event ever named it: only a match makes it known
    found = outcome(scenario, profile_of, resolved, seen)
    leads = {event: identities.load(pid).pid for event, pid in handled.items()}
    named: list[str] = expect.get("same_profile_history", [])
    if named:
        first = leads.get(named[0])
        found["same_profile_history"] = [event for event in named if leads.get(event) == first]
    texts = {pid: sorted(str(one) for one, held in profile_of.items() if held == pid) for pid in leads.values()}
    found["history"] = {event: texts[leads[event]] for event in sorted(leads)}
    return found
