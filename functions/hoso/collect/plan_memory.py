"""Ways in which events have broken a schema: a source that breaks its plan does so in few ways, each many times.

To list what is wrong with an event and to put it into words takes twenty times as long as to see that something is.
So a rule that an event broke, and no other, is kept with its words and with the schema *without* it: a later event that
the schema refuses, and the schema without that rule takes, breaks just this rule.

This holds for rules that look at one value and that stand under ``properties`` alone, so that they are asked once, and
where no ``unevaluated…`` rule asks what others found. All else is listed and worded each time.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

import orjson

from hoso.collect.schemas import compiled

MOST = 4
"""Rules of a schema that are kept: each is a look more at an event that breaks another."""

_MAX_BYTES = 20_000
"""Of a schema, since each rule that is kept takes one as large."""

_OF_ONE_VALUE = frozenset(
    {
        *("type", "enum", "const", "required", "format", "pattern", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
Json = dict[str, Any]
Words = TypeVar("Words")


class KnownFaults(Generic[Words]):
    """What is known of one schema. ``Words`` is what is to be said of a fault."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema
        self._kept: list[tuple[Any, Words]] = []
        written = orjson.dumps(schema)
        self._room = 0 if len(written) > _MAX_BYTES or b'"unevaluated' in written else MOST

    def find(self, content: Any) -> Words | None:
        """What is said of content that the schema refuses, if the one rule that it breaks is known.

        Raises:
            ValueError: it cannot be checked.
        """
        for rest, words in self._kept:
            if rest.is_valid(content):
                return words
        return None

    def learn(self, error: Any, content: Any, words: Words) -> None:
        """Keep what is said of content with this one fault (``jsonschema_rs.ValidationError``), if it can be known."""
        rest = without(self._schema, error) if self._room else None
        if rest is not None:
            self._room -= 1  # also of a try that leads to nothing: compiling takes its time
            validator = compiled(rest)
            if validator.is_valid(content):
                self._kept.append((validator, words))


def without(schema: Json, error: Any) -> Json | None:
    """The schema without the rule that was broken; None for rules that are not of one value in a fixed place.

    Of ``required`` only the one name is left out.
    """
    *way, keyword = cast("list[str]", error.schema_path)
    names = way[1::2]
    if not all(type(name) is str for name in names):  # the path shows a name of digits as a number
        return None
    if keyword not in _OF_ONE_VALUE or way[::2] != ["properties"] * len(names):
        return None
    if keyword == "type" and not names:  # that the whole is an object is demanded of every schema
        return None
    top = part = dict(schema)
    for name in names:
        held: Json = dict(part["properties"])
        part["properties"] = held
        part = held[name] = dict(held[name])
    rule = part.pop(keyword)
    if keyword == "required":
        missing = error.kind.as_dict()["property"]
        part["required"] = [name for name in rule if name != missing]
    return top
