"""Log groups, all with the retention of the parameters; production keeps them when a stack goes."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.parameters import Parameters

_RETENTION = {
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
}


def log_group(scope: Construct, id: str, parameters: Parameters, name: str | None = None) -> logs.LogGroup:  # noqa: A002
    """A log group. ``name`` only where a service wants a certain prefix; such a group goes with its stack, since a kept
    one would stand in the way of the next stack."""
    return logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        retention=_RETENTION[parameters.log_retention_days],
        removal_policy=cdk.RemovalPolicy.RETAIN
        if parameters.production and name is None
        else cdk.RemovalPolicy.DESTROY,
    )
