"""Profiles in the shape of Segment's Profile API, so that its users can switch by changing host and token (pure).

Source: segment.com/docs/unify/profile-api. Differences: ``space`` is the workspace's name; accounts are not kept;
``first_message_id`` of an identifier is not known; events reach back as far as the timeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant, parse_instant
from hoso.unify.fragments import New
from hoso.unify.profiles import Profile
from hoso.unify.timeline import Wanted

TRAITS_DEFAULT, TRAITS_MOST = 10, 200
IDS_DEFAULT, IDS_MOST = 25, 100
EVENTS_DEFAULT, EVENTS_MOST = 10, 100
LINKS_MOST = 20
_CLASSES = frozenset({"audience", "computed_trait"})
_TYPES = dict.fromkeys(("ios.id", "android.id", "ios.idfa", "android.idfa"), "device_id") | {
    "phone_number": "phone",
    "customer_id": "customer_id",
}

Json = dict[str, Any]
T = TypeVar("T")


def identifier_of(external: str) -> str:
    """``type:value`` under the names used here for Segment's types."""
    kind, colon, value = external.partition(":")
    return f"{_TYPES.get(kind, kind)}:{value}" if colon else external


def traits(profile: Profile, query: Mapping[str, str], url: str) -> Json:
    """``/traits``: told and computed traits, and segments as true; with ``class``, ``include``, ``verbose``."""
    kind = query.get("class")
    if kind is not None and kind not in _CLASSES:
        raise InvalidInput("The parameter `class` is audience or computed_trait")
    told: dict[str, tuple[Any, str, int]] = {}
    if kind is None:
        for name, entry in profile.traits.items():
            if entry.value is not None:
                told[name] = (entry.value, entry.source, entry.ts)
    if kind in (None, "computed_trait"):
        for name, made in profile.computed.items():
            if made.value is not None:
                told[name] = (made.value, "computed", made.at)
    if kind in (None, "audience"):
        for key, held in profile.person.memberships.items():
            told.setdefault(key, (True, "segments", held.since))
    include = names(query.get("include"))
    every = sorted(name for name in told if not include or name in include)
    page, following = _paged(every, query, TRAITS_DEFAULT, TRAITS_MOST, lambda name: name)
    verbose = query.get("verbose") == "true"
    return {"traits": {name: _value(told[name], verbose=verbose) for name in page}, "cursor": _cursor(url, following)}


def external_ids(profile: Profile, query: Mapping[str, str], url: str) -> Json:
    """``/external_ids``: the identifiers, best first."""
    include = names(query.get("include"))
    firsts = {fragment.hot.hub: fragment.hot.first for fragment in profile.fragments}
    every = [one for one in profile.person.identifiers if not include or one[0] in include]
    page, following = _paged(every, query, IDS_DEFAULT, IDS_MOST, lambda one: f"{one[0]}:{one[1]}")
    data = [
        {
            "source_id": "",
            "collection": "users",
            "id": value,
            "type": kind,
            "created_at": _instant(firsts.get((kind, value)) or profile.first_seen),
            "encoding": "none",
            "first_message_id": "",
        }
        for kind, value in page
    ]
    return {"data": data, "cursor": _cursor(url, following)}


def events(profile: Profile, found: Sequence[New], following: str, url: str) -> Json:
    """``/events``: these events of the timeline."""
    return {"data": [_event(profile, new) for new in found], "cursor": _cursor(url, following)}


def metadata(profile: Profile, first: New | None, last: New | None) -> Json:
    """``/metadata``; ``first`` and ``last`` are the ends of the timeline where they are known."""
    return {
        "metadata": {
            "created_at": _instant(profile.first_seen),
            "updated_at": _instant(profile.last_seen),
            "expires_at": None,
            "first_message_id": first.event.message_id if first else None,
            "first_source_id": first.source if first else None,
            "last_message_id": last.event.message_id if last else None,
            "last_source_id": last.source if last else None,
        }
    }


def links(groups: Iterable[New]) -> Json:
    """``/links``: the accounts that group calls named, newest first."""
    named: dict[str, New] = {}
    for new in groups:
        group = new.event.body.get("groupId")
        if isinstance(group, (str, int)) and str(group):
            named.setdefault(str(group), new)
    return {
        "data": [
            {
                "to_collection": "accounts",
                "external_ids": [
                    {
                        "id": group,
                        "type": "group_id",
                        "source_id": new.source,
                        "collection": "accounts",
                        "created_at": format_instant(new.event.ts),
                        "encoding": "none",
                    }
                ],
            }
            for group, new in list(named.items())[:LINKS_MOST]
        ]
    }


def wanted_events(query: Mapping[str, str]) -> Wanted:
    """Which events ``include``, ``exclude``, ``start`` and ``end`` ask for."""
    return Wanted(
        names=names(query.get("include")),
        excluded=names(query.get("exclude")),
        since=_time(query, "start"),
        until=_time(query, "end"),
    )


def limit_of(query: Mapping[str, str], default: int, most: int) -> int:
    """``limit``, 1 to ``most``."""
    text = query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) > 0):
        raise InvalidInput("The parameter `limit` must be a whole number above zero")
    return min(int(text), most)


def names(text: str | None) -> frozenset[str]:
    """A comma separated list."""
    return frozenset(part.strip() for part in (text or "").split(",") if part.strip())


def _event(profile: Profile, new: New) -> Json:
    event, body = new.event, new.event.body
    kind = str(body.get("type") or "track")
    shown: Json = {
        "external_ids": [
            {"collection": "users", "type": name, "id": str(body[member]), "encoding": "none"}
            for member, name in (("userId", "user_id"), ("anonymousId", "anonymous_id"))
            if body.get(member)
        ],
        "context": body.get("context") if isinstance(body.get("context"), dict) else {},
        "type": kind,
        "message_id": event.message_id,
        "source_id": new.source,
        "timestamp": format_instant(event.ts),
        "properties": cast("Json", body.get("properties") or {}),
        "related": {"users": profile.pid},
    }
    if kind in ("identify", "group"):
        shown["traits"] = cast("Json", body.get("traits") or {})
    if not event.name.startswith("$"):
        shown["event"] = event.name
    return shown


def _paged(
    every: Sequence[T], query: Mapping[str, str], default: int, most: int, name: Callable[[T], str]
) -> tuple[Sequence[T], str]:
    """A page from ``next`` on, and the name of the first entry after it (empty: there is none)."""
    start = query.get("next")
    begin = 0
    if start:
        begin = next((place for place, one in enumerate(every) if name(one) == start), len(every))
    end = begin + limit_of(query, default, most)
    return every[begin:end], name(every[end]) if end < len(every) else ""


def _value(entry: tuple[Any, str, int], *, verbose: bool) -> Any:
    value, source, at = entry
    return {"value": value, "source_id": source, "updated_at": format_instant(at)} if verbose else value


def _cursor(url: str, following: str) -> Json:
    return {"url": url, "has_more": bool(following), "next": following}


def _instant(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else format_instant(instant_ms)


def _time(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    instant = parse_instant(f"{text}T00:00:00Z" if len(text) == 10 else text)
    if instant is None:
        raise InvalidInput(f"The parameter `{name}` is no ISO 8601 time")
    return instant
