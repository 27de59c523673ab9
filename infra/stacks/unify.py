"""Unify: the stream consumer and the profile API."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from infra.constructs.function import allow
from infra.constructs.stream import StreamConsumer
from infra.parameters import Parameters
from infra.stacks.access import objects, quarantine, read_control, read_items, read_stream, tables, write_people
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack


class UnifyStack(CapabilityStack):
    """Stream → people."""

    def __init__(self, scope: Construct, id: str, *, data: DataStack, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(scope, id, data=data, parameters=parameters, description="Hoso: unify", **more)
        everything = tables(data, "profiles", "control", "delivery", "outbox")
        consume = self.function(
            "ConsumeFunction",
            "hoso.unify.handlers.consume.handler",
            "Stream to people: duplicates, identity, state, live segments",
            environment={**everything, "BUCKET": data.bucket.bucket_name, "STREAM": data.stream.stream_name},
            permissions=[
                read_stream(data),
                read_control(data),
                *write_people(data),
                quarantine(data),
                objects(data.bucket, ["s3:PutObject"], "aws/lambda/"),
                allow(["s3:ListBucket"], data.bucket.bucket_arn),
            ],
            timeout_s=120,
            memory_mb=1769,
        )
        StreamConsumer(
            self,
            "Consume",
            function=consume,
            stream=data.stream,
            failures=data.bucket,
            parameters=parameters,
            batch=1_000,
            window_s=1,
            parallel=10 if parameters.production else 1,
        )
        self.function(
            "ProfileFunction",
            "hoso.unify.handlers.profiles.handler",
            "Admin API: profiles and timelines",
            environment=everything,
            permissions=[read_control(data), read_items(data.profiles)],
            routes=["GET /v1/profiles/{id}", "GET /v1/profiles/{id}/timeline"],
        )
