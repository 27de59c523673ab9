"""A state machine of Lambda steps with a Distributed Map in it: role, logs, retries, and the rights of its children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.logs import log_group
from infra.constructs.role import allow, role
from infra.parameters import Parameters

# An Express child of a map lives five minutes at most; its function has to end, or fail, before.
LONGEST_BATCH_S = 240
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
CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}]


class MapMachine(Construct):
    """The machine of ``definition``; ``arns`` are its functions', ``prefix`` is where its items lie in the bucket."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        label: str,
        comment: str,
        arns: Mapping[str, str],
        definition: dict[str, Any],
        bucket: s3.IBucket,
        prefix: str,
        parameters: Parameters,
    ) -> None:
        super().__init__(scope, id)
        # Log delivery of Step Functions wants names under this prefix once many groups deliver.
        name = f"/aws/vendedlogs/states/{cdk.Stack.of(self).stack_name}-{label}"
        logs = log_group(self, "Logs", parameters, name)
        self.role, self.policy = role(
            self,
            "states.amazonaws.com",
            [
                allow(["lambda:InvokeFunction"], *arns.values()),
                allow(["s3:GetObject"], bucket.arn_for_objects(f"{prefix}*")),
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
            definition_body=sfn.DefinitionBody.from_string(cdk.Stack.of(self).to_json_string(definition)),
            role=self.role.without_policy_updates(),
            tracing_enabled=parameters.tracing,
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=False),
            comment=comment,
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


def step(arn: str) -> dict[str, Any]:
    """A task state that calls a function with its input, retries and catches; ``Next`` or ``End`` is the caller's."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": arn, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "Retry": _RETRY,
        "Catch": CATCH,
    }


def distributed_map(
    label: str,
    child: str,
    arn: str,
    *,
    bucket: str,
    key: str,
    batch: int,
    concurrency: int,
    tolerated_percent: float,
    failed: dict[str, Any],
    then: str,
) -> dict[str, Any]:
    """A Distributed Map over the JSON list that stands under ``key``, ``batch`` entries a child.

    ``child`` names the task in each child, whose function is ``arn``; ``bucket`` and ``key`` are names, or JSONata. The
    map hands its input on. Children that fail for good are let pass up to ``tolerated_percent``.
    """
    return {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Arguments": {"Bucket": bucket, "Key": key},
        },
        "ItemBatcher": {"MaxItemsPerBatch": batch, "BatchInput": "{% $states.input %}"},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": child,
            "States": {child: {**step(arn), "End": True}, "Failed": failed},
        },
        "MaxConcurrency": concurrency,
        "ToleratedFailurePercentage": tolerated_percent,
        "Label": label,
        "Output": "{% $states.input %}",
        "Catch": CATCH,
        "Next": then,
    }


def failed(error: str) -> dict[str, Any]:
    """The state ``Failed``: names of our own must not begin with "States.", so the cause tells which error it was."""
    return {
        "Type": "Fail",
        "Error": error,
        "Cause": "{% $substring($string($states.input.Error) & ': ' & $string($states.input.Cause), 0, 30000) %}",
    }
