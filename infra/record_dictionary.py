"""Make the dictionary that stream records are compressed with (``hoso.model.zstd``).

``python -m infra.record_dictionary FILE`` trains on the sample store and on recorded requests of SDKs. Another
dictionary is another file with another id: records that are stored name the one that they need.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import zstandard

from hoso.collect.events import Frame
from hoso.collect.intake import Sender, take
from hoso.collect.parse import parse_batch
from hoso.model.record import MAX_RAW_BYTES
from hoso.model.zstd import decompress

ROOT = Path(__file__).resolve().parents[1]
ID = 0x484F_0001
SIZE = 16 * 1024
AT = 1_767_596_400_000


def samples() -> list[bytes]:
    """Records as they are before they are compressed: of one event each, and of the events of one request."""
    found: list[bytes] = []
    for batch in _batches():
        raw = json.dumps({"batch": batch}, ensure_ascii=False, separators=(",", ":")).encode()
        frame = Frame(AT, lambda: "")
        origin = {"ip": "203.0.113.0", "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}
        taken = take(raw, parse_batch(raw), frame, Sender("main", "web", origin), lambda _kind, value: value)
        found += [decompress(data, MAX_RAW_BYTES) for _, data in taken.records]
    return found


def _batches() -> Iterator[list[Any]]:
    with (ROOT / "events" / "traffic" / "events.ndjson").open() as lines:
        yield from ([json.loads(line)] for line in lines)
    for file in sorted((ROOT / "tests" / "fixtures" / "sdk").glob("*.json")):
        cases: list[dict[str, Any]] = json.loads(file.read_text())["cases"]
        for body in [request.get("body") for case in cases for request in case["requests"]]:
            if isinstance(body, dict):
                yield from _parts(cast("dict[str, Any]", body))


def _parts(body: dict[str, Any]) -> Iterator[list[Any]]:
    """A request whole, and each of its events alone."""
    events: list[Any] = body.get("batch", [body])
    yield events
    yield from ([event] for event in events)


def main() -> None:
    """Write the dictionary."""
    made = zstandard.train_dictionary(SIZE, cast("Any", samples()), dict_id=ID)
    Path(sys.argv[1]).write_bytes(made.as_bytes())
    sys.stdout.write(f"{len(made)} bytes, id {made.dict_id():#x}\n")


if __name__ == "__main__":
    main()
