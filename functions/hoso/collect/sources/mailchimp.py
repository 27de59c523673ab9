"""Mailchimp's audience webhooks: forms with an optional signature, else proved by the address (connectors, 2.3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from hoso.collect.sources.calls import consent, identify, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json, Reply, Settings, reply, text
from hoso.collect.sources.reading import form, given, instant, is_zone
from hoso.collect.sources.signatures import check, check_time, header_pairs, hmac_hex, whole_number
from hoso.model.errors import InvalidInput

HEADER = "x-mailchimp-signature"
_MERGE = re.compile(r"data\[merges\]\[([A-Za-z0-9_]{1,40})\]")
_MERGE_TRAITS = {
    "FNAME": "firstName",
    "LNAME": "lastName",
    "PHONE": "phone",
    "BIRTHDAY": "birthday",
    "ADDRESS": "address",
}
_NOT_A_PERSON = frozenset({"campaign"})


class MailchimpSettings(Settings):
    """``zone`` is that of ``fired_at``, which Mailchimp does not document."""

    zone: Annotated[str, AfterValidator(is_zone)] = "UTC"


def greet(delivery: Delivery) -> Reply | None:
    """The check of the address when the webhook is made."""
    return None if delivery.method == "POST" else text(200, "" if delivery.method == "HEAD" else "ok")


def verify(delivery: Delivery) -> None:
    """With a secret the header must fit it and be fresh; without one the proof is the address, which nobody guesses."""
    if not delivery.source.signing:
        return
    pairs = header_pairs(delivery.headers.get(HEADER, ""))
    stamp = next((value for name, value in pairs if name == "t"), "")
    signed = stamp.encode() + b"." + delivery.body
    given_forms = [value.lower() for name, value in pairs if name == "v1"]
    check(delivery, given_forms[0] if given_forms else "", lambda secret: hmac_hex(secret, signed))
    seconds = whole_number(stamp)
    check_time(delivery.now, None if seconds is None else seconds * 1_000)


def facts(delivery: Delivery) -> list[Fact]:
    """Subscriptions, changes and departures of members; what is about a campaign is about nobody and not kept."""
    fields = form(delivery.body)
    kind = fields.get("type", "")
    if not kind:
        raise InvalidInput("the form has no type", code="missing_field")
    if kind in _NOT_A_PERSON:
        return []
    at = instant(fields.get("fired_at"), delivery.source.settings.get("zone", "UTC"))
    member_id, list_id = fields.get("data[id]") or fields.get("data[new_id]") or "", fields.get("data[list_id]", "")
    email = fields.get("data[email]") or fields.get("data[new_email]") or ""
    if not email:
        raise InvalidInput("the form has no e-mail", code="missing_field")
    key = hashlib.sha256(f"{kind}|{fields.get('fired_at', '')}|{member_id}|{list_id}".encode()).hexdigest()
    who = person(traits={"email": email}, ids=[("email", fields.get("data[old_email]", ""))])
    return [Fact(body, f"{key}|{part}", key, at) for part, body in _calls(kind, fields, email, list_id, who)]


def _calls(kind: str, fields: Mapping[str, str], email: str, list_id: str, who: Json) -> list[tuple[str, Json]]:
    record = ("mailchimp", {name: value for name, value in fields.items() if not name.startswith("data[merges]")})
    properties = given(
        list_id=list_id,
        action=fields.get("data[action]"),
        reason=fields.get("data[reason]"),
        campaign_id=fields.get("data[campaign_id]"),
    )
    known = ("identify", identify({"email": email, **_traits(fields)}, who))
    if kind == "subscribe":
        agreed = consent("email", "granted", who, method="mailchimp_form")
        return [known, ("consent", agreed), ("track", track("Email Subscribed", properties, who, record=record))]
    if kind == "unsubscribe":
        return [known, ("track", track("Email Unsubscribed", properties, who, record=record))]
    if kind == "cleaned":
        if fields.get("data[reason]") == "abuse":
            return [("track", track("Email Marked as Spam", properties, who, record=record))]
        gone = consent("email", "denied", who, method="address_is_dead")
        return [
            ("consent", gone),
            ("track", track("Email Bounced", {**properties, "bounce_type": "hard"}, who, record=record)),
        ]
    if kind == "upemail":
        return [known, ("track", track("Email Changed", properties, who, record=record))]
    if kind == "profile":
        return [known]
    return [("track", track(f"Mailchimp {kind[:80]}", properties, who, record=record))]


def _traits(fields: Mapping[str, str]) -> Json:
    """Merge fields under the names that traits have here; their own names where there is no common one."""
    found: Json = {}
    for name, value in fields.items():
        match = _MERGE.fullmatch(name)
        if match and match[1] != "EMAIL" and value:
            found[_MERGE_TRAITS.get(match[1], f"mailchimp_{match[1].lower()}")] = value
    return found


SOURCES = (
    HookKind(
        name="mailchimp",
        methods=frozenset({"GET", "HEAD", "POST"}),
        greet=greet,
        verify=verify,
        facts=facts,
        stored=lambda _delivery, _duplicate: reply(200, {"success": True}),
        settings=MailchimpSettings,
        needs_secret=False,
    ),
)
