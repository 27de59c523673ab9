"""The mapping file: which columns of a row become which members of which event (``docs/imports.md``).

A document is checked once, completely, and compiled to a function from a row to events and problems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hoso.collect.imports.values import READERS, Local
from hoso.model.errors import InvalidInput
from hoso.model.local_time import HOME_ZONE, local_instant
from hoso.model.money import currency_code
from hoso.platform.ids import content_id

if TYPE_CHECKING:
    import jmespath.parser

_ROOTS = frozenset(
    {"type", "event", "name", "category", "userId", "anonymousId", "previousId", "groupId", "messageId", "timestamp"}
    | {"traits", "properties", "context", "integrations"}
)
_USUAL = {
    **{"timestamp": "time", "traits.email": "email", "traits.phone": "phone", "traits.name": "name"},
    **{"traits.gender": "gender", "traits.birthday": "birthday", "traits.createdAt": "time"},
    **{"properties.total": "money", "properties.revenue": "money", "properties.price": "money"},
}
_EMPTY = (None, "")

Json = dict[str, Any]


class FieldRule(BaseModel):
    """Where a member of the event comes from: a column, a JMESPath expression over the row, or a constant."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    column: str | None = None
    jmespath: str | None = Field(default=None, max_length=1_000)
    value: Any = None
    as_: str = Field(default="raw", alias="as")
    required: bool = False
    lenient: bool = False
    """Keep a value that cannot be read as it is, instead of refusing the row."""

    @model_validator(mode="after")
    def _one_origin(self) -> FieldRule:
        if len(self.model_fields_set & {"column", "jmespath", "value"}) != 1:
            raise ValueError("say one of column, jmespath, value")
        if self.as_ not in READERS:
            raise ValueError(f"as is one of {', '.join(READERS)}")
        return self


def column_rule(column: str, read: str, *, lenient: bool) -> FieldRule:
    """A rule for a column."""
    return FieldRule.model_validate({"column": column, "as": read, "lenient": lenient})


class EventRule(BaseModel):
    """One event per row. ``fields`` are by the path of the member, such as ``traits.email``.

    ``when`` is a JMESPath expression: the event is made only where it is true.
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["identify", "track", "page", "screen", "group", "alias"]
    event: str | None = None
    when: str | None = Field(default=None, max_length=1_000)
    fields: dict[str, str | FieldRule] = Field(max_length=500)


class Mapping(BaseModel):
    """A mapping document."""

    model_config = ConfigDict(extra="forbid")

    layout: Literal["mapped", "events", "pos", "salesforce", "marketo"] | None = None
    format: Literal["csv", "ndjson", "parquet"] | None = None
    encoding: str | None = Field(default=None, max_length=30)
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    zone: str = HOME_ZONE
    currency: str = "VND"
    object: str | None = Field(default=None, max_length=100)
    id_type: str | None = Field(default=None, min_length=1, max_length=64)
    """The type of identifier that a record's id is, in a CRM's bulk files; left out: that of its source."""
    type: Literal["identify", "track", "page", "screen", "group", "alias"] = "identify"
    event: str | None = None
    columns: dict[str, str] = Field(default={}, max_length=500)
    """The simple form: column → member of one event of ``type`` (and ``event``)."""
    events: list[EventRule] = Field(default=[], max_length=20)

    @model_validator(mode="after")
    def _sound(self) -> Mapping:
        if currency_code(self.currency) is None:
            raise ValueError("currency is an ISO 4217 code")
        if local_instant("2026-01-01", self.zone) is None:
            raise ValueError("zone is an IANA time zone")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError as error:
                raise ValueError("encoding is not known") from error
        if (self.events or self.columns) and self.layout not in (None, "mapped"):
            raise ValueError("events and columns are only for the layout mapped")
        if self.events and self.columns:
            raise ValueError("say events or columns, not both")
        return self

    @property
    def local(self) -> Local:
        """Zone and currency for the readers of values."""
        return Local(self.zone, self.currency)

    def rules(self) -> list[EventRule]:
        """The rules for events, those of the simple form written out."""
        if not self.columns:
            return self.events
        fields = {
            path: column_rule(column, _USUAL.get(path, "raw"), lenient=path != "timestamp")
            for column, path in self.columns.items()
        }
        return [EventRule(type=self.type, event=self.event, fields={**fields})]


def parse_mapping(document: object) -> Mapping:
    """A checked mapping. Raises ``InvalidInput`` (``invalid_mapping``) that names each wrong place."""
    try:
        made = Mapping.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'mapping'}: {fault['msg']}" for fault in error.errors()]
        raise InvalidInput("; ".join(faults[:20]), code="invalid_mapping", hint="see docs/imports.md") from error
    for rule in made.rules():
        compile_event(rule, made.local)
    return made


@dataclass(slots=True)
class Mapped:
    """What a row, or a group of rows, became: events, or problems as (line, code, reason)."""

    events: list[Json] = field(default_factory=list[Json])
    problems: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])


Make = Callable[[Json, int, Mapped], None]


def row_mapper(mapping: Mapping, source: str) -> Make:
    """The function that adds a row's events, or its problems, to a ``Mapped``; a row with a problem makes no event."""
    makers = [compile_event(rule, mapping.local) for rule in mapping.rules()]

    def make(row: Json, line: int, into: Mapped) -> None:
        made: list[Json] = []
        faults: list[tuple[int, str, str]] = []
        for maker in makers:
            event = maker(row, line, faults)
            if event is not None:
                made.append(event)
        if faults:
            into.problems += faults
            return
        if not made:
            into.problems.append((line, "no_event", "no event of the mapping is made for this row"))
            return
        into.events += [finished(event, source) for event in made]

    return make


def finished(event: Json, source: str) -> Json:
    """The event with where it comes from and, if it has none, a message id that is a function of its content."""
    context: Json = event.setdefault("context", {})
    context.setdefault("source", {"type": "import", "connection_id": source})
    if not event.get("messageId"):
        text = orjson.dumps(event, option=orjson.OPT_SORT_KEYS).decode()
        event["messageId"] = f"imp-{content_id(source, text)}"
    return event


def compile_event(rule: EventRule, local: Local) -> Callable[[Json, int, list[tuple[int, str, str]]], Json | None]:
    """The function of one event rule. Raises ``InvalidInput`` for a wrong path or expression."""
    fields = [_compiled(path, given) for path, given in rule.fields.items()]
    when = _expression(rule.when) if rule.when else None
    if rule.type == "track" and rule.event is None and "event" not in rule.fields:
        raise InvalidInput("a track event needs a name: event", code="invalid_mapping")

    def make(row: Json, line: int, faults: list[tuple[int, str, str]]) -> Json | None:
        if when is not None and when.search(row) in (None, False, "", [], {}):
            return None
        event: Json = {"type": rule.type}
        if rule.event is not None:
            event["event"] = rule.event
        originals: Json = {}
        for parts, find, read, rule_, name, missing in fields:
            raw = find(row)
            if missing is not None and missing not in row:
                faults.append((line, "missing_column", f"there is no column {missing[:60]}"))
                continue
            if raw in _EMPTY or (isinstance(raw, str) and not raw.strip()):
                if rule_.required:
                    faults.append((line, "missing_value", f"{name[:60]} is empty"))
                continue
            try:
                value = read(raw, local)
            except ValueError as error:
                if not rule_.lenient:
                    faults.append((line, "bad_value", f"{name[:60]} {error}"))
                    continue
                value = raw
            if value is None:
                continue
            put(event, parts, value)
            if value != raw and read is not READERS["raw"]:
                originals[".".join(parts)] = raw
        if originals:
            event.setdefault("context", {})["original"] = originals
        if "timestamp" not in event and rule.type in ("track", "page", "screen"):
            faults.append((line, "missing_timestamp", "the event has no time of its own"))
        return event

    return make


_Compiled = tuple[list[str], Callable[[Json], Any], Callable[[Any, Local], Any], FieldRule, str, str | None]


def _compiled(path: str, given: str | FieldRule) -> _Compiled:
    rule = FieldRule(column=given) if isinstance(given, str) else given
    parts = path.split(".")
    if parts[0] not in _ROOTS or not all(parts) or len(parts) > 10:
        raise InvalidInput(f"{path[:60]} is no member of an event", code="invalid_mapping")
    reader = rule.as_ if rule.as_ != "raw" or path != "timestamp" else "time"
    if rule.column is not None:
        column = rule.column
        return parts, lambda row: row.get(column), READERS[reader], rule, column, column
    if rule.jmespath is not None:
        expression = _expression(rule.jmespath)
        return parts, expression.search, READERS[reader], rule, path, None
    return parts, lambda _row: rule.value, READERS[reader], rule, path, None


def _expression(text: str) -> jmespath.parser.ParsedResult:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.compile(text)
    except JMESPathError as error:
        raise InvalidInput(f"{text[:60]} is no JMESPath expression", code="invalid_mapping") from error


def put(event: Json, parts: list[str], value: Any) -> None:
    """Set a member by its path."""
    at = event
    for part in parts[:-1]:
        inner = at.get(part)
        if type(inner) is not dict:
            inner = at[part] = {}
        at = cast("Json", inner)
    at[parts[-1]] = value
