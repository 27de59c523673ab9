"""Collect: the public tracking API, the archive, sources and quarantine."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from infra.constructs.api import stage
from infra.constructs.function import allow
from infra.constructs.stream import StreamConsumer
from infra.parameters import Parameters
from infra.stacks.access import objects, quarantine, read_control, read_stream, tables
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack

SDK_HEADERS = (
    *("authorization", "content-type", "content-encoding", "x-retry-count", "anonymousid", "sentat"),
    *("rsa-retry-attempt", "rsa-retry-reason", "rsa-since-last-attempt", "rsa-since-first-attempt", "rsa-recovered"),
    *("x-write-key", "x-enable-debug", "x-ip-policy"),
)


class CollectStack(CapabilityStack):
    """Ingest API → stream → archive."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(
            scope, id, data=data, parameters=parameters, analytics=True, description="Hoso: collect", **more
        )
        self._ingest()
        self._archive()
        self._admin()

    def _ingest(self) -> None:
        data = self.data
        ingest = self.function(
            "CollectFunction",
            "hoso.collect.handlers.ingest.handler",
            "Tracking API: validate, pack, put on the stream",
            environment={
                **tables(data, "control"),
                "STREAM": data.stream.stream_name,
                "BUCKET": data.bucket.bucket_name,
                "PUBLIC_URL": self.parameters.public_url,
            },
            permissions=[
                allow(["dynamodb:GetItem", "dynamodb:Query"], data.control.table_arn),
                allow(["kinesis:PutRecords"], data.stream.stream_arn),
                quarantine(data),
            ],
            timeout_s=15,
            memory_mb=1769,
        )
        self.api = api.HttpApi(
            self,
            "IngestApi",
            description="Hoso tracking API",
            create_default_stage=False,
            cors_preflight=api.CorsPreflightOptions(
                allow_origins=["*"],
                allow_methods=[api.CorsHttpMethod.GET, api.CorsHttpMethod.POST, api.CorsHttpMethod.OPTIONS],
                allow_headers=list(SDK_HEADERS),
                expose_headers=["retry-after"],
                max_age=cdk.Duration.days(1),
            ),
        )
        integration = HttpLambdaIntegration("Ingest", ingest.function)
        self.route = api.HttpRoute(
            self, "IngestRoute", http_api=self.api, route_key=api.HttpRouteKey.DEFAULT, integration=integration
        )
        self.stage = stage(self, self.api, self.parameters, rate=2_000, burst=4_000)
        cdk.CfnOutput(self, "IngestUrl", value=self.api.api_endpoint, description="Host for the SDKs")

    def _archive(self) -> None:
        data = self.data
        archive = self.function(
            "ArchiveFunction",
            "hoso.collect.handlers.archive.handler",
            "Stream to Parquet in the archive",
            environment={"BUCKET": data.bucket.bucket_name, "STREAM": data.stream.stream_name},
            permissions=[
                read_stream(data),
                objects(data.bucket, ["s3:PutObject"], "archive/", "quarantine/", "aws/lambda/"),
                allow(["s3:ListBucket"], data.bucket.bucket_arn),
            ],
            analytics=True,
            timeout_s=120,
            memory_mb=1769,
            scratch_mb=1024,
        )
        StreamConsumer(
            self,
            "Archive",
            function=archive,
            stream=data.stream,
            failures=data.bucket,
            parameters=self.parameters,
            batch=10_000,
            window_s=60 if self.parameters.production else 5,
        )

    def _admin(self) -> None:
        data = self.data
        self.function(
            "CollectAdminFunction",
            "hoso.collect.handlers.admin.handler",
            "Admin API: sources, write keys, quarantine",
            environment={
                **tables(data, "control"),
                "STREAM": data.stream.stream_name,
                "BUCKET": data.bucket.bucket_name,
            },
            permissions=[
                read_control(data),
                allow(["dynamodb:UpdateItem", "dynamodb:DeleteItem"], data.control.table_arn),
                allow(["kinesis:PutRecords"], data.stream.stream_arn),
                objects(data.bucket, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "quarantine/"),
                allow(["s3:ListBucket"], data.bucket.bucket_arn),
            ],
            routes=[
                "GET /v1/sources",
                "PUT /v1/sources/{key}",
                "POST /v1/sources/{key}/keys",
                "DELETE /v1/sources/{key}/keys/{prefix}",
                "GET /v1/quarantine",
                "GET /v1/quarantine/{id}",
                "POST /v1/quarantine/{id}/replay",
            ],
        )
