"""The Lambda behind the admin API of imports: a file comes in pieces, each of which may come again."""

from __future__ import annotations

from base64 import b64decode
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hoso.collect.handlers.imports import tools
from hoso.collect.imports.store import import_id, unpack
from hoso.collect.imports.work import layout_for, new_record
from hoso.collect.write_keys import KIND
from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.platform.web import Request, Router, answer, encode_cursor

ROLES = ("engineer", "admin")
SMALL_PIECES = 2
"""So many pieces are done before the answer."""

MAX_PIECES = 100_000


class NewImport(BaseModel):
    """A file that is going to be handed in. ``digest`` is the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(min_length=1, max_length=63)
    file: str = Field(min_length=1, max_length=255)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    columns: list[str] = Field(max_length=2_000)
    mapping: dict[str, Any] | None = None


class Handed(BaseModel):
    """All pieces are here: so many of them, with so many rows."""

    model_config = ConfigDict(extra="forbid")

    pieces: int = Field(ge=0, le=MAX_PIECES)
    rows: int = Field(ge=0)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one admin request."""
    return answer(event, context, _ROUTES)


def _create(request: Request) -> dict[str, Any]:
    """Begin an import, or find the one of the same file; ``received`` are the pieces that are here."""
    actor = request.require(*ROLES)
    asked, here = request.parse(NewImport), tools()
    try:
        enabled = here.control.get(here.workspace, KIND, asked.source).body.get("enabled")
    except NotFound as error:
        hint = "make it first: hoso keys create KEY, or PUT /v1/sources/{key}"
        raise NotFound("no such source", hint=hint) from error
    if not enabled:
        raise Conflict("the source is switched off", hint="PUT /v1/sources/{key} with enabled true")
    name = import_id(here.workspace, asked.source, asked.digest, asked.mapping)
    more = {"columns": asked.columns, "by": actor.subject}
    made = new_record(name, here.workspace, asked.source, asked.file, here.clock(), asked.mapping, **more)
    made["layout"] = layout_for(made).name
    here.importer.imports.create(made)
    return {**here.importer.progress(name), "received": here.importer.imports.pieces(name)}


def _put_piece(request: Request) -> dict[str, Any]:
    """Take one piece: NDJSON of rows in zstd, as ``hoso import`` makes it."""
    request.require(*ROLES)
    here, name = tools(), request.path["id"]
    number = _number(request.path["n"])
    body: str = request.event.get("body") or ""
    packed = b64decode(body) if request.event.get("isBase64Encoded") else body.encode()
    unpack(packed)
    here.importer.imports.load(name)
    here.importer.imports.put_piece(name, number, packed)
    return {"piece": number}


def _start(request: Request) -> dict[str, Any]:
    """All pieces are here: do them, at once if they are few. What is done already is not done again."""
    request.require(*ROLES)
    handed, here, name = request.parse(Handed), tools(), request.path["id"]
    imports = here.importer.imports
    record = imports.load(name)
    missing = sorted(set(range(1, handed.pieces + 1)) - set(imports.pieces(name)))
    if missing:
        raise Conflict(f"{len(missing)} pieces are not here, the first is {missing[0]}", hint="send them, then start")
    report = imports.report(name)
    if report is None or report["status"] == "partial":
        imports.update({**record, "pieces": handed.pieces, "rows": handed.rows})
        if handed.pieces <= SMALL_PIECES:
            return here.do_all(name)
        # a run that ended with missing pieces may be started again, under another name
        again = "" if report is None else f"-{here.clock()}"
        here.machine.start({"workspace": here.workspace, "import": name}, name=f"{name}-{record['at']}{again}")
    return here.importer.progress(name)


def _list(request: Request) -> dict[str, Any]:
    """All imports of the last weeks, newest first."""
    request.require(*ROLES, "analyst", "privacy")
    here = tools()
    after: Any = request.cursor
    if after is not None and not isinstance(after, str):
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    names = here.importer.imports.newest(after or "")
    page = list(islice(names, request.limit()))
    items = [here.importer.progress(name) for _, name in page]
    more = next(names, None) is not None
    return {"items": items, "next": encode_cursor(page[-1][0]) if more and page else None}


def _show(request: Request) -> dict[str, Any]:
    """One import: its progress or its report."""
    request.require(*ROLES, "analyst", "privacy")
    return tools().importer.progress(request.path["id"])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PIECES):
        raise InvalidInput(f"a piece's number is 1 to {MAX_PIECES}")
    return int(text)


_ROUTES = Router(
    {
        "GET /v1/imports": _list,
        "POST /v1/imports": _create,
        "GET /v1/imports/{id}": _show,
        "PUT /v1/imports/{id}/pieces/{n}": _put_piece,
        "POST /v1/imports/{id}/start": _start,
    }
)
