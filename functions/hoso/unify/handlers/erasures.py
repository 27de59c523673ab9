"""Admin API of erasure: erase a person, and what became of it. Routes of PeopleFunction (``people.handler``)."""

from __future__ import annotations

import os
from functools import cache
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict

from hoso.model.errors import Conflict, InvalidInput, NotFound, Transient
from hoso.platform.dynamo import Item
from hoso.platform.settings import Settings
from hoso.platform.web import Answer, Request, encode_cursor
from hoso.unify.build import Parts
from hoso.unify.eraser import Eraser
from hoso.unify.erasures import PARTIAL, RUNNING, shown
from hoso.unify.lookup import find, read_asked
from hoso.unify.profiles import Profile

_TRIES = 3
_READS = ("privacy", "admin")

Json = dict[str, Any]


class EraseRequest(BaseModel):
    """``dry_run``: only tell what would go."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


def erase(request: Request) -> Answer:
    """Erase a person out of the tables, for good; 202 until that is done and looked at again. A request that is
    repeated answers the same document."""
    actor = request.require("admin")
    dry = request.parse(EraseRequest).dry_run or _flag(request)
    here = parts()
    workspace, eraser = here.settings.workspace, here.eraser(here.settings.workspace)
    asked = read_asked(here.people.identity_config(workspace), unquote(request.path.get("id", "")))
    known_as = asked.identifier
    fid = here.store.fragment_id(workspace, known_as) if known_as else (asked.pid or "").removeprefix("p_")
    for _ in range(_TRIES):
        held = eraser.found(fid)
        if held is not None and held["state"] == RUNNING:
            return _done(eraser, held, dry=dry)
        try:
            profile = find(here.people, workspace, asked)
        except NotFound:
            if held is None:
                raise
            return _done(eraser, held, dry=dry)
        if dry:
            return Answer(200, {"dry_run": True, "profile_id": profile.pid, **_shown_plan(eraser, profile)})
        try:
            held = eraser.begin(profile, actor.subject)
        except Conflict as error:
            if error.code == "too_large":
                raise
            continue  # the person changed, or somebody else erases it: look again
        return _done(eraser, held, dry=False)
    raise Transient("the person keeps changing")


def list_erasures(request: Request) -> Json:
    """Erasures, the newest first."""
    request.require(*_READS)
    here = parts()
    items, following = here.erasures.page(here.settings.workspace, request.limit(), _place(request))
    now = here.clock()
    return {"items": [shown(item, now) for item in items], "next": encode_cursor(following) if following else None}


def show_erasure(request: Request) -> Json:
    """One erasure: its receipt."""
    request.require(*_READS)
    here = parts()
    return shown(here.erasures.get(here.settings.workspace, request.path.get("id", "")), here.clock())


TABLE = {
    "POST /v1/people/{id}/erase": erase,
    "GET /v1/erasures": list_erasures,
    "GET /v1/erasures/{id}": show_erasure,
}
"""The routes of this module."""


@cache
def parts() -> Parts:
    """What this process works with."""
    return Parts(Settings.from_env(os.environ))


def _done(eraser: Eraser, held: Item, *, dry: bool) -> Answer:
    """The receipt after as much as can be done now; the sweeper does the rest."""
    if not dry:
        try:
            held = eraser.resume(held["sk"])
        except (Conflict, Transient):
            held = parts().erasures.get(parts().settings.workspace, held["sk"])
    body = shown(held, parts().clock())
    return Answer(200 if dry or held["state"] == PARTIAL else 202, {**body, "dry_run": True} if dry else body)


def _shown_plan(eraser: Eraser, profile: Profile) -> Json:
    plan = eraser.plan(profile)
    types: dict[str, int] = {}
    for kind, _ in plan["members"]:
        types[kind] = types.get(kind, 0) + 1
    return {"counts": plan["counts"], "identifiers": types}


def _flag(request: Request) -> bool:
    text = request.query.get("dry_run", "false")
    if text not in ("true", "false"):
        raise InvalidInput("dry_run is true or false")
    return text == "true"


def _place(request: Request) -> str | None:
    cursor: Any = request.cursor
    if cursor is not None and type(cursor) is not str:
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    return cursor
