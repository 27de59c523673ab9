"""Marketo: the webhook of a flow step, proved by a key in a header, and rows of the bulk extract (connectors, 2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, cast

import orjson
from pydantic import AfterValidator, Field

from hoso.collect.pulls.settings import MarketoPull
from hoso.collect.sources.calls import consent, identify, person, stamp, track
from hoso.collect.sources.contract import SIGNING, TOKEN, Delivery, Fact, HookKind, Json, Settings
from hoso.collect.sources.reading import form, given, instant, is_zone, json_object, text_of
from hoso.collect.sources.standard import KEY_HEADER, verify_key
from hoso.model.errors import InvalidInput

ID_TYPE = "customer_id"
"""The type of identifier that a lead's id is, where the settings say nothing."""
_TRAITS = {
    "email": "email",
    "phone": "phone",
    "mobilePhone": "phone",
    "firstName": "firstName",
    "lastName": "lastName",
    "company": "company",
    "title": "title",
    "city": "city",
    "country": "country",
    "dateOfBirth": "birthday",
}
ACTIVITIES = {
    "1": "Page Viewed",
    "2": "Form Submitted",
    "3": "Link Clicked",
    "6": "Email Sent",
    "7": "Email Delivered",
    "8": "Email Bounced",
    "9": "Email Unsubscribed",
    "10": "Email Opened",
    "11": "Email Link Clicked",
    "12": "Lead Created",
    "13": "Lead Updated",
    "27": "Email Bounced",
    "46": "Lead Moment",
}
"""Activity types that every Marketo instance has under these numbers; others keep their number in the name."""

_BOUNCES = {"8": "hard", "27": "soft"}


class MarketoSettings(Settings):
    """``header`` holds the key; ``zone`` is that of times without offset; ``id_type`` the type that a lead's id is."""

    header: str = Field(default=KEY_HEADER, pattern=r"^[a-z0-9-]{1,60}$")
    zone: Annotated[str, AfterValidator(is_zone)] = "UTC"
    id_type: str = ID_TYPE
    pull: MarketoPull | None = None
    """What is fetched on a schedule (``hoso.collect.pulls``)."""


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless the header holds a live secret."""
    verify_key(delivery, delivery.source.settings.get("header", KEY_HEADER))


def facts(delivery: Delivery) -> list[Fact]:
    """What a campaign's step tells of a lead. The body's template is free: known members are read, all are kept."""
    told: Json
    if delivery.method == "GET":
        told = dict(form(delivery.query))
    elif delivery.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        told = dict(form(delivery.body))
    else:
        told = json_object(delivery.body)
    email, lead = text_of(told.get("email")), text_of(told.get("lead_id"))
    if not email and not lead:
        raise InvalidInput("email and lead_id are missing", code="missing_field")
    settings = delivery.source.settings
    at = instant(told.get("occurred_at"), settings.get("zone", "UTC"))
    key = text_of(told.get("event_id")) or orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()
    who = person(traits={"email": email}, ids=[(settings.get("id_type", ID_TYPE), lead)])
    kind = text_of(told.get("type")) or "marketo.campaign"
    name = (
        "Marketo Campaign Triggered" if kind == "marketo.campaign" else f"Marketo {kind.removeprefix('marketo.')[:80]}"
    )
    properties = given(campaign=told.get("campaign"), program=told.get("program"))
    calls: list[Fact] = []
    traits = _traits(told)
    if len(traits) > 1:
        calls.append(Fact(identify(traits, who), f"{key}|identify", key[:200], at))
    return [*calls, Fact(track(name, properties, who, record=("marketo", told)), key, key[:200], at)]


def lead_rows(
    rows: Iterable[Mapping[str, str]], connection: str, id_type: str = ID_TYPE, zone: str = "UTC"
) -> Iterator[Json]:
    """Calls of the tracking API from rows of a lead export, by Marketo's own column names.

    A lead that unsubscribed also withdraws its consent. Rows without an id are passed over.
    """
    for row in rows:
        lead = text_of(row.get("id"))
        if not lead:
            continue
        changed = text_of(row.get("updatedAt")) or text_of(row.get("createdAt"))
        at, who = instant(changed, zone), person(traits=_email(row), ids=[(id_type, lead)])
        key = f"lead|{lead}|{changed}"
        yield stamp(Fact(identify(_traits(row), who), key, lead, at), "marketo", connection)
        if text_of(row.get("unsubscribed")).lower() in ("true", "1"):
            fact = Fact(consent("email", "denied", who, method="marketo"), f"{key}|consent", lead, at)
            yield stamp(fact, "marketo", connection)


def activity_rows(
    rows: Iterable[Mapping[str, str]], connection: str, id_type: str = ID_TYPE, zone: str = "UTC"
) -> Iterator[Json]:
    """Calls of the tracking API from rows of an activity export; ``marketoGUID`` tells one activity from another."""
    for row in rows:
        guid, lead = text_of(row.get("marketoGUID")), text_of(row.get("leadId"))
        if not guid or not lead:
            continue
        kind = text_of(row.get("activityTypeId"))
        name = ACTIVITIES.get(kind, f"Marketo Activity {kind[:20]}")
        properties = given(
            campaign_id=row.get("campaignId"),
            bounce_type=_BOUNCES.get(kind),
            subject_id=row.get("primaryAttributeValueId"),
            subject=row.get("primaryAttributeValue"),
            attributes=_attributes(row.get("attributes")),
        )
        call = track(name, properties, person(ids=[(id_type, lead)]))
        yield stamp(Fact(call, guid, guid, instant(row.get("activityDate"), zone)), "marketo", connection)


def _traits(row: Mapping[str, Any]) -> Json:
    return {trait: text_of(row[name]) for name, trait in _TRAITS.items() if text_of(row.get(name))}


def _email(row: Mapping[str, Any]) -> Json:
    return {"email": text_of(row.get("email"))}


def _attributes(text: object) -> Json | None:
    try:
        value = orjson.loads(text) if type(text) is str and text else None
    except orjson.JSONDecodeError:
        return None
    return cast("Json", value) if type(value) is dict else None


SOURCES = (
    HookKind(
        name="marketo",
        methods=frozenset({"GET", "POST"}),
        verify=verify,
        facts=facts,
        settings=MarketoSettings,
        uses=(SIGNING, TOKEN),
    ),
)
