"""Salesforce: outbound messages (SOAP), change events (JSON with a key), rows of bulk queries (connectors, 2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic import Field

from hoso.collect.pulls.settings import SalesforcePull
from hoso.collect.sources.calls import consent, identify, person, stamp, track
from hoso.collect.sources.contract import (
    SIGNING,
    TOKEN,
    Delivery,
    Fact,
    HookKind,
    Json,
    Reply,
    Settings,
    Unverified,
    text,
)
from hoso.collect.sources.reading import given, instant, json_value, member, number, one_or_many, text_of
from hoso.collect.sources.signatures import same
from hoso.collect.sources.standard import verify_key
from hoso.collect.sources.xml import Element, parse_xml
from hoso.model.errors import HosoError, InvalidInput

MAX_NOTIFICATIONS = 100
ID_TYPE = "crm_id"
"""The type of identifier that a record's id is, where the settings say nothing."""
PEOPLE = frozenset({"Contact", "Lead", "PersonAccount"})
_ORGANIZATION_CHARACTERS = 15
"""The last three of 18 only repeat the letter case of the others."""

_TRAITS = {
    "Email": "email",
    "PersonEmail": "email",
    "Phone": "phone",
    "HomePhone": "phone",
    "MobilePhone": "phone",
    "PersonMobilePhone": "phone",
    "FirstName": "firstName",
    "LastName": "lastName",
    "Name": "name",
    "Title": "title",
    "Company": "company",
    "Birthdate": "birthday",
    "PersonBirthdate": "birthday",
    "MailingCity": "city",
    "MailingCountry": "country",
}
_OWNERS = ("ContactId", "BillToContactId", "PersonContactId", "WhoId", "LeadId")
_CHANGES = {"CREATE": "Created", "UPDATE": "Updated", "DELETE": "Deleted", "UNDELETE": "Restored"}
_ACK = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>{0}</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)


class SalesforceSettings(Settings):
    """``organization_id`` is the one whose messages are taken. ``client_id`` is the app that Hoso writes with: its
    changes come back and are passed over. ``id_type`` is the type that a record's id is.
    """

    organization_id: str = Field(pattern=r"^00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?$")
    client_id: str = ""
    id_type: str = ID_TYPE
    pull: SalesforcePull | None = None
    """What is fetched on a schedule (``hoso.collect.pulls``)."""


def verify(delivery: Delivery) -> None:
    """A message has no signature: beside the address its organization must be ours. A change event needs the key."""
    if not _is_soap(delivery):
        verify_key(delivery)
        return
    ours: str = delivery.source.settings["organization_id"]
    theirs = _notifications(delivery).text_of("OrganizationId")
    if not same(theirs[:_ORGANIZATION_CHARACTERS], ours[:_ORGANIZATION_CHARACTERS]):
        raise Unverified("the message is of another organization", code="wrong_organization")


def facts(delivery: Delivery) -> list[Fact | HosoError]:
    """Every notification of a message, or every change event."""
    settings = delivery.source.settings
    id_type: str = settings.get("id_type", ID_TYPE)
    if _is_soap(delivery):
        return _of_messages(_notifications(delivery), id_type)
    found: list[Fact | HosoError] = []
    for change in one_or_many(json_value(delivery.body)):
        try:
            found += change_facts(change, id_type, settings.get("client_id", ""))
        except InvalidInput as error:
            found.append(error)
    return found


def change_facts(change: object, id_type: str = ID_TYPE, own_client: str = "") -> Iterator[Fact]:
    """What a change event of the data capture tells, per record. Raises ``InvalidInput``."""
    payload = member(change, "payload") or member(change, "detail", "payload") or change
    header = member(payload, "ChangeEventHeader")
    entity, kind = text_of(member(header, "entityName")), text_of(member(header, "changeType"))
    if not entity or not kind:
        raise InvalidInput("ChangeEventHeader with entityName and changeType is missing", code="missing_field")
    if own_client and f"client={own_client}" in text_of(member(header, "changeOrigin")):
        return
    key = f"{text_of(member(header, 'transactionKey'))}|{text_of(member(header, 'sequenceNumber'))}"
    at = instant(member(header, "commitTimestamp"))
    record = {name: value for name, value in cast("Json", payload).items() if name != "ChangeEventHeader"}
    listed: Any = member(header, "recordIds")
    ids = [text_of(one) for one in cast("list[Any]", listed)] if type(listed) is list else []
    if kind.startswith("GAP_"):
        # no values: the record, on overflow the whole object, has to be read again
        for record_id in ids or [""]:
            call = track(
                "CRM Sync Gap",
                given(object=entity, record_id=record_id, change=kind),
                _who(entity, record_id, {}, id_type),
            )
            yield Fact(call, f"{key}|{record_id}", key, at)
        return
    for record_id in ids:
        yield from _record_facts(
            entity, record_id, record, f"{key}|{record_id}", key, at, id_type, _CHANGES.get(kind, kind)
        )


def bulk_rows(
    rows: Iterable[Mapping[str, str]], entity: str, connection: str, id_type: str = ID_TYPE
) -> Iterator[Json]:
    """Calls of the tracking API from rows of a bulk query over one object; the columns are the object's fields.

    Rows without ``Id`` are passed over. A row in the same state makes the same message ids.
    """
    for row in rows:
        record_id = text_of(row.get("Id"))
        if not record_id:
            continue
        changed = text_of(row.get("SystemModstamp")) or text_of(row.get("LastModifiedDate"))
        deleted = text_of(row.get("IsDeleted")).lower() == "true"
        found = _record_facts(
            entity,
            record_id,
            row,
            f"{record_id}|{changed}",
            record_id,
            instant(changed),
            id_type,
            "Deleted" if deleted else "Updated",
        )
        for fact in found:
            yield stamp(fact, "salesforce", connection)


def stored(delivery: Delivery, _duplicate: bool) -> Reply:
    """The acknowledgement; without it the message comes again."""
    if _is_soap(delivery):
        return text(200, _ACK.format("true"), "text/xml; charset=utf-8")
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": '{"success":true}'}


def refused(delivery: Delivery, error: HosoError, status: int) -> Reply:
    """No acknowledgement: Salesforce keeps the message for a day and tries again."""
    if _is_soap(delivery):
        return text(status, _ACK.format("false"), "text/xml; charset=utf-8")
    body = f'{{"success":false,"code":"{error.code}"}}'
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": body}


def _is_soap(delivery: Delivery) -> bool:
    return delivery.body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"


def _notifications(delivery: Delivery) -> Element:
    found = parse_xml(delivery.body).find("notifications")
    if found is None:
        raise InvalidInput("the message has no notifications", code="missing_field")
    return found


def _of_messages(notifications: Element, id_type: str) -> list[Fact | HosoError]:
    listed = [child for child in notifications.children if child.name == "Notification"]
    if len(listed) > MAX_NOTIFICATIONS:
        raise InvalidInput(f"a message has at most {MAX_NOTIFICATIONS} notifications", code="too_many_events")
    found: list[Fact | HosoError] = []
    for notification in listed:
        key, record = notification.text_of("Id"), notification.child("sObject")
        record_id = record.text_of("Id") if record is not None else ""
        if record is None or not key or not record_id:
            found.append(InvalidInput("a notification lacks Id or sObject", code="missing_field"))
            continue
        entity = record.kind or "Record"
        values: Json = {child.name: child.text for child in record.children if child.text}
        at = instant(values.get("SystemModstamp") or values.get("LastModifiedDate"))
        found += _record_facts(entity, record_id, values, key, key, at, id_type, "Updated")
    return found


def _record_facts(
    entity: str,
    record_id: str,
    record: Mapping[str, Any],
    key: str,
    external: str,
    at: int | None,
    id_type: str,
    change: str,
) -> Iterator[Fact]:
    """A person's record identifies; every change is an event too, with the record as it was told."""
    who = _who(entity, record_id, record, id_type)
    if entity in PEOPLE and change != "Deleted":
        traits = _traits(record)
        if traits:
            yield Fact(identify(traits, who), f"{key}|identify", external, at)
        opted_out = record.get("HasOptedOutOfEmail")
        if opted_out is True or text_of(opted_out).lower() == "true":
            yield Fact(consent("email", "denied", who, method="salesforce"), f"{key}|consent", external, at)
    properties = given(
        object=entity, record_id=record_id, amount=number(record.get("Amount")), currency=record.get("CurrencyIsoCode")
    )
    call = track(f"CRM {entity[:60]} {change[:40]}", properties, who, record=("salesforce", dict(record)))
    yield Fact(call, key, external, at)


def _who(entity: str, record_id: str, record: Mapping[str, Any], id_type: str) -> Json:
    """The person: the record itself, or the contact that it names."""
    owner = (
        record_id if entity in PEOPLE else next((text_of(record.get(name)) for name in _OWNERS if record.get(name)), "")
    )
    return person(ids=[(id_type, owner)])


def _traits(record: Mapping[str, Any]) -> Json:
    found: Json = {}
    for name, trait in _TRAITS.items():
        value = record.get(name)
        if name == "Name" and type(value) is dict:  # the compound field of change events
            parts = cast("Json", value)
            found |= given(firstName=text_of(parts.get("FirstName")), lastName=text_of(parts.get("LastName")))
        elif text_of(value):
            found[trait] = text_of(value)
    return found


SOURCES: Sequence[HookKind] = (
    HookKind(
        name="salesforce",
        verify=verify,
        facts=facts,
        stored=stored,
        refused=refused,
        settings=SalesforceSettings,
        uses=(SIGNING, TOKEN),
        needs_secret=False,
    ),
)
