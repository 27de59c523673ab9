"""Admin API of a past that timelines have forgotten: GET /v1/profiles/{id}/past reads the archive (decision 0071)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from hoso.model.errors import InvalidInput
from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS
from hoso.platform.aws import client
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.web import Answer, Request, Router, answer
from hoso.unify import shown
from hoso.unify.archive_person import ArchivePerson
from hoso.unify.fragments import New
from hoso.unify.handlers.profiles import found_in, parts, seen, shown_then, tagged, whole_past

_time_left: list[Any] = []


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One admin API request."""
    _time_left[:] = [context.get_remaining_time_in_millis]
    return answer(event, context, ROUTES)


def show_past(request: Request) -> Answer:
    """A person at ``?at=``, out of timeline and archive: the same answer as that of ``as_of``."""
    request.require()
    wanted = shown.sections_of(request.query.get("fields"))
    at = request.instant("at")
    if at is None:
        raise InvalidInput("at is missing", hint="write such as at=2026-11-22T19:00:00Z")
    asked, profile = found_in(request)
    workspace, settings = profile.workspace, parts().settings
    archive = ArchivePerson(objects(), workspace, settings.dedupe_days * DAY_MS, _time_left[-1])
    erased = parts().erasures.hashes(workspace, fresh=True)

    def older(members: Sequence[Identifier]) -> dict[Identifier, list[New]]:
        """What the archive holds of them, without what was erased."""
        found = archive.events(members)
        until = {one: erased.get(parts().store.fragment_id(workspace, one), 0) for one in found}
        return {
            one: [new for new in held if min(new.event.ts, new.received_at) > until[one]] for one, held in found.items()
        }

    then = whole_past(request, asked, profile, at, older if erased else archive.events)
    body = shown_then(then, wanted)
    body["as_of"]["from"] = "archive"
    return tagged(request, seen(request, body))


ROUTES = Router({"GET /v1/profiles/{id}/past": show_past})


@cache
def objects() -> Objects:
    """The files."""
    return Objects(Settings.from_env(os.environ).bucket, client("s3"))
