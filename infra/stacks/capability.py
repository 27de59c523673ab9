"""What the stacks of the capabilities have in common: layers, dead letters, and functions by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.channel import BusConsumer, QueueConsumer
from infra.constructs.function import HosoFunction, Job
from infra.constructs.layers import layer
from infra.constructs.queue import dead_letters
from infra.parameters import Parameters
from infra.stacks.data import DataStack

Made = TypeVar("Made", bound=QueueConsumer)


class CapabilityStack(cdk.Stack):
    """A stack of functions over the data stack.

    ``functions`` holds them by logical name, ``routes`` those of the admin API by method and path, ``open_routes``
    those without a JWT (``opened``: as they were made), ``dead_letters``
    the queues of last resort by what fills them.
    """

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
        self.open_routes: dict[str, HosoFunction] = {}
        self.opened: list[api.HttpRoute] = []
        self.failed = dead_letters(self, "Failed")
        self.dead_letters: dict[str, sqs.Queue] = {"Failed": self.failed}
        self._core = [layer(self, "core")]
        self._all = [*self._core, layer(self, "analytics")] if analytics else self._core

    def function(
        self, name: str, job: Job, routes: Sequence[str] = (), open_routes: Sequence[str] = ()
    ) -> HosoFunction:
        """A function of this capability; ``routes`` are its method and path pairs of the admin API, ``open_routes``
        those that come without a JWT: there the function checks a token of its own."""
        made = HosoFunction(
            self, name, job=job, layers=self._layers(job), parameters=self.parameters, dead_letters=self.failed
        )
        self.functions[name] = made
        self.routes |= dict.fromkeys(routes, made)
        self.open_routes |= dict.fromkeys(open_routes, made)
        return made

    def bus_consumer(self, name: str, job: Job, **pattern: Any) -> BusConsumer:
        """A function of this capability that works off events of the bus; ``pattern`` and ``bus`` as ``BusConsumer``
        takes them."""
        given: dict[str, Any] = {"bus": self.data.bus, **pattern}
        return self._consumer(
            name, BusConsumer(self, name, job=job, layers=self._layers(job), parameters=self.parameters, **given)
        )

    def queue_consumer(self, name: str, job: Job) -> QueueConsumer:
        """A function of this capability that works off a queue, which others of it fill."""
        return self._consumer(
            name, QueueConsumer(self, name, job=job, layers=self._layers(job), parameters=self.parameters)
        )

    def _consumer(self, name: str, made: Made) -> Made:
        self.functions[f"{name}Function"] = made.worker
        self.dead_letters[name] = made.failed
        return made

    def _layers(self, job: Job) -> Sequence[lambda_.ILayerVersion]:
        return self._all if job.analytics else self._core
