"""A schedule that starts a function or a state machine."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.function import allow


class Schedule(Construct):
    """An EventBridge schedule with a role that may start just this target, bounded retries and dead letters."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        expression: str,
        target_arn: str,
        action: str,
        payload: dict[str, Any],
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, id)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com"))
        iam.ManagedPolicy(
            self,
            "Policy",
            roles=[role],
            statements=[allow([action], target_arn), allow(["sqs:SendMessage"], dead_letters.queue_arn)],
        )
        scheduler.CfnSchedule(
            self,
            "Schedule",
            schedule_expression=expression,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=target_arn,
                role_arn=role.role_arn,
                input=json.dumps(payload),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=3600, maximum_retry_attempts=10
                ),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters.queue_arn),
            ),
        )
