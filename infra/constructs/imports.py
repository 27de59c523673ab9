"""The state machine of large files: cut, do the pieces in a Distributed Map, sum up."""

from __future__ import annotations

from typing import Any

from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.function import HosoFunction
from infra.constructs.machine import MapMachine, distributed_map, failed, step
from infra.parameters import Parameters

STEPS = ("Plan", "Pieces", "Finish")
PIECES_PER_CHILD = 2
CONCURRENCY = 5
# Pieces that still fail after all tries: beyond this share the import fails, below it the report lists them.
TOLERATED_FAILURE_PERCENT = 5
_FAILED = failed("ImportFailed")


class ImportMachine(MapMachine):
    """Plan → Pieces (Distributed Map) → Finish. ``functions`` are the steps' by name."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        functions: dict[str, HosoFunction],
        bucket: s3.IBucket,
        parameters: Parameters,
    ) -> None:
        arns = {name: functions[name].function.function_arn for name in STEPS}
        super().__init__(
            scope,
            id,
            label="imports",
            comment="Hoso imports",
            arns=arns,
            definition=definition(arns, bucket.bucket_name),
            bucket=bucket,
            prefix="importing/",
            parameters=parameters,
        )


def definition(arns: dict[str, str], bucket: str) -> dict[str, Any]:
    """The machine in Amazon States Language (JSONata). ``arns`` are the functions' by step."""
    pieces = distributed_map(
        "Pieces",
        "DoPieces",
        arns["Pieces"],
        bucket=bucket,
        key="{% $states.input.pieces_key %}",
        batch=PIECES_PER_CHILD,
        concurrency=CONCURRENCY,
        tolerated_percent=TOLERATED_FAILURE_PERCENT,
        failed=_FAILED,
        then="Finish",
    )
    return {
        "Comment": "Hoso imports",
        "QueryLanguage": "JSONata",
        "StartAt": "Plan",
        "TimeoutSeconds": 6 * 3600,
        "States": {
            "Plan": {**step(arns["Plan"]), "Next": "Pieces"},
            "Pieces": pieces,
            "Finish": {**step(arns["Finish"]), "End": True},
            "Failed": _FAILED,
        },
    }
