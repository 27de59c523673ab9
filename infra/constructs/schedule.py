"""A schedule that starts a function or a state machine."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.role import allow, role


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
        statements = [allow([action], target_arn), allow(["sqs:SendMessage"], dead_letters.queue_arn)]
        starter, _ = role(self, "scheduler.amazonaws.com", statements)
        scheduler.CfnSchedule(
            self,
            "Schedule",
            schedule_expression=expression,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=target_arn,
                role_arn=starter.role_arn,
                input=json.dumps(payload),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=3600, maximum_retry_attempts=10
                ),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters.queue_arn),
            ),
        )
