"""The types that a tracking plan describes, as plain shapes that each language writes in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hoso.collect.schemas import target

Json = dict[str, Any]
_WORD = re.compile(r"[A-Za-z0-9]+")
_CALLS = {"$identify": "Identify", "$page": "Page", "$screen": "Screen", "$group": "Group", "$alias": "Alias"}


@dataclass(frozen=True, slots=True)
class Plain:
    """``any``, ``string``, ``integer``, ``number``, ``boolean`` or ``null``."""

    name: str


@dataclass(frozen=True, slots=True)
class Values:
    """One of these values: text, whole numbers, true, false, null."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array."""

    item: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any names."""

    value: Shape


@dataclass(frozen=True, slots=True)
class Named:
    """An object that is declared by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Union:
    """One of several shapes."""

    parts: tuple[Shape, ...]


Shape = Plain | Values | ListOf | MapOf | Named | Union
ANY = Plain("any")


@dataclass(frozen=True, slots=True)
class Member:
    """A property of an object."""

    name: str
    shape: Shape
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A declared object."""

    name: str
    description: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class EventType:
    """An event of the plan; ``name`` as it is sent, ``type_name`` the declared object of its properties or traits.

    ``call_name`` is free for the declaration of its call.
    """

    name: str
    type_name: str
    call_name: str
    description: str


@dataclass(slots=True)
class PlanTypes:
    """All declarations of a plan: objects in the order in which each needs only those before it."""

    objects: list[ObjectType] = field(default_factory=list[ObjectType])
    events: list[EventType] = field(default_factory=list[EventType])
    _taken: set[str] = field(default_factory=set[str])

    def add_event(self, name: str, event: Mapping[str, Any]) -> None:
        """Declare an event and all objects in it."""
        schema: Json = event.get("schema") or {}
        type_name = self._free(_CALLS.get(name) or pascal(name))
        described = event.get("description", "")
        self._declare(type_name, schema, schema, described)
        self.events.append(EventType(name, type_name, self._free(f"{type_name}Call"), described))

    def _declare(self, name: str, root: Json, schema: Json, description: str) -> None:
        required = set[str](schema.get("required", ()))
        properties: Json = schema.get("properties", {})
        members = tuple(
            Member(key, self._shape(name + pascal(key), root, part), key in required, _described(part))
            for key, part in properties.items()
        )
        rest = tuple(Member(key, ANY, True, "") for key in sorted(required - properties.keys()))
        self.objects.append(ObjectType(name, description or _described(schema), members + rest))

    def _shape(self, name: str, root: Json, schema: Any) -> Shape:
        if type(schema) is not dict:
            return ANY
        held = cast("Json", schema)
        if "$ref" in held:
            return self._shape(name, root, target(root, held["$ref"]))
        if "const" in held or "enum" in held:
            return _values([held["const"]] if "const" in held else held["enum"])
        for word in ("anyOf", "oneOf"):
            if word in held:
                return _union([self._shape(f"{name}{place}", root, part) for place, part in enumerate(held[word], 1)])
        kinds: Any = held.get("type") or ("object" if "properties" in held else None)
        if kinds is None:
            return ANY
        listed = [kinds] if isinstance(kinds, str) else cast("list[str]", kinds)
        return _union([self._of_kind(kind, name, root, held) for kind in listed])

    def _of_kind(self, kind: str, name: str, root: Json, schema: Json) -> Shape:
        if kind == "array":
            return ListOf(self._shape(f"{name}Item", root, schema.get("items", True)))
        if kind != "object":
            return Plain(kind)
        if not schema.get("properties"):
            return MapOf(self._shape(f"{name}Value", root, schema.get("additionalProperties", True)))
        free = self._free(name)
        self._declare(free, root, schema, "")
        return Named(free)

    def _free(self, name: str) -> str:
        """The name, or the name with a number where it is taken."""
        free, number = name, 2
        while free in self._taken:
            free, number = f"{name}{number}", number + 1
        self._taken.add(free)
        return free


def types_of(document: Mapping[str, Any]) -> PlanTypes:
    """The declarations of a plan (``read_plan``); equal plans give equal declarations."""
    found = PlanTypes()
    for name in sorted(document["events"]):
        found.add_event(name, document["events"][name])
    return found


def pascal(name: str) -> str:
    """A name as a type's name.

    >>> pascal("Order completed")
    'OrderCompleted'
    >>> pascal("2nd step")
    'N2ndStep'
    """
    text = "".join(word[0].upper() + word[1:] for word in _WORD.findall(name)) or "Unnamed"
    return f"N{text}" if text[0].isdigit() else text


def comment_lines(text: str) -> Iterator[str]:
    """A description line by line, without what could end a comment."""
    for line in text.replace("*/", "* /").splitlines():
        clean = "".join(character if character.isprintable() else " " for character in line).strip()
        if clean:
            yield clean


def _described(schema: Any) -> str:
    said: Any = cast("Json", schema).get("description", "") if type(schema) is dict else ""
    return said if type(said) is str else ""


def _values(values: list[Any]) -> Shape:
    simple = [value for value in values if value is None or type(value) in (str, int, bool)]
    return Values(tuple(simple)) if len(simple) == len(values) else ANY


def _union(parts: list[Shape]) -> Shape:
    distinct = list(dict.fromkeys(parts))
    if ANY in distinct or not distinct:
        return ANY
    return distinct[0] if len(distinct) == 1 else Union(tuple(distinct))
