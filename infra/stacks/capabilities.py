"""The capability stacks together, as operations look at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import aws_sqs as sqs

from infra.stacks.activate import ActivateStack
from infra.stacks.capability import CapabilityStack
from infra.stacks.collect import CollectStack
from infra.stacks.data import DataStack
from infra.stacks.segment import SegmentStack
from infra.stacks.unify import UnifyStack


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Everything but operations."""

    data: DataStack
    collect: CollectStack
    unify: UnifyStack
    segment: SegmentStack
    activate: ActivateStack

    def named(self) -> Iterator[tuple[str, CapabilityStack]]:
        """The capabilities by name."""
        yield "collect", self.collect
        yield "unify", self.unify
        yield "segment", self.segment
        yield "activate", self.activate

    def dead_letters(self) -> dict[str, sqs.Queue]:
        """All queues of last resort, by stack and what fills them."""
        found = {
            f"{name} {of}": queue for name, capability in self.named() for of, queue in capability.dead_letters.items()
        }
        return {**found, "bus": self.data.bus_failed}
