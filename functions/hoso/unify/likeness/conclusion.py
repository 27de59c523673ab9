"""The end of a night's likeness steps: figures for the report, and what the next night builds on."""

from __future__ import annotations

from typing import Any

import orjson

from hoso.platform.objects import Objects

BATCH = 50
"""Operations per object that a child of the map writes."""
_JSON = "application/json"

Json = dict[str, Any]


def latest_key(workspace: str) -> str:
    """The object that says on which run the next night builds: ``{"as_of", "key", "failed": [pair id…]}``."""
    return f"matching/{workspace}/latest.json"


def conclude(objects: Objects, run: Json, now: int) -> Json | None:
    """Sum the likeness steps of a run up and let the next night build on it; None when the run had none.

    ``now`` is for the seconds that the steps took. Safe to repeat.
    """
    told: Json = run.get("likeness") or {}
    if "records" not in told:
        return None
    key = told["key"]
    figures: Json = {name: value for name, value in told.items() if name not in ("key", "started")}
    figures |= {"seconds": round((now - told["started"]) / 1000, 1), "operations": 0, "joined": 0, "refused": 0}
    if told["records"]:
        figures |= orjson.loads(objects.get(f"{key}decisions.json"))["figures"]
    failed: list[str] = []
    done = 0
    for place in objects.keys(f"{key}result/"):
        result = orjson.loads(objects.get(place))
        done += 1
        for name in ("operations", "joined", "refused"):
            figures[name] += result[name]
        failed += result["failed"]
    missing = len(orjson.loads(objects.get(f"{key}batches.json"))) - done
    figures |= {"failed": len(failed), "failed_pairs": failed[:100], "lost": len(failed) + missing * BATCH}
    if told["records"] and not missing:
        latest = {"as_of": run["as_of"], "key": key, "failed": failed}
        objects.put(latest_key(run["workspace"]), orjson.dumps(latest), _JSON)
    return figures
