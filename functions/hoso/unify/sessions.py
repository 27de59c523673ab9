"""Sessions: what a person did in one go, out of the timeline (pure).

A session ends with 30 minutes without activity. It is computed from the events when it is asked for: an event that
comes late re-opens its session, or joins two, and what the SDK counts by itself plays no part. Activity is what a page
or an app tells: page and screen calls, and track calls with a page, a screen or an app in their context, or with an
anonymous id that is not the message id; not what has ``context.active`` false. Other events (a till, an e-mail) are
counted in the session in which they fall, but begin and prolong none. A person has one session at a time, whatever the
devices.

Dwell: a page or screen is looked at until the next one in the session, the last one until the last activity. A section
(``Section Viewed`` with ``properties.section``) until the next section or page. Where the page measures itself
(``properties.dwell_ms``, or ``duration_ms``, of ``Page Left``, ``Page Exited``, ``Section Viewed``, ``Section Left``),
that figure counts instead, up to 30 minutes a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast
from urllib.parse import urlsplit

from hoso.model.record import Event
from hoso.model.time import MINUTE_MS, format_instant
from hoso.platform.ids import content_id
from hoso.segment.values import number
from hoso.unify.fragments import New

GAP_MS = 30 * MINUTE_MS
MOST_EVENTS = 20_000
"""Events of one session at most; what goes on longer is a machine's, and is cut."""
MOST_READ = 30_000
"""Events looked at for one page of sessions."""
_MOST_PAGES = 200
_VIEWS = frozenset({"$page", "$screen"})
_SECTION = "Section Viewed"
_MEASURED = frozenset({"Page Left", "Page Exited", _SECTION, "Section Left"})
_MAX_TEXT = 300

Json = dict[str, Any]


@dataclass(slots=True)
class Session:
    """Events of one session, oldest first; ``first`` and ``last`` are its first and last activity (UTC ms)."""

    events: list[New] = field(default_factory=list[New])
    first: int = 0
    last: int = 0
    cut: bool = False


def is_activity(event: Event) -> bool:
    """Whether an event shows that somebody was at a page or an app."""
    body = event.body
    context = body.get("context")
    about = cast("Json", context) if isinstance(context, dict) else {}
    if about.get("active") is False:
        return False
    if event.name in _VIEWS:
        return True
    if event.name in ("$identify", "$alias", "$group"):
        return "page" in about or "screen" in about or "app" in about
    anonymous = body.get("anonymousId")
    return any(member in about for member in ("page", "screen", "app")) or (
        isinstance(anonymous, str) and bool(anonymous) and anonymous != body.get("messageId")
    )


def sessions(newest_first: Iterable[New]) -> Iterator[Session]:
    """The sessions of a timeline, newest first; each as soon as the gap before it is seen."""
    held: Session | None = None
    aside: list[New] = []
    for new in newest_first:
        ts = new.event.ts
        if not is_activity(new.event):
            # it belongs to the session only if an older activity follows within the gap
            if held is not None and held.first - ts <= GAP_MS:
                aside.append(new)
            continue
        if held is not None and (held.first - ts > GAP_MS or len(held.events) >= MOST_EVENTS):
            held.cut = held.first - ts <= GAP_MS
            held.events.reverse()
            yield held
            held, aside = None, []
        if held is None:
            held = Session(last=ts)
        held.events += [*aside, new]
        held.first, aside = ts, []
    if held is not None:
        held.events.reverse()
        yield held


def page(newest_first: Iterable[New], limit: int) -> tuple[list[Session], tuple[int, str] | None]:
    """The first ``limit`` sessions, and the (time, message id) after which the others follow; None at the end.

    At most ``MOST_READ`` events are looked at: a page may be short and still have others after it.
    """
    read: list[New] = []
    found = list(islice(sessions(_noted(newest_first, read)), limit + 1))
    stopped = len(read) == MOST_READ
    if len(found) > limit:
        whole = found[:limit]
    elif not stopped:
        return found, None
    elif len(found) > 1:
        whole = found[:-1]  # the oldest may go on in what was not read
    else:
        last = read[-1].event
        return found, (last.ts, last.message_id)
    end = whole[-1].events[0].event
    return whole, (end.ts, end.message_id)


def _noted(newest_first: Iterable[New], read: list[New]) -> Iterator[New]:
    """At most ``MOST_READ`` of the events; ``read`` holds those that were taken."""
    for new in islice(newest_first, MOST_READ):
        read.append(new)
        yield new


def as_json(session: Session) -> Json:
    """A session as the API shows it."""
    first = session.events[0].event
    pages = dwell(session.events, session.last)
    shown: Json = {
        "session_id": content_id("session", first.message_id),
        "started_at": format_instant(session.first),
        "ended_at": format_instant(session.last),
        "duration_ms": session.last - session.first,
        "events": len(session.events),
        "entry": pages[0]["page"] if pages else None,
        "exit": max(pages, key=lambda page: page["last_ms"])["page"] if pages else None,
        "pages": [{name: value for name, value in page.items() if name != "last_ms"} for page in pages],
        "sources": sorted({new.source for new in session.events}),
        "campaign": _campaign(session.events),
    }
    return {**shown, "cut": True} if session.cut else shown


def dwell(events: Sequence[New], last: int) -> list[Json]:
    """Per page (or screen) of a session views, dwell, and the same per section; in the order of the first view."""
    pages: dict[str, Json] = {}
    page: Json | None = None
    section: Json | None = None
    page_ms = section_ms = 0
    for new in events:
        event = new.event
        if event.name in _VIEWS:
            _leave(section, section_ms, event.ts)
            _leave(page, page_ms, event.ts)
            section = None
            page = _visited(pages, _page_of(event))
            page_ms = event.ts
            if page is not None:
                page["views"] += 1
                page["last_ms"] = event.ts
        elif event.name in _MEASURED:
            given = _properties(event)
            named = given.get("section")
            where = page if page is not None else _visited(pages, _page_of(event))
            if event.name == _SECTION and isinstance(named, str) and named and where is not None:
                _leave(section, section_ms, event.ts)
                section = _part(where, named[:_MAX_TEXT])
                section["views"] += 1
                section_ms = event.ts
            target = section if event.name.startswith("Section") else where
            _measure(target, given)
    _leave(section, section_ms, last)
    _leave(page, page_ms, last)
    return [_told(page) for page in pages.values()]


def _leave(place: Json | None, since: int, ts: int) -> None:
    if place is not None:
        place["seen_ms"] += max(0, ts - since)


def _measure(place: Json | None, given: Json) -> None:
    for name in ("dwell_ms", "duration_ms"):
        measured = number(given.get(name))
        if place is not None and measured is not None and measured >= 0:
            place["own_ms"] = (place["own_ms"] or 0) + min(int(measured), GAP_MS)
            return


def _visited(pages: dict[str, Json], path: str) -> Json | None:
    if path not in pages:
        if len(pages) >= _MOST_PAGES:
            return None
        pages[path] = {"page": path, "views": 0, "seen_ms": 0, "own_ms": None, "sections": {}, "last_ms": 0}
    return pages[path]


def _part(page: Json, name: str) -> Json:
    sections: dict[str, Json] = page["sections"]
    if name not in sections and len(sections) >= _MOST_PAGES:
        name = next(iter(sections))
    return sections.setdefault(name, {"section": name, "views": 0, "seen_ms": 0, "own_ms": None})


def _told(page: Json) -> Json:
    return {
        "page": page["page"],
        "views": page["views"],
        "dwell_ms": page["seen_ms"] if page["own_ms"] is None else page["own_ms"],
        "sections": [
            {
                "section": part["section"],
                "views": part["views"],
                "dwell_ms": part["seen_ms"] if part["own_ms"] is None else part["own_ms"],
            }
            for part in page["sections"].values()
        ],
        "last_ms": page["last_ms"],
    }


def _page_of(event: Event) -> str:
    """The page's path, or the screen's name."""
    given = _properties(event)
    context = event.body.get("context")
    about = cast("Json", context).get("page") if isinstance(context, dict) else None
    page = cast("Json", about) if isinstance(about, dict) else {}
    if event.name == "$screen":
        name = event.body.get("name") or given.get("name")
        return str(name or "screen")[:_MAX_TEXT]
    for value in (given.get("path"), page.get("path")):
        if isinstance(value, str) and value:
            return value[:_MAX_TEXT]
    for value in (given.get("url"), page.get("url")):
        if isinstance(value, str) and value:
            return _path(value)
    return str(event.body.get("name") or "page")[:_MAX_TEXT]


def _path(url: str) -> str:
    try:
        return (urlsplit(url).path or "/")[:_MAX_TEXT]
    except ValueError:
        return url[:_MAX_TEXT]


def _campaign(events: Sequence[New]) -> Json | None:
    """The first campaign that an event of the session names."""
    for new in events:
        context = new.event.body.get("context")
        found = cast("Json", context).get("campaign") if isinstance(context, dict) else None
        if isinstance(found, dict) and found:
            return cast("Json", found)
    return None


def _properties(event: Event) -> Json:
    properties = event.body.get("properties")
    return cast("Json", properties) if isinstance(properties, dict) else {}
