"""Which tracking plan a source follows, for the ingestion function (keys of the table: ``plan_store``)."""

from __future__ import annotations

import orjson

from hoso.collect.plans import Plan, plan_of
from hoso.model.errors import Transient
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Table

KIND = "plan"


def revision_key(key: str, revision: int) -> str:
    """The sort key of a revision among all revisions of plans."""
    return f"{key}#{revision:06d}"


class PlansInUse:
    """The plan of each source, for the ingestion function; what it read is used for ``ttl_ms``."""

    def __init__(self, table: Table, clock: Clock, ttl_ms: int) -> None:
        self._table = table
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._followed: dict[str, tuple[int, dict[str, tuple[str, int]]]] = {}
        self._plans: dict[tuple[str, str, str, int], Plan | None] = {}

    def of(self, workspace: str, source: str) -> Plan | None:
        """The plan that a source follows, or None. While the table does not answer, what was read last holds.

        Raises:
            Transient: the table does not answer and nothing is known yet.
        """
        now = self._clock()
        kept = self._followed.get(workspace)
        if kept is None or not 0 <= now - kept[0] < self._ttl_ms:
            kept = self._followed[workspace] = (now, self._read(workspace, kept[1] if kept else None))
        followed = kept[1].get(source)
        return None if followed is None else self._plan(workspace, source, *followed)

    def _read(self, workspace: str, before: dict[str, tuple[str, int]] | None) -> dict[str, tuple[str, int]]:
        try:
            return {item["sk"]: (item["p"], item["r"]) for item in self._table.query_all(f"{workspace}#planned")}
        except Transient:
            if before is None:
                raise
            return before

    def _plan(self, workspace: str, source: str, key: str, revision: int) -> Plan | None:
        place = (workspace, source, key, revision)
        if place not in self._plans:
            # a revision never changes; an older one of the source is not needed any more
            item = self._table.get((f"{workspace}#{KIND}#revisions", revision_key(key, revision)), consistent=True)
            for old in [held for held in self._plans if held[:2] == place[:2]]:
                del self._plans[old]
            self._plans[place] = plan_of(key, revision, orjson.loads(item["doc"]), source) if item else None
        return self._plans[place]
