"""Activate: outbox to bus, one channel per kind of destination, triggers, the admin API of all that."""

from __future__ import annotations

from typing import Any

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_lambda_event_sources import S3OnFailureDestination
from constructs import Construct

from infra.constructs.channel import BusConsumer
from infra.constructs.function import allow
from infra.constructs.schedule import Schedule
from infra.parameters import Parameters
from infra.stacks.access import objects, read_control, read_items, tables
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack

DOCUMENTS = ("destinations", "templates", "activations")


class ActivateStack(CapabilityStack):
    """Outbox → bus → queues → channels."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(scope, id, data=data, parameters=parameters, description="Hoso: activate", **more)
        self._tables = tables(data, "profiles", "control", "delivery", "outbox")
        self._outbox()
        self._channels()
        self._admin()

    def _outbox(self) -> None:
        data = self.data
        environment = {**tables(data, "control", "outbox"), "BUS": data.bus.event_bus_name}
        publish = [
            read_control(data),
            allow(["dynamodb:DeleteItem", "dynamodb:BatchWriteItem"], data.outbox.table_arn),
            allow(["events:PutEvents"], data.bus.event_bus_arn),
        ]
        stream_arn = data.outbox.table_stream_arn or ""
        sender = self.function(
            "OutboxFunction",
            "hoso.activate.handlers.outbox.send",
            "Outbox rows to the bus",
            environment=environment,
            permissions=[
                *publish,
                allow(["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], stream_arn),
                allow(["dynamodb:ListStreams"], stream_arn),
                objects(data.bucket, ["s3:PutObject"], "aws/lambda/"),
                allow(["s3:ListBucket"], data.bucket.bucket_arn),
            ],
        )
        lambda_.EventSourceMapping(
            self,
            "Outbox",
            target=sender.function,
            event_source_arn=stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=100,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=100,
            on_failure=S3OnFailureDestination(data.bucket),
            support_s3_on_failure_destination=True,
            filters=[lambda_.FilterCriteria.filter({"eventName": lambda_.FilterRule.is_equal("INSERT")})],
        ).node.add_dependency(sender.policy)
        sweeper = self.function(
            "OutboxSweepFunction",
            "hoso.activate.handlers.outbox.sweep",
            "Outbox rows that the stream did not deliver",
            environment=environment,
            permissions=[*publish, allow(["dynamodb:Scan"], data.outbox.table_arn)],
            asynchronous=True,
        )
        Schedule(
            self,
            "Sweep",
            expression="rate(5 minutes)",
            target_arn=sweeper.function.function_arn,
            action="lambda:InvokeFunction",
            payload={},
            dead_letters=self.failed,
        )

    def _channels(self) -> None:
        data = self.data
        send = [
            read_control(data),
            read_items(data.profiles),
            _write(data.delivery),
        ]
        environment = {**self._tables, "MAIL_FROM": self.parameters.mail_from}
        identity = self.format_arn(
            service="ses", resource="identity", resource_name=self.parameters.mail_from.split("@")[1]
        )
        for channel, extra in (
            ("email", [allow(["ses:SendEmail"], identity)]),
            ("webhook", [allow(["dynamodb:PutItem"], data.control.table_arn)]),
        ):
            name = channel.capitalize()
            consumer = BusConsumer(
                self,
                name,
                job=self.job(
                    f"hoso.activate.handlers.channel.{channel}",
                    f"Channel: {channel}",
                    environment=environment,
                    permissions=[*send, *extra],
                    timeout_s=60,
                ),
                bus=data.bus,
                parameters=self.parameters,
                channel=channel,
            )
            self.functions[f"{name}Function"] = consumer.worker
        trigger = BusConsumer(
            self,
            "Trigger",
            job=self.job(
                "hoso.activate.handlers.trigger.handler",
                "Price changes to the people they concern",
                environment=self._tables,
                permissions=[
                    read_control(data),
                    read_items(data.profiles),
                    allow(["dynamodb:PutItem", "dynamodb:BatchWriteItem"], data.outbox.table_arn),
                ],
                timeout_s=300,
            ),
            bus=data.bus,
            parameters=self.parameters,
            detail_type=["product.price_changed"],
        )
        self.functions["TriggerFunction"] = trigger.worker

    def _admin(self) -> None:
        data = self.data
        self.function(
            "ActivateAdminFunction",
            "hoso.activate.handlers.admin.handler",
            "Admin API: destinations, templates, activations, products, deliveries",
            environment=self._tables,
            permissions=[
                read_control(data),
                allow(["dynamodb:DeleteItem"], data.control.table_arn),
                read_items(data.profiles),
                read_items(data.delivery),
                _write(data.delivery),
                allow(["dynamodb:Scan"], data.delivery.table_arn),
                allow(["dynamodb:PutItem"], data.outbox.table_arn),
            ],
            routes=[
                "GET /v1/destinations",
                *[f"GET /v1/{kind}/{{key}}" for kind in DOCUMENTS],
                *[f"PUT /v1/{kind}/{{key}}" for kind in DOCUMENTS],
                "PUT /v1/products/{key}",
                "GET /v1/deliveries",
                "POST /v1/deliveries/redrive",
            ],
        )


def _write(table: dynamodb.ITable) -> Any:
    return allow(
        ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"], table.table_arn
    )
