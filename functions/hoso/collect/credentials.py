"""Where a request carries its write key (tracking API, section 3): the first place that has one decides."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

_MALFORMED = "\0"
"""Stands for a credential that cannot be read. No key is like it, so it goes the way of every unknown key (S2)."""


def from_headers(headers: Mapping[str, str]) -> str | None:
    """The key of ``Authorization: Basic``. Any other scheme is a credential that is not offered here."""
    header = headers.get("authorization")
    return _basic_user(header) if header else None


@lru_cache(maxsize=512)
def _basic_user(header: str) -> str | None:
    header = header.strip()
    if not header:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return _MALFORMED
    token = token.strip()
    try:
        user = b64decode(token + "=" * (-len(token) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return _MALFORMED
    return user.partition(":")[0] or _MALFORMED


def from_body(body: Mapping[str, Any]) -> str | None:
    """The key in the top member ``writeKey``; a masked one (``KEY:***`` of @jitsu/js) counts as none."""
    key: object = body.get("writeKey")
    if key is None or key == "":
        return None
    if type(key) is not str:
        return _MALFORMED
    return None if key.endswith(":***") else key


def from_query(query: Mapping[str, str]) -> str | None:
    """The key in the query."""
    return query.get("writeKey") or None


def from_first_event(events: list[Any]) -> str | None:
    """The key that analytics.js repeats in each event."""
    if events and type(events[0]) is dict:
        return from_body(cast("dict[str, Any]", events[0]))
    return None


def from_jitsu_header(headers: Mapping[str, str]) -> str | None:
    """The key of ``X-Write-Key: KEY`` or ``KEY:SECRET``."""
    header = headers.get("x-write-key", "").strip()
    return (header.partition(":")[0] or _MALFORMED) if header else None
