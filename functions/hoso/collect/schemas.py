"""JSON Schema (2020-12) as plans use it: what is allowed in one, and the compiled form.

Everything a schema may hold is bounded before it is compiled: its keywords, depth and size, references only to its
own ``$defs`` and never in a circle. Patterns run on an engine whose time is linear in the text (security S15), so they
know no look-around and no back-references. Nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from hoso.model.errors import InvalidInput

MAX_DEPTH = 24
MAX_NODES = 5_000
"""Subschemas of one event, each counted as often as it is reached: references do not multiply without end."""

_MAX_PATTERN = 500
_REGEX_BYTES = 1_000_000
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

SINGLE = (
    "additionalProperties",
    "items",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedProperties",
    "unevaluatedItems",
)
NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs")
LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
FORMATS = frozenset(
    {"date-time", "date", "time", "duration", "email", "uri", "uuid", "ipv4", "ipv6", "hostname", "uri-reference"}
)
ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"}
)
_PLAIN = frozenset(
    {
        *("type", "enum", "const", "required", "dependentRequired", "format", "pattern", "$ref"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains"),
        *("minProperties", "maxProperties"),
    }
)
KEYWORDS = frozenset({*SINGLE, *NAMED, *LISTED, *_PLAIN, *ANNOTATIONS})
Json = dict[str, Any]


def compiled(schema: Mapping[str, Any]) -> Any:
    """The validator (``jsonschema_rs.Draft202012Validator``) of an event's schema: of objects, whatever else it says.

    Raises:
        InvalidInput: ``invalid_schema``.
    """
    import jsonschema_rs

    try:
        return jsonschema_rs.Draft202012Validator(
            {"type": "object", **schema},
            validate_formats=True,
            ignore_unknown_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES),
            offline=True,
        )
    except ValueError as error:
        raise _bad("", str(error).partition("\n")[0][:300]) from error


def check(schema: object) -> None:
    """Raise ``InvalidInput`` (``invalid_schema``) with a path where a schema is not one that plans take."""
    if type(schema) is not dict:
        raise _bad("", "a schema is an object")
    root = cast("Json", schema)
    _check(root, root, "", 1)
    if size(root, root, ()) > MAX_NODES:
        raise _bad("", f"it has more than {MAX_NODES} parts")
    compiled(root)


def children(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The subschemas of a schema, each with its path."""
    for word in SINGLE:
        if word in schema:
            yield word, schema[word]
    for word in NAMED:
        held = schema.get(word)
        if type(held) is dict:
            for name, part in cast("Json", held).items():
                yield f"{word}/{name}", part
    for word in LISTED:
        held = schema.get(word)
        if type(held) is list:
            for place, part in enumerate(cast("list[Any]", held)):
                yield f"{word}/{place}", part


def target(root: Mapping[str, Any], reference: str) -> Any:
    """What ``#/$defs/NAME`` (or ``#`` for the whole) stands for. Raises ``InvalidInput``."""
    name = reference.removeprefix("#/$defs/")
    definitions: Any = root.get("$defs")
    if name == reference or "/" in name or type(definitions) is not dict or name not in definitions:
        raise _bad("", "$ref leads to one of the schema's own $defs: #/$defs/NAME")
    return cast("Json", definitions)[name]


def size(root: Json, schema: Any, way: tuple[str, ...]) -> int:
    """How many subschemas an event meets at most; stops counting beyond ``MAX_NODES``.

    Raises:
        InvalidInput: a reference leads back to where it came from.
    """
    if type(schema) is not dict:
        return 1
    held = cast("Json", schema)
    count = 1
    if "$ref" in held:
        reference: str = held["$ref"]
        if reference in way:
            raise _bad("", "a $ref must not lead back to itself")
        count += size(root, target(root, reference), (*way, reference))
    for word, part in children(held):
        if not word.startswith("$defs/"):
            count += size(root, part, way)
        if count > MAX_NODES:
            return count
    return count


def _check(root: Json, schema: object, path: str, depth: int) -> None:
    if type(schema) is bool:
        return
    if type(schema) is not dict:
        raise _bad(path, "a schema is an object, true or false")
    if depth > MAX_DEPTH:
        raise _bad(path, f"nested deeper than {MAX_DEPTH} levels")
    held = cast("Json", schema)
    if "$defs" in held and held is not root:
        raise _bad(path, "$defs stand at the top of a schema")
    fault = _fault(held)
    if fault:
        raise _bad(path, fault)
    if "$ref" in held:
        target(root, held["$ref"])
    for word, part in children(held):
        _check(root, part, f"{path}/{word}", depth + 1)


def _fault(schema: Json) -> str:
    """What is wrong with a schema's own keywords, empty where nothing is."""
    unknown = [word for word in schema if word not in KEYWORDS and not word.startswith("x-")]
    if unknown:
        return f"plans do not know the keyword {unknown[0][:60]}"
    if schema.get("$schema", _DIALECT) != _DIALECT:
        return f"$schema is {_DIALECT}"
    if type(schema.get("$ref", "")) is not str:
        return "$ref is text"
    form = schema.get("format")
    if form is not None and (type(form) is not str or form not in FORMATS):
        return f"format is one of {', '.join(sorted(FORMATS))}"
    patterns = (schema.get("pattern"), *_names(schema.get("patternProperties")))
    if any(type(pattern) is str and len(pattern) > _MAX_PATTERN for pattern in patterns):
        return f"a pattern has at most {_MAX_PATTERN} characters"
    return ""


def _names(held: object) -> list[str]:
    return list(cast("Json", held)) if type(held) is dict else []


def _bad(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path.lstrip('/')}: {message}" if path else message, code="invalid_schema")
