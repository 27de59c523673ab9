"""Lead forms and Messenger: the check of the address, the signature, the envelope (connectors, 2.7 and 3.11).

One app has one address, so both kinds take leads and messages alike. A delivery only names a lead: with the token of
the page (a secret for ``api_token``, permission ``leads_retrieval``) the answers of its form are fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote, urlencode

from hoso.collect.sources.calls import identify, person, track
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
    Reply,
    Settings,
    reply,
    text,
)
from hoso.collect.sources.reading import form, given, instant, json_object, member, objects, text_of, texts
from hoso.collect.sources.signatures import check, hmac_hex, same
from hoso.model.errors import HosoError, InvalidInput

VERIFY = "verify"
"""The use of the token that Meta repeats when it checks the address."""

HEADER = "x-hub-signature-256"
_PREFIX = "sha256="
_MAX_CHALLENGE = 1_000
_LEAD_TRAITS = {
    "email": "email",
    "work_email": "email",
    "phone_number": "phone",
    "full_name": "name",
    "first_name": "firstName",
    "last_name": "lastName",
    "city": "city",
    "country": "country",
    "date_of_birth": "birthday",
    "gender": "gender",
    "company_name": "company",
    "job_title": "title",
}
_LEAD_FIELDS = ("field_data", "created_time", "ad_id", "form_id", "is_organic", "custom_disclaimer_responses")
_PASSING = frozenset({1, 2, 4, 17, 32, 190, 341, 613})
"""Codes of the Graph API: unknown, service, limits of app, user and page, token, application limit, custom limit."""
_MESSAGES = {
    "postback": "Chat Button Clicked",
    "delivery": "Message Delivered",
    "read": "Message Read",
    "optin": "Chat Opted In",
    "referral": "Chat Opened",
    "reaction": "Message Reacted",
}


class MetaSettings(Settings):
    """``api`` is where the answers of a form are fetched from, version included."""

    api: str = "https://graph.facebook.com/v25.0"


def greet(delivery: Delivery) -> Reply | None:
    """The challenge, as plain text, when the token is ours; 403 otherwise."""
    if delivery.method == "POST":
        return None
    asked = form(delivery.query)
    token, challenge = asked.get("hub.verify_token", ""), asked.get("hub.challenge", "")
    known = [same(token, ours) for ours in delivery.source.secrets.get(VERIFY, ())]
    if asked.get("hub.mode") == "subscribe" and any(known) and 0 < len(challenge) <= _MAX_CHALLENGE:
        return text(200, challenge)
    return reply(403, {"success": False, "code": "wrong_token", "message": "the verify token is not this source's"})


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless the SHA-256 signature fits. The older header with SHA-1 is not looked at."""
    claimed = delivery.headers.get(HEADER, "")
    digits = claimed.removeprefix(_PREFIX).lower() if claimed.startswith(_PREFIX) else ""
    check(delivery, digits, lambda secret: hmac_hex(secret, delivery.body))


def facts(delivery: Delivery) -> list[Fact | HosoError]:
    """All leads and messages of a delivery, up to 1,000 at once."""
    body = json_object(delivery.body)
    listed = objects(body.get("entry"))
    if not listed:
        raise InvalidInput("the body has no entry", code="missing_field")
    found: list[Fact | HosoError] = []
    for entry in listed:
        found += [_change(entry, change) for change in objects(entry.get("changes"))]
        messages = objects(entry.get("messaging")) + objects(entry.get("standby"))
        found += [_message(entry, message) for message in messages]
        if not entry.keys() & {"changes", "messaging", "standby"}:
            found.append(InvalidInput("an entry has neither changes nor messaging", code="missing_field"))
    return [one for kept in found for one in (_with_person(kept) if isinstance(kept, Fact) else [kept])]


def _with_person(fact: Fact) -> Iterator[Fact]:
    """Before a lead's event what its form said of the person, if it came along."""
    traits = member(fact.body, "context", "traits")
    if traits and fact.body["event"] == "Lead Submitted":
        yield Fact(
            identify(traits, {"context": fact.body["context"]}), f"{fact.key}|identify", fact.external_id, fact.at
        )
    yield fact


def _change(entry: Json, change: Json) -> Fact | HosoError:
    held = objects([change.get("value")])
    told: Json = held[0] if held else {}
    if change.get("field") != "leadgen":
        name, page = text_of(change.get("field")), text_of(entry.get("id"))
        key = f"{page}|{text_of(entry.get('time'))}|{name}"
        call = track(f"Meta {name[:80] or 'Change'}", given(page_id=page), record=("meta", change))
        return Fact(call, key, key, instant(entry.get("time")))
    lead = text_of(told.get("leadgen_id"))
    if not lead:
        return InvalidInput("leadgen_id is missing", code="missing_field")
    properties = given(
        lead_id=lead,
        form_id=text_of(told.get("form_id")),
        page_id=text_of(told.get("page_id")) or text_of(entry.get("id")),
        ad_id=text_of(told.get("ad_id")),
        adset_id=text_of(told.get("adgroup_id")),
        source="meta",
    )
    answers = _answers(told)
    who = person(traits=answers) if answers else person(anonymous_id=_nobody_yet(lead))
    at = instant(told.get("created_time")) or instant(entry.get("time"))
    return Fact(track("Lead Submitted", properties, who, record=("meta", told)), lead, lead, at)


def _nobody_yet(lead: str) -> str:
    """Who a lead is until the answers of its form tell: they come under the same id, and so join it."""
    return f"meta-lead:{lead}"


def wanted(delivery: Delivery) -> list[Lookup]:
    """The leads of a delivery whose forms are still unknown."""
    found: list[Lookup] = []
    for entry in objects(json_object(delivery.body).get("entry")):
        for change in objects(entry.get("changes")):
            told = member(change, "value")
            lead = text_of(member(told, "leadgen_id"))
            if change.get("field") == "leadgen" and lead and not _answers(told):
                at = instant(told.get("created_time")) or instant(entry.get("time"))
                found.append(
                    Lookup(lead, given(at=at, page_id=text_of(told.get("page_id")) or text_of(entry.get("id"))))
                )
    return found


def ask(source: HookSource, token: str, lookups: Sequence[Lookup]) -> Question:
    """The question about one lead."""
    api: str = source.settings.get("api") or MetaSettings().api
    query = urlencode({"fields": ",".join(_LEAD_FIELDS), "access_token": token})
    return Question("GET", f"{api}/{quote(lookups[0].id, safe='')}?{query}", {})


def answered(_source: HookSource, lookups: Sequence[Lookup], answer: Json) -> list[list[Fact] | None]:
    """What the form of a lead told: who it is, and the answers, with the texts agreed to as evidence of consent."""
    (lookup,) = lookups
    lead, at = lookup.id, instant(answer.get("created_time")) or lookup.told.get("at")
    who = person(anonymous_id=_nobody_yet(lead))
    answers = {
        text_of(one.get("name")): ", ".join(texts(one.get("values"))) for one in objects(answer.get("field_data"))
    }
    agreed = objects(answer.get("custom_disclaimer_responses"))
    properties = given(
        lead_id=lead,
        form_id=text_of(answer.get("form_id")),
        page_id=text_of(lookup.told.get("page_id")),
        ad_id=text_of(answer.get("ad_id")),
        organic=answer.get("is_organic"),
        answers=answers,
        disclaimers=agreed or None,
        source="meta",
    )
    traits = _answers(answer)
    facts = [Fact(track("Lead Answered", properties, who), f"{lead}|answers", lead, at)]
    return [[Fact(identify(traits, who), f"{lead}|identify", lead, at), *facts] if traits else facts]


def passing(answer: Json) -> bool:
    """Whether an error is over some time: the API's trouble, its limits, a token that has run out."""
    error = member(answer, "error")
    return member(error, "is_transient") is True or member(error, "code") in _PASSING


def _answers(told: Json) -> Json:
    """The answers of the form as traits, where they were told."""
    found: Json = {}
    for answer in objects(told.get("field_data")):
        values = texts(answer.get("values"))
        trait = _LEAD_TRAITS.get(text_of(answer.get("name")).lower())
        if trait and values:
            found[trait] = values[0]
    return found


def _message(entry: Json, message: Json) -> Fact | HosoError:
    sender, recipient = text_of(member(message, "sender", "id")), text_of(member(message, "recipient", "id"))
    echo = member(message, "message", "is_echo") is True
    user, page = (recipient, sender) if echo else (sender, recipient)
    page = page or text_of(entry.get("id"))
    if not user:
        return InvalidInput("a message names nobody", code="missing_field")
    kind = next((kind for kind in _MESSAGES if kind in message), "message")
    content = message.get(kind)
    mid = text_of(member(content, "mid")) or text_of(member(content, "watermark"))
    at = instant(message.get("timestamp")) or instant(entry.get("time"))
    name = ("Message Sent" if echo else "Message Received") if kind == "message" else _MESSAGES[kind]
    properties = given(
        channel="messenger",
        page_id=page,
        message_id=mid,
        text=text_of(member(content, "text")) or text_of(member(content, "title")),
        payload=text_of(member(content, "payload")),
    )
    # the id of a person is the page's own: with another page the same number is somebody else
    who = person(anonymous_id=f"messenger:{page}:{user}", ids=[("messenger_id", f"{page}:{user}")])
    key = f"{page}|{user}|{kind}|{mid or at or text_of(message.get('timestamp'))}"
    return Fact(track(name, properties, who, record=("messenger", message)), key, mid or key, at)


def meta_kind(name: str) -> HookKind:
    """A kind of Meta's."""
    return HookKind(
        name=name,
        methods=frozenset({"GET", "POST"}),
        greet=greet,
        verify=verify,
        facts=facts,
        settings=MetaSettings,
        uses=(SIGNING, VERIFY, TOKEN),
        details=Details(wanted, ask, answered, passing=passing),
    )


SOURCES = (meta_kind("meta_leads"), meta_kind("messenger"))
