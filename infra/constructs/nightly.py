"""The nightly state machine: five steps, only references between them, the people in a Distributed Map of batches."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.function import HosoFunction
from infra.constructs.logs import log_group
from infra.constructs.role import allow, role
from infra.parameters import Parameters

STEPS = ("Compact", "Snapshot", "Evaluate", "Apply", "Report")
BATCHES_PER_CHILD = 4
CONCURRENCY = 10
# An Express child of the map lives five minutes at most; its function has to end, or fail, before.
LONGEST_BATCH_S = 240
# Failed children above this share fail the run (reliability R34).
TOLERATED_FAILURE_PERCENT = 0.1
_RETRY = [
    {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 4,
        "MaxDelaySeconds": 60,
        "JitterStrategy": "FULL",
    }
]

_CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}]
# Error names of our own must not begin with "States.", as those of time-outs do: the cause tells which it was.
_FAILED = {
    "Type": "Fail",
    "Error": "NightlyFailed",
    "Cause": "{% $substring($string($states.input.Error) & ': ' & $string($states.input.Cause), 0, 30000) %}",
}


class NightlyMachine(Construct):
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
        super().__init__(scope, id)
        # Log delivery of Step Functions wants names under this prefix once many groups deliver.
        name = f"/aws/vendedlogs/states/{cdk.Stack.of(self).stack_name}-nightly"
        logs = log_group(self, "Logs", parameters, name)
        arns = {step: functions[step].function.function_arn for step in STEPS}
        self.role, self.policy = role(
            self,
            "states.amazonaws.com",
            [
                allow(["lambda:InvokeFunction"], *arns.values()),
                allow(["s3:GetObject"], bucket.arn_for_objects("nightly/*")),
                # Log delivery and X-Ray know no resources; acknowledged in infra/acknowledgements.py.
                allow(
                    [
                        *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery"),
                        *("logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy"),
                        *("logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
                        *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
                        *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
                    ],
                    "*",
                ),
            ],
        )
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            definition_body=sfn.DefinitionBody.from_string(cdk.Stack.of(self).to_json_string(definition(arns))),
            role=self.role.without_policy_updates(),
            tracing_enabled=parameters.tracing,
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=False),
            comment="Hoso nightly work",
        )
        # A machine with logs is refused while its role may not deliver them.
        self.machine.node.add_dependency(self.policy)
        self.executions_arn = cdk.Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{self.machine.state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        # The children of the Distributed Map: a policy of its own, since it names the machine that needs the other one.
        self.children_policy = iam.ManagedPolicy(
            self,
            "ChildrenPolicy",
            roles=[self.role],  # pyright: ignore[reportArgumentType]
            statements=[
                allow(["states:StartExecution"], self.machine.state_machine_arn),
                allow(
                    ["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
                    self.executions_arn,
                ),
            ],
        )


def definition(arns: dict[str, str]) -> dict[str, Any]:
    """The machine in Amazon States Language (JSONata). ``arns`` are the functions' by step."""
    child = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "ApplyBatch",
        "States": {"ApplyBatch": {**_step(arns["Apply"]), "End": True}, "Failed": _FAILED},
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
        "Catch": _CATCH,
        "Next": "Report",
    }
    return {
        "Comment": "Hoso nightly work",
        "QueryLanguage": "JSONata",
        "StartAt": "Compact",
        "TimeoutSeconds": 6 * 3600,
        "States": {
            "Compact": {**_step(arns["Compact"]), "Next": "Snapshot"},
            "Snapshot": {**_step(arns["Snapshot"]), "Next": "Evaluate"},
            "Evaluate": {**_step(arns["Evaluate"]), "Next": "Apply"},
            "Apply": apply,
            "Report": {**_step(arns["Report"]), "End": True},
            "Failed": _FAILED,
        },
    }


def _step(arn: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": arn, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "Retry": _RETRY,
        "Catch": _CATCH,
    }
