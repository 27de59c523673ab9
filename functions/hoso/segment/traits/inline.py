"""Conditions on computed traits of kind ``measure`` become the conditions on events that they stand for.

The segment is then live and by night exactly what it would be without the name: no value has to be stored first, and
both engines get the same document. What cannot be written out (another zone, ``for``, an operator that the measure does
not take) stays a condition on the value that the last night stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hoso.segment.language import AllOf, AnyOf, EventMeasure, Not, Rule, Segment, Trait
from hoso.segment.operands import Unset
from hoso.segment.traits.language import ComputedTrait, MeasureTrait


def inlined(segment: Segment, definitions: Mapping[str, ComputedTrait]) -> Segment:
    """The segment with its named measures written out; the same object when there are none."""
    rule = _rule(segment.rule, segment.timezone, definitions)
    return segment if rule is segment.rule else segment.model_copy(update={"rule": rule})


def _rule(rule: Rule, zone: str, definitions: Mapping[str, ComputedTrait]) -> Rule:
    if isinstance(rule, (AllOf, AnyOf)):
        parts = tuple(_rule(part, zone, definitions) for part in rule.of)
        same = all(new is old for new, old in zip(parts, rule.of, strict=True))
        return rule if same else rule.model_copy(update={"of": parts})
    if isinstance(rule, Not):
        inner = _rule(rule.of, zone, definitions)
        return rule if inner is rule.of else rule.model_copy(update={"of": inner})
    if isinstance(rule, Trait):
        definition = definitions.get(rule.name)
        if definition is not None and isinstance(definition.of, MeasureTrait) and definition.timezone == zone:
            return _written_out(rule, definition.of) or rule
    return rule


def _written_out(rule: Trait, recipe: MeasureTrait) -> EventMeasure | None:
    if rule.held_for is not None:
        return None
    document: dict[str, Any] = {
        "kind": "event",
        **recipe.model_dump(mode="json", by_alias=True, exclude={"kind"}, exclude_none=True),
        "op": rule.op,
        "ignore_case": rule.ignore_case,
    }
    if not isinstance(rule.value, Unset):
        document["value"] = rule.model_dump(mode="json", by_alias=True)["value"]
    try:
        return EventMeasure.model_validate(document)
    except ValidationError:
        return None
