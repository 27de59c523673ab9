"""The language as a JSON Schema, for editors and for programs that make documents.

It tells the shape. Which value goes with which operator, limits of depth and references are checked when a document
is saved (``hoso.segment.check``).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from hoso.segment.language import Segment
from hoso.segment.traits.language import ComputedTrait


class _Generator(GenerateJsonSchema):
    """A value that is left out has no default that JSON could tell."""

    ignored_warning_kinds: ClassVar[set[JsonSchemaWarningKind]] = {"skipped-choice", "non-serializable-default"}  # pyright: ignore[reportIncompatibleVariableOverride]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``segment/1``."""
    schema = Segment.model_json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "hoso:segment/1", **schema}


def trait_schema() -> dict[str, Any]:
    """The JSON Schema of ``trait/1``."""
    schema = ComputedTrait.model_json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "hoso:trait/1", **schema}
