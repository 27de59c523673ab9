"""The stage of an HTTP API: throttled, with access logs that hold neither address nor user."""

from __future__ import annotations

import json

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.parameters import Parameters

_FORMAT = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "routeKey": "$context.routeKey",
    "status": "$context.status",
    "responseLength": "$context.responseLength",
    "latency": "$context.responseLatency",
    "integrationError": "$context.integrationErrorMessage",
}


def stage(scope: Construct, http: api.HttpApi, parameters: Parameters, *, rate: int, burst: int) -> api.HttpStage:
    """The ``$default`` stage. ``rate`` is requests a second."""
    log_group = logs.LogGroup(
        scope,
        "AccessLogs",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=cdk.RemovalPolicy.RETAIN if parameters.production else cdk.RemovalPolicy.DESTROY,
    )
    made = api.HttpStage(
        scope,
        "Stage",
        http_api=http,
        stage_name="$default",
        auto_deploy=True,
        throttle=api.ThrottleSettings(rate_limit=rate, burst_limit=burst),
        detailed_metrics_enabled=True,
    )
    raw = made.node.default_child
    if isinstance(raw, api.CfnStage):
        raw.access_log_settings = api.CfnStage.AccessLogSettingsProperty(
            destination_arn=log_group.log_group_arn, format=json.dumps(_FORMAT)
        )
    return made
