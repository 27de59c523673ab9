"""Tracking plans in the ``control`` table.

A plan is a document of the kind ``plan``, with all its revisions. Beside it, in the same transaction, stands for every
source which revision it follows:

========================  ===============  =======================================
pk                        sk               what
========================  ===============  =======================================
``<workspace>#planned``   ``<source>``     ``p`` the plan's key, ``r`` its revision
========================  ===============  =======================================

So a source follows one plan at most, and the ingestion function reads these few small items instead of all plans: the
plan itself is read once per revision, which never changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hoso.collect.plan_changes import Change, compare
from hoso.collect.plan_document import read_plan
from hoso.collect.plan_lookup import KIND, revision_key
from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.platform.audit import audit_entry
from hoso.platform.clock import Clock
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import Condition, Delete, Put, Table, Write

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SHOWN_CHANGES = 5
Json = dict[str, Any]


class BreakingChange(Conflict):
    """A new revision refuses events that the one before took, and nobody confirmed that."""

    code = "breaking_change"


class PlanAdmin:
    """Reads, compares and stores the plans of one workspace; every change is audited."""

    def __init__(self, table: Table, control: ControlStore, clock: Clock, workspace: str) -> None:
        self._table = table
        self._control = control
        self._clock = clock
        self._workspace = workspace

    def all(self) -> list[Json]:
        """Every plan without its schemas, by key."""
        documents = self._control.all(self._workspace, KIND)
        return [_brief(documents[key]) for key in sorted(documents)]

    def get(self, key: str, revision: int | None = None) -> Json:
        """A plan with its document, as it is or as it was. Raises ``NotFound``."""
        if revision is None:
            return _shown(self._control.get(self._workspace, KIND, key))
        item = self._table.get((f"{self._workspace}#{KIND}#revisions", revision_key(key, revision)))
        if item is None:
            raise NotFound("the plan has no such revision")
        return _shown(Document(KIND, key, item["v"], item["at"], orjson.loads(item["doc"])))

    def revisions(self, key: str, limit: int, before: int | None) -> list[Json]:
        """Revisions, newest first, from the one below ``before``; at most ``limit`` and one more if there are more."""
        newest = self._control.get(self._workspace, KIND, key).revision
        first = newest if before is None else min(before - 1, newest)
        return [_brief_of(self.get(key, number)) for number in range(first, max(0, first - limit - 1), -1)]

    def preview(self, key: str, document: object) -> Json:
        """What a document would change. Raises ``InvalidInput``."""
        fresh = read_plan(document)
        held = self._held(_checked(key))
        changes = compare(held.body, fresh) if held else []
        return {
            "key": key,
            "revision": held.revision if held else 0,
            "unchanged": held is not None and held.body == fresh,
            "breaking": sum(change.breaking for change in changes),
            "changes": [change.shown() for change in changes],
        }

    def put(self, key: str, document: object, actor: str, *, breaking: bool = False) -> Json:
        """Store a document as the plan's next revision; the same again makes none.

        Raises:
            InvalidInput: ``invalid_plan``, ``invalid_schema`` or ``invalid_key``.
            BreakingChange: it refuses what the revision before took, and ``breaking`` does not confirm that.
            Conflict: a source follows another plan, or somebody else changed this one at the same moment.
        """
        fresh = read_plan(document)
        held = self._held(_checked(key))
        changes = [change for change in compare(held.body, fresh) if change.breaking] if held else []
        if changes and not breaking:
            raise BreakingChange(
                _summary(changes), hint="look at all changes with a preview; confirm with breaking: true (--breaking)"
            )
        self._check_free(key, fresh)
        entry = audit_entry(self._table, self._workspace, self._clock(), actor, "plan.put", key)

        def beside(before: Document | None, after: Document) -> Sequence[Write]:
            gone = set(before.body["sources"]) - set(fresh["sources"]) if before else set[str]()
            return [
                entry,
                *(self._follow(source, key, after.revision) for source in fresh["sources"]),
                *(Delete(self._table, (self._planned, source), _of_plan(key)) for source in sorted(gone)),
            ]

        return _shown(self._control.put(self._workspace, KIND, key, fresh, beside))

    @property
    def _planned(self) -> str:
        return f"{self._workspace}#planned"

    def _held(self, key: str) -> Document | None:
        try:
            return self._control.get(self._workspace, KIND, key)
        except NotFound:
            return None

    def _follow(self, source: str, key: str, revision: int) -> Put:
        item = {"pk": self._planned, "sk": source, "p": key, "r": revision}
        return Put(self._table, item, _of_plan(key, or_absent=True))

    def _check_free(self, key: str, document: Mapping[str, Any]) -> None:
        """The transaction guards this too; here the message names the source."""
        for item in self._table.query_all(self._planned):
            if item["sk"] in document["sources"] and item["p"] != key:
                raise Conflict(
                    f"the source {item['sk']} follows the plan {item['p']}", hint="take it out of that plan first"
                )


def _of_plan(key: str, *, or_absent: bool = False) -> Condition:
    absent = "attribute_not_exists(pk) OR " if or_absent else ""
    return Condition(f"{absent}#p = :p", {"#p": "p"}, {":p": key})


def _checked(key: str) -> str:
    if _NAME.fullmatch(key) is None:
        raise InvalidInput("a plan's key is 1 to 63 small letters, digits, - or _", code="invalid_key")
    return key


def _summary(changes: Sequence[Change]) -> str:
    shown = "; ".join(change.text for change in changes[:_SHOWN_CHANGES])
    more = len(changes) - _SHOWN_CHANGES
    return shown + (f"; and {more} more" if more > 0 else "")


def _shown(document: Document) -> Json:
    return {**_brief(document), "document": document.body}


def _brief(document: Document) -> Json:
    return {
        "key": document.key,
        "name": document.body["name"],
        "revision": document.revision,
        "at": document.at,
        "events": len(document.body["events"]),
        "sources": document.body["sources"],
    }


def _brief_of(shown: Json) -> Json:
    return {name: value for name, value in shown.items() if name != "document"}
