"""The nightly state machine: five steps, only references between them, the people in a Distributed Map of batches."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.function import HosoFunction, allow
from infra.parameters import Parameters

STEPS = ("Compact", "Snapshot", "Evaluate", "Apply", "Report")
BATCHES_PER_CHILD = 4
CONCURRENCY = 10
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
        log_group = logs.LogGroup(
            self,
            "Logs",
            # Log delivery of Step Functions wants names under this prefix once many groups deliver.
            log_group_name=f"/aws/vendedlogs/states/{cdk.Stack.of(self).stack_name}-nightly",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        arns = {step: functions[step].function.function_arn for step in STEPS}
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            definition_body=sfn.DefinitionBody.from_string(cdk.Stack.of(self).to_json_string(definition(arns))),
            role=self.role.without_policy_updates(),
            tracing_enabled=parameters.tracing,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
            comment="Hoso nightly work",
        )
        self.executions_arn = cdk.Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{self.machine.state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        self.policy = iam.ManagedPolicy(
            self,
            "Policy",
            roles=[self.role],
            statements=[
                allow(["lambda:InvokeFunction"], *arns.values()),
                allow(["s3:GetObject"], bucket.arn_for_objects("nightly/*")),
                allow(["states:StartExecution"], self.machine.state_machine_arn),
                allow(
                    ["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
                    self.executions_arn,
                ),
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


def definition(arns: dict[str, str]) -> dict[str, Any]:
    """The machine in Amazon States Language (JSONata). ``arns`` are the functions' by step."""
    child = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "ApplyBatch",
        "States": {"ApplyBatch": {**_task(arns["Apply"]), "End": True}},
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
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}],
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
            "Failed": {"Type": "Fail", "Error": "{% $states.input.Error %}", "Cause": "{% $states.input.Cause %}"},
        },
    }


def _task(arn: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": arn, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "Retry": _RETRY,
    }


def _step(arn: str) -> dict[str, Any]:
    return {**_task(arn), "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}]}
