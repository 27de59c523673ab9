"""HubSpot's app webhooks: arrays of changes, signed with version 3; older versions by setting (connectors, 2.5).

A delivery tells one changed property. With the token of a private app (a secret for ``api_token``) what is known of a
contact that is new or changed is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import orjson

from hoso.collect.sources.calls import consent, identify, person, track
from hoso.collect.sources.contract import (
    SIGNING,
    TOKEN,
    Delivery,
    Details,
    Fact,
    HookKind,
    HookSource,
    Json,
    Lookup,
    Question,
    Settings,
)
from hoso.collect.sources.reading import (
    as_object,
    entries,
    given,
    instant,
    json_value,
    member,
    objects,
    text_of,
    without,
)
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
_CHANGED = "lastmodifieddate"
_ASKED_ABOUT = frozenset({"contact.creation", "contact.restore", "contact.merge", "contact.propertyChange"})
PER_QUESTION = 50
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
    identifier that a contact's id is. ``api`` is where contacts are fetched from.
    """

    old_signatures: bool = False
    called_url: str = ""
    id_type: str = "crm_id"
    api: str = "https://api.hubapi.com"


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
            found += _facts_of(as_object(change, "an event"), id_type)
        except InvalidInput as error:
            found.append(error)
    return found


def wanted(delivery: Delivery) -> list[Lookup]:
    """The contacts that a delivery names, each once: of one made before it was connected nothing else is known."""
    found: dict[str, Lookup] = {}
    for change in objects(json_value(delivery.body)):
        contact = text_of(change.get("objectId"))
        if contact and change.get("subscriptionType") in _ASKED_ABOUT:
            found[contact] = Lookup(contact, given(at=instant(change.get("occurredAt"))))
    return list(found.values())


def ask(source: HookSource, token: str, lookups: Sequence[Lookup]) -> Question:
    """The question about up to ``PER_QUESTION`` contacts."""
    api: str = source.settings.get("api") or HubSpotSettings().api
    asked = {"properties": [*_TRAITS, _OPT_OUT, _CHANGED], "inputs": [{"id": lookup.id} for lookup in lookups]}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    return Question("POST", f"{api}/crm/v3/objects/contacts/batch/read", headers, orjson.dumps(asked))


def answered(source: HookSource, lookups: Sequence[Lookup], answer: Json) -> list[list[Fact] | None]:
    """What is known of each contact, as of its last change; None for one that is not there any more."""
    by_id = {text_of(one.get("id")): one for one in objects(answer.get("results"))}
    id_type: str = source.settings.get("id_type", "crm_id")
    found: list[list[Fact] | None] = []
    for lookup in lookups:
        contact = by_id.get(lookup.id)
        found.append(None if contact is None else list(_known(lookup, contact, id_type)))
    return found


def _known(lookup: Lookup, contact: Json, id_type: str) -> Iterator[Fact]:
    held = {name: text_of(member(contact, "properties", name)) for name in (*_TRAITS, _OPT_OUT, _CHANGED)}
    changed = instant(held[_CHANGED]) or instant(contact.get("updatedAt"))
    at, key = changed or lookup.told.get("at"), f"contact|{lookup.id}|{changed or lookup.told.get('at')}"
    who = person(ids=[(id_type, lookup.id)])
    # of two properties with one meaning the first that holds something speaks
    traits = {_TRAITS[name]: held[name] for name in reversed(_TRAITS) if held[name]}
    if traits:
        yield Fact(identify(traits, who), f"{key}|identify", lookup.id, at)
    if held[_OPT_OUT].lower() == "true":
        yield Fact(consent("email", "denied", who), f"{key}|consent", lookup.id, at)


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


SOURCES = (
    HookKind(
        name="hubspot",
        verify=verify,
        facts=facts,
        settings=HubSpotSettings,
        uses=(SIGNING, TOKEN),
        details=Details(wanted, ask, answered, PER_QUESTION),
    ),
)
