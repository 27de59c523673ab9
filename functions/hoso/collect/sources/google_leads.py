"""Google Ads lead forms: the advertiser's key stands in the body; ids are integers (connectors, 2.8)."""

from __future__ import annotations

from hoso.collect.sources.calls import identify, person, track
from hoso.collect.sources.contract import Delivery, Fact, HookKind, Json, Reply, reply
from hoso.collect.sources.reading import given, instant, json_object, objects, text_of, without
from hoso.collect.sources.signatures import check_key
from hoso.model.errors import InvalidInput

KEY = "google_key"
_COLUMNS = {
    "FULL_NAME": "name",
    "FIRST_NAME": "firstName",
    "LAST_NAME": "lastName",
    "EMAIL": "email",
    "WORK_EMAIL": "email",
    "PHONE_NUMBER": "phone",
    "WORK_PHONE": "phone",
    "CITY": "city",
    "COUNTRY": "country",
    "POSTAL_CODE": "postalCode",
    "COMPANY_NAME": "company",
    "JOB_TITLE": "title",
}


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless the body holds a live secret."""
    check_key(delivery, text_of(json_object(delivery.body).get(KEY)))


def facts(delivery: Delivery) -> list[Fact]:
    """A lead and who left it. A test lead proves the way and makes nobody: nothing is stored of it."""
    told = without(json_object(delivery.body), KEY)
    lead = text_of(told.get("lead_id"))
    if not lead:
        raise InvalidInput("lead_id is missing", code="missing_field")
    if told.get("is_test") is True:
        return []
    traits, answers = _answers(told)
    who = person(traits=traits)
    at = instant(told.get("lead_submit_time"))
    numbers = ("form_id", "campaign_id", "adgroup_id", "creative_id", "asset_group_id")
    properties = given(
        lead_id=lead,
        source="google",
        gclid=text_of(told.get("gcl_id")),
        lead_stage=text_of(told.get("lead_stage")),
        answers=answers or None,
        **{name: text_of(told[name]) for name in numbers if told.get(name)},
    )
    call = track("Lead Submitted", properties, who, record=("google", without(told, "user_column_data")))
    found = [Fact(call, lead, lead, at)]
    return [Fact(identify(traits, who), f"{lead}|identify", lead, at), *found] if traits else found


def stored(_delivery: Delivery, _duplicate: bool) -> Reply:
    """An empty object."""
    return reply(200, {})


def _answers(told: Json) -> tuple[Json, Json]:
    """Traits by the ids of the columns, and answers to questions of the form's own."""
    traits: Json = {}
    answers: Json = {}
    for column in objects(told.get("user_column_data")):
        name, value = text_of(column.get("column_id")), text_of(column.get("string_value"))
        if not value:
            continue
        if name in _COLUMNS:
            traits.setdefault(_COLUMNS[name], value)
        else:
            answers[(name or text_of(column.get("column_name")) or "answer")[:80]] = value
    return traits, answers


SOURCES = (HookKind(name="google_leads", verify=verify, facts=facts, stored=stored),)
