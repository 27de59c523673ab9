"""Reading a document: models, limits, references. Every fault is found here, when the document is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from hoso.model.errors import InvalidInput
from hoso.segment.event_language import Item, Where, WhereAll, WhereAny, WhereNot
from hoso.segment.language import (
    AllOf,
    AnyOf,
    EventMeasure,
    InSegment,
    Not,
    Rule,
    Segment,
    Sequence,
)

MAX_DEPTH = 8
MAX_LEAVES = 50
MAX_INLINED_LEAVES = 1_000
MOST_TOLD = 10
_MAX_RAW_DEPTH = 60
_CODES = {
    "union_tag_invalid": "kind",
    "union_tag_not_found": "kind",
    "extra_forbidden": "unknown_key",
    "missing": "missing_key",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a document: where (``rule.all.of.0.trait.op``), a short code, and the reason in words."""

    path: str
    code: str
    message: str


class InvalidSegment(InvalidInput):
    """The document is refused; ``code`` is the first fault's."""

    def __init__(self, faults: list[Fault]) -> None:
        first = faults[0]
        super().__init__(
            f"{first.path}: {first.message}", code=first.code, hint="see docs/segments.md for the language"
        )
        self.faults = faults


def read_segment(document: object) -> Segment:
    """The segment that a document describes, without a look at the segments it refers to.

    Raises:
        InvalidSegment: with every fault that was found.
    """
    if _depth(document) > _MAX_RAW_DEPTH:
        raise InvalidSegment([Fault("rule", "depth", f"more than {MAX_DEPTH} levels")])
    try:
        segment = Segment.model_validate(document)
    except ValidationError as error:
        raise InvalidSegment(_faults(cast("list[dict[str, Any]]", error.errors()))) from error
    if _levels(segment.rule) > MAX_DEPTH:
        raise InvalidSegment([Fault("rule", "depth", f"more than {MAX_DEPTH} levels")])
    if sum(1 for _ in leaves(segment.rule)) > MAX_LEAVES:
        raise InvalidSegment([Fault("rule", "limit", f"more than {MAX_LEAVES} conditions")])
    _check_wheres(segment.rule)
    return segment


def check_references(segment: Segment, others: Mapping[str, Segment]) -> None:
    """Refuse references to nothing, cycles, and rules that grow too large when their references are written out.

    Raises:
        InvalidSegment: ``unknown_segment``, ``cycle`` or ``limit``.
    """
    _inlined_leaves(segment, {**others, segment.key: segment}, (), {})


def leaves(rule: Rule) -> Iterator[Rule]:
    """The conditions of a rule that are no groups."""
    if isinstance(rule, (AllOf, AnyOf)):
        for part in rule.of:
            yield from leaves(part)
    elif isinstance(rule, Not):
        yield from leaves(rule.of)
    else:
        yield rule


def _inlined_leaves(segment: Segment, known: Mapping[str, Segment], path: tuple[str, ...], done: dict[str, int]) -> int:
    if segment.key in done:
        return done[segment.key]
    total = 0
    for leaf in leaves(segment.rule):
        if not isinstance(leaf, InSegment):
            total += 1
        elif leaf.key in (*path, segment.key):
            raise InvalidSegment([Fault("rule", "cycle", "segments that refer to each other")])
        elif leaf.key not in known:
            raise InvalidSegment([Fault("rule", "unknown_segment", f"there is no segment {leaf.key}")])
        else:
            total += _inlined_leaves(known[leaf.key], known, (*path, segment.key), done)
    if total > MAX_INLINED_LEAVES:
        raise InvalidSegment([Fault("rule", "limit", f"more than {MAX_INLINED_LEAVES} conditions with all references")])
    done[segment.key] = total
    return total


def _levels(rule: Rule) -> int:
    if isinstance(rule, (AllOf, AnyOf)):
        return 1 + max(map(_levels, rule.of))
    return 1 + _levels(rule.of) if isinstance(rule, Not) else 1


def _check_wheres(rule: Rule) -> None:
    for leaf in leaves(rule):
        wheres: list[Where | None] = []
        if isinstance(leaf, EventMeasure):
            wheres = [leaf.where]
        elif isinstance(leaf, Sequence):
            wheres = [step.where for step in leaf.steps]
        for where in wheres:
            if where is not None:
                levels, count = _where_size(where)
                if levels > MAX_DEPTH:
                    raise InvalidSegment([Fault("rule.where", "depth", f"more than {MAX_DEPTH} levels")])
                if count > MAX_LEAVES:
                    raise InvalidSegment([Fault("rule.where", "limit", f"more than {MAX_LEAVES} filters")])


def _where_size(where: Where) -> tuple[int, int]:
    if isinstance(where, (WhereAll, WhereAny)):
        parts = [_where_size(part) for part in where.of]
        return 1 + max(levels for levels, _ in parts), sum(count for _, count in parts)
    if isinstance(where, WhereNot):
        levels, count = _where_size(where.of)
        return levels + 1, count
    if isinstance(where, Item):
        levels, count = _where_size(where.where)
        return levels + 1, count
    return 1, 1


def _depth(value: object) -> int:
    """Levels of nesting, found without recursion, so that a hostile document cannot exhaust the stack."""
    deepest = 0
    pending: list[tuple[object, int]] = [(value, 1)]
    while pending:
        part, level = pending.pop()
        deepest = max(deepest, level)
        if level > _MAX_RAW_DEPTH:
            return level
        inner: list[object] = []
        if isinstance(part, dict):
            inner = list(cast("dict[str, object]", part).values())
        elif isinstance(part, (list, tuple)):
            inner = list(cast("list[object]", part))
        pending += [(child, level + 1) for child in inner]
    return deepest


def _faults(errors: list[dict[str, Any]]) -> list[Fault]:
    """The faults; a list that is too short only because its entries are at fault is none."""
    deeper = {tuple(error["loc"][:length]) for error in errors for length in range(len(error["loc"]))}
    return [_fault(error) for error in errors if error["type"] != "too_short" or tuple(error["loc"]) not in deeper]


def _fault(error: dict[str, Any]) -> Fault:
    kind: str = error["type"]
    location = [str(part) for part in error["loc"]]
    if kind in _CODES:
        code = _CODES[kind]
        if kind.startswith("union_tag") and "agg" in error.get("ctx", {}).get("discriminator", ""):
            code = "agg"
    elif "_" not in kind and kind in _OWN_CODES:
        code = kind
    else:
        names = [part for part in location if part.isidentifier()]
        code = names[-1] if names else "document"
    if code in _FIELDS and code not in location[-2:]:
        location.append(code)
    return Fault(".".join(location) or "document", code, in_words(error))


def in_words(error: Mapping[str, Any]) -> str:
    """A validator's error without words of the validator: documents have lists and objects, not tuples and models."""
    known = _WORDS.get(error["type"])
    return error["msg"] if known is None else known.format(**error.get("ctx", {}))


_OBJECT = "an object is needed"
_WORDS = {
    "tuple_type": "a list is needed",
    "list_type": "a list is needed",
    "too_long": "at most {max_length} entries, not {actual_length}",
    "too_short": "at least {min_length} entries",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "string_type": "text is needed",
    "int_type": "a whole number is needed",
    "bool_type": "true or false is needed",
    "string_too_short": "text that is not empty is needed",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "is not of the form {pattern}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "extra_forbidden": "there is no such key",
    "missing": "this key is needed",
    "union_tag_invalid": "{tag} is none of {expected_tags}",
    "union_tag_not_found": "{discriminator} is needed",
    "literal_error": "is none of {expected}",
}
_FIELDS = frozenset({"value", "op", "steps"})
_OWN_CODES = frozenset({"value", "window", "duration", "path", "op", "steps", "timezone", "limit"})
