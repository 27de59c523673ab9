"""What a new revision of a plan changes for those who send events, and which of it breaks them.

A change is breaking when an event that the old revision took without a remark may be refused or flagged by the new
one: an event is no longer named, a property becomes required, a type or list of values narrows, a bound tightens.
A property that is newly described but optional does not break: nobody was told its form before. Where combined rules
(``anyOf``, ``not``, ``if`` …) change, containment of the canonical forms decides; what it cannot prove is breaking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from hoso.collect.schemas import target

Json = dict[str, Any]
_ORDER = ("allow", "flag", "quarantine")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_COMBINED = (
    *("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "contains", "propertyNames", "patternProperties"),
    *("dependentSchemas", "dependentRequired", "unevaluatedProperties", "unevaluatedItems"),
)
_MOST = 500


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``kind`` is a stable word, ``path`` leads from the event's properties to the place."""

    event: str
    path: str
    kind: str
    breaking: bool
    text: str

    def shown(self) -> Json:
        """The change as JSON."""
        return {
            "event": self.event,
            "path": self.path,
            "kind": self.kind,
            "breaking": self.breaking,
            "text": self.text,
        }


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The changes from one full document (``read_plan``) to the next, at most 500, breaking ones first."""
    found = [*_sources(old["sources"], new["sources"]), *_events(old["events"], new["events"])]
    return sorted(found, key=lambda change: not change.breaking)[:_MOST]


def _sources(old: Json, new: Json) -> Iterator[Change]:
    for source in sorted(old.keys() | new.keys()):
        before, after = old.get(source), new.get(source)
        if after is None:
            yield Change("", source, "source_removed", False, f"source {source} follows the plan no longer")
            continue
        for rule in ("violation", "unplanned"):
            was, now = before[rule] if before else "allow", after[rule]
            if was != now:
                breaks = now == "quarantine"
                kind = "policy_tightened" if _ORDER.index(now) > _ORDER.index(was) else "policy_eased"
                yield Change("", source, kind, breaks, f"source {source}: {rule} is {now}, was {was}")


def _events(old: Json, new: Json) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield Change(name, "", "event_removed", True, f"{name} is no longer in the plan")
        elif name not in old:
            yield Change(name, "", "event_added", False, f"{name} is new")
        else:
            before, after = _whole(old[name]), _whole(new[name])
            yield from _Pair(name, before, after).walk(before, after, "")


def _whole(event: Json) -> Json:
    """The schema of an event: of objects, whatever else it says."""
    schema: Json | None = event.get("schema")
    return {"type": "object", **(schema or {})}


class _Pair:
    """The old and the new schema of one event."""

    def __init__(self, event: str, old: Json, new: Json) -> None:
        self._event = event
        self._old = old
        self._new = new

    def walk(self, old: Any, new: Any, path: str) -> Iterator[Change]:
        """Differences below a place."""
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        if old == new and self._old.get("$defs") == self._new.get("$defs"):
            return
        if new == {"not": {}} and old != new:
            yield self._change(path, "forbidden", True, "is no longer allowed")
            return
        yield from self._types(old, new, path)
        yield from self._values(old, new, path)
        yield from self._bounds(old, new, path)
        yield from self._members(old, new, path)
        yield from self._items(old, new, path)
        yield from self._combined(old, new, path)

    def _types(self, old: Json, new: Json, path: str) -> Iterator[Change]:
        before, after = _types(old), _types(new)
        lost = [kind for kind in sorted(before) if not _taken(kind, after)]
        if lost:
            yield self._change(path, "type_narrowed", True, f"may no longer be {' or '.join(lost)}")
        elif [kind for kind in after if not _taken(kind, before)]:
            yield self._change(path, "type_widened", False, f"may also be {' or '.join(sorted(after - before))}")

    def _values(self, old: Json, new: Json, path: str) -> Iterator[Change]:
        before, after = _values(old), _values(new)
        if after is not None and (before is None or before - after):
            lost = ", ".join(sorted(before - after)) if before is not None else "what is not listed"
            yield self._change(path, "values_narrowed", True, f"may no longer be {lost[:200]}")
        elif before is not None and (after is None or after - before):
            yield self._change(path, "values_widened", False, "may have more values")

    def _bounds(self, old: Json, new: Json, path: str) -> Iterator[Change]:
        for words, tighter in ((_UPPER, -1), (_LOWER, 1)):
            for word in words:
                was, now = old.get(word), new.get(word)
                if was == now:
                    continue
                if now is None or (was is not None and (now - was) * tighter < 0):
                    yield self._change(path, "bound_eased", False, f"{word} is {_said(now)}, was {_said(was)}")
                elif not _implied(word, now, old):
                    yield self._change(path, "bound_tightened", True, f"{word} is {_said(now)}, was {_said(was)}")
        for word in ("pattern", "format"):
            if old.get(word) != new.get(word):
                eased = word not in new
                kind = "form_eased" if eased else "form_narrowed"
                yield self._change(
                    path, kind, not eased, f"{word} is {_said(new.get(word))}, was {_said(old.get(word))}"
                )
        was, now = old.get("multipleOf"), new.get("multipleOf")
        if was != now:
            eased = now is None or (was is not None and was % now == 0)
            kind = "bound_eased" if eased else "bound_tightened"
            yield self._change(path, kind, not eased, f"multipleOf is {_said(now)}, was {_said(was)}")
        if bool(old.get("uniqueItems")) != bool(new.get("uniqueItems")):
            tight = bool(new.get("uniqueItems"))
            yield self._change(path, "bound_tightened" if tight else "bound_eased", tight, "uniqueItems has changed")

    def _members(self, old: Json, new: Json, path: str) -> Iterator[Change]:
        was, now = set[str](old.get("required", ())), set[str](new.get("required", ()))
        for name in sorted(now - was):
            yield self._change(_at(path, name), "required_added", True, "is now required")
        for name in sorted(was - now):
            yield self._change(_at(path, name), "required_dropped", False, "is no longer required")
        yield from self._properties(old, new, path)

    def _properties(self, old: Json, new: Json, path: str) -> Iterator[Change]:
        before: Json = old.get("properties", {})
        after: Json = new.get("properties", {})
        rest_before: Any = old.get("additionalProperties", True)
        rest_after: Any = new.get("additionalProperties", True)
        for name in sorted(before.keys() | after.keys()):
            place = _at(path, name)
            if name not in after:
                if rest_after is False and before[name] is not False:
                    yield self._change(place, "property_removed", True, "is no longer allowed")
                else:
                    yield self._change(place, "property_removed", False, "is no longer described")
                    yield from self.walk(before[name], rest_after, place)
            elif name in before:
                yield from self.walk(before[name], after[name], place)
            else:
                if after[name] is False and rest_before is not False:
                    yield self._change(place, "forbidden", True, "is no longer allowed")
                    continue
                yield self._change(place, "property_added", False, "is newly described")
                if isinstance(rest_before, dict):  # its form was told before, by the rule for all others
                    yield from self.walk(cast("Json", rest_before), after[name], place)
        if rest_before != rest_after:
            if rest_after is False:
                yield self._change(path, "closed", True, "may hold no other properties any more")
            else:
                yield from self.walk(rest_before, rest_after, _at(path, "*"))

    def _items(self, old: Json, new: Json, path: str) -> Iterator[Change]:
        before: list[Any] = old.get("prefixItems") or []
        after: list[Any] = new.get("prefixItems") or []
        rest_before, rest_after = old.get("items", True), new.get("items", True)
        for place in range(max(len(before), len(after))):
            was = before[place] if place < len(before) else rest_before
            now = after[place] if place < len(after) else rest_after
            yield from self.walk(was, now, f"{path}[{place}]")
        if rest_before != rest_after or type(rest_after) is dict:
            yield from self.walk(rest_before, rest_after, f"{path}[]")

    def _combined(self, old: Json, new: Json, path: str) -> Iterator[Change]:
        was = {word: old[word] for word in _COMBINED if word in old}
        now = {word: new[word] for word in _COMBINED if word in new}
        same_defs = self._old.get("$defs") == self._new.get("$defs")
        if was == now and (same_defs or "$ref" not in orjson.dumps([was, now]).decode()):
            return
        words = ", ".join(sorted(word for word in was.keys() | now.keys() if was.get(word) != now.get(word))) or "$defs"
        if _covers({**now, **_defs(self._new)}, {**was, **_defs(self._old)}):
            yield self._change(path, "rules_eased", False, f"{words}: takes all that was taken before")
        else:
            yield self._change(path, "rules_changed", True, f"{words}: may refuse what was taken before")

    def _change(self, path: str, kind: str, breaking: bool, text: str) -> Change:
        place = f"{self._event}: {path} " if path else f"{self._event}: "
        return Change(self._event, path, kind, breaking, place + text)


def _resolved(root: Json, schema: Any) -> Json:
    """A schema as an object, with what its ``$ref`` stands for put in: a rule beside a ``$ref`` holds too."""
    if schema is True or schema is None:
        return {}
    if schema is False:
        return {"not": {}}
    held = cast("Json", schema)
    if "$ref" not in held:
        return held
    rest = {word: rule for word, rule in held.items() if word != "$ref"}
    meant = _resolved(root, target(root, held["$ref"]))
    return {**meant, **rest} if not meant.keys() & rest.keys() else {"allOf": [meant, rest]}


def _types(schema: Json) -> frozenset[str]:
    kind = schema.get("type")
    if kind is None:
        return frozenset({"array", "boolean", "null", "number", "object", "string"})
    return frozenset({kind}) if isinstance(kind, str) else frozenset(cast("list[str]", kind))


def _taken(kind: str, types: frozenset[str]) -> bool:
    return kind in types or (kind == "integer" and "number" in types)


def _values(schema: Json) -> set[str] | None:
    """The values that a schema lists, as JSON."""
    if "const" in schema:
        return {_said(schema["const"])}
    return {_said(value) for value in schema["enum"]} if "enum" in schema else None


def _implied(word: str, now: float, old: Json) -> bool:
    """Whether a new bound says no more than another one of the old schema does."""
    if word == "minimum":
        return "exclusiveMinimum" in old and old["exclusiveMinimum"] >= now
    if word == "maximum":
        return "exclusiveMaximum" in old and old["exclusiveMaximum"] <= now
    return word.startswith("min") and now <= 0 and word != "minimum"


def _covers(new: Json, old: Json) -> bool:
    """Whether the new rules surely take all that the old ones took."""
    import jsonschema_rs

    try:
        forms = [jsonschema_rs.canonicalize(schema, offline=True) for schema in (new, old)]
        return forms[0].covers(forms[1]) == jsonschema_rs.canonical.Containment.YES
    except ValueError:
        return False


def _defs(schema: Json) -> Json:
    return {"$defs": schema["$defs"]} if "$defs" in schema else {}


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _said(value: object) -> str:
    return "none" if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
