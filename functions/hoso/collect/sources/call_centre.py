"""Calls: contact events of Amazon Connect, and those of other centres in our own form (connectors, 2.13)."""

from __future__ import annotations

from hoso.collect.sources.calls import identify, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json
from hoso.collect.sources.reading import as_object, given, instant, json_object, member, number, text_of
from hoso.collect.sources.standard import checked_secret, new_secret, verify_either
from hoso.model.errors import InvalidInput

_CONNECT = {
    "INITIATED": "Call Started",
    "CONNECTED_TO_SYSTEM": "Call Connected",
    "QUEUED": "Call Queued",
    "CONNECTED_TO_AGENT": "Call Answered",
    "DISCONNECTED": "Call Ended",
    "COMPLETED": "Call Completed",
    "CONTACT_DATA_UPDATED": "Call Data Updated",
}
_OWN = {
    "call.started": "Call Started",
    "call.answered": "Call Answered",
    "call.ended": "Call Ended",
    "call.missed": "Call Missed",
    "call.transferred": "Call Transferred",
}
_TIMES = ("disconnectTimestamp", "initiationTimestamp")


def facts(delivery: Delivery) -> list[Fact]:
    """One event of a call."""
    told = json_object(delivery.body)
    if text_of(told.get("source")) == "aws.connect" or "detail-type" in told:
        return [_connect(told)]
    return _own(told, delivery.headers.get("webhook-id", ""))


def _connect(envelope: Json) -> Fact:
    """A contact event of EventBridge. The number is there when the flow set it as an attribute or Connect tells it."""
    detail = as_object(envelope.get("detail"), "detail")
    contact, kind = text_of(detail.get("contactId")), text_of(detail.get("eventType"))
    if not contact or not kind:
        raise InvalidInput("detail.contactId or detail.eventType is missing", code="missing_field")
    attributes = member(detail, "attributes")
    phone = text_of(member(detail, "customerEndpoint", "address")) or text_of(member(attributes, "phone"))
    who = person(
        user_id=text_of(member(attributes, "userId")),
        traits=given(phone=phone, email=text_of(member(attributes, "email"))),
        ids=[(name, text_of(member(attributes, name))) for name in ("crm_id", "customer_id", "loyalty_id")],
    )
    properties = given(
        call_id=contact,
        channel=text_of(detail.get("channel")).lower(),
        direction=text_of(detail.get("initiationMethod")).lower(),
        queue=text_of(member(detail, "queueInfo", "queueArn")).rpartition("/")[2],
        agent=text_of(member(detail, "agentInfo", "agentArn")).rpartition("/")[2],
        reason=text_of(detail.get("disconnectReason")),
        initial_call_id=text_of(detail.get("initialContactId")),
    )
    # the envelope's time is when the event happened; its id changes when a rule delivers it again
    at = instant(envelope.get("time")) or next(filter(None, (instant(detail.get(name)) for name in _TIMES)), None)
    key = f"{contact}|{kind}|{text_of(envelope.get('time')) or text_of(envelope.get('id'))}"
    name = _CONNECT.get(kind, f"Call {kind[:60].title()}")
    return Fact(track(name, properties, who, record=("connect", detail)), key, contact, at)


def _own(told: Json, delivery_id: str) -> list[Fact]:
    data, kind = as_object(told.get("data"), "data"), text_of(told.get("type"))
    call = text_of(data.get("call_id"))
    if not kind or not call:
        raise InvalidInput("type or data.call_id is missing", code="missing_field")
    customer = member(data, "customer")
    traits = given(
        phone=text_of(data.get("phone")) or text_of(member(customer, "phone")),
        email=text_of(member(customer, "email")),
        name=text_of(member(customer, "name")),
    )
    who = person(
        user_id=text_of(member(customer, "user_id")),
        traits={name: traits[name] for name in ("phone", "email") if name in traits},
        ids=[(name, text_of(member(customer, name))) for name in ("crm_id", "customer_id", "loyalty_id")],
    )
    at = instant(told.get("timestamp"))
    key = delivery_id or f"{call}|{kind}|{text_of(told.get('timestamp'))}"
    properties = given(
        call_id=call,
        channel="voice",
        direction=text_of(data.get("direction")),
        agent=text_of(data.get("agent")),
        queue=text_of(data.get("queue")),
        duration_s=number(data.get("duration_s")),
        outcome=text_of(data.get("outcome")),
        reason=text_of(data.get("reason")),
    )
    named = [Fact(identify(traits, who), f"{key}|identify", key, at)] if "name" in traits else []
    return [
        *named,
        Fact(track(_OWN.get(kind, f"Call {kind[:60]}"), properties, who, record=("call", data)), key, key, at),
    ]


SOURCES = (
    HookKind(
        name="call_centre",
        verify=verify_either,
        facts=facts,
        check_secret=checked_secret,
        new_secret=new_secret,
    ),
)
