"""HubSpot's app webhooks: arrays of changes, signed with version 3; older versions by setting (connectors, 2.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hoso.collect.sources.calls import consent, identify, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json, Settings
from hoso.collect.sources.reading import as_object, entries, given, instant, json_value, text_of, without
from hoso.collect.sources.signatures import check, check_time, hmac_base64, sha256_hex, whole_number
from hoso.model.errors import HosoError, InvalidInput

MAX_EVENTS = 100
PERSON = "contact"
_DECODED = {
    **{"%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$"},
    **{"%27": "'", "%28": "(", "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";"},
}
_ESCAPE = re.compile("|".join(_DECODED), re.IGNORECASE)
_TRAITS = {
    "email": "email",
    "phone": "phone",
    "mobilephone": "phone",
    "firstname": "firstName",
    "lastname": "lastName",
    "company": "company",
    "jobtitle": "title",
    "city": "city",
    "country": "country",
    "date_of_birth": "birthday",
    "gender": "gender",
    "hs_language": "language",
}
_OPT_OUT = "hs_email_optout"
_DONE = {
    "creation": "Created",
    "deletion": "Deleted",
    "propertyChange": "Updated",
    "merge": "Merged",
    "restore": "Restored",
}


class HubSpotSettings(Settings):
    """``old_signatures`` also takes versions 2 and 1, which have no time and so can be replayed.

    ``called_url`` is the URL without query that HubSpot calls, where a proxy changes it. ``id_type`` is the type of
    identifier that a contact's id is.
    """

    old_signatures: bool = False
    called_url: str = ""
    id_type: str = "crm_id"


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless the signature fits; version 3 must be fresh too."""
    headers = delivery.headers
    newest = headers.get("x-hubspot-signature-v3", "")
    if newest or not delivery.source.settings.get("old_signatures"):
        stamp = headers.get("x-hubspot-request-timestamp", "")
        head, tail = delivery.method.encode(), delivery.body + stamp.encode()
        forms = [head + address.encode() + tail for address in _addresses(delivery)]
        check(delivery, newest, lambda secret: [hmac_base64(secret, form) for form in forms])
        check_time(delivery.now, whole_number(stamp))
        return
    old, version = headers.get("x-hubspot-signature", "").lower(), headers.get("x-hubspot-signature-version", "v1")
    if version == "v2":
        middles = [delivery.method.encode() + address.encode() for address in _addresses(delivery)]
    else:
        middles = [b""]
    check(delivery, old, lambda secret: [sha256_hex(secret.encode() + middle + delivery.body) for middle in middles])


def facts(delivery: Delivery) -> list[Fact | HosoError]:
    """Each change of the array; one that cannot be read is refused alone."""
    changes = entries(json_value(delivery.body))
    if len(changes) > MAX_EVENTS:
        raise InvalidInput(f"a delivery has at most {MAX_EVENTS} events", code="too_many_events")
    id_type: str = delivery.source.settings.get("id_type", "crm_id")
    found: list[Fact | HosoError] = []
    for change in changes:
        try:
            found += _facts_of(as_object(change), id_type)
        except InvalidInput as error:
            found.append(error)
    return found


def _facts_of(change: Json, id_type: str) -> Iterator[Fact]:
    what, object_id = text_of(change.get("subscriptionType")), text_of(change.get("objectId"))
    if "." not in what or not object_id:
        raise InvalidInput("subscriptionType or objectId is missing", code="missing_field")
    members = ("portalId", "eventId", "subscriptionId", "objectId", "occurredAt")
    key = "|".join(text_of(change.get(member)) for member in members)
    at, external = instant(change.get("occurredAt")), text_of(change.get("eventId")) or key
    subject, _, action = what.partition(".")
    who = person(ids=[(id_type, object_id)]) if subject == PERSON else person()
    name, value = text_of(change.get("propertyName")), change.get("propertyValue")
    if subject == PERSON and action == "propertyChange" and name in _TRAITS:
        yield Fact(identify({_TRAITS[name]: text_of(value)}, who), f"{key}|identify", external, at)
    if subject == PERSON and action == "propertyChange" and name == _OPT_OUT:
        state = "denied" if text_of(value).lower() == "true" else "unset"
        yield Fact(consent("email", state, who), f"{key}|consent", external, at)
    properties = given(object=subject, object_id=object_id, property=name, value=value)
    # the number of the attempt is the delivery's, not the change's: with it a repetition would look like a forgery
    record = ("hubspot", without(change, "attemptNumber"))
    yield Fact(track(_event_name(subject, action), properties, who, record=record), key, external, at)


def _event_name(subject: str, action: str) -> str:
    if action == "privacyDeletion":
        return "Erasure Requested"
    return f"CRM {subject[:40].title()} {_DONE.get(action, action[:40])}"


def _addresses(delivery: Delivery) -> list[str]:
    """The called address as it came, and with the escapes undone that HubSpot undoes before it signs."""
    undone = _ESCAPE.sub(lambda match: _DECODED[match[0].upper()], delivery.address)
    return [delivery.address] if undone == delivery.address else [delivery.address, undone]


SOURCES = (HookKind(name="hubspot", verify=verify, facts=facts, settings=HubSpotSettings),)
