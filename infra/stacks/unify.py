"""Unify: the stream consumer and the profile API."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from infra.constructs.function import Environment, Job
from infra.constructs.loop import Loop
from infra.constructs.role import allow
from infra.constructs.schedule import Schedule
from infra.constructs.stream import StreamConsumer
from infra.parameters import Parameters
from infra.stacks.access import (
    FAILED_BATCHES,
    access_tokens,
    budgets,
    erase_people,
    every_table,
    items,
    list_objects,
    objects,
    quarantine,
    read_control,
    read_items,
    read_stream,
    write_documents,
    write_people,
)
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack


class UnifyStack(CapabilityStack):
    """Stream → people."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(scope, id, data=data, parameters=parameters, analytics=True, description="Hoso: unify", **more)
        self.consume = self.function(
            "ConsumeFunction",
            Job(
                handler="hoso.unify.handlers.consume.handler",
                description="Stream to people: duplicates, identity, state, live segments",
                environment={
                    **every_table(data),
                    "bucket": data.bucket.bucket_name,
                    "new_profiles_per_hour": str(parameters.new_profiles_per_hour),
                },
                permissions=[
                    *read_stream(data),
                    *read_control(data),
                    *write_people(data),
                    budgets(data),
                    quarantine(data),
                ],
                timeout_s=120,
                memory_mb=1769,
                canary=True,
            ),
        )
        StreamConsumer(
            self,
            "Consume",
            function=self.consume,
            stream=data.stream,
            failures=data.bucket,
            parameters=parameters,
            batch=1_000,
            window_s=1,
            parallel=10 if parameters.production else 1,
        )
        self.function(
            "ProfileFunction",
            Job(
                handler="hoso.unify.handlers.profiles.handler",
                description="Admin API: profiles, timelines, sessions, greetings, trait policies",
                environment=every_table(data),
                permissions=[
                    *read_control(data),
                    read_items(data.profiles),
                    *write_documents(data, "traits"),
                    access_tokens(data),
                ],
            ),
            routes=[
                "GET /v1/profiles/{id}",
                "POST /v1/profiles/batch",
                "GET /v1/profiles/{id}/timeline",
                "GET /v1/profiles/{id}/sessions",
                "GET /v1/host/{store}/greeting",
                "GET /v1/traits/policies",
                "PUT /v1/traits/policies",
                "GET /v1/tokens",
                "POST /v1/tokens",
                "DELETE /v1/tokens/{prefix}",
            ],
        )
        self.function(
            "SpacesFunction",
            Job(
                handler="hoso.unify.handlers.spaces.handler",
                description="Profiles in the shape of Segment's Profile API, for access tokens",
                environment=every_table(data),
                permissions=[*read_control(data), read_items(data.profiles)],
            ),
            open_routes=[
                "GET /v1/spaces/{space}/collections/{collection}/profiles/{id}/{part}",
                "GET /v1/spaces/{space}/host/{store}/greeting",
            ],
        )
        self.function(
            "PastFunction",
            Job(
                handler="hoso.unify.handlers.past.handler",
                description="Admin API: people at moments that only the archive remembers",
                environment={**every_table(data), "bucket": data.bucket.bucket_name},
                permissions=[
                    *read_control(data),
                    read_items(data.profiles),
                    objects(data.bucket, ["s3:GetObject"], "archive/", "archive-compact/", "nightly/"),
                    list_objects(data.bucket),
                ],
                analytics=True,
                timeout_s=29,
                memory_mb=3538,
                scratch_mb=4096,
            ),
            routes=["GET /v1/profiles/{id}/past"],
        )
        self._people()
        self._replays()
        self._copies()
        self._failed_batches()

    def _replays(self) -> None:
        data = self.data
        environment: Environment = {
            **every_table(data),
            "shadow_table": data.shadow.table_name,
            "bucket": data.bucket.bucket_name,
            "stream": data.stream.stream_name,
        }
        read = [
            *read_control(data),
            objects(data.bucket, ["s3:GetObject"], "archive/", "archive-compact/", "nightly/"),
            list_objects(data.bucket),
            read_items(data.delivery),
            items(data.delivery, "Put"),
        ]
        worker = self.function(
            "ReplayFunction",
            Job(
                handler="hoso.unify.handlers.switches.step",
                description="A step of a replay, or of a switch of the identity rules",
                environment=environment,
                permissions=[
                    *read,
                    read_items(data.shadow),
                    items(data.shadow, "Put", "Update", "Delete", "BatchWrite", "ConditionCheck", "Scan"),
                    *write_people(data),
                    items(data.profiles, "Scan"),
                    quarantine(data),
                    objects(data.bucket, ["s3:PutObject"], "archive-compact/", "nightly/"),
                    objects(data.bucket, ["s3:DeleteObject"], "archive-compact/"),
                    allow(["kinesis:PutRecords"], data.stream.stream_arn),
                ],
                analytics=True,
                timeout_s=900,
                memory_mb=3538,
                scratch_mb=4096,
            ),
        )
        self.replays = Loop(self, "Replay", step=worker, parameters=self.parameters, comment="Hoso replay")
        self.function(
            "ReplayAdminFunction",
            Job(
                handler="hoso.unify.handlers.switches.handler",
                description="Admin API: replays of the archive, switches of the identity rules",
                environment={**environment, "machine": self.replays.machine.state_machine_arn},
                permissions=[
                    *read,
                    items(data.control, "Put"),
                    allow(["states:StartExecution"], self.replays.machine.state_machine_arn),
                ],
                analytics=True,
                timeout_s=29,
                memory_mb=3538,
                scratch_mb=4096,
            ),
            routes=[
                "POST /v1/replays",
                "GET /v1/replays",
                "GET /v1/replays/{id}",
                "POST /v1/replays/{id}/stop",
                "GET /v1/duplicates",
                "POST /v1/identity/switches",
                "GET /v1/identity/switches",
                "GET /v1/identity/switches/{id}",
                "POST /v1/identity/switches/{id}/commit",
                "POST /v1/identity/switches/{id}/settle",
                "POST /v1/identity/switches/{id}/stop",
            ],
        )

    def _failed_batches(self) -> None:
        """What does the batches again that a consumer of a stream gave up: the work of all three, in one function."""
        data = self.data
        self.function(
            "FailedBatchesFunction",
            Job(
                handler="hoso.govern.handlers.failed_batches.handler",
                description="Admin API: stream batches that were given up",
                environment={
                    **every_table(data),
                    "bucket": data.bucket.bucket_name,
                    "bus": data.bus.event_bus_name,
                    "new_profiles_per_hour": str(self.parameters.new_profiles_per_hour),
                    # a batch may have waited longer than clients repeat themselves
                    "dedupe_days": "400",
                },
                permissions=[
                    *read_control(data),
                    *write_documents(data, "audit"),
                    *write_people(data),
                    budgets(data),
                    quarantine(data),
                    items(data.outbox, "BatchGet", "BatchWrite"),
                    allow(["events:PutEvents"], data.bus.event_bus_arn),
                    objects(data.bucket, ["s3:PutObject"], "archive/", "catalogue/"),
                    objects(data.bucket, ["s3:GetObject", "s3:DeleteObject"], FAILED_BATCHES),
                    list_objects(data.bucket),
                ],
                analytics=True,
                timeout_s=29,
                memory_mb=1769,
                scratch_mb=1024,
            ),
            routes=["GET /v1/failed-batches", "GET /v1/failed-batches/{id}", "POST /v1/failed-batches/redrive"],
        )

    def _copies(self) -> None:
        """What takes out copies of messages that came under several identifiers: when asked to, and each night."""
        data = self.data
        shared: dict[str, Any] = {
            "environment": {**every_table(data), "bucket": data.bucket.bucket_name},
            "analytics": True,
            "memory_mb": 3538,
            "scratch_mb": 4096,
        }
        permissions = [
            *read_control(data),
            *write_people(data),
            quarantine(data),
            objects(data.bucket, ["s3:GetObject"], "archive/", "archive-compact/", "nightly/"),
            list_objects(data.bucket),
        ]
        self.function(
            "CopiesFunction",
            Job(
                handler="hoso.unify.handlers.copies.handler",
                description="Admin API: copies of messages under several identifiers out of state",
                permissions=[*permissions, *write_documents(data, "audit")],
                timeout_s=29,
                **shared,
            ),
            routes=["POST /v1/duplicates/repair"],
        )
        nightly = self.function(
            "CopiesNightlyFunction",
            Job(
                handler="hoso.unify.handlers.copies.nightly",
                description="Each night: copies of messages under several identifiers out of state",
                permissions=[*permissions, objects(data.bucket, ["s3:PutObject"], "nightly/")],
                timeout_s=900,
                asynchronous=True,
                **shared,
            ),
        )
        hour = (int(self.parameters.nightly_hour_utc) - 1) % 24
        Schedule(
            self,
            "CopiesEveryNight",
            expression=f"cron(30 {hour} * * ? *)",
            target_arn=nightly.function.function_arn,
            action="lambda:InvokeFunction",
            payload={},
            dead_letters=self.failed,
        )

    def _people(self) -> None:
        data = self.data
        self.function(
            "IdentityRulesFunction",
            Job(
                handler="hoso.unify.handlers.identity_rules.handler",
                description="Admin API: identity rules, their preview and their switch",
                environment=every_table(data),
                permissions=[
                    *read_control(data),
                    *write_people(data),
                    *write_documents(data, "identity", "audit"),
                    items(data.profiles, "Scan"),
                ],
                timeout_s=29,
                memory_mb=1769,
            ),
            routes=[
                "GET /v1/identity/rules",
                "PUT /v1/identity/rules",
                "GET /v1/identity/rules/revisions",
                "POST /v1/identity/rules/preview",
                "POST /v1/identity/rules/rederive",
            ],
        )
        self.function(
            "PeopleFunction",
            Job(
                handler="hoso.unify.handlers.people.handler",
                description="Admin API: why identifiers are one person, merge log, unmerge, block, allow, erase",
                environment=every_table(data),
                permissions=[
                    *read_control(data),
                    *write_people(data),
                    *write_documents(data, "audit"),
                    *erase_people(data),
                ],
                timeout_s=29,
            ),
            routes=[
                "GET /v1/people/{id}/why",
                "GET /v1/people/{id}/merges",
                "POST /v1/people/{id}/unmerge",
                "POST /v1/people/{id}/block",
                "POST /v1/people/{id}/allow",
                "POST /v1/people/{id}/erase",
                "GET /v1/erasures",
                "GET /v1/erasures/{id}",
            ],
        )
        self.function(
            "LikenessFunction",
            Job(
                handler="hoso.unify.handlers.likeness.handler",
                description="Admin API: pairs that matching linked or wants decided",
                environment=every_table(data),
                permissions=[
                    *read_control(data),
                    items(data.control, "BatchGet", "Put", "Delete"),
                    *write_people(data),
                ],
            ),
            routes=[
                "GET /v1/likeness/reviews",
                "GET /v1/likeness/reviews/{id}",
                "POST /v1/likeness/reviews/{id}",
            ],
        )
