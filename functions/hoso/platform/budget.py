"""Budgets over many runtimes at the price of a write per lease, not per request (security S7).

A budget is so many units per window of time. The counter of a window is one item of the ``delivery`` table:

==========================  ==================  =============================================
pk                          sk                  attributes
==========================  ==================  =============================================
``<workspace>#R#<scope>``   ``<window:013d>``   ``n`` units leased in this window, ``ttl``
==========================  ==================  =============================================

A runtime leases a slice with one conditional write and serves from it in memory until it is used up or the window
ends. What a runtime takes in a window without a lease (its *free share*, a thousandth of a large budget) is kept back
from what may be leased, for ``FREE_RUNTIMES`` of them: calm traffic writes nothing at all. So what is allowed stays
within the budget up to that many runtimes, and over it by a thousandth per further one.

A counter that does not answer lets everything in (S7: fails open): no event is lost for want of a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hoso.model.errors import HosoError
from hoso.platform.dynamo import Condition, Refused, Table, Update

SLICES = 40
FREE_FROM = 10_000
"""Budgets below have no free share: they are small enough to be counted to the unit."""
FREE_RUNTIMES = 50
_FREE_PARTS = 1_000
_PAUSE_MS = 5_000
_KEPT_MS = 3_600_000

Count = Callable[[str, str, int, int, int], bool]
"""``(workspace, scope, window, units, most)``: lease units of a window unless more than ``most`` would be leased."""

Verdict = Literal["allowed", "spent", "uncounted"]


@dataclass(slots=True)
class _Held:
    """What a runtime holds of one scope in one window: units left of its lease, units of its free share."""

    window: int
    left: int = 0
    free: int = 0
    spent: bool = False


class Budgets:
    """The budgets of this runtime, all with windows of ``window_ms``."""

    def __init__(self, count: Count, window_ms: int) -> None:
        self._count = count
        self._window_ms = window_ms
        self._held: dict[tuple[str, str], _Held] = {}
        self._quiet_until = 0

    def take(self, workspace: str, scope: str, units: int, budget: int, now: int) -> Verdict:
        """Take units of a budget, all or none. ``uncounted``: the counter is down, they are let in."""
        window = now // self._window_ms
        held = self._held.get((workspace, scope))
        if held is None or held.window != window:
            free = budget // _FREE_PARTS if budget >= FREE_FROM else 0
            held = self._held[workspace, scope] = _Held(window, free=free)
        if units <= held.free:
            held.free -= units
            return "allowed"
        if units > held.left:
            if now < self._quiet_until:
                return "uncounted"
            if held.spent:
                return "spent"
            verdict = self._lease(workspace, scope, units, budget, held, now)
            if verdict != "allowed":
                return verdict
        held.left -= units
        return "allowed"

    def is_spent(self, workspace: str, scope: str, now: int) -> bool:
        """Whether nothing is left of a scope in this window, as far as this runtime knows."""
        held = self._held.get((workspace, scope))
        return held is not None and held.window == now // self._window_ms and held.spent and not held.left

    def give_back(self, workspace: str, scope: str, units: int, now: int) -> None:
        """Units that were taken and not used."""
        held = self._held.get((workspace, scope))
        if held is not None and held.window == now // self._window_ms:
            held.left += units

    def retry_after_s(self, now: int) -> int:
        """Seconds until the next window, 1 to 300 (tracking API, section 7)."""
        return min(300, max(1, -(-(self._window_ms - now % self._window_ms) // 1_000)))

    def _lease(self, workspace: str, scope: str, units: int, budget: int, held: _Held, now: int) -> Verdict:
        most = leasable(budget)
        wanted = max(units - held.left, -(-most // SLICES))
        try:
            if self._count(workspace, scope, held.window, wanted, most):
                held.left += wanted
                return "allowed"
        except HosoError:
            self._quiet_until = now + _PAUSE_MS
            return "uncounted"
        held.spent = True
        return "spent"


def leasable(budget: int) -> int:
    """How many units of a budget may be leased in a window: all but the free shares."""
    return budget - FREE_RUNTIMES * (budget // _FREE_PARTS) if budget >= FREE_FROM else budget


def counter(delivery: Table, window_ms: int) -> Count:
    """The counter in the ``delivery`` table: one conditional write per lease."""

    def count(workspace: str, scope: str, window: int, units: int, most: int) -> bool:
        if units > most:
            return False
        room = Condition("attribute_not_exists(#n) OR #n <= :room", {"#n": "n"}, {":room": most - units})
        key = (f"{workspace}#R#{scope}", f"{window:013d}")
        ttl = ((window + 1) * window_ms + _KEPT_MS) // 1_000
        try:
            delivery.update(Update(delivery, key, put={"ttl": ttl}, add={"n": units}, condition=room))
        except Refused:
            return False
        return True

    return count
