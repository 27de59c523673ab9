"""Activate: outbox to bus, one channel per kind of destination, triggers, the admin API of all that."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_ses as ses
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_lambda_event_sources import S3OnFailureDestination
from constructs import Construct

from infra.constructs.function import Environment, Job
from infra.constructs.role import allow
from infra.constructs.schedule import Schedule
from infra.parameters import Parameters
from infra.stacks.access import (
    FAILED_BATCHES,
    every_table,
    items,
    list_objects,
    objects,
    read_control,
    read_items,
    write_people,
)
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack

DOCUMENTS = ("destinations", "templates", "activations")


class ActivateStack(CapabilityStack):
    """Outbox → bus → queues → channels."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(scope, id, data=data, parameters=parameters, description="Hoso: activate", **more)
        self.work: dict[str, sqs.Queue] = {}
        """The channels' queues, by kind."""
        self._outbox()
        self._channels()
        self._suppressions()
        self._trigger()
        self._admin()

    def _outbox(self) -> None:
        data = self.data
        environment: Environment = {
            "control_table": data.control.table_name,
            "outbox_table": data.outbox.table_name,
            "delivery_table": data.delivery.table_name,
            "bus": data.bus.event_bus_name,
        }
        publish = [
            *read_control(data),
            items(data.outbox, "BatchGet", "Put", "BatchWrite"),
            allow(["events:PutEvents"], data.bus.event_bus_arn),
        ]
        stream_arn = data.outbox.table_stream_arn or ""
        sender = self.function(
            "OutboxFunction",
            Job(
                handler="hoso.activate.handlers.outbox.send",
                description="Outbox rows to the bus",
                environment=environment,
                permissions=[
                    *publish,
                    allow(["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], stream_arn),
                    allow(["dynamodb:ListStreams"], stream_arn),
                    objects(data.bucket, ["s3:PutObject"], FAILED_BATCHES),
                    list_objects(data.bucket),
                ],
            ),
        )
        lambda_.EventSourceMapping(
            self,
            "Outbox",
            target=sender.function,  # pyright: ignore[reportArgumentType]
            event_source_arn=stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=100,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=100,
            # The table's stream keeps records for 24 hours; what it drops by itself leaves no trace.
            max_record_age=cdk.Duration.hours(18),
            on_failure=S3OnFailureDestination(data.bucket),  # pyright: ignore[reportArgumentType]
            support_s3_on_failure_destination=True,
            filters=[lambda_.FilterCriteria.filter({"eventName": lambda_.FilterRule.is_equal("INSERT")})],
        ).node.add_dependency(sender.policy)
        sweeper = self.function(
            "OutboxSweepFunction",
            Job(
                handler="hoso.activate.handlers.outbox.sweep",
                description="Outbox rows that the stream did not deliver",
                environment=environment,
                permissions=[*publish, items(data.outbox, "Scan")],
                asynchronous=True,
            ),
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
        mails = ses.ConfigurationSet(self, "Mails")
        mails.add_event_destination(
            "Told",
            # SES speaks only to the default bus
            destination=ses.EventDestination.event_bus(events.EventBus.from_event_bus_name(self, "Default", "default")),
            events=[ses.EmailSendingEvent.BOUNCE, ses.EmailSendingEvent.COMPLAINT],
        )
        settings = self.format_arn(
            service="ses", resource="configuration-set", resource_name=mails.configuration_set_name
        )
        sender = self.parameters.mail_from
        # SES checks the identity that is verified: the address or its domain.
        identities = [
            self.format_arn(service="ses", resource="identity", resource_name=name)
            for name in (sender, sender.split("@")[1])
        ]
        for channel, extra in (("email", [allow(["ses:SendEmail"], *identities, settings)]), ("webhook", [])):
            job = Job(
                handler=f"hoso.activate.handlers.channel.{channel}",
                description=f"Channel: {channel}",
                environment={
                    **every_table(data),
                    "mail_from": sender,
                    "mail_configuration_set": mails.configuration_set_name,
                },
                permissions=[
                    *read_control(data),
                    read_items(data.profiles),
                    items(data.delivery, "Get", "BatchGet", "Put", "Delete", "BatchWrite"),
                    *extra,
                ],
                timeout_s=60,
            )
            self.work[channel] = self.bus_consumer(channel.capitalize(), job, channel=channel).queue

    def _suppressions(self) -> None:
        data = self.data
        job = Job(
            handler="hoso.activate.handlers.feedback.handler",
            description="Bounces and complaints of SES to suppressed addresses",
            environment=every_table(data),
            permissions=[*read_control(data), *write_people(data)],
            timeout_s=60,
        )
        self.work["suppression"] = self.bus_consumer("Suppression", job, bus=None, source="aws.ses").queue

    def _trigger(self) -> None:
        data = self.data
        job = Job(
            handler="hoso.activate.handlers.trigger.handler",
            description="Price changes to the people they concern",
            environment=every_table(data),
            permissions=[
                *read_control(data),
                read_items(data.profiles),
                items(data.delivery, "Get", "Put"),
                items(data.outbox, "BatchWrite"),
            ],
            timeout_s=300,
        )
        self.work["trigger"] = self.bus_consumer("Trigger", job, detail_type=["product.price_changed"]).queue

    def _admin(self) -> None:
        data = self.data
        self.function(
            "ActivateAdminFunction",
            Job(
                handler="hoso.activate.handlers.admin.handler",
                description="Admin API: destinations, templates, activations, products, deliveries",
                environment=every_table(data),
                permissions=[
                    *read_control(data),
                    items(data.control, "Put"),
                    read_items(data.delivery),
                    items(data.delivery, "Put", "Delete"),
                    items(data.outbox, "Put"),
                ],
            ),
            routes=[
                "GET /v1/destinations",
                *[f"GET /v1/{kind}/{{key}}" for kind in DOCUMENTS],
                *[f"PUT /v1/{kind}/{{key}}" for kind in DOCUMENTS],
                "PUT /v1/products/{key}",
                "GET /v1/deliveries",
                "POST /v1/deliveries/redrive",
            ],
        )
