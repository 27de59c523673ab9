"""A channel: bus rule → queue with dead letters → function with its own pace."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.function import HosoFunction, Job, allow
from infra.constructs.queue import dead_letters, work_queue
from infra.parameters import Parameters

BATCH = 10
SOURCE = "hoso"
TARGET_AGE_HOURS = 24
TARGET_RETRIES = 185


class BusConsumer(Construct):
    """A function that works off the bus events of a pattern, through a queue of its own."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        job: Job,
        bus: events.IEventBus,
        parameters: Parameters,
        detail_type: Sequence[str] | None = None,
        channel: str | None = None,
        concurrency: int = 5,
    ) -> None:
        super().__init__(scope, id)
        self.failed = dead_letters(self, "Failed")
        self.queue = work_queue(self, "Queue", failed=self.failed, visibility_s=job.timeout_s * 6)
        receive = allow(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            self.queue.queue_arn,
        )
        allowed = Job(
            handler=job.handler,
            description=job.description,
            environment=job.environment,
            permissions=[*job.permissions, receive],
            layers=job.layers,
            timeout_s=job.timeout_s,
            memory_mb=job.memory_mb,
        )
        self.worker = HosoFunction(scope, f"{id}Function", job=allowed, parameters=parameters, dead_letters=self.failed)
        self.mapping = lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=self.worker.function,
            event_source_arn=self.queue.queue_arn,
            batch_size=BATCH,
            report_batch_item_failures=True,
            max_concurrency=concurrency,
        )
        self.mapping.node.add_dependency(self.worker.policy)
        events.Rule(
            self,
            "Rule",
            event_bus=bus,
            description=f"To {id}",
            event_pattern=events.EventPattern(
                source=[SOURCE],
                detail_type=list(detail_type) if detail_type else None,
                detail={"channels": [channel]} if channel else None,
            ),
            targets=[
                targets.SqsQueue(
                    self.queue,
                    dead_letter_queue=self.failed,
                    max_event_age=cdk.Duration.hours(TARGET_AGE_HOURS),
                    retry_attempts=TARGET_RETRIES,
                )
            ],
        )
