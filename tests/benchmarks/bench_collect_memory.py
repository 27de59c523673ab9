"""Memory of the ingestion handler: a batch of 4 MiB, and 300 MB of blanks in gzip, each in a process of its own.

``python -m tests.benchmarks.bench_collect_memory batch|bomb`` is that process; it prints by how many MB its peak grew.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import zlib
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from hoso.collect.body import MAX_BODY_BYTES
from hoso.collect.handlers import ingest
from hoso.platform.stream import Stream
from tests.benchmarks.bench_collect import Sink
from tests.benchmarks.traffic import visits
from tests.collect_world import gateway_event, world


def measure() -> dict[str, Any]:
    """Growth of the peak over a warm process, in MB."""
    return {f"{what}_mb": _grown(what) for what in ("batch", "bomb")}


def _grown(what: str) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.bench_collect_memory", what]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def _body(what: str) -> tuple[bytes, dict[str, str]]:
    if what == "bomb":
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        blank = b" " * 1_000_000
        return b"".join([*(packer.compress(blank) for _ in range(300)), packer.flush()]), {"content-encoding": "gzip"}
    events: list[dict[str, Any]] = []
    size = 20
    for (event,) in visits(100_000, 1, 50):
        size += len(orjson.dumps(event)) + 1
        if size > MAX_BODY_BYTES or len(events) == 2_500:
            break
        events.append(event)
    return orjson.dumps({"batch": events}), {}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _main(what: str) -> float:
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as place:
        key = place.source("web", "web")
        whole = ingest.reception()
        sunk = replace(whole, stream=Stream("events", Sink()))
        raw, headers = _body(what)
        event = gateway_event("POST", "/v1/batch", raw, {**headers, "x-write-key": key})
        with redirect_stdout(sys.stderr):
            place.send("/v1/batch", {"batch": []}, key=key)
            before = _peak_mb()
            reply = sunk.receive(ingest.request_of(event))
        assert reply["statusCode"] == (400 if what == "bomb" else 200), reply
        return round(_peak_mb() - before, 1)


if __name__ == "__main__":
    print(_main(sys.argv[1]))
