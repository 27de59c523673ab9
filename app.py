"""The CDK app: ``cdk deploy --all -c stage=dev``. ``python app.py`` alone writes the same templates to ``cdk.out``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "functions")]

from infra.application import build  # noqa: E402  the import needs the path above

build(ROOT).synth()
