"""A state machine that calls one function until it says that it is done, with the pauses that it asks for."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.function import HosoFunction
from infra.constructs.logs import log_group
from infra.constructs.role import allow, role
from infra.parameters import Parameters

_RETRY = [
    {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 8,
        "MaxDelaySeconds": 300,
        "JitterStrategy": "FULL",
    }
]
_DAYS = 7


class Loop(Construct):
    """Step → (done?) → wait → step. The function takes and answers the state, with ``done`` and ``wait_s``. When it has
    failed for good it is called once more, with ``error``, the kind of the last error, so that it can note the end."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        step: HosoFunction,
        parameters: Parameters,
        comment: str,
    ) -> None:
        super().__init__(scope, id)
        # Log delivery of Step Functions wants names under this prefix once many groups deliver.
        name = f"/aws/vendedlogs/states/{cdk.Stack.of(self).stack_name}-{id.lower()}"
        logs = log_group(self, "Logs", parameters, name)
        self.role, self.policy = role(
            self,
            "states.amazonaws.com",
            [
                allow(["lambda:InvokeFunction"], step.function.function_arn),
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
        text = cdk.Stack.of(self).to_json_string(definition(step.function.function_arn, comment))
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            definition_body=sfn.DefinitionBody.from_string(text),
            role=self.role.without_policy_updates(),
            tracing_enabled=parameters.tracing,
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=False),
            comment=comment,
        )
        self.machine.node.add_dependency(self.policy)


def definition(arn: str, comment: str) -> dict[str, Any]:
    """The machine in Amazon States Language (JSONPath)."""
    return {
        "Comment": comment,
        "StartAt": "Step",
        "TimeoutSeconds": _DAYS * 86_400,
        "States": {
            "Step": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": arn, "Payload.$": "$"},
                "OutputPath": "$.Payload",
                "Retry": _RETRY,
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Note"}],
                "Next": "Done",
            },
            "Done": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.done", "BooleanEquals": True, "Next": "End"},
                    {"Variable": "$.wait_s", "NumericGreaterThan": 0, "Next": "Pause"},
                ],
                "Default": "Step",
            },
            "Pause": {"Type": "Wait", "SecondsPath": "$.wait_s", "Next": "Step"},
            "Note": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {
                    "FunctionName": arn,
                    "Payload": {"workspace.$": "$.workspace", "replay.$": "$.replay", "error.$": "$.failure.Error"},
                },
                "ResultPath": None,
                "Retry": _RETRY,
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Failed"}],
                "Next": "Failed",
            },
            "Failed": {"Type": "Fail", "Error": "StepFailed", "Cause": "the step failed after all tries; see its log"},
            "End": {"Type": "Succeed"},
        },
    }
