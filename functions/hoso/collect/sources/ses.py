"""Events of Amazon SES about a message: bounce, complaint, open, click and others, as events of the recipient (2.13).

They come by EventBridge (an API destination, which sends the key) or by SNS over HTTPS (then the address is the proof).
"""

from __future__ import annotations

from collections.abc import Iterator

from hoso.collect.sources.calls import consent, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json, Settings, Unverified
from hoso.collect.sources.reading import (
    as_object,
    given,
    instant,
    json_object,
    json_value,
    member,
    objects,
    text_of,
    texts,
)
from hoso.collect.sources.signatures import same
from hoso.collect.sources.standard import KEY_HEADER, verify_key
from hoso.model.errors import InvalidInput

_NAMES = {
    "Send": "Email Sent",
    "Delivery": "Email Delivered",
    "Open": "Email Opened",
    "Click": "Email Link Clicked",
    "Bounce": "Email Bounced",
    "Complaint": "Email Marked as Spam",
    "Reject": "Email Rejected",
    "Rendering Failure": "Email Rendering Failed",
    "DeliveryDelay": "Email Delayed",
    "Subscription": "Email Subscription Changed",
}
_PARTS = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
}
PERMANENT = "Permanent"


class SesSettings(Settings):
    """``topic`` is the ARN of the SNS topic whose notifications are taken without a key; empty: none are."""

    topic: str = ""


def verify(delivery: Delivery) -> None:
    """With the key in the header; or an SNS notification of the topic of the settings, at an address nobody guesses."""
    topic: str = delivery.source.settings.get("topic", "")
    if KEY_HEADER in delivery.headers or not topic:
        verify_key(delivery)
    elif not same(text_of(json_object(delivery.body).get("TopicArn")), topic):
        raise Unverified("the notification is of another topic", code="wrong_topic")


def facts(delivery: Delivery) -> list[Fact]:
    """An event per recipient that it speaks of. The confirmation of an SNS subscription tells nothing of a customer."""
    told = json_object(delivery.body)
    if told.get("Type") in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        return []
    if type(told.get("Message")) is str:
        told = as_object(json_value(told["Message"].encode("utf-8", "surrogatepass")))
    return list(ses_facts(told["detail"] if type(told.get("detail")) is dict else told))


def ses_facts(detail: Json) -> Iterator[Fact]:
    """What an event of SES tells. Raises ``InvalidInput``."""
    kind = text_of(detail.get("eventType")) or text_of(detail.get("notificationType"))
    message = text_of(member(detail, "mail", "messageId"))
    if not kind or not message:
        raise InvalidInput("eventType or mail.messageId is missing", code="missing_field")
    name, listed = _PARTS.get(kind, (kind[:1].lower() + kind[1:].replace(" ", ""), ""))
    part = detail.get(name)
    stamp = text_of(member(part, "timestamp")) or text_of(member(detail, "mail", "timestamp"))
    for address in _recipients(detail, part, listed):
        key = f"{message}|{kind}|{stamp}|{address}|{text_of(member(part, 'link'))}"
        who, at = person(traits={"email": address}), instant(stamp)
        permanent = kind == "Bounce" and member(part, "bounceType") == PERMANENT
        if permanent:
            dead = consent("email", "denied", who, method="address_is_dead")
            yield Fact(dead, f"{key}|consent", message, at)
        properties = given(
            message_id=message,
            subject=text_of(member(detail, "mail", "commonHeaders", "subject")),
            bounce_type=text_of(member(part, "bounceType")),
            bounce_subtype=text_of(member(part, "bounceSubType")),
            complaint_type=text_of(member(part, "complaintFeedbackType")),
            link=text_of(member(part, "link"))[:2_000],
            user_agent=text_of(member(part, "userAgent"))[:500],
            tags=_tags(detail),
        )
        yield Fact(track(_NAMES.get(kind, f"Email {kind[:60]}"), properties, who), key, message, at)


def _recipients(detail: Json, part: object, listed: str) -> list[str]:
    named = [text_of(entry.get("emailAddress")) for entry in objects(member(part, listed))] if listed else []
    if named:
        return named
    found = texts(member(detail, "mail", "destination"))
    if not found:
        raise InvalidInput("the event names no recipient", code="missing_field")
    return found


def _tags(detail: Json) -> Json | None:
    """The message's own tags, of each the first value."""
    tags = member(detail, "mail", "tags")
    listed = {name: texts(values) for name, values in as_object(tags, "tags").items()} if tags else {}
    return {name: values[0] for name, values in listed.items() if values and not name.startswith("ses:")} or None


SOURCES = (HookKind(name="ses", verify=verify, facts=facts, settings=SesSettings, needs_secret=False),)
