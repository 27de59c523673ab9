"""What an event tells beyond its words: its campaign, the machine it came from, and values in the form that compares.

Derived at read, never stored: an event stays as it was sent, and a better parser is better for the past too. Big
libraries load when an event first needs them, and answers are kept by user agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from hoso.model.local_time import birthday
from hoso.model.mail_address import clean_email
from hoso.model.person_names import fold, gender, split_name
from hoso.model.phone import e164

_UTM = {
    **{"utm_source": "source", "utm_medium": "medium", "utm_campaign": "name"},
    **{"utm_term": "term", "utm_content": "content"},
}
CLICK_IDS = {
    **{"gclid": "google", "gbraid": "google", "wbraid": "google", "dclid": "google", "fbclid": "meta"},
    **{"ttclid": "tiktok", "msclkid": "microsoft", "twclid": "x", "li_fat_id": "linkedin", "zclid": "zalo"},
    **{"zarsrc": "zalo", "yclid": "yandex", "igshid": "instagram"},
}
"""Parameters that ad platforms and messengers put into a link, and whose they are."""

_MAX_URL = 4_096
_MAX_AGENT = 512

Json = dict[str, Any]


def derived(event: Mapping[str, Any], user_agent: str = "") -> Json:
    """What an event of the tracking API tells: ``campaign``, ``agent`` (with ``bot``) and ``traits``, what there is.

    ``user_agent`` is that of the connection, for events that name none. Never raises, whatever JSON the event holds.
    """
    made: Json = {}
    context = _object(event.get("context"))
    campaign = _campaign(context, _object(event.get("properties")))
    if campaign:
        made["campaign"] = campaign
    named: object = context.get("userAgent")
    text = named if type(named) is str and named else user_agent
    if text:
        made["agent"] = agent(text[:_MAX_AGENT])
    if event.get("type") != "group":
        traits = normalised({**_object(context.get("traits")), **_object(event.get("traits"))})
        if traits:
            made["traits"] = traits
    return made


def normalised(traits: Mapping[str, Any]) -> Json:
    """Reserved traits in the form that compares; what cannot be read is left out, the originals stay where they are."""
    made: Json = {}
    number, address = e164(traits.get("phone")), clean_email(traits.get("email"))
    if number:
        made["phone"] = number
    if address:
        made["email"] = address
    name: object = traits.get("name")
    split = split_name(name) if type(name) is str and len(name) <= 120 else None
    if split is not None:
        parts = {"family": split.family, "middle": split.middle, "given": split.given}
        made["name"] = {
            **parts,
            "display": split.display,
            "folded": fold(split.display),
            "confidence": split.confidence,
        }
    said = gender(traits.get("gender")) or (split and split.gender)
    if said:
        made["gender"] = said
    born = birthday(traits.get("birthday"))
    if born:
        made["birthday"] = {"date": born[0], "precision": born[1]}
    place = _address(traits.get("address"))
    return {**made, "address": place} if place else made


@lru_cache(maxsize=2_048)
def is_bot(text: str) -> bool:
    """Whether a user agent is a crawler's; looks at what ``derived`` looks at."""
    return bool(_crawlers().isCrawler(text[:_MAX_AGENT]))


@lru_cache(maxsize=2_048)
def agent(text: str) -> Json:
    """Browser, system and device of a user agent, and whether it is a bot's. Shared: do not change it.

    >>> agent("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")["bot"]
    True
    """
    from ua_parser import parse

    found = parse(text)
    made: Json = {"bot": is_bot(text)}
    if found.user_agent is not None:
        made["browser"] = found.user_agent.family
        made["browser_version"] = found.user_agent.major or ""
    if found.os is not None:
        made["os"] = found.os.family
        made["os_version"] = ".".join(part for part in (found.os.major, found.os.minor) if part)
    if found.device is not None:
        made["device"] = found.device.family
        made["device_brand"] = found.device.brand or ""
    return made


@cache
def _crawlers() -> Any:
    from crawlerdetect import CrawlerDetect

    return CrawlerDetect()


def _campaign(context: Json, properties: Json) -> Json:
    """The campaign that the SDK told, completed by the address of the page."""
    page = _object(context.get("page"))
    url = next((text for text in (page.get("url"), properties.get("url"), page.get("search")) if type(text) is str), "")
    made: Json = {}
    if "=" in url and len(url) <= _MAX_URL:
        try:
            query = urlsplit(url).query if "://" in url else url.lstrip("?")
            parameters = dict(parse_qsl(query, max_num_fields=100))
        except ValueError:
            parameters = {}
        made = {name: parameters[key] for key, name in _UTM.items() if key in parameters}
        clicks = {key: parameters[key] for key in CLICK_IDS if key in parameters}
        if clicks:
            made["click_ids"] = clicks
            made.setdefault("source", CLICK_IDS[next(iter(clicks))])
    told = {name: text for name, text in _object(context.get("campaign")).items() if type(text) is str and text}
    return {**made, **told}


def _address(value: object) -> Json | None:
    if not value or (type(value) is not str and type(value) is not dict):
        return None
    from hoso.model.addresses import parse_address

    found = parse_address(cast("object", value))
    if found is None or found.level_scheme is None:
        return None
    units = {"ward": found.ward, "district": found.district, "province": found.province, "current": found.current[:5]}
    return {"level_scheme": found.level_scheme, "street": found.street, **units, "confidence": found.confidence}


def _object(value: object) -> Json:
    return cast("Json", value) if type(value) is dict else {}
