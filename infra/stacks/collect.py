"""Collect: the public tracking API, the archive, sources and quarantine."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from infra.constructs.api import ApiStage
from infra.constructs.function import Environment, Job
from infra.constructs.role import allow
from infra.constructs.schedule import Schedule
from infra.constructs.stream import StreamConsumer
from infra.parameters import Parameters
from infra.stacks.access import budgets, items, list_objects, objects, quarantine, read_control, read_stream
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack
from infra.stacks.files import add_imports

SDK_HEADERS = (
    *("authorization", "content-type", "content-encoding", "x-retry-count", "anonymousid", "sentat"),
    *("rsa-retry-attempt", "rsa-retry-reason", "rsa-since-last-attempt", "rsa-since-first-attempt", "rsa-recovered"),
    *("x-write-key", "x-enable-debug", "x-ip-policy"),
    # what tools that watch a page add to every fetch of it: a refused preflight would lose the events of such a site
    *("accept", "accept-language", "content-language", "cache-control", "pragma", "x-requested-with"),
    *("traceparent", "tracestate", "baggage", "sentry-trace", "newrelic", "x-datadog-origin", "x-datadog-trace-id"),
    *("x-datadog-parent-id", "x-datadog-sampling-priority", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"),
    *("x-amzn-trace-id", "request-id", "request-context"),
)


_PULLS = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["*#U#*"]}}
"""Of the table of deliveries just the pulls."""


class CollectStack(CapabilityStack):
    """Ingest API → stream → archive."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(
            scope, id, data=data, parameters=parameters, analytics=True, description="Hoso: collect", **more
        )
        self._ingest()
        self._lookups()
        self._hooks()
        self._pulls()
        self._archive()
        self._admin()
        self._plans()
        self.imports = add_imports(self)

    def _ingest(self) -> None:
        data = self.data
        self.ingest = self.function(
            "CollectFunction",
            Job(
                handler="hoso.collect.handlers.ingest.handler",
                description="Tracking API: validate, pack, put on the stream",
                environment=self._door(),
                permissions=[
                    *read_control(data),
                    budgets(data),
                    allow(["kinesis:PutRecords"], data.stream.stream_arn),
                    quarantine(data),
                ],
                timeout_s=15,
                memory_mb=1769,
                canary=True,
            ),
        )
        self.api = api.HttpApi(
            self,
            "IngestApi",
            description="Hoso tracking API",
            create_default_stage=False,
            disable_execute_api_endpoint=bool(self.parameters.ingest_domain),
            cors_preflight=api.CorsPreflightOptions(
                allow_origins=["*"],
                allow_methods=[api.CorsHttpMethod.GET, api.CorsHttpMethod.POST, api.CorsHttpMethod.OPTIONS],
                allow_headers=list(SDK_HEADERS),
                expose_headers=["retry-after"],
                max_age=cdk.Duration.days(1),
            ),
        )
        integration = HttpLambdaIntegration("Ingest", self.ingest.target)
        self.route = api.HttpRoute(
            self, "IngestRoute", http_api=self.api, route_key=api.HttpRouteKey.DEFAULT, integration=integration
        )
        self.stage = ApiStage(self, "Ingest", http=self.api, parameters=self.parameters, rate=2_000, burst=4_000)
        if self.parameters.ingest_domain:
            self._own_domain()
        address = self.parameters.ingest_url or self.api.api_endpoint
        cdk.CfnOutput(self, "IngestUrl", value=address, description="Host for the SDKs")

    def _door(self) -> Environment:
        """What a function needs that takes events from the world (``hoso.collect.build``)."""
        data = self.data
        return {
            "control_table": data.control.table_name,
            "delivery_table": data.delivery.table_name,
            "stream": data.stream.stream_name,
            "bucket": data.bucket.bucket_name,
            "public_url": self.parameters.ingest_url,
            "workspace_events_per_minute": str(self.parameters.workspace_events_per_minute),
        }

    def _lookups(self) -> None:
        """What senders of webhooks only name is fetched apart from the door, which fills the queue."""
        data = self.data
        self.lookups = self.queue_consumer(
            "Lookup",
            Job(
                handler="hoso.collect.handlers.lookups.handler",
                description="Details from the APIs of webhook sources, to the stream",
                environment={
                    "control_table": data.control.table_name,
                    "stream": data.stream.stream_name,
                    "bucket": data.bucket.bucket_name,
                },
                permissions=[
                    allow(["dynamodb:GetItem", "dynamodb:Query"], data.control.table_arn),
                    allow(["kinesis:PutRecords"], data.stream.stream_arn),
                    quarantine(data),
                ],
                timeout_s=300,
            ),
        )

    def _hooks(self) -> None:
        """Webhooks come to the tracking API's host, to a function of their own."""
        data = self.data
        self.hooks = self.function(
            "HookFunction",
            Job(
                handler="hoso.collect.handlers.hooks.handler",
                description="Webhooks: verify, map, put on the stream",
                environment={**self._door(), "lookups": self.lookups.queue.queue_url},
                permissions=[
                    # it faces the world: it reads sources, secrets and plans, and writes none of them
                    allow(["dynamodb:GetItem", "dynamodb:Query"], data.control.table_arn),
                    budgets(data),
                    allow(
                        ["dynamodb:GetItem", "dynamodb:PutItem"],
                        data.delivery.table_arn,
                        conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["*#H#*"]}},
                    ),
                    allow(["kinesis:PutRecords"], data.stream.stream_arn),
                    allow(["sqs:SendMessage"], self.lookups.queue.queue_arn),
                    quarantine(data),
                ],
                timeout_s=15,
                memory_mb=1024,
            ),
        )
        integration = HttpLambdaIntegration("Hooks", self.hooks.target)
        self.hook_routes = self.api.add_routes(
            path="/v1/hooks/{token}",
            methods=[api.HttpMethod.GET, api.HttpMethod.HEAD, api.HttpMethod.POST],
            integration=integration,
        )
        self.function(
            "HookAdminFunction",
            Job(
                handler="hoso.collect.handlers.hook_admin.handler",
                description="Admin API: webhook sources, their addresses and secrets",
                environment={
                    "control_table": data.control.table_name,
                    "delivery_table": data.delivery.table_name,
                    "public_url": self.parameters.ingest_url,
                },
                permissions=[
                    *read_control(data),
                    items(data.control, "Put"),
                    allow(["dynamodb:Query"], data.delivery.table_arn, conditions=_PULLS),
                ],
            ),
            routes=[
                "GET /v1/webhook-sources",
                "GET /v1/webhook-sources/{key}",
                "PUT /v1/webhook-sources/{key}",
                "POST /v1/webhook-sources/{key}/secrets",
                "DELETE /v1/webhook-sources/{key}/secrets/{id}",
                "POST /v1/webhook-sources/{key}/addresses",
                "DELETE /v1/webhook-sources/{key}/addresses/{id}",
                "GET /v1/webhook-sources/{key}/pulls",
            ],
        )

    def _pulls(self) -> None:
        """Bulk files of CRMs come to where files to import are dropped."""
        data = self.data
        pull = self.function(
            "PullFunction",
            Job(
                handler="hoso.collect.handlers.pulls.handler",
                description="Bulk files from the APIs of webhook sources, to imports",
                environment={
                    "control_table": data.control.table_name,
                    "delivery_table": data.delivery.table_name,
                    "bucket": data.bucket.bucket_name,
                },
                permissions=[
                    allow(["dynamodb:GetItem", "dynamodb:Query"], data.control.table_arn),
                    allow(["dynamodb:GetItem", "dynamodb:PutItem"], data.delivery.table_arn, conditions=_PULLS),
                    objects(data.bucket, ["s3:PutObject"], "imports/"),
                ],
                timeout_s=900,
                memory_mb=1024,
                asynchronous=True,
            ),
        )
        Schedule(
            self,
            "PullNow",
            expression="rate(15 minutes)",
            target_arn=pull.function.function_arn,
            action="lambda:InvokeFunction",
            payload={},
            dead_letters=self.failed,
        )

    def _own_domain(self) -> None:
        domain = api.DomainName(
            self,
            "Domain",
            domain_name=self.parameters.ingest_domain,
            certificate=certificates.Certificate.from_certificate_arn(
                self, "Certificate", self.parameters.ingest_certificate_arn
            ),
            security_policy=api.SecurityPolicy.TLS_1_2,
        )
        api.ApiMapping(self, "Mapping", api=self.api, domain_name=domain, stage=self.stage.stage)
        cdk.CfnOutput(
            self, "DomainTarget", value=domain.regional_domain_name, description="CNAME target of ingest_domain"
        )

    def _archive(self) -> None:
        data = self.data
        self.archive = self.function(
            "ArchiveFunction",
            Job(
                handler="hoso.collect.handlers.archive.handler",
                description="Stream to Parquet in the archive",
                environment={"bucket": data.bucket.bucket_name},
                permissions=[
                    *read_stream(data),
                    objects(data.bucket, ["s3:PutObject"], "archive/", "catalogue/"),
                    quarantine(data),
                ],
                analytics=True,
                timeout_s=120,
                memory_mb=1769,
                scratch_mb=1024,
            ),
        )
        StreamConsumer(
            self,
            "Archive",
            function=self.archive,
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
            Job(
                handler="hoso.collect.handlers.admin.handler",
                description="Admin API: sources, write keys, quarantine",
                environment={
                    "lookups": self.lookups.queue.queue_url,
                    "control_table": data.control.table_name,
                    "stream": data.stream.stream_name,
                    "bucket": data.bucket.bucket_name,
                },
                permissions=[
                    *read_control(data),
                    items(data.control, "Put"),
                    allow(["kinesis:PutRecords"], data.stream.stream_arn),
                    allow(["sqs:SendMessage"], self.lookups.queue.queue_arn),
                    objects(data.bucket, ["s3:GetObject", "s3:PutObject"], "quarantine/"),
                    list_objects(data.bucket),
                ],
            ),
            routes=[
                "GET /v1/sources",
                "PUT /v1/sources/{key}",
                "POST /v1/sources/{key}/keys",
                "DELETE /v1/sources/{key}/keys/{prefix}",
                "POST /v1/sources/{key}/rotate",
                "GET /v1/quarantine",
                "GET /v1/quarantine/{id}",
                "POST /v1/quarantine/{id}/replay",
                "POST /v1/quarantine/repair",
            ],
        )

    def _plans(self) -> None:
        data = self.data
        self.function(
            "PlanFunction",
            Job(
                handler="hoso.collect.handlers.plans.handler",
                description="Admin API: tracking plans",
                environment={"control_table": data.control.table_name},
                permissions=[*read_control(data), items(data.control, "Put", "Delete")],
            ),
            routes=[
                "GET /v1/plans",
                "GET /v1/plans/{key}",
                "PUT /v1/plans/{key}",
                "POST /v1/plans/{key}/preview",
                "GET /v1/plans/{key}/revisions",
            ],
        )
        self.function(
            "SeenFunction",
            Job(
                handler="hoso.collect.handlers.seen.handler",
                description="Admin API: catalogue of events, live feed",
                environment={
                    "control_table": data.control.table_name,
                    "stream": data.stream.stream_name,
                    "bucket": data.bucket.bucket_name,
                },
                permissions=[
                    allow(["dynamodb:GetItem"], data.control.table_arn),
                    allow(
                        ["kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"], data.stream.stream_arn
                    ),
                    objects(data.bucket, ["s3:GetObject"], "catalogue/", "catalogue-days/", "quarantine/"),
                    objects(data.bucket, ["s3:PutObject"], "catalogue-days/"),
                    list_objects(data.bucket),
                ],
                memory_mb=1769,
            ),
            routes=["GET /v1/catalogue", "GET /v1/catalogue/{event}", "GET /v1/sources/{key}/live"],
        )
