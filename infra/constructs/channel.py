"""Queue with dead letters → function with its own pace; for a channel with a bus rule before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.function import Environment, HosoFunction, Job
from infra.constructs.queue import dead_letters, work_queue
from infra.constructs.role import allow
from infra.parameters import Parameters

BATCH = 10
SOURCE = "hoso"
TARGET_AGE_HOURS = 24
TARGET_RETRIES = 185


class QueueConsumer(Construct):
    """A function that works off a queue of its own.

    It gets the address of its dead-letter queue: what it gives up goes there with the reason.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        job: Job,
        layers: Sequence[lambda_.ILayerVersion],
        parameters: Parameters,
        concurrency: int = 5,
    ) -> None:
        super().__init__(scope, id)
        self.failed = dead_letters(self, "Failed")
        self.queue = work_queue(self, "Queue", failed=self.failed, visibility_s=job.timeout_s * 6)
        receive = allow(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            self.queue.queue_arn,
        )
        environment: Environment = {**job.environment, "dead_letters": self.failed.queue_url}
        job = replace(job, environment=environment, permissions=[*job.permissions, receive])
        self.worker = HosoFunction(
            scope, f"{id}Function", job=job, layers=layers, parameters=parameters, dead_letters=self.failed
        )
        self.mapping = lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=self.worker.function,  # pyright: ignore[reportArgumentType]
            event_source_arn=self.queue.queue_arn,
            batch_size=BATCH,
            report_batch_item_failures=True,
            max_concurrency=concurrency,
        )
        self.mapping.node.add_dependency(self.worker.policy)


class BusConsumer(QueueConsumer):
    """A function that works off the events of a pattern (``bus`` None: of the account's default bus)."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        bus: events.IEventBus | None,
        detail_type: Sequence[str] | None = None,
        channel: str | None = None,
        source: str = SOURCE,
        **more: Any,
    ) -> None:
        super().__init__(scope, id, **more)
        target = targets.SqsQueue(
            self.queue,
            dead_letter_queue=self.failed,
            max_event_age=cdk.Duration.hours(TARGET_AGE_HOURS),
            retry_attempts=TARGET_RETRIES,
        )
        events.Rule(
            self,
            "Rule",
            event_bus=bus,
            description=f"To {id}",
            event_pattern=events.EventPattern(
                source=[source],
                detail_type=list(detail_type) if detail_type else None,
                detail={"channels": [channel]} if channel else None,
            ),
            targets=[target],  # pyright: ignore[reportArgumentType]
        )
