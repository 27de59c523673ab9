"""The document of a tracking plan, as the file in git and the API hold it: read and checked."""

from __future__ import annotations

import re
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hoso.collect.plans import Policy
from hoso.collect.schemas import check
from hoso.model.errors import InvalidInput

MAX_BYTES = 200_000
MAX_EVENTS = 1_000
MAX_SOURCES = 40
_OTHER_CALLS = frozenset({"$identify", "$page", "$screen", "$group", "$alias"})
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class SourcePolicy(BaseModel):
    """What becomes of a source's events: ``violation`` of those that break a schema, ``unplanned`` of unnamed ones."""

    model_config = ConfigDict(extra="forbid")

    violation: Policy = "flag"
    unplanned: Policy = "flag"


class PlannedEvent(BaseModel):
    """One event: what it means, and the JSON Schema of its properties (of ``$identify`` and ``$group``: traits)."""

    model_config = ConfigDict(extra="forbid")

    description: str = Field(default="", max_length=2_000)
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class PlanDocument(BaseModel):
    """A tracking plan."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=2_000)
    sources: dict[str, SourcePolicy] = Field(default_factory=dict[str, SourcePolicy], max_length=MAX_SOURCES)
    events: dict[str, PlannedEvent] = Field(max_length=MAX_EVENTS)


def read_plan(document: object) -> dict[str, Any]:
    """The document in its full form: what it leaves out is filled in.

    Raises:
        InvalidInput: ``invalid_plan`` or ``invalid_schema``; the message names the place.
    """
    try:
        plan = PlanDocument.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'plan'}: {fault['msg']}" for fault in error.errors()]
        raise InvalidInput("; ".join(faults[:20]), code="invalid_plan") from error
    for source in plan.sources:
        if _SOURCE.fullmatch(source) is None:
            raise InvalidInput(f"sources: {source[:63]!r} is no key of a source", code="invalid_plan")
    for name, event in plan.events.items():
        if not name or len(name.encode()) > 1_024:
            raise InvalidInput("events: a name has 1 to 1,024 bytes", code="invalid_plan")
        if name.startswith("$") and name not in _OTHER_CALLS:
            raise InvalidInput(f"events: {name[:60]} is none of {', '.join(sorted(_OTHER_CALLS))}", code="invalid_plan")
        if event.json_schema is None:
            continue
        if name == "$alias":
            raise InvalidInput("events: $alias carries nothing that a schema could describe", code="invalid_plan")
        try:
            check(event.json_schema)
        except InvalidInput as error:
            raise InvalidInput(f"events.{name[:60]}.schema: {error.message}", code=error.code) from error
    full = plan.model_dump(by_alias=True, exclude_none=True)
    if len(orjson.dumps(full)) > MAX_BYTES:
        raise InvalidInput(f"a plan has at most {MAX_BYTES} bytes", code="invalid_plan")
    return full
