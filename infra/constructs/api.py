"""The stage of an HTTP API: throttled, with access logs that hold neither address nor user."""

from __future__ import annotations

import json
from typing import cast

from aws_cdk import aws_apigatewayv2 as api
from constructs import Construct

from infra.constructs.logs import log_group
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


class ApiStage(Construct):
    """The ``$default`` stage. ``rate`` is requests a second."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        http: api.HttpApi,
        parameters: Parameters,
        rate: int,
        burst: int,
    ) -> None:
        super().__init__(scope, id)
        self.logs = log_group(self, "AccessLogs", parameters)
        self.stage = api.HttpStage(
            self,
            "Stage",
            http_api=http,
            stage_name="$default",
            auto_deploy=True,
            throttle=api.ThrottleSettings(rate_limit=rate, burst_limit=burst),
        )
        raw = cast("api.CfnStage", self.stage.node.default_child)
        raw.access_log_settings = api.CfnStage.AccessLogSettingsProperty(
            destination_arn=self.logs.log_group_arn, format=json.dumps(_FORMAT)
        )
