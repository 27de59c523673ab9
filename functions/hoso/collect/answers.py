"""Answers of the ingestion API in the forms that every client understands (tracking API, sections 1 and 7).

Always 200 with a JSON object for what is stored; every error is an object with ``code`` and ``message``, for some
SDKs retry any other. Payload faults are 400, never 413 or 422. CORS headers are the gateway's work.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hoso.collect.pixels import GIF
from hoso.model.bad_row import BadRow

Reply = dict[str, Any]

RETRY_AFTER_S = 2
_MOST_LISTED = 1_000
_JSON = {"content-type": "application/json"}
_CACHEABLE = {**_JSON, "cache-control": "public, max-age=300"}
_OWN_COPY = {**_JSON, "cache-control": "private, max-age=300", "vary": "authorization"}
_ACCEPTED = '{"success":true}'


def accepted(count: int, rejected: Sequence[BadRow]) -> Reply:
    """All or some events are stored."""
    if not rejected:
        return {"statusCode": 200, "headers": _JSON, "body": _ACCEPTED}
    refused = [
        {"index": event.index, "messageId": event.message_id, "code": event.code, "message": event.reason}
        for event in rejected
    ]
    return _json(200, {"success": True, "accepted": count, "rejected": refused})


def receipts(rows: int, count: int, rejected: Sequence[tuple[int, str, str]]) -> Reply:
    """Receipts of a till: rows read, events stored, and what was refused by line, the first thousand of it."""
    listed = [{"row": line, "code": code, "message": reason} for line, code, reason in rejected[:_MOST_LISTED]]
    body: dict[str, Any] = {"rows": rows, "accepted": count, "refused": len(rejected), "rejected": listed}
    if rejected and not count:
        return _json(400, {"success": False, "code": rejected[0][1], "message": rejected[0][2], **body})
    return _json(200, {"success": True, **body})


def refused(status: int, code: str, message: str, **headers: str) -> Reply:
    """Nothing is stored."""
    return _json(status, {"success": False, "code": code, "message": message}, headers)


def all_refused(rejected: Sequence[BadRow], *, batch: bool) -> Reply:
    """A single bad event, or a batch of nothing but bad ones: the first says why, a batch lists all."""
    first = rejected[0]
    body: dict[str, Any] = {"success": False, "code": first.code, "message": first.reason}
    if batch:
        body["rejected"] = [
            {"index": event.index, "messageId": event.message_id, "code": event.code, "message": event.reason}
            for event in rejected
        ]
    return _json(400, body)


def unavailable() -> Reply:
    """Nothing is promised: the client sends everything again."""
    return refused(503, "unavailable", "try again", **{"retry-after": str(RETRY_AFTER_S)})


def over_budget(retry_after_s: int) -> Reply:
    """The budget is used up: the client keeps its events and sends them again after so many seconds."""
    message = "the source sends more events than its budget allows; try again later"
    return refused(429, "rate_limited", message, **{"retry-after": str(retry_after_s)})


def bad_key(*, missing: bool) -> Reply:
    """No usable write key. The words are looked for by the RudderStack Android SDK, which then stops sending."""
    if missing:
        return refused(401, "missing_write_key", "invalid write key: none was sent")
    return refused(401, "invalid_write_key", "invalid write key")


def document(body: Mapping[str, Any], *, private: bool = False) -> Reply:
    """A settings document; it may be kept for some minutes. ``private``: its address alone does not name its key."""
    return {"statusCode": 200, "headers": _OWN_COPY if private else _CACHEABLE, "body": orjson.dumps(body).decode()}


def pixel(status: int) -> Reply:
    """The image, whatever became of the event."""
    headers = {"content-type": "image/gif", "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": b64encode(GIF).decode(), "isBase64Encoded": True}


def preflight() -> Reply:
    """To OPTIONS that the gateway did not answer."""
    return {"statusCode": 204, "headers": {}}


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
    return {"statusCode": status, "headers": {**_JSON, **(headers or {})}, "body": orjson.dumps(body).decode()}
