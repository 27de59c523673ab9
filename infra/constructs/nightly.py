"""The nightly state machine: five steps, only references between them, the people in a Distributed Map of batches."""

from __future__ import annotations

from typing import Any

from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.function import HosoFunction
from infra.constructs.machine import CATCH, LONGEST_BATCH_S, MapMachine, failed, step
from infra.parameters import Parameters

__all__ = ["LONGEST_BATCH_S", "STEPS", "NightlyMachine", "definition"]

STEPS = ("Compact", "Snapshot", "Evaluate", "Apply", "Report")
BATCHES_PER_CHILD = 4
CONCURRENCY = 10
# Failed children above this share fail the run (reliability R34).
TOLERATED_FAILURE_PERCENT = 0.1
_FAILED = failed("NightlyFailed")


class NightlyMachine(MapMachine):
    """Compact → Snapshot → Evaluate → Apply (Distributed Map) → Report. ``functions`` are the steps' by name."""

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
    child = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "ApplyBatch",
        "States": {"ApplyBatch": {**step(arns["Apply"]), "End": True}, "Failed": _FAILED},
    }
    apply = {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.batches_key %}"},
        },
        "ItemBatcher": {"MaxItemsPerBatch": BATCHES_PER_CHILD, "BatchInput": "{% $states.input %}"},
        "ItemProcessor": child,
        "MaxConcurrency": CONCURRENCY,
        "ToleratedFailurePercentage": TOLERATED_FAILURE_PERCENT,
        "Label": "Apply",
        "Output": "{% $states.input %}",
        "Catch": CATCH,
        "Next": "Report",
    }
    return {
        "Comment": "Hoso nightly work",
        "QueryLanguage": "JSONata",
        "StartAt": "Compact",
        "TimeoutSeconds": 6 * 3600,
        "States": {
            "Compact": {**step(arns["Compact"]), "Next": "Snapshot"},
            "Snapshot": {**step(arns["Snapshot"]), "Next": "Evaluate"},
            "Evaluate": {**step(arns["Evaluate"]), "Next": "Apply"},
            "Apply": apply,
            "Report": {**step(arns["Report"]), "End": True},
            "Failed": _FAILED,
        },
    }
