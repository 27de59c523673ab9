"""Put the stacks together."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from infra.acknowledgements import check
from infra.parameters import Parameters
from infra.stacks.activate import ActivateStack
from infra.stacks.capabilities import Capabilities
from infra.stacks.collect import CollectStack
from infra.stacks.data import DataStack
from infra.stacks.operations import OperationsStack
from infra.stacks.segment import SegmentStack
from infra.stacks.unify import UnifyStack

NAME = "Hoso"


def build(root: Path, outdir: str | None = None) -> cdk.App:
    """The app with all stacks, from the context of ``cdk.json`` and the command line."""
    # The CLI passes cdk.json's context by itself; plain python has to read it, and both must give the same bytes.
    own: dict[str, Any] = json.loads((root / "cdk.json").read_text())
    app = cdk.App(
        outdir=outdir or os.environ.get("CDK_OUTDIR") or str(root / own["output"]),
        context=own["context"],
        analytics_reporting=False,
        tree_metadata=False,
    )
    context = json.loads(os.environ.get("CDK_CONTEXT_JSON", "{}"))
    parameters = Parameters.from_context({k: v for k, v in context.items() if k not in own["context"]})
    prefix = NAME if parameters.production else f"{NAME}-{parameters.stage}"
    common: dict[str, Any] = {"parameters": parameters, "termination_protection": parameters.production}
    data = DataStack(app, f"{prefix}-data", **common)
    collect = CollectStack(app, f"{prefix}-collect", data=data, **common)
    unify = UnifyStack(app, f"{prefix}-unify", data=data, **common)
    segment = SegmentStack(app, f"{prefix}-segment", data=data, **common)
    activate = ActivateStack(app, f"{prefix}-activate", data=data, **common)
    parts = Capabilities(data, collect, unify, segment, activate)
    OperationsStack(app, f"{prefix}-operations", parts=parts, **common)
    cdk.Tags.of(app).add("application", NAME.lower())
    cdk.Tags.of(app).add("stage", parameters.stage)
    if parameters.checks:
        check(app, parts)
    return app
