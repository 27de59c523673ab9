"""Records of a company's own CRM: one, or a list, by the members named here; the same mapping reads rows of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from hoso.collect.sources.calls import consent, identify, person, stamp, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json
from hoso.collect.sources.reading import as_object, given, instant, json_value, member, one_or_many, text_of, without
from hoso.collect.sources.standard import checked_secret, new_secret, verify_either
from hoso.model.errors import HosoError, InvalidInput

MAX_RECORDS = 1_000
_TRAITS = {
    "email": "email",
    "phone": "phone",
    "name": "name",
    "first_name": "firstName",
    "last_name": "lastName",
    "birthday": "birthday",
    "gender": "gender",
    "address": "address",
    "city": "city",
    "country": "country",
    "language": "language",
    "company": "company",
    "segment": "segment",
}
_IDS = {
    "id": "crm_id",
    "crm_id": "crm_id",
    "customer_id": "customer_id",
    "loyalty_id": "loyalty_id",
    "zalo_id": "zalo_id",
}
_OTHERS = frozenset(
    {"updated_at", "deleted", "user_id", "custom", "consent_marketing", "consent_channel", "consent_text_id"}
)
_STATES = {"true": "granted", "1": "granted", "yes": "granted", "false": "denied", "0": "denied", "no": "denied"}
_EMPTY = ""


def facts(delivery: Delivery) -> list[Fact | HosoError]:
    """Every record of the body: an object, an array, or ``{"records": [...]}``; ``data`` of Standard Webhooks too."""
    value = json_value(delivery.body)
    for name in ("data", "records"):
        inner = member(value, name)
        value = value if inner is None else inner
    records = one_or_many(value)
    if len(records) > MAX_RECORDS:
        raise InvalidInput(f"a delivery has at most {MAX_RECORDS} records", code="too_many_events")
    found: list[Fact | HosoError] = []
    for record in records:
        try:
            found += record_facts(as_object(record, "a record"))
        except InvalidInput as error:
            found.append(error)
    return found


def rows(records: Iterable[Mapping[str, Any]], connection: str) -> Iterator[Json]:
    """Calls of the tracking API from records, or rows of a file with these columns; those without id are passed over.

    A caller that reports what it passes over uses ``record_facts`` and ``stamp`` itself.
    """
    for record in records:
        try:
            for fact in record_facts(record):
                yield stamp(fact, "crm", connection)
        except InvalidInput:
            continue


def record_facts(record: Mapping[str, Any]) -> Iterator[Fact]:
    """What a record says of a person. A blank is no statement, least of all about consent. Raises ``InvalidInput``."""
    named = _IDS if not text_of(record.get("crm_id")) else without(_IDS, "id")
    ids = [(kind, text_of(record.get(name))) for name, kind in named.items() if text_of(record.get(name))]
    record_id, user = text_of(record.get("id")) or text_of(record.get("crm_id")), text_of(record.get("user_id"))
    if not ids and not user:
        raise InvalidInput("the record has no id", code="missing_field")
    changed = text_of(record.get("updated_at"))
    at = instant(record.get("updated_at"))
    who = person(user_id=user, ids=ids)
    name = record_id or user or ids[0][1]
    content = orjson.dumps(dict(record), option=orjson.OPT_SORT_KEYS, default=str).decode()
    key = f"{name}|{changed}" if changed else content
    if record.get("deleted") is True or text_of(record.get("deleted")).lower() == "true":
        yield Fact(track("CRM Contact Deleted", given(record_id=name), who), f"{key}|deleted", name, at)
        return
    traits: Json = {trait: record[field] for field, trait in _TRAITS.items() if record.get(field) not in (None, _EMPTY)}
    extra = record.get("custom")
    own = as_object(extra, "custom") if extra else {}
    others = without(record, *_TRAITS, *_IDS, *_OTHERS)
    yield Fact(identify({**others, **own, **traits}, who), key, name, at)
    said = record.get("consent_marketing")
    state = _STATES.get(("true" if said else "false") if type(said) is bool else text_of(said).lower())
    if state is not None:
        channel = text_of(record.get("consent_channel")) or "email"
        statement = consent(channel, state, who, textVersion=text_of(record.get("consent_text_id")), method="crm")
        yield Fact(statement, f"{key}|consent", name, at)


SOURCES = (
    HookKind(
        name="crm",
        verify=verify_either,
        facts=facts,
        check_secret=checked_secret,
        new_secret=new_secret,
    ),
)
