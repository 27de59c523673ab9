"""Segment: the due sweeper, the nightly machine, SQL, the segments' admin API."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from infra.constructs.function import allow
from infra.constructs.nightly import STEPS, NightlyMachine
from infra.constructs.schedule import Schedule
from infra.parameters import Parameters
from infra.stacks.access import objects, read_control, read_items, tables, write_people
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack

DESCRIPTIONS = {
    "Compact": "Nightly: days of the archive to few files",
    "Snapshot": "Nightly: people and identities to Parquet",
    "Evaluate": "Nightly: all segments by SQL, differences to batches",
    "Apply": "Nightly: differences to memberships",
    "Report": "Nightly: the report",
}
STEP_MEMORY_MB = 3538


class SegmentStack(CapabilityStack):
    """Timers, nightly work, SQL."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(
            scope, id, data=data, parameters=parameters, analytics=True, description="Hoso: segment", **more
        )
        self._everything = {
            **tables(data, "profiles", "control", "delivery", "outbox"),
            "BUCKET": data.bucket.bucket_name,
        }
        self._due()
        self._nightly()
        self._sql()
        self._admin()

    def _due(self) -> None:
        data = self.data
        sweeper = self.function(
            "DueFunction",
            "hoso.segment.handlers.due.handler",
            "Memberships that time alone changes",
            environment=tables(data, "profiles", "control", "delivery", "outbox"),
            permissions=[
                read_control(data),
                *write_people(data),
                read_items(data.delivery),
                allow(["dynamodb:UpdateItem", "dynamodb:BatchWriteItem"], data.delivery.table_arn),
            ],
            timeout_s=55,
            asynchronous=True,
        )
        Schedule(
            self,
            "EveryMinute",
            expression="rate(1 minute)",
            target_arn=sweeper.function.function_arn,
            action="lambda:InvokeFunction",
            payload={},
            dead_letters=self.failed,
        )

    def _nightly(self) -> None:
        data = self.data
        work = [
            read_control(data),
            *write_people(data),
            read_items(data.delivery),
            allow(["dynamodb:Scan"], data.profiles.table_arn),
            allow(["dynamodb:UpdateItem"], data.delivery.table_arn),
            objects(data.bucket, ["s3:GetObject"], "archive/", "archive-compact/", "nightly/"),
            objects(data.bucket, ["s3:PutObject", "s3:DeleteObject"], "archive-compact/", "nightly/"),
            allow(["s3:ListBucket"], data.bucket.bucket_arn),
        ]
        steps = {
            step: self.function(
                f"Nightly{step}Function",
                f"hoso.segment.handlers.nightly.{step.lower()}",
                DESCRIPTIONS[step],
                environment=self._everything,
                permissions=work,
                analytics=True,
                timeout_s=900,
                memory_mb=STEP_MEMORY_MB,
                scratch_mb=4096,
            )
            for step in STEPS
        }
        self.nightly = NightlyMachine(self, "Nightly", functions=steps, bucket=data.bucket, parameters=self.parameters)
        Schedule(
            self,
            "EveryNight",
            expression=f"cron(0 {self.parameters.nightly_hour_utc} * * ? *)",
            target_arn=self.nightly.machine.state_machine_arn,
            action="states:StartExecution",
            payload={"as_of": "<aws.scheduler.scheduled-time>", "workspace": self.parameters.workspace},
            dead_letters=self.failed,
        )

    def _sql(self) -> None:
        data = self.data
        self.function(
            "SqlFunction",
            "hoso.insight.handlers.sql.handler",
            "Admin API: SQL over events, profiles, identities, memberships, deliveries",
            environment=self._everything,
            permissions=[
                read_control(data),
                read_items(data.profiles),
                allow(["dynamodb:Scan"], data.profiles.table_arn, data.delivery.table_arn),
                objects(data.bucket, ["s3:GetObject"], "archive/", "archive-compact/", "nightly/"),
                allow(["s3:ListBucket"], data.bucket.bucket_arn),
            ],
            analytics=True,
            timeout_s=29,
            memory_mb=STEP_MEMORY_MB,
            scratch_mb=4096,
            routes=["POST /v1/sql"],
        )

    def _admin(self) -> None:
        data = self.data
        machine = self.nightly.machine
        executions = self.nightly.executions_arn
        self.function(
            "SegmentAdminFunction",
            "hoso.segment.handlers.admin.handler",
            "Admin API: segments, members, nightly runs",
            environment={**self._everything, "MACHINE": machine.state_machine_arn},
            permissions=[
                read_control(data),
                allow(["dynamodb:DeleteItem"], data.control.table_arn),
                read_items(data.profiles),
                allow(["states:StartExecution"], machine.state_machine_arn),
                allow(["states:DescribeExecution"], executions),
                objects(data.bucket, ["s3:GetObject"], "nightly/"),
            ],
            routes=[
                "GET /v1/segments",
                "GET /v1/segments/{key}",
                "PUT /v1/segments/{key}",
                "GET /v1/segments/{key}/members",
                "POST /v1/nightly",
                "GET /v1/nightly/{name}",
            ],
        )
