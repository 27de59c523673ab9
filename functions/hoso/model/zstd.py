"""zstd for small things: tools that a thread keeps, and the dictionary that records are compressed with.

A record is often one event of a few hundred bytes, most of which every event has: names of members, what SDKs say of
themselves. The dictionary holds those, so that they cost next to nothing in bytes and in time. Its id stands in the
frame: a later dictionary gets another file and id, and frames of this one stay readable, as those without one are.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

import zstandard

LEVEL = 1
RECORDS = Path(__file__).with_name("data") / "records-1.zdict"
"""Made by ``python -m infra.record_dictionary``. Never changed in place: stored records name it."""


class _Tools(threading.local):
    """Making a (de)compressor costs several times its use on a small record, and threads cannot share one."""

    def __init__(self) -> None:
        self.plain = zstandard.ZstdCompressor(level=LEVEL)
        self.records = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary())
        self.open = zstandard.ZstdDecompressor(dict_data=dictionary())


def compress(raw: bytes) -> bytes:
    """A frame without a dictionary."""
    return _tools().plain.compress(raw)


def compress_record(raw: bytes) -> bytes:
    """A frame with the dictionary of records."""
    return _tools().records.compress(raw)


def decompress(blob: bytes, most: int) -> bytes:
    """What stands in a frame of either kind, up to ``most`` bytes. Raises ``zstandard.ZstdError``."""
    return _tools().open.decompress(blob, max_output_size=most)


@cache
def dictionary() -> zstandard.ZstdCompressionDict:
    """The dictionary of records."""
    made = zstandard.ZstdCompressionDict(RECORDS.read_bytes())
    made.precompute_compress(level=LEVEL)
    return made


@cache
def _tools() -> _Tools:
    return _Tools()
