"""Zalo Official Account: chat, follow and unfollow, information that a person gives (connectors, 2.12)."""

from __future__ import annotations

from pydantic import Field

from hoso.collect.sources.calls import consent, identify, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json, Settings
from hoso.collect.sources.reading import given, instant, json_object, member, text_of
from hoso.collect.sources.signatures import check, check_time, sha256_hex
from hoso.model.errors import InvalidInput

HEADER = "x-zevent-signature"
_NAMES = {
    "follow": "Zalo Followed",
    "unfollow": "Zalo Unfollowed",
    "user_submit_info": "Zalo Info Submitted",
    "user_received_message": "Message Delivered",
    "user_seen_message": "Message Read",
}
_BY_US = ("oa_", "user_received_message", "user_seen_message")
"""Events whose sender is the account: the person is the recipient."""


class ZaloSettings(Settings):
    """``app_id`` and ``oa_id``: only these are taken, where given. ``max_age_s``: Zalo repeats for up to 12 hours with
    the same signed time, so the window is that long; a repetition has the same message id.
    """

    app_id: str = Field(default="", pattern=r"^\d{0,25}$")
    oa_id: str = Field(default="", pattern=r"^\d{0,25}$")
    max_age_s: int = Field(default=13 * 3600, ge=60, le=86_400)


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless the signature fits; the app's id and the time are in the body."""
    told, settings = json_object(delivery.body), delivery.source.settings
    app, stamp = settings.get("app_id") or text_of(told.get("app_id")), text_of(told.get("timestamp"))
    claimed = delivery.headers.get(HEADER, "").strip().removeprefix("mac=").strip().lower()
    head, tail = app.encode(), stamp.encode()
    check(delivery, claimed, lambda secret: sha256_hex(head + delivery.body + tail + secret.encode()))
    check_time(delivery.now, instant(told.get("timestamp")), settings.get("max_age_s", 13 * 3600))


def facts(delivery: Delivery) -> list[Fact]:
    """One event. Following is consent to be written to on Zalo, unfollowing its end."""
    told = json_object(delivery.body)
    event = text_of(told.get("event_name"))
    sender, recipient = text_of(member(told, "sender", "id")), text_of(member(told, "recipient", "id"))
    follower = text_of(member(told, "follower", "id"))
    ours: str = delivery.source.settings.get("oa_id") or text_of(told.get("oa_id"))
    # who wrote is told by the account's id where it is one of the two; the event's name is a guess
    by_us = sender == ours if ours and ours in (sender, recipient) else event.startswith(_BY_US)
    user = follower or (recipient if by_us else sender)
    account = ours or (sender if by_us else recipient)
    if not event or not user:
        raise InvalidInput("event_name or the person is missing", code="missing_field")
    # the id of a person is the account's own: with another account it is somebody else
    who = person(
        anonymous_id=f"zalo:{account}:{user}",
        ids=[("zalo_id", f"{account}:{user}")],
        traits={"phone": text_of(member(told, "info", "phone"))},
    )
    message = text_of(member(told, "message", "msg_id"))
    stamp = text_of(told.get("timestamp"))
    key, at = f"{account}|{event}|{user}|{message or stamp}", instant(told.get("timestamp"))
    external = message or key
    found: list[Fact] = []
    if event == "user_submit_info":
        found.append(Fact(identify(_info(told), who), f"{key}|identify", external, at))
    if event in ("follow", "unfollow"):
        state = "granted" if event == "follow" else "denied"
        found.append(Fact(consent("zalo", state, who, method=event), f"{key}|consent", external, at))
    properties = given(
        channel="zalo",
        oa_id=account,
        message_id=message,
        text=text_of(member(told, "message", "text")),
        zalo_event=event,
    )
    return [*found, Fact(track(_name(event), properties, who, record=("zalo", told)), key, external, at)]


def _name(event: str) -> str:
    if event in _NAMES:
        return _NAMES[event]
    if event.startswith("user_send_"):
        return "Message Received"
    return "Message Sent" if event.startswith("oa_send_") else f"Zalo {event[:80]}"


def _info(told: Json) -> Json:
    info = told.get("info")
    return given(
        name=text_of(member(info, "name")),
        phone=text_of(member(info, "phone")),
        address=text_of(member(info, "address")),
        city=text_of(member(info, "city")),
        district=text_of(member(info, "district")),
    )


SOURCES = (HookKind(name="zalo_oa", verify=verify, facts=facts, settings=ZaloSettings),)
