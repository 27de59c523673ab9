"""The event bus: entries in calls of allowed size, and only those that failed once more (reliability R37)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from botocore.exceptions import BotoCoreError, ClientError

SOURCE = "hoso"
MAX_ENTRIES = 10
MAX_CALL_BYTES = 1_000_000
MAX_DETAIL_BYTES = 200_000
PERMANENT = frozenset({"MalformedDetail", "InvalidArgument", "DetailTooLarge"})
"""Error codes of entries that no repetition helps."""
_ATTEMPTS = 5
_BASE_DELAY_S = 0.05
_OVERHEAD_BYTES = 14
"""What EventBridge counts for an entry's time."""


class Entry(NamedTuple):
    """One event for the bus: its ``detail-type`` and its detail as JSON text."""

    kind: str
    detail: str

    @property
    def size(self) -> int:
        """Bytes as EventBridge counts them."""
        return len(SOURCE) + len(self.kind) + len(self.detail.encode()) + _OVERHEAD_BYTES


class Bus:
    """One event bus."""

    def __init__(self, name: str, client: Any, sleep: Callable[[float], None] = time.sleep) -> None:
        self._name = name
        self._client = client
        self._sleep = sleep

    def put(self, entries: Sequence[Entry]) -> Mapping[int, str]:
        """Put entries on the bus; answers the error code of each position that is not on it.

        A code in ``PERMANENT`` says that the entry itself is at fault; others may go through later.
        """
        failed = {position: "DetailTooLarge" for position, entry in enumerate(entries) if _too_large(entry)}
        for chunk in _chunks([(position, entry) for position, entry in enumerate(entries) if position not in failed]):
            failed |= self._put_chunk(chunk)
        return failed

    def _put_chunk(self, chunk: list[tuple[int, Entry]]) -> dict[int, str]:
        pending = chunk
        refused: dict[int, str] = {}
        codes: dict[int, str] = {}
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**attempt))  # noqa: S311  jitter needs no secrecy
            codes = self._call(pending)
            refused |= {position: code for position, code in codes.items() if code in PERMANENT}
            pending = [
                (position, entry) for position, entry in pending if codes.get(position, "") not in ("", *PERMANENT)
            ]
            if not pending:
                return refused
        return refused | {position: codes[position] for position, _ in pending}

    def _call(self, chunk: list[tuple[int, Entry]]) -> dict[int, str]:
        """The error code of each position that failed."""
        wire = [
            {"EventBusName": self._name, "Source": SOURCE, "DetailType": entry.kind, "Detail": entry.detail}
            for _, entry in chunk
        ]
        try:
            results: list[dict[str, Any]] = self._client.put_events(Entries=wire)["Entries"]
        except ClientError as error:
            response = cast("dict[str, Any]", error.response)
            code = str(response.get("Error", {}).get("Code", "Unknown"))
            return {position: code for position, _ in chunk}
        except BotoCoreError as error:
            return {position: type(error).__name__ for position, _ in chunk}
        return {
            position: str(result["ErrorCode"])
            for (position, _), result in zip(chunk, results, strict=True)
            if result.get("ErrorCode")
        }


def _too_large(entry: Entry) -> bool:
    return len(entry.detail.encode()) >= MAX_DETAIL_BYTES


def _chunks(entries: list[tuple[int, Entry]]) -> Iterator[list[tuple[int, Entry]]]:
    chunk: list[tuple[int, Entry]] = []
    size = 0
    for position, entry in entries:
        if chunk and (len(chunk) == MAX_ENTRIES or size + entry.size >= MAX_CALL_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((position, entry))
        size += entry.size
    if chunk:
        yield chunk
