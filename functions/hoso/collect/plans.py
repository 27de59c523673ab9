"""Tracking plans: which events a source may send and what is in them, as JSON Schema; an event against its plan.

A plan names events (track calls by their name, the others as ``$identify``, ``$page``, ``$screen``, ``$group``,
``$alias``) and the sources that follow it. An event's schema is about its ``properties``; of ``$identify`` and
``$group`` about the traits. A source says what becomes of an event that breaks its schema (``violation``) and of one
that the plan does not name (``unplanned``): ``allow``, ``flag`` or ``quarantine``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple, cast

from hoso.collect.plan_memory import KnownFaults
from hoso.collect.plan_words import said
from hoso.collect.schemas import compiled

Policy = Literal["allow", "flag", "quarantine"]
CODE = "plan_violation"
_SHOWN_FAULTS = 3
_TRAITS = frozenset({"$identify", "$group"})
_UNPLANNED = "the plan does not name this event"
Json = dict[str, Any]


class Fault(NamedTuple):
    """What is wrong with an event. ``refuse``: it goes into quarantine; else it is stored with a flag.

    ``reason`` names places and rules, no values: it is shown to people who may not read the event.
    """

    refuse: bool
    reason: str


@dataclass(slots=True)
class Plan:
    """A revision of a plan, as one source follows it. Schemas are compiled at the first event that needs them."""

    key: str
    revision: int
    violation: Policy
    unplanned: Policy
    schemas: Mapping[str, Json | None]
    _compiled: dict[str, Any] = field(default_factory=dict[str, Any])
    _known: dict[str, KnownFaults[Fault]] = field(default_factory=dict[str, KnownFaults[Fault]])

    def fault(self, name: str, event: Json) -> Fault | None:
        """What the plan says of an event that is otherwise good; None where nothing is wrong or it is let pass."""
        validator: Any = self._compiled.get(name)
        if validator is None:
            if name not in self.schemas:
                return None if self.unplanned == "allow" else Fault(self.unplanned == "quarantine", _UNPLANNED)
            if self.violation == "allow":
                return None
            schema = self.schemas[name] or {}
            validator, self._known[name] = compiled(schema), KnownFaults(schema)
            self._compiled[name] = validator
        content = _content(name, event)
        try:
            if validator.is_valid(content):
                return None
            known = self._known[name]
            found = known.find(content)
            if found is not None:
                return found
            faults: list[Any] = list(islice(validator.iter_errors(content), _SHOWN_FAULTS + 1))
        except ValueError:  # text that is no Unicode
            return Fault(self.violation == "quarantine", "cannot be checked")
        root = "traits" if name in _TRAITS else "properties"
        words = said(faults[0], root)
        if len(faults) > 1:
            words = "; ".join([words, *(said(fault, root) for fault in faults[1:_SHOWN_FAULTS])])
        found = Fault(self.violation == "quarantine", words + ("; …" if len(faults) > _SHOWN_FAULTS else ""))
        if len(faults) == 1:
            known.learn(faults[0], content, found)
        return found


def plan_of(key: str, revision: int, body: Mapping[str, Any], source: str) -> Plan | None:
    """The plan that a source follows, of a stored document; None when the document does not name the source."""
    policy = body["sources"].get(source)
    if policy is None:
        return None
    schemas = {name: event.get("schema") for name, event in body["events"].items()}
    return Plan(key, revision, policy["violation"], policy["unplanned"], schemas)


def _content(name: str, event: Json) -> Any:
    """What a schema is about. RudderStack's SDKs put the traits of identify into the context only."""
    if name == "$identify":
        content: object = event.get("traits")
        if content is None:
            context: object = event.get("context")
            content = cast("Json", context).get("traits") if type(context) is dict else None
    else:
        content = event.get("traits" if name == "$group" else "properties")
    return {} if content is None else content
