"""The cap on new profiles per hour (security S7): a flood of invented identities must not fill the tables.

A chunk of work takes as many units of the hour's budget as it has hubs, and gives back those that were known already.
Once the budget is used up, hubs that are not stored yet are set aside: their events wait in quarantine, stage
``flood``, until somebody replays or drops them. Known people are never held up. Decision 0025.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hoso.model.bad_row import BadRow
from hoso.platform.budget import Budgets
from hoso.platform.metrics import meter
from hoso.unify.aside import FLOOD, FLOODED, Quarantine, event_row
from hoso.unify.intake import Group
from hoso.unify.store import ProfileStore, hot_key

_SCOPE = "new-profiles"


class FloodGate:
    """Lets new hubs in while the budget of the hour lasts."""

    def __init__(self, budgets: Budgets, per_hour: int, store: ProfileStore, quarantine: Quarantine) -> None:
        self._budgets = budgets
        self._per_hour = per_hour
        self._store = store
        self._quarantine = quarantine

    def enter(self, groups: Sequence[Group], now: int) -> tuple[list[Group], list[Group], Counter[str]]:
        """The groups that may be worked on, those that are over the cap, and the units taken by workspace."""
        good: list[Group] = []
        over: list[Group] = []
        taken: Counter[str] = Counter()
        for workspace, count in Counter(group.workspace for group in groups).items():
            here = [group for group in groups if group.workspace == workspace]
            verdict = self._budgets.take(workspace, _SCOPE, count, self._per_hour, now)
            if verdict == "uncounted":
                meter().add("limit_unavailable")
            if verdict != "spent":
                taken[workspace] = count if verdict == "allowed" else 0
                good += here
                continue
            keys = {id(group): hot_key(workspace, self._store.fragment_id(workspace, group.hub)) for group in here}
            known = self._store.read(keys.values(), consistent=True)
            strangers = [group for group in here if keys[id(group)] not in known]
            good += [group for group in here if keys[id(group)] in known]
            if self._budgets.take(workspace, _SCOPE, len(strangers), self._per_hour, now) == "allowed":
                taken[workspace] = len(strangers)
                good += strangers
            else:
                over += strangers
        return good, over, taken

    def leave(self, taken: Counter[str], fresh: Counter[str], now: int) -> None:
        """Give back what was taken for hubs that were known; ``fresh`` are the new ones by workspace."""
        for workspace, count in taken.items():
            self._budgets.give_back(workspace, _SCOPE, max(0, count - fresh[workspace]), now)

    def set_aside(self, groups: Sequence[Group]) -> int:
        """Put the events of groups into quarantine; answers how many. The same groups make the same entries."""
        rows: dict[tuple[str, str], list[BadRow]] = {}
        first: dict[tuple[str, str], int] = {}
        for group in groups:
            for delivery in group.deliveries:
                record = delivery.record
                key = (group.workspace, record.source)
                held = rows.setdefault(key, [])
                first[key] = min(first.get(key, record.received_at), record.received_at)
                held += [event_row(len(held) + n, event, FLOODED, delivery) for n, event in enumerate(record.events)]
        for (workspace, source), held in rows.items():
            self._quarantine(workspace, FLOOD, source, first[workspace, source], held)
        return sum(map(len, rows.values()))
