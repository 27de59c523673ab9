"""ActivateAdminFunction: destinations, templates, activations, products and deliveries.

Needs: ``GetItem Query PutItem`` on ``control``; ``GetItem BatchGetItem Query PutItem DeleteItem`` on ``delivery``;
``PutItem`` on the outbox.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, cast

from hoso.activate.administration import Administration
from hoso.activate.build import Parts
from hoso.activate.deliveries import STATUSES, as_json
from hoso.activate.documents import Activation, Product, Template
from hoso.activate.store import Place
from hoso.model.errors import InvalidInput
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor

REDRIVE_MOST = 500


@cache
def _administration() -> Administration:
    parts = Parts(Settings.from_env(os.environ))
    return Administration(parts.control, parts.store, parts.credentials, parts.clock, parts.settings)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one request."""
    return answer(event, context, ROUTES)


def list_destinations(request: Request) -> dict[str, Any]:
    """All destinations, secrets masked."""
    request.require("viewer", "marketer", "analyst", "engineer")
    return {"items": _administration().destinations(), "next": None}


def get_destination(request: Request) -> dict[str, Any]:
    """One destination, secrets masked."""
    request.require("viewer", "marketer", "analyst", "engineer")
    return _administration().destination(request.path["key"])


def put_destination(request: Request) -> dict[str, Any]:
    """Make or change a destination. A signing secret that was made here is shown in this answer only."""
    request.require("engineer")
    return _administration().put_destination(request.path["key"], request.document)


def get_template(request: Request) -> dict[str, Any]:
    """One template."""
    request.require("viewer", "marketer", "analyst", "engineer")
    return _administration().document("template", request.path["key"])


def put_template(request: Request) -> dict[str, Any]:
    """Make or change a template."""
    request.require("marketer", "engineer")
    return _administration().put_template(request.path["key"], request.parse(Template))


def get_activation(request: Request) -> dict[str, Any]:
    """One activation."""
    request.require("viewer", "marketer", "analyst", "engineer")
    return _administration().document("activation", request.path["key"])


def put_activation(request: Request) -> dict[str, Any]:
    """Make or change an activation; what it names must exist."""
    request.require("marketer", "engineer")
    return _administration().put_activation(request.path["key"], request.parse(Activation))


def put_product(request: Request) -> dict[str, Any]:
    """Tell a product and its price; a lower one is announced."""
    request.require("marketer", "engineer")
    return _administration().put_product(request.path["key"], request.parse(Product))


def list_deliveries(request: Request) -> dict[str, Any]:
    """Deliveries, newest first; of one person (``profile``), of one ``status``, or all."""
    request.require("viewer", "marketer", "analyst", "engineer", "privacy")
    status, profile = request.query.get("status"), request.query.get("profile")
    if status is not None and status not in STATUSES:
        raise InvalidInput(f"status can be: {', '.join(STATUSES)}")
    limit, cursor = request.limit(), request.cursor
    following: Any
    if profile is not None:
        found, following = _administration().deliveries_of(profile, status, limit, cursor)
    else:
        found, after = _administration().deliveries(status, limit, _place(cursor))
        following = dict(after.after) if after else None
    items = [as_json(delivery) for delivery in found]
    return {"items": items, "next": None if following is None else encode_cursor(following)}


def redrive(request: Request) -> dict[str, Any]:
    """Try parked or failed deliveries again: ``status``, and one of ``destination``, ``profile_id``, ``ids``.

    All rules are asked again at the send. ``dry_run`` only says what would be done.
    """
    request.require("engineer")
    given = request.document
    unknown = given.keys() - {"status", "destination", "profile_id", "ids", "dry_run", "limit"}
    if unknown:
        raise InvalidInput(f"unknown fields: {', '.join(sorted(unknown))}")
    limit = given.get("limit", REDRIVE_MOST)
    if not isinstance(limit, int) or not 1 <= limit <= REDRIVE_MOST:
        raise InvalidInput(f"limit must be 1 to {REDRIVE_MOST}")
    return _administration().redrive(
        str(given.get("status", "failed")),
        limit=limit,
        destination=_text(given, "destination"),
        profile_id=_text(given, "profile_id"),
        ids=_ids(given.get("ids")),
        dry_run=given.get("dry_run") is True,
    )


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{name} must be text")
    return value


def _ids(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise InvalidInput("ids must be a list")
    return frozenset(map(str, cast("list[object]", value)))


def _place(cursor: Any) -> Place | None:
    if cursor is None:
        return None
    if not isinstance(cursor, dict):
        raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
    after = cast("dict[str, Any]", cursor)
    return Place({status: str(after[status]) for status in STATUSES if status in after})


ROUTES = Router(
    {
        "GET /v1/destinations": list_destinations,
        "GET /v1/destinations/{key}": get_destination,
        "PUT /v1/destinations/{key}": put_destination,
        "GET /v1/templates/{key}": get_template,
        "PUT /v1/templates/{key}": put_template,
        "GET /v1/activations/{key}": get_activation,
        "PUT /v1/activations/{key}": put_activation,
        "PUT /v1/products/{key}": put_product,
        "GET /v1/deliveries": list_deliveries,
        "POST /v1/deliveries/redrive": redrive,
    }
)
