"""A chatbot of any make, in our own form, signed by Standard Webhooks (connectors, 3.11 and 3.16)."""

from __future__ import annotations

from hoso.collect.sources.calls import identify, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json
from hoso.collect.sources.reading import as_object, given, instant, json_object, member, text_of
from hoso.collect.sources.standard import checked_secret, new_secret, verify_either
from hoso.model.errors import InvalidInput

_NAMES = {
    "message.received": "Message Received",
    "message.sent": "Message Sent",
    "conversation.started": "Chat Started",
    "conversation.ended": "Chat Ended",
    "handover": "Chat Handed Over",
}
_IDS = ("crm_id", "customer_id", "loyalty_id", "zalo_id")
_TRAITS = {"name": "name", "first_name": "firstName", "last_name": "lastName", "email": "email", "phone": "phone"}


def facts(delivery: Delivery) -> list[Fact]:
    """One event of a conversation: ``type``, ``timestamp``, and ``data`` with ``user`` and the rest."""
    told = json_object(delivery.body)
    kind, data = text_of(told.get("type")), as_object(told.get("data"), "data")
    user = as_object(data.get("user"), "data.user")
    user_id, visitor = text_of(user.get("user_id")), text_of(user.get("anonymous_id"))
    bot, own = text_of(data.get("bot")) or delivery.source.key, text_of(user.get("id"))
    if not kind or not (own or user_id or visitor or user.get("email") or user.get("phone")):
        raise InvalidInput("type is missing, or data.user names nobody", code="missing_field")
    traits: Json = given(**{trait: text_of(user.get(name)) for name, trait in _TRAITS.items()})
    who = person(
        user_id=user_id,
        # the bot's own id of the person holds for this bot alone
        anonymous_id=visitor or (f"chat:{bot}:{own}" if own else ""),
        traits={name: traits[name] for name in ("email", "phone") if name in traits},
        ids=[(name, text_of(user.get(name))) for name in _IDS],
    )
    at = instant(told.get("timestamp"))
    message = text_of(member(data, "message", "id"))
    key = delivery.headers.get("webhook-id", "") or f"{kind}|{own}|{message}|{text_of(told.get('timestamp'))}"
    properties = given(
        channel=text_of(data.get("channel")) or "chat",
        bot=bot,
        conversation_id=text_of(data.get("conversation_id")),
        message_id=message,
        text=text_of(member(data, "message", "text")),
        intent=text_of(data.get("intent")),
    )
    known = [Fact(identify(traits, who), f"{key}|identify", key, at)] if traits else []
    name = _NAMES.get(kind, f"Chat {kind[:80]}")
    return [*known, Fact(track(name, properties, who, record=("chat", data)), key, key, at)]


SOURCES = (
    HookKind(
        name="chatbot",
        verify=verify_either,
        facts=facts,
        check_secret=checked_secret,
        new_secret=new_secret,
    ),
)
