"""State that tables need not look into travels as compressed JSON: small, and free of what DynamoDB refuses."""

from __future__ import annotations

from typing import Any

import orjson

from hoso.model.zstd import compress, decompress

_MAX_UNPACKED = 64 * 1024 * 1024


def pack_json(value: Any) -> bytes:
    """Compressed JSON of a value (named tuples as lists)."""
    return compress(orjson.dumps(value, default=_plain))


def unpack_json(blob: bytes) -> Any:
    """The value in such bytes."""
    return orjson.loads(decompress(blob, _MAX_UNPACKED))


def _plain(value: object) -> list[object]:
    if isinstance(value, tuple):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")
