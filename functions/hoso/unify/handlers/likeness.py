"""The likeness steps of the nightly machine, one entry point each, and the API of the pairs that they find.

==========  ====================================================  ================================================
step        input                                                 output
==========  ====================================================  ================================================
candidates  the run (of ``segment.handlers.nightly.compact``)     the run with ``likeness``: ``{"key", "started",
                                                                  "records", "fresh", "scored", "refit"}``
weights     the run                                               the run, ``likeness`` with ``decided``
decisions   the run                                               the run with ``links_key``: an object of the bucket,
                                                                  a JSON array of ``{"key"}``
link        ``{"Items": [{"key"}…], "BatchInput": the run}``      ``{"operations", "failed"}``
==========  ====================================================  ================================================
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant
from hoso.platform.aws import client
from hoso.platform.dynamo import Table
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor
from hoso.segment.lease import Lease
from hoso.unify import veil
from hoso.unify.build import Parts
from hoso.unify.likeness.review_work import ReviewWork
from hoso.unify.likeness.reviews import OPEN, STATUSES, Review, Reviews


def candidates(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Everybody as a record, and the pairs that are compared."""
    return _night(event).candidates(event)


def weights(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The model, and the probability of each pair."""
    return _night(event).weights(event)


def decisions(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Who is linked, asked about, taken apart; batches of that."""
    return _night(event).decisions(event)


def link(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Some batches to identity and to the queue."""
    return _night(event["BatchInput"]).link(event)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


class Decision(BaseModel):
    """The body of a decision."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["accept", "reject"]


def list_reviews(request: Request) -> dict[str, Any]:
    """Pairs of a status (``?status=``, default ``open``), the likeliest first."""
    request.require("marketer", "engineer")
    status = request.query.get("status", OPEN)
    if status not in STATUSES:
        raise InvalidInput(f"status is one of {', '.join(STATUSES)}")
    start: Any = request.cursor
    if start is not None and type(start) is not str:
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    found, following = _work().reviews.page(status, request.limit(), start)
    return {"items": [_shown(one, request) for one in found], "next": encode_cursor(following) if following else None}


def show_review(request: Request) -> dict[str, Any]:
    """One pair with its explanation."""
    request.require("marketer", "engineer")
    return _shown(_work().reviews.get(request.path["id"]), request)


def decide_review(request: Request) -> dict[str, Any]:
    """Accept or reject a pair; a later decision replaces an earlier one."""
    actor = request.require("marketer", "engineer")
    given = request.parse(Decision)
    decided = _work().decide(request.path["id"], accept=given.decision == "accept", by=actor.subject)
    return _shown(decided, request)


ROUTES = Router(
    {
        "GET /v1/likeness/reviews": list_reviews,
        "GET /v1/likeness/reviews/{id}": show_review,
        "POST /v1/likeness/reviews/{id}": decide_review,
    }
)


@cache
def parts() -> Parts:
    """What this process works with."""
    return Parts(Settings.from_env(os.environ))


@cache
def _work() -> ReviewWork:
    made = parts()
    workspace = made.settings.workspace
    return ReviewWork(_reviews(workspace), made.identities(workspace), made.clock)


def _reviews(workspace: str) -> Reviews:
    made = parts()
    dynamo: Any = client("dynamodb")
    return Reviews(Table(made.settings.control_table, dynamo), dynamo, workspace, made.control.hasher(workspace))


def _night(run: dict[str, Any]) -> Any:
    return steps_of(run["workspace"], run["lease"])


@cache
def steps_of(workspace: str, lease: str) -> Any:
    """The steps for a workspace under a lease, made once."""
    # here: the API of pairs does without DuckDB and numpy
    from hoso.unify.likeness.night import LikenessNight

    made = parts()
    return LikenessNight(
        made.people,
        made.identities,
        _reviews(workspace),
        Objects(made.settings.bucket, client("s3")),
        Lease(Table(made.settings.delivery_table, client("dynamodb")), workspace, lease),
        made.clock,
    )


def _shown(review: Review, request: Request) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": review.id,
        "status": review.status,
        "probability": review.score,
        "a": {"type": review.a.type, "value": review.a.value},
        "b": {"type": review.b.type, "value": review.b.value},
        "why": review.why,
        "at": format_instant(review.at),
        "by": review.by,
    }
    return shown if request.actor.sees_persons else veil.review(shown)
