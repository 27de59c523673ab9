"""Sequences: does some choice of events fit the steps (segmentation reference, section 6)?

For every event of a step the *latest possible start* of a chain that ends in it is kept. All limits only ask whether
the previous event is young enough and whether an absent event lies between, so the best previous event is found in one
interval, and the whole search costs ``steps × events × log`` instead of trying every choice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from hoso.segment.zones import ALWAYS, NEVER

Chains = list[tuple[int, int]]
"""Pairs of (instant of the chain's last event, latest possible start), in rising time."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A positive step after the first: at most ``within`` ms after the one before, no event of ``absent`` between."""

    step: int
    within: int | None
    absent: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A sequence: ``gaps`` lead from step 0 on; ``last_absent`` is a trailing absent step with its ``waiting`` time.

    ``total`` bounds the time from the first to the last positive step. All in ms.
    """

    steps: int
    gaps: tuple[Gap, ...]
    last_absent: int | None
    waiting: int | None
    total: int | None


def plan(absents: Sequence[bool], withins: Sequence[int | None], total: int | None) -> Plan:
    """The plan of steps given by two parallel lists."""
    gaps: list[Gap] = []
    held: int | None = None
    for step in range(1, len(absents)):
        if absents[step]:
            held = step
        else:
            gaps.append(Gap(step, withins[step], held))
            held = None
    return Plan(len(absents), tuple(gaps), held, withins[held] if held is not None else None, total)


def best_start(plan: Plan, steps: Sequence[Sequence[int]], low: int, high: int, as_of: int) -> tuple[int | None, int]:
    """The latest start of a fitting choice (None: nothing fits), and when the waiting of a chain ends.

    ``steps`` hold the rising instants of each step's events, none after ``as_of``; ``low < start <= high`` is the
    window of the first step. The second answer is ``NEVER`` when no chain waits for a trailing absent step.
    """
    chains: Chains = [(instant, instant) for instant in steps[0] if low < instant <= high]
    for gap in plan.gaps:
        chains = _extend(chains, steps[gap.step], gap.within, steps[gap.absent] if gap.absent is not None else ())
        if not chains:
            return None, NEVER
    best: int | None = None
    waiting = NEVER
    barred = steps[plan.last_absent] if plan.last_absent is not None else ()
    for end, start in chains:
        if plan.total is not None and end - start > plan.total:
            continue
        if plan.last_absent is not None:
            last = as_of if plan.waiting is None else end + plan.waiting
            if bisect_right(barred, last) > bisect_right(barred, end):
                continue
            if last > as_of:
                waiting = min(waiting, last)
                continue
        if best is None or start > best:
            best = start
    return best, waiting


def _extend(chains: Chains, events: Sequence[int], within: int | None, barred: Sequence[int]) -> Chains:
    ends = [end for end, _ in chains]
    longer: Chains = []
    for event in events:
        earliest = ALWAYS if within is None else event - within
        place = bisect_left(barred, event)
        if place:
            earliest = max(earliest, barred[place - 1])
        first, last = bisect_left(ends, earliest), bisect_left(ends, event)
        if first < last:
            longer.append((event, max(start for _, start in chains[first:last])))
    return longer
