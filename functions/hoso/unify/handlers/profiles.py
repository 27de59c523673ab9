"""GET /v1/profiles/{id} and GET /v1/profiles/{id}/timeline."""

from __future__ import annotations

import os
from functools import cache
from typing import Any
from urllib.parse import unquote

from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor
from hoso.unify.build import Parts
from hoso.unify.fragments import New
from hoso.unify.lookup import person_named
from hoso.unify.profiles import Profile, as_json
from hoso.unify.timeline import Cursor, TimelinePage

_FIRST_PAGE = 20


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


def show_profile(request: Request) -> dict[str, Any]:
    """A person: traits with their source events, identifiers, totals, consent, segments, the newest events."""
    request.require()
    profile = _profile(request)
    now = parts().clock()
    shown = as_json(profile)
    over = frozenset(
        key for key, held in profile.person.memberships.items() if held.until is not None and held.until <= now
    )
    if over:
        verdicts = parts().people.verdicts(profile, now, over)
        for key in over:
            if key in verdicts and not verdicts[key].member and not verdicts[key].spilled:
                del shown["segments"][key]
    shown["timeline"] = _page(parts().people.timeline_page(profile, _FIRST_PAGE, None))
    return shown


def show_timeline(request: Request) -> dict[str, Any]:
    """Events of a person, newest first."""
    request.require()
    profile = _profile(request)
    cursor: Any = request.cursor
    if cursor is not None:
        if not (isinstance(cursor, list) and len(cursor) == 2 and type(cursor[0]) is int and type(cursor[1]) is str):  # pyright: ignore[reportUnknownArgumentType]
            raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
        cursor = Cursor(cursor[0], cursor[1])
    return _page(parts().people.timeline_page(profile, request.limit(), cursor))


ROUTES = Router({"GET /v1/profiles/{id}": show_profile, "GET /v1/profiles/{id}/timeline": show_timeline})


@cache
def parts() -> Parts:
    """What this process works with."""
    return Parts(Settings.from_env(os.environ))


def _profile(request: Request) -> Profile:
    """The person in the path: ``type:value``, or a profile id. Raises ``NotFound`` for one nobody heard of."""
    workspace = parts().settings.workspace
    config = parts().identities(workspace).config
    return person_named(parts().people, config, workspace, unquote(request.path.get("id", "")))


def _page(page: TimelinePage) -> dict[str, Any]:
    return {
        "items": [_event(new) for new in page.events],
        "next": encode_cursor(list(page.next)) if page.next else None,
    }


def _event(new: New) -> dict[str, Any]:
    event = new.event
    return {
        "message_id": event.message_id,
        "event": event.name,
        "timestamp": format_instant(event.ts),
        "received_at": format_instant(new.received_at),
        "source": new.source,
        "body": event.body,
    }
