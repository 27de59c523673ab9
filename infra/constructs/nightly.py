"""The nightly state machine: only references between its steps, pairs and people in Distributed Maps of batches."""

from __future__ import annotations

from typing import Any

from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.function import HosoFunction
from infra.constructs.machine import LONGEST_BATCH_S, MapMachine, distributed_map, failed, step
from infra.parameters import Parameters

__all__ = ["LIKENESS", "LONGEST_BATCH_S", "STEPS", "NightlyMachine", "definition"]

LIKENESS = ("Candidates", "Weights", "Decisions", "Link")
STEPS = ("Compact", *LIKENESS, "Snapshot", "Traits", "Store", "Evaluate", "Apply", "Report")
BATCHES_PER_CHILD = 4
CONCURRENCY = 10
# Failed children above this share fail the run (reliability R34).
TOLERATED_FAILURE_PERCENT = 0.1
_FAILED = failed("NightlyFailed")


class NightlyMachine(MapMachine):
    """``STEPS`` in their order; Link, Store and Apply are Distributed Maps. ``functions`` are the steps' by name."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        functions: dict[str, HosoFunction],
        bucket: s3.IBucket,
        parameters: Parameters,
    ) -> None:
        arns = {step: functions[step].function.function_arn for step in STEPS}
        super().__init__(
            scope,
            id,
            label="nightly",
            comment="Hoso nightly work",
            arns=arns,
            definition=definition(arns),
            bucket=bucket,
            prefix="nightly/",
            parameters=parameters,
        )


def definition(arns: dict[str, str]) -> dict[str, Any]:
    """The machine in Amazon States Language (JSONata). ``arns`` are the functions' by step."""
    return {
        "Comment": "Hoso nightly work",
        "QueryLanguage": "JSONata",
        "StartAt": "Compact",
        "TimeoutSeconds": 6 * 3600,
        "States": {
            "Compact": {**step(arns["Compact"]), "Next": "Whole"},
            "Whole": _choice(backfill="Known", night="Candidates"),
            # until nobody works with the rules of before any more (decision 0084)
            "Known": {"Type": "Wait", "Seconds": "{% $states.input.wait_s %}", "Next": "Snapshot"},
            "Candidates": {**step(arns["Candidates"]), "Next": "Weights"},
            "Weights": {**step(arns["Weights"]), "Next": "Decisions"},
            "Decisions": {**step(arns["Decisions"]), "Next": "Link"},
            "Link": _map("Link", arns["Link"], "links_key", then="Snapshot"),
            "Snapshot": {**step(arns["Snapshot"]), "Next": "Computed"},
            "Computed": _choice(backfill="Evaluate", night="Traits"),
            "Traits": {**step(arns["Traits"]), "Next": "Store"},
            "Store": _map("Store", arns["Store"], "traits_key", then="Evaluate"),
            "Evaluate": {**step(arns["Evaluate"]), "Next": "Apply"},
            "Apply": _map("Apply", arns["Apply"], "batches_key", then="Report"),
            "Report": {**step(arns["Report"]), "End": True},
            "Failed": _FAILED,
        },
    }


def _choice(*, backfill: str, night: str) -> dict[str, Any]:
    """A run that names its segments is a backfill: it leaves out what concerns everybody."""
    named = "{% $type($states.input.segments) = 'array' %}"
    return {"Type": "Choice", "Choices": [{"Condition": named, "Next": backfill}], "Default": night}


def _map(name: str, arn: str, key: str, *, then: str) -> dict[str, Any]:
    """A Distributed Map over the batches that the object under ``key`` of the run lists."""
    return distributed_map(
        name,
        f"{name}Batch",
        arn,
        bucket="{% $states.input.bucket %}",
        key=f"{{% $states.input.{key} %}}",
        batch=BATCHES_PER_CHILD,
        concurrency=CONCURRENCY,
        tolerated_percent=TOLERATED_FAILURE_PERCENT,
        failed=_FAILED,
        then=then,
    )
