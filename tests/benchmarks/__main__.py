"""``make bench``: measure and write ``docs/benchmarks.json``. ``ARGS=NAME`` measures one part and only prints it."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    bench_collect,
    bench_collect_memory,
    bench_consume,
    bench_exits,
    bench_hooks,
    bench_identity,
    bench_import_files,
    bench_imports,
    bench_likeness,
    bench_plan,
    bench_profile,
    bench_segments,
    bench_shards,
    bench_twin,
)

PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "collect": bench_collect.measure,
    "collect_memory": bench_collect_memory.measure,
    "plan": bench_plan.measure,
    "consume": bench_consume.bench_consume,
    "hooks": bench_hooks.measure,
    "identity": bench_identity.measure,
    "shards": bench_shards.measure,
    "imports": bench_imports.measure,
    "likeness": bench_likeness.measure,
    "files": bench_import_files.measure,
    "profile": bench_profile.measure,
    "segments": bench_segments.measure,
    "exits": bench_exits.measure,
    "cost": bench_twin.cost,
    "latency": bench_twin.latency,
    "throughput": bench_twin.throughput,
}
RESULTS = Path("docs/benchmarks.json")


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    results: dict[str, Any] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    for name in chosen:
        started = time.perf_counter()
        print(f"→ {name}", flush=True)
        results[name] = PARTS[name]()
        print(json.dumps(results[name], indent=1), f"({time.perf_counter() - started:.0f} s)", flush=True)
    if not sys.argv[1:]:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
