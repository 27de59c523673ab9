"""What a file is: told by its mapping, or by its columns; and the mapper of its rows, or groups of rows, to events."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hoso.collect.events import TYPES
from hoso.collect.imports import pos
from hoso.collect.imports.mapping import EventRule, FieldRule, Mapped, Mapping, column_rule, finished, put, row_mapper
from hoso.collect.imports.values import Local, instant
from hoso.collect.sources import marketo, salesforce
from hoso.model.errors import HosoError, InvalidInput
from hoso.model.local_time import HOME_ZONE
from hoso.model.time import parse_instant

Json = dict[str, Any]
_MEMBERS = ("traits.", "properties.", "context.")
_IDS = frozenset({"userId", "anonymousId"})
_KNOWN_COLUMNS = {
    **dict.fromkeys(("user_id", "userid", "customer_code"), ("userId", "text")),
    **dict.fromkeys(("email", "e-mail", "mail"), ("traits.email", "email")),
    **dict.fromkeys(("phone", "mobile", "tel", "phone_number", "sdt", "sđt", "điện thoại"), ("traits.phone", "phone")),
    "số điện thoại": ("traits.phone", "phone"),
    **dict.fromkeys(("name", "full_name", "customer_name", "họ tên", "họ và tên"), ("traits.name", "name")),
    "tên khách hàng": ("traits.name", "name"),
    **dict.fromkeys(("first_name", "firstname", "tên"), ("traits.firstName", "name")),
    **dict.fromkeys(("last_name", "lastname", "họ"), ("traits.lastName", "name")),
    **dict.fromkeys(("gender", "sex", "giới tính"), ("traits.gender", "gender")),
    **dict.fromkeys(("birthday", "dob", "date_of_birth", "ngày sinh"), ("traits.birthday", "birthday")),
    **dict.fromkeys(("address", "địa chỉ"), ("traits.address", "text")),
    **dict.fromkeys(("crm_id", "customer_id", "loyalty_id", "zalo_id"), ("", "text")),
    **dict.fromkeys(("timestamp", "updated_at", "occurred_at"), ("timestamp", "time")),
    **dict.fromkeys(("created_at", "ngày tạo"), ("traits.createdAt", "time")),
}  # fmt: skip
"""Columns of plain customer lists, in English and Vietnamese, and how each is read."""

_IDENTIFYING = frozenset({"userId", "traits.email", "traits.phone"})
MAX_GROUP = 1_000
"""Most lines of one receipt."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a file become events. ``group_of`` tells which rows belong together (None: a row alone)."""

    name: str
    map_rows: Callable[[Sequence[tuple[int, Json]], Mapped], None]
    group_of: Callable[[Json], Hashable | None] | None = None


def layout_of(mapping: Mapping | None, columns: Sequence[str], source: str) -> Layout:
    """The layout of a file with these columns (those of its first row).

    Raises:
        InvalidInput: ``unknown_layout``, neither mapping nor columns tell what the rows are.
    """
    given = mapping or Mapping()
    name = given.layout or ("mapped" if given.rules() else _guess(columns))
    if name == "pos":
        missing = pos.NEEDED - set(columns)
        if missing:
            raise InvalidInput(
                f"a file of receipts needs the columns {', '.join(sorted(missing))}", code="missing_column"
            )
        local = given.local
        return Layout("pos", lambda rows, into: pos.map_receipt(rows, source, local, into), pos.receipt_of)
    if name == "events":
        local = given.local
        return Layout("events", _each(lambda row, line, into: _event(row, line, into, source, local)))
    if name == "customers":
        given = given.model_copy(update={"events": [_customers(columns)]})
        return Layout("customers", _each(row_mapper(given, source)))
    if name in ("salesforce", "marketo"):
        return Layout(name, _each(_foreign(_bulk_mapper(name, given, columns, source), source)))
    if name == "mapped" and given.rules():
        return Layout("mapped", _each(row_mapper(given, source)))
    raise InvalidInput(
        "the columns do not tell what the rows are", code="unknown_layout", hint="send a mapping file: docs/imports.md"
    )


def _each(make: Callable[[Json, int, Mapped], None]) -> Callable[[Sequence[tuple[int, Json]], Mapped], None]:
    def map_rows(rows: Sequence[tuple[int, Json]], into: Mapped) -> None:
        for line, row in rows:
            make(row, line, into)

    return map_rows


def _bulk_mapper(name: str, given: Mapping, columns: Sequence[str], source: str) -> Callable[[Json], list[Json]]:
    """The function from a row of a CRM's bulk file to calls. Of the mapping ``object`` names Salesforce's object,
    ``id_type`` the type of identifier that the row's id is."""
    if name == "salesforce":
        entity, kind = given.object or "Contact", given.id_type or salesforce.ID_TYPE
        return lambda row: list(salesforce.bulk_rows([row], entity, source, kind))
    rows = marketo.activity_rows if "marketoGUID" in columns else marketo.lead_rows
    zone, kind = given.zone if given.zone != HOME_ZONE else "UTC", given.id_type or marketo.ID_TYPE
    return lambda row: list(rows([row], source, kind, zone))


def _foreign(calls: Callable[[Json], list[Json]], source: str) -> Callable[[Json, int, Mapped], None]:
    def make(row: Json, line: int, into: Mapped) -> None:
        try:
            made = calls(row)
        except HosoError as error:
            into.problems.append((line, error.code, error.message))
            return
        if not made:
            into.problems.append((line, "missing_value", "the row has no id"))
        into.events += [finished(event, source) for event in made]

    return make


def _guess(columns: Sequence[str]) -> str:
    names = set(columns)
    if names >= pos.NEEDED:
        return "pos"
    if "type" in names and names & (_IDS | {"traits", "context"} | {n for n in names if n.startswith(_MEMBERS)}):
        return "events"
    if {"Id", "SystemModstamp"} <= names:
        return "salesforce"
    if "marketoGUID" in names:
        return "marketo"
    if any(_KNOWN_COLUMNS.get(name.strip().casefold(), ("", ""))[0] in _IDENTIFYING for name in columns):
        return "customers"
    return ""


def _customers(columns: Sequence[str]) -> EventRule:
    """The rule for a plain list of customers: known columns are read, the others are traits as they are."""
    fields: dict[str, str | FieldRule] = {}
    for column in columns:
        path, read = _KNOWN_COLUMNS.get(column.strip().casefold(), ("", "raw"))
        path = path or f"traits.{column.strip().replace('.', '_')}"
        fields.setdefault(path, column_rule(column, read, lenient=path != "timestamp"))
    return EventRule(type="identify", fields=fields)


def _event(row: Json, line: int, into: Mapped, source: str, local: Local) -> None:
    """A row that is an event: as JSON, or with the paths of its members as columns; empty cells are absent."""
    if row.get("type") not in TYPES:
        into.problems.append((line, "unknown_type", f"type must be one of {', '.join(sorted(TYPES))}"))
        return
    event: Json = {}
    for name, value in row.items():
        if value is None or value == "":
            continue
        if name.startswith(_MEMBERS) and "." in name:
            put(event, name.split("."), value)
        else:
            event[name] = value
    try:
        _own_time(event, local)
    except ValueError:
        into.problems.append((line, "bad_timestamp", "timestamp is no date and time (ISO 8601 or dd/MM/yyyy HH:mm)"))
        return
    named = event.get("messageId")
    if type(named) is str and named:
        into.events.append(event)
    else:
        event.pop("messageId", None)
        into.events.append(finished(event, source))


def _own_time(event: Json, local: Local) -> None:
    """Let history keep its time: the clock of a sending long ago must not shift it, and what cannot be read is refused.

    An export's ``timestamp`` is corrected already; ``originalTimestamp`` counts only where it stands alone.
    """
    originals: Json = {}
    if "timestamp" in event and "originalTimestamp" in event:
        originals["originalTimestamp"] = event.pop("originalTimestamp")
    if "sentAt" in event:
        originals["sentAt"] = event.pop("sentAt")
    for name in ("timestamp", "originalTimestamp"):
        if name in event and parse_instant(event[name]) is None:
            originals[name], event[name] = event[name], instant(event[name], local)
    if originals:
        context = event.get("context")
        held: Json = dict(cast("Json", context)) if type(context) is dict else {}
        event["context"] = {**held, "original": originals}
