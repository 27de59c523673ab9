"""Unify: the stream consumer and the profile API."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from infra.constructs.function import Job
from infra.constructs.stream import StreamConsumer
from infra.parameters import Parameters
from infra.stacks.access import (
    budgets,
    every_table,
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
        super().__init__(scope, id, data=data, parameters=parameters, description="Hoso: unify", **more)
        self.consume = self.function(
            "ConsumeFunction",
            Job(
                handler="hoso.unify.handlers.consume.handler",
                description="Stream to people: duplicates, identity, state, live segments",
                environment={**every_table(data), "bucket": data.bucket.bucket_name},
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
                permissions=[*read_control(data), read_items(data.profiles), *write_documents(data, "traits")],
            ),
            routes=[
                "GET /v1/profiles/{id}",
                "POST /v1/profiles/batch",
                "GET /v1/profiles/{id}/timeline",
                "GET /v1/profiles/{id}/sessions",
                "GET /v1/host/{store}/greeting",
                "GET /v1/traits/policies",
                "PUT /v1/traits/policies",
            ],
        )
