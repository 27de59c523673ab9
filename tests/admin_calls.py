"""Calls of the admin API as the gateway hands them over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def admin_event(
    route: str,
    path: Mapping[str, str] | None = None,
    body: object = None,
    *,
    roles: str,
    query: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """An HTTP API event (payload 2.0) of somebody with these roles; ``body`` is sent as JSON, None sends none."""
    return {
        "routeKey": route,
        "pathParameters": dict(path or {}),
        "queryStringParameters": dict(query) if query else None,
        "headers": {"content-type": "application/json"},
        "body": None if body is None else json.dumps(body),
        "requestContext": {
            "requestId": "r-1",
            "authorizer": {"jwt": {"claims": {"sub": "operator", "cognito:groups": roles}}},
        },
    }


def answered(answer: Mapping[str, Any]) -> tuple[int, Any]:
    """Status and body of a handler's answer."""
    return answer["statusCode"], json.loads(answer["body"])
