"""Admin API of the identity rules: the document with its revisions, a preview on recorded evidence, the switch."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hoso.model.errors import Conflict, InvalidInput
from hoso.model.identity_rules import KEY, KIND, config_in, read_rules, shown_config
from hoso.model.time import format_instant
from hoso.platform.audit import audit_entry
from hoso.platform.aws import client
from hoso.platform.control import Document
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer
from hoso.unify.build import Parts
from hoso.unify.rederive import rederive
from hoso.unify.rules_preview import evidence_of, preview
from hoso.unify.switch_commit import noted_preview, require_preview, rules_now
from hoso.unify.veil import rule_preview

MOST_IDENTIFIERS = 300_000
"""Identifiers that one preview looks at; with more, the report says that it is not complete."""
_MAY_CHANGE = ("engineer", "admin")

Json = dict[str, Any]


class Rederive(BaseModel):
    """Where to go on: the ``cursor`` of the answer before, nothing at the beginning. ``revision`` guards against rules
    that changed on the way."""

    model_config = ConfigDict(extra="forbid")

    cursor: tuple[str, str] | None = None
    revision: int | None = Field(None, ge=0)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One admin API request."""
    _time_left.append(context.get_remaining_time_in_millis)
    del _time_left[:-1]
    return answer(event, context, ROUTES)


_time_left: list[Callable[[], int]] = [lambda: 0]


def show(request: Request) -> Json:
    """The rules in force: the document, and in full what it means."""
    request.require()
    document = _stored()
    return _shown(document) if document else {"revision": 0, "document": None, "meaning": shown_config(config_in(None))}


def revisions(request: Request) -> Json:
    """Every revision, the newest first."""
    request.require()
    found = parts().control.revisions(_workspace(), KIND, KEY)
    return {"items": [_shown(document) for document in found[: request.limit()]], "next": None}


def put(request: Request) -> Json:
    """Put rules in force for what comes: a document, or ``{"revision": N}`` for a former one. People that exist stay as
    they are until they are derived anew. Refused without a preview of these very rules, unless
    ``?without_preview=true``; what a switch does (``/v1/identity/switches``) is compared before it and whole after it.
    """
    actor = request.require(*_MAY_CHANGE)
    body = request.document
    if set(body) == {"revision"} and type(body["revision"]) is int:
        former = parts().control.revisions(_workspace(), KIND, KEY)
        found = next((one for one in former if one.revision == body["revision"]), None)
        if found is None:
            raise InvalidInput("there is no such revision", hint="GET /v1/identity/rules/revisions lists them")
        body = found.body
    rules = read_rules(body)
    control, present = parts().control, _stored()
    fingerprint = rules.config().fingerprint
    in_force = config_in(present.body if present else None).fingerprint
    if request.query.get("without_preview") != "true" and fingerprint != in_force:
        require_preview(control, _workspace(), fingerprint, present.revision if present else 0, parts().clock())
    table = Table(parts().settings.control_table, client("dynamodb"))
    now = parts().clock()
    entry = audit_entry(table, _workspace(), now, actor.subject, "identity.rules", f"{KEY} {secrets.token_hex(3)}")
    stored = control.put(
        _workspace(), KIND, KEY, rules.model_dump(by_alias=True, exclude_unset=True), lambda _before, _after: [entry]
    )
    return {**_shown(stored), "next_step": "POST /v1/identity/rules/rederive until its cursor is null"}


def preview_rules(request: Request) -> Json:
    """What a document would mean for the people there are: ``{"document": {…}}``. Nothing is changed; that these rules
    were previewed is noted."""
    request.require(*_MAY_CHANGE, "analyst")
    proposed = read_rules(request.document.get("document")).config()
    present = parts().identities(_workspace()).config
    evidence = evidence_of(parts().profiles.scan(), _workspace(), MOST_IDENTIFIERS)
    found = preview(evidence, present, proposed)
    stored = _stored()
    revision = stored.revision if stored else 0
    noted_preview(parts().control, _workspace(), proposed.fingerprint, revision, parts().clock())
    shown = found if request.actor.sees_persons else rule_preview(found)
    return {**shown, "meaning": shown_config(proposed)}


def rederive_people(request: Request) -> Json:
    """Derive people anew under the rules in force, as many as one call has time for."""
    request.require(*_MAY_CHANGE)
    asked = request.parse(Rederive)
    document = _stored()
    revision = document.revision if document else 0
    if asked.revision is not None and asked.revision != revision:
        raise Conflict("the rules changed meanwhile", code="rules_changed", hint="begin again without a cursor")
    workspace = _workspace()
    config = config_in(document.body if document else None)
    piece = rederive(
        parts().profiles,
        parts().identities_under(workspace, config),
        parts().people,
        workspace,
        asked.cursor,
        _time_left[-1],
        parts().clock(),
    )
    told = {"looked": piece.looked, "changed": piece.changed, "left": piece.left}
    return {"revision": revision, "cursor": piece.cursor, **told}


ROUTES = Router(
    {
        "GET /v1/identity/rules": show,
        "PUT /v1/identity/rules": put,
        "GET /v1/identity/rules/revisions": revisions,
        "POST /v1/identity/rules/preview": preview_rules,
        "POST /v1/identity/rules/rederive": rederive_people,
    }
)


@cache
def parts() -> Parts:
    """What this process works with."""
    return Parts(Settings.from_env(os.environ))


def _workspace() -> str:
    return parts().settings.workspace


def _stored() -> Document | None:
    return rules_now(parts().control, _workspace())


def _shown(document: Document) -> Json:
    meaning = shown_config(config_in(document.body))
    at = format_instant(document.at)
    return {"revision": document.revision, "at": at, "document": document.body, "meaning": meaning}
