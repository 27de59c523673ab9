"""Definitions of computed traits among the control documents, and the report that the last night made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.platform.audit import audit_entry, audited
from hoso.platform.clock import Clock
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import Table
from hoso.platform.log import logger
from hoso.platform.objects import Objects
from hoso.segment.traits.language import KIND, SCORES, ComputedTrait, InvalidTrait, Rank, check_traits, read_trait
from hoso.segment.traits.live import LIVE

Json = dict[str, Any]
MOST_NIGHTS = 120


def trait_documents(control: ControlStore, workspace: str) -> dict[str, Document]:
    """The stored definitions, by key; as fresh as the control store keeps them."""
    return control.all(workspace, KIND)


def definitions_in(documents: Mapping[str, Document]) -> dict[str, ComputedTrait]:
    """The definitions that can be read. One that this code cannot read is left out and logged."""
    found: dict[str, ComputedTrait] = {}
    for key, document in documents.items():
        try:
            found[key] = read_trait(document.body)
        except InvalidTrait:
            logger("segment").error("computed trait left out", extra={"trait": key})
    return found


def report_key(workspace: str) -> str:
    """The object with the last night's report: per definition its values, their quality, or why it was withheld."""
    return f"nightly/{workspace}/traits.json"


def history_key(workspace: str) -> str:
    """The object with the reports of the last ``MOST_NIGHTS`` nights, the newest first. It is written anew each night,
    so that it outlives the files of the nights."""
    return f"nightly/{workspace}/traits-history.json"


def with_night(history: list[Json], report: Json) -> list[Json]:
    """The history with this night's report in its place; the same night again takes the place of itself."""
    others = [night for night in history if night["as_of"] != report["as_of"]]
    return sorted([report, *others], key=lambda night: night["as_of"], reverse=True)[:MOST_NIGHTS]


def held_history(objects: Objects, workspace: str) -> list[Json]:
    """The reports of the nights before; none before the first."""
    try:
        return orjson.loads(objects.get(history_key(workspace)))
    except NotFound:
        return []


class Definitions:
    """The computed traits of a workspace, for its operators."""

    def __init__(self, control: ControlStore, table: Table, objects: Objects, clock: Clock, workspace: str) -> None:
        self._control = control
        self._table = table
        self._objects = objects
        self._clock = clock
        self._audited = audited(table, workspace, clock)
        self._workspace = workspace

    def all(self) -> list[Json]:
        """Every definition with what the last night said of it, by key."""
        documents = trait_documents(self._control, self._workspace)
        report = self.report()
        return [_shown(documents[key], report) for key in sorted(documents)]

    def get(self, key: str) -> Json:
        """One definition. Raises ``NotFound``."""
        return _shown(self._control.get(self._workspace, KIND, key), self.report())

    def put(self, key: str, body: Mapping[str, Any], actor: str) -> Json:
        """Check a definition and store it as the next revision. Raises ``InvalidTrait``, ``InvalidInput``."""
        definition = read_trait(body)
        if definition.key != key:
            raise InvalidInput(f"key: the document is of {definition.key}", hint="use the key of the path")
        check_traits(definition, definitions_in(trait_documents(self._control, self._workspace)))
        stored = self._control.put(self._workspace, KIND, key, body, self._audited(actor, "trait.put", key))
        return _shown(stored, self.report())

    def delete(self, key: str, actor: str) -> None:
        """Take a definition out of use; its values go with the next night.

        Raises:
            NotFound: there is none.
            Conflict: a rank is made of it.
        """
        self._control.get(self._workspace, KIND, key)
        known = definitions_in(trait_documents(self._control, self._workspace))
        made = known[key].outputs if key in known else ()
        for other in known.values():
            if isinstance(other.of, Rank) and other.of.of in made:
                raise Conflict(f"{other.key} ranks it", code="in_use", hint="delete that one first")
        entry = audit_entry(self._table, self._workspace, self._clock(), actor, "trait.delete", key)
        self._table.put(entry.item)
        self._control.delete(self._workspace, KIND, key)

    def history(self, key: str) -> list[Json]:
        """What each night made of a definition, the newest first. Raises ``NotFound`` for one that never was."""
        nights = held_history(self._objects, self._workspace)
        found = [{"as_of": night["as_of"], **night["traits"][key]} for night in nights if key in night["traits"]]
        if not found:
            self._control.get(self._workspace, KIND, key)
        return found

    def report(self) -> Json:
        """What the last night made: ``{"as_of", "traits": {key: …}}``; empty before the first."""
        try:
            return orjson.loads(self._objects.get(report_key(self._workspace)))
        except NotFound:
            return {"as_of": None, "traits": {}}


def _shown(document: Document, report: Json) -> Json:
    try:
        definition = read_trait(document.body)
        kind, outputs = definition.of.kind, list(definition.outputs)
        freshness = "live" if isinstance(definition.of, LIVE) else "nightly"
        makes = "scores" if isinstance(definition.of, SCORES) else "traits"
    except InvalidTrait:
        kind, outputs, freshness, makes = "", [], "", ""
    return {
        "key": document.key,
        "revision": document.revision,
        "kind": kind,
        "makes": makes,
        "outputs": outputs,
        "freshness": freshness,
        "as_of": report["as_of"],
        "report": report["traits"].get(document.key),
        "document": document.body,
    }
