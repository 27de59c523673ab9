"""Image pixels for e-mail: an event in the query of a GET (tracking API, section 2)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, cast

import orjson

from hoso.model.errors import InvalidInput

GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent image of one pixel."""

_MAX_DEPTH = 4


def pixel_text(query: Mapping[str, str]) -> bytes:
    """The JSON text of a pixel's event: ``data`` holds it in base64 (Segment), or the query names its members.

    A dotted name sets a member inside: ``properties.campaign=tet``.

    Raises:
        InvalidInput: ``invalid_event``, the data is no base64. What the text holds is not judged here.
    """
    if "data" in query:
        return _from_data(query["data"])
    event: dict[str, Any] = {}
    for name, value in query.items():
        *path, last = name.split(".", _MAX_DEPTH)
        inner = event
        for step in path:
            held = inner.setdefault(step, {})
            inner = cast("dict[str, Any]", held) if type(held) is dict else {}
        inner[last] = value
    return orjson.dumps(event)


def _from_data(data: str) -> bytes:
    try:
        return b64decode(data.replace("-", "+").replace("_", "/").replace(" ", "+") + "=" * (-len(data) % 4))
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("data is not base64", code="invalid_event") from error
