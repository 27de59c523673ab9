"""Segment: the due sweeper, the nightly machine, SQL, the segments' admin API."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from infra.constructs.function import Environment, Job
from infra.constructs.nightly import LIKENESS, LONGEST_BATCH_S, STEPS, NightlyMachine
from infra.constructs.role import allow
from infra.constructs.schedule import Schedule
from infra.parameters import Parameters
from infra.stacks.access import (
    erase_people,
    every_table,
    items,
    list_objects,
    objects,
    read_control,
    read_items,
    write_documents,
    write_people,
)
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack

DESCRIPTIONS = {
    "Compact": "Nightly: days of the archive to few files",
    "Candidates": "Nightly: pairs of people that may be one person",
    "Weights": "Nightly: how probable each pair is",
    "Decisions": "Nightly: who is linked, asked about, taken apart",
    "Link": "Nightly: links and questions to identity and queue",
    "Snapshot": "Nightly: people and identities to Parquet",
    "Traits": "Nightly: computed traits and scores of everybody",
    "Store": "Nightly: fresh values to the people",
    "Evaluate": "Nightly: all segments by SQL, differences to batches",
    "Apply": "Nightly: differences to memberships",
    "Report": "Nightly: the report",
}
STEP_MEMORY_MB = 3538
STEP_SCRATCH_MB = 4096
MATCHING_MEMORY_MB = 10_240
"""Matching holds everybody in memory: about 2 million people fit (docs/likeness.md)."""


class SegmentStack(CapabilityStack):
    """Timers, nightly work, SQL."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(
            scope, id, data=data, parameters=parameters, analytics=True, description="Hoso: segment", **more
        )
        self._everything: Environment = {**every_table(data), "bucket": data.bucket.bucket_name}
        self._due()
        self._nightly()
        self._sql()
        self._admin()
        self._lists()

    def _due(self) -> None:
        data = self.data
        sweeper = self.function(
            "DueFunction",
            Job(
                handler="hoso.segment.handlers.due.handler",
                description="Memberships that time alone changes",
                # several threads: half a processor for evaluating, the rest is waiting for the tables
                memory_mb=1024,
                environment=every_table(data),
                permissions=[
                    *read_control(data),
                    *write_people(data),
                    *erase_people(data),
                    items(data.delivery, "Delete", "Scan"),
                ],
                timeout_s=55,
                asynchronous=True,
            ),
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
        bucket = data.bucket
        lease = items(data.delivery, "Get", "Put")
        files = [objects(bucket, ["s3:GetObject", "s3:PutObject"], "nightly/"), list_objects(bucket)]
        archive = objects(bucket, ["s3:GetObject"], "archive/", "archive-compact/")
        matching = [objects(bucket, ["s3:GetObject"], "matching/"), items(data.control, "BatchGet")]
        permissions = {
            "Compact": [
                lease,
                *files,
                *read_control(data),
                archive,
                objects(bucket, ["s3:PutObject", "s3:DeleteObject"], "archive-compact/"),
                objects(bucket, ["s3:GetObject"], "catalogue/", "catalogue-days/"),
                objects(bucket, ["s3:PutObject"], "catalogue-days/"),
            ],
            "Snapshot": [
                lease,
                *files,
                *read_control(data),
                read_items(data.profiles),
                items(data.profiles, "Scan", "Put", "Update", "ConditionCheck"),
                allow(["dynamodb:Query"], data.delivery.table_arn),
            ],
            "Candidates": [
                lease,
                *files,
                *matching,
                *read_control(data),
                read_items(data.profiles),
                items(data.profiles, "Scan"),
            ],
            "Weights": [lease, *files, *matching, *read_control(data)],
            "Decisions": [lease, *files, *matching, *read_control(data)],
            "Link": [
                items(data.delivery, "Get"),
                *files,
                *read_control(data),
                *write_people(data),
                items(data.control, "Put", "Delete"),
            ],
            "Traits": [lease, *files, archive],
            "Store": [items(data.delivery, "Get"), *files, *read_control(data), *write_people(data)],
            "Evaluate": [lease, *files, archive],
            "Apply": [items(data.delivery, "Get"), *files, *read_control(data), *write_people(data)],
            "Report": [lease, *files, objects(bucket, ["s3:PutObject"], "matching/")],
        }
        steps = {
            step: self.function(
                f"Nightly{step}Function",
                Job(
                    handler=f"hoso.{'unify.handlers.likeness' if step in LIKENESS else 'segment.handlers.nightly'}."
                    f"{step.lower()}",
                    description=DESCRIPTIONS[step],
                    environment=self._everything,
                    permissions=permissions[step],
                    analytics=True,
                    timeout_s=LONGEST_BATCH_S if step in ("Apply", "Link", "Store") else 900,
                    memory_mb=MATCHING_MEMORY_MB if step in LIKENESS[:3] else STEP_MEMORY_MB,
                    scratch_mb=STEP_SCRATCH_MB,
                ),
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
            payload={
                "as_of": "<aws.scheduler.scheduled-time>",
                "workspace": self.parameters.workspace,
                # Names the owner of the lease: the steps' own retries get it again, a start that came twice does not.
                "execution": "<aws.scheduler.execution-id>",
            },
            dead_letters=self.failed,
        )

    def _sql(self) -> None:
        data = self.data
        self.function(
            "SqlFunction",
            Job(
                handler="hoso.insight.handlers.sql.handler",
                description="Admin API: SQL over events, profiles, identities, memberships, deliveries",
                environment=self._everything,
                permissions=[
                    *read_control(data),
                    read_items(data.profiles),
                    items(data.profiles, "Scan"),
                    items(data.delivery, "Scan"),
                    objects(data.bucket, ["s3:GetObject"], "archive/", "archive-compact/", "nightly/"),
                    list_objects(data.bucket),
                ],
                analytics=True,
                timeout_s=29,
                memory_mb=STEP_MEMORY_MB,
                scratch_mb=STEP_SCRATCH_MB,
            ),
            routes=["POST /v1/sql"],
        )

    def _lists(self) -> None:
        data = self.data
        self.function(
            "ListsFunction",
            Job(
                handler="hoso.segment.handlers.lists.handler",
                description="Admin API: lists and suppression lists",
                environment=every_table(data),
                permissions=[
                    *read_control(data),
                    *write_people(data),
                    *write_documents(data, "list", "audit"),
                    items(data.control, "Delete"),
                    allow(["dynamodb:Query"], data.delivery.table_arn),
                ],
                timeout_s=29,
                memory_mb=1769,
            ),
            routes=[
                "GET /v1/lists",
                "GET /v1/lists/{key}",
                "PUT /v1/lists/{key}",
                "DELETE /v1/lists/{key}",
                "POST /v1/lists/{key}/members",
                "GET /v1/lists/{key}/members",
                "POST /v1/suppressions",
                "GET /v1/suppressions",
            ],
        )

    def _admin(self) -> None:
        data = self.data
        machine = self.nightly.machine
        self.function(
            "SegmentAdminFunction",
            Job(
                handler="hoso.segment.handlers.admin.handler",
                description="Admin API: segments, previews, members, nightly runs",
                environment={**self._everything, "machine": machine.state_machine_arn},
                permissions=[
                    *read_control(data),
                    items(data.control, "Put", "Delete"),
                    read_items(data.profiles),
                    items(data.profiles, "Scan"),
                    objects(data.bucket, ["s3:GetObject"], "archive/", "archive-compact/", "nightly/"),
                    list_objects(data.bucket),
                    allow(["states:StartExecution"], machine.state_machine_arn),
                    allow(["states:DescribeExecution"], self.nightly.executions_arn),
                ],
                analytics=True,
                timeout_s=29,
                memory_mb=STEP_MEMORY_MB,
                scratch_mb=STEP_SCRATCH_MB,
            ),
            routes=[
                "GET /v1/segments",
                "GET /v1/segments/{key}",
                "PUT /v1/segments/{key}",
                "GET /v1/segments/{key}/revisions",
                "PUT /v1/segments/{key}/state",
                "GET /v1/segments/{key}/members",
                "GET /v1/segments/{key}/why/{id}",
                "POST /v1/segments/{key}/backfill",
                "GET /v1/backfills/{name}",
                "POST /v1/previews",
                "POST /v1/differences",
                "GET /v1/computed-traits",
                "GET /v1/computed-traits/{key}",
                "GET /v1/computed-traits/{key}/history",
                "PUT /v1/computed-traits/{key}",
                "DELETE /v1/computed-traits/{key}",
                "POST /v1/nightly",
                "GET /v1/nightly/{name}",
            ],
        )
