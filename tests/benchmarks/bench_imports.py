"""Import time of each handler above bare boto3, in fresh interpreters; the least of several tries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from infra.synth import ROOT, assembly

TRIES = 5
COLLECT_BUDGET_MS = 120
_SCRIPT = """
import time, boto3, importlib
started = time.perf_counter()
importlib.import_module("{module}")
print((time.perf_counter() - started) * 1000)
"""


def measure() -> dict[str, Any]:
    """Milliseconds by handler module."""
    modules = sorted(
        {
            resource["Properties"]["Handler"].rpartition(".")[0]
            for template in assembly("dev").glob("*.template.json")
            for resource in json.loads(template.read_text())["Resources"].values()
            if resource["Type"] == "AWS::Lambda::Function"
        }
    )
    return {module: round(min(_once(module) for _ in range(TRIES))) for module in modules}


def _once(module: str) -> float:
    # A first run writes the byte code that a packaged function has too.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "functions"), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", _SCRIPT.format(module=module)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
