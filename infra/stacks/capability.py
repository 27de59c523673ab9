"""What the stacks of the capabilities have in common: layers, dead letters, and functions by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.function import HosoFunction, Job
from infra.constructs.layers import layer
from infra.constructs.queue import dead_letters
from infra.parameters import Parameters
from infra.stacks.data import DataStack


class CapabilityStack(cdk.Stack):
    """A stack of functions over the data stack: ``functions`` by logical name, ``routes`` those of the admin API."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        data: DataStack,
        parameters: Parameters,
        analytics: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(scope, id, **more)
        self.data = data
        self.parameters = parameters
        self.functions: dict[str, HosoFunction] = {}
        self.routes: dict[str, HosoFunction] = {}
        self.core = layer(self, "core")
        self.analytics = layer(self, "analytics") if analytics else None
        self.failed = dead_letters(self, "Failed")

    def function(
        self,
        name: str,
        handler: str,
        description: str,
        *,
        environment: dict[str, str],
        permissions: Sequence[iam.PolicyStatement],
        analytics: bool = False,
        timeout_s: int = 30,
        memory_mb: int = 512,
        scratch_mb: int = 512,
        asynchronous: bool = False,
        routes: Sequence[str] = (),
    ) -> HosoFunction:
        """A function of this capability; ``routes`` are its method and path pairs of the admin API."""
        job = self.job(
            handler,
            description,
            environment=environment,
            permissions=permissions,
            analytics=analytics,
            timeout_s=timeout_s,
            memory_mb=memory_mb,
            scratch_mb=scratch_mb,
            asynchronous=asynchronous,
        )
        made = HosoFunction(self, name, job=job, parameters=self.parameters, dead_letters=self.failed)
        self.functions[name] = made
        for route in routes:
            self.routes[route] = made
        return made

    def job(
        self,
        handler: str,
        description: str,
        *,
        environment: dict[str, str],
        permissions: Sequence[iam.PolicyStatement],
        analytics: bool = False,
        timeout_s: int = 30,
        memory_mb: int = 512,
        scratch_mb: int = 512,
        asynchronous: bool = False,
    ) -> Job:
        """What a function of this capability is, with its layers."""
        layers: list[lambda_.ILayerVersion] = [self.core]
        if analytics and self.analytics is not None:
            layers.append(self.analytics)
        return Job(
            handler=handler,
            description=description,
            environment=environment,
            permissions=permissions,
            layers=layers,
            timeout_s=timeout_s,
            memory_mb=memory_mb,
            scratch_mb=scratch_mb,
            asynchronous=asynchronous,
        )
