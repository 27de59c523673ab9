"""Identifiers: what they are, how their values are normalised, and which ones an event carries.

Rules R1, R2, R4 and R5 of identity resolution. ``extract`` is on the hot path of collect: plain dict look-ups, no
regular expression unless a value needs one, and no exception for whatever JSON an event holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, cast

from hoso.model.contact_forms import email_form, phone_form
from hoso.model.identity_config import DEFAULT, GRAPH_LINKING, STANDARD, IdentityConfig, TypeRule

__all__ = [
    "DEFAULT",
    "GRAPH_LINKING",
    "STANDARD",
    "Identifier",
    "IdentityConfig",
    "TypeRule",
    "alias_previous",
    "anonymous_id",
    "contradictory",
    "extract",
    "no_evidence_in",
    "normalise",
]

MAX_LENGTH = 1_024

_BLOCKED_WORDS = frozenset(
    [
        *("null", "none", "nil", "undefined", "nan", "n/a", "na", "anonymous", "unknown", "invalid", "void", "-1"),
        *("not-specified", "[object object]", "true", "false"),
    ]
)

_TOKEN = re.compile(r"[A-Za-z0-9._:=~-]{1,128}")
"""An opaque name that a shop's door gives to who opted in: no picture, no vector of a face, no list of numbers."""
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)

EXTERNAL_TYPES = {
    "loyalty_card": "loyalty_id",
    "loyaltyCard": "loyalty_id",
    "loyalty": "loyalty_id",
    "crmId": "crm_id",
    "customerId": "customer_id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "deviceId": "device_id",
    "stripe_customer_id": "payment_customer_id",
    "zalo_user_id": "zalo_id",
}
"""Other names that sources use in ``context.externalIds[].type``."""

TRAIT_TYPES = {
    "email": "email",
    "phone": "phone",
    "crmId": "crm_id",
    "crm_id": "crm_id",
    "loyaltyCard": "loyalty_id",
    "loyalty_card": "loyalty_id",
    "loyalty_id": "loyalty_id",
    "customer_id": "customer_id",
    "customerId": "customer_id",
    "zalo_id": "zalo_id",
    "zaloId": "zalo_id",
}
"""Traits that are identifiers."""

_OPAQUE = frozenset({"user_id", "anonymous_id", "device_id"})
"""Frequent types whose values have no form to be brought into."""

_CONTEXT_EVIDENCE = frozenset({"device", "traits", "externalIds", "externalId", "integrations"})
"""Members of ``context`` that can hold identifiers."""

no_evidence_in: Callable[[Any], bool] = _CONTEXT_EVIDENCE.isdisjoint
"""Whether a context holds none of them."""

_ABOUT_SOMEBODY_ELSE = re.compile(r"shar|invit|refer|gift|friend|recipient|forward", re.IGNORECASE)
"""Events whose ``properties.email`` or ``.phone`` is another person's (Segment: Product Shared, Invite Sent)."""

Json = dict[str, Any]


class Identifier(NamedTuple):
    """A normalised identifier: two are the same person's evidence only if type and value are equal (R1)."""

    type: str
    value: str

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


def normalise(kind: str, value: object, config: IdentityConfig = DEFAULT) -> str | None:
    """The value in the form that identifies, or None when it identifies nobody (R1, R2).

    >>> normalise("phone", "0901 234 567")
    '+84901234567'
    >>> normalise("user_id", "null") is None
    True
    """
    if kind not in config.types:
        return None
    if type(value) is not str:
        if type(value) is not int:
            return None
        value = str(value)
    text = _usable(value) if len(value) <= MAX_LENGTH else None
    if text is None:
        return None
    if kind == "email":
        clean = email_form(text)
    elif kind == "phone":
        clean = phone_form(text)
    elif kind == "presence_token":
        clean = text if _TOKEN.fullmatch(text) else None
    else:
        clean = text
    if config.blocked and (clean in config.blocked_forms or text in config.blocked_forms):
        return None
    return clean


def extract(event: Json, config: IdentityConfig = DEFAULT) -> list[Identifier]:
    """The identifiers of an event of the tracking API, best-ranked first: the first one is the hub (R5).

    Sources of identifiers: ``userId``, ``anonymousId``, ``context.device.id``, ``context.externalIds`` (RudderStack:
    ``externalId``), Google Analytics client ids of ``integrations``, and the e-mail, phone, CRM id and card in
    ``traits``, ``context.traits`` and, for a track call, the e-mail and phone in ``properties``. The traits of a group
    call describe the group. Values of other types than text and whole numbers are passed over.
    """
    anonymous, user = event.get("anonymousId"), event.get("userId")
    if user is None and type(anonymous) is str and not event.get("traits") and not event.get("integrations"):
        # most of the web's traffic: nothing that could hold another identifier
        within: Any = event.get("context")
        said: Any = event.get("properties")
        if (
            (type(within) is not dict or no_evidence_in(within))
            and (type(said) is not dict or not ("email" in said or "phone" in said))
            and config.keeps_anonymous_ids
        ):
            only = anonymous_id(anonymous) if len(anonymous) <= MAX_LENGTH else None
            return [] if only is None else [only]
    found: list[Identifier] = []
    if user is not None:
        _add(found, "user_id", user, config)
    kind = event.get("type")
    context: Json = event.get("context", {})
    if type(context) is dict and not _CONTEXT_EVIDENCE.isdisjoint(context):
        _from_context(found, context, kind, config)
    traits = event.get("traits")
    if traits and kind != "group":
        _from_traits(found, traits, config)
    properties = event.get("properties")
    if kind == "track" and type(properties) is dict and ("email" in properties or "phone" in properties):
        _from_properties(found, cast("Json", properties), event.get("event"), config)
    integrations = event.get("integrations")
    if integrations:
        _from_integrations(found, integrations, config)
    if anonymous is not None and not (found and _filler(anonymous, event)):
        _add(found, "anonymous_id", anonymous, config)
    return found if len(found) < 2 else ranked(found, config)


def ranked(identifiers: Iterable[Identifier], config: IdentityConfig) -> list[Identifier]:
    """The distinct identifiers, best first: by rank, then by the text of type and value (R5)."""
    types = config.types
    return sorted(set(identifiers), key=lambda found: (types[found.type].rank, found.type, found.value))


def contradictory(identifiers: Iterable[Identifier], config: IdentityConfig = DEFAULT) -> bool:
    """Whether one event names two values of a type of which a person has only one (R4): it proves nothing then."""
    unique = {found for found in identifiers if found[0] in config.unique_types}
    return len(unique) != len({kind for kind, _ in unique})


def alias_previous(event: Json, config: IdentityConfig = DEFAULT) -> Identifier | None:
    """What an alias call's ``previousId`` names (R12), or None for other calls and for an alias to itself.

    The call does not say of which type the value is: the event's own ``anonymousId`` and UUIDs are anonymous ids (the
    SDKs make these), everything else is a user id.
    """
    if event.get("type") != "alias":
        return None
    previous = event.get("previousId")
    anonymous = previous == event.get("anonymousId") or (
        isinstance(previous, str) and _UUID.fullmatch(previous.strip())
    )
    kind = "anonymous_id" if anonymous else "user_id"
    value = normalise(kind, previous, config)
    if value is None or value == normalise(kind, event.get("userId"), config):
        return None
    return Identifier(kind, value)


def _add(found: list[Identifier], kind: str, value: object, config: IdentityConfig) -> None:
    if kind in _OPAQUE and kind in config.types and not config.blocked and type(value) is str:
        identifier = _opaque(kind, value) if len(value) <= MAX_LENGTH else None
        if identifier is not None:
            found.append(identifier)
        return
    clean = normalise(kind, value, config)
    if clean is not None:
        found.append(Identifier(kind, clean))


def _from_context(found: list[Identifier], context: Json, kind: object, config: IdentityConfig) -> None:
    device = context.get("device")
    if type(device) is dict:
        _add(found, "device_id", cast("Json", device).get("id"), config)
    traits = context.get("traits")
    if traits and kind != "group":
        _from_traits(found, traits, config)
    for member in ("externalIds", "externalId"):
        entries = context.get(member)
        if type(entries) is list:
            for entry in cast("list[Any]", entries):
                if type(entry) is dict:
                    named = cast("Json", entry).get("type")
                    if type(named) is str:
                        _add(found, EXTERNAL_TYPES.get(named, named), cast("Json", entry).get("id"), config)
    integrations = context.get("integrations")
    if integrations:
        _from_integrations(found, integrations, config)


def _from_traits(found: list[Identifier], traits: object, config: IdentityConfig) -> None:
    if type(traits) is not dict:
        return
    given = cast("Json", traits)
    for name in given.keys() & TRAIT_TYPES.keys():
        _add(found, TRAIT_TYPES[name], given[name], config)


def _from_properties(found: list[Identifier], properties: Json, name: object, config: IdentityConfig) -> None:
    if type(name) is str and _ABOUT_SOMEBODY_ELSE.search(name):
        return
    _add(found, "email", properties.get("email"), config)
    _add(found, "phone", properties.get("phone"), config)


def _from_integrations(found: list[Identifier], integrations: object, config: IdentityConfig) -> None:
    if type(integrations) is not dict:
        return
    for name in ("Google Analytics", "Google Analytics 4", "Google Analytics 4 Web"):
        options = cast("Json", integrations).get(name)
        if type(options) is dict:
            _add(found, "ga_client_id", cast("Json", options).get("clientId"), config)


def _filler(anonymous: object, event: Json) -> bool:
    """Whether an anonymous id stands there only because the protocol demands one.

    Sources without a device (till, mail, payments) fill in the message id, or their own name and a number. Such a
    value is met once; as evidence it would only grow the graph.
    """
    if type(anonymous) is not str:
        return False
    context: Any = event.get("context")
    source = cast("Json", context).get("source") if type(context) is dict else None
    if type(source) is str and source and anonymous.startswith(source + "-"):
        return True
    return anonymous == event.get("messageId")


@lru_cache(maxsize=8_192)
def _opaque(kind: str, value: str) -> Identifier | None:
    """What ``normalise`` makes of an id that is kept as it is. Kept: people send many events."""
    text = _usable(value)
    return None if text is None else Identifier(kind, text)


@lru_cache(maxsize=8_192)
def anonymous_id(value: str) -> Identifier | None:
    """``normalise`` of an anonymous id, where a workspace has no rules of its own for these; kept, see ``_opaque``."""
    return _opaque("anonymous_id", value)


@lru_cache(maxsize=4_096)
def _usable(value: str) -> str | None:
    """The text without blanks around it, or None when it stands for nobody. Kept: people send many events."""
    text = value.strip()
    if not text or text.lower() in _BLOCKED_WORDS or not text.strip("0-"):
        return None
    if not text.isascii() and not _encodable(text):
        return None
    return text


def _encodable(text: str) -> bool:
    """Lone surrogates cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
