"""Which activations and destinations an event of the outbox is for (pure).

The sender writes the answer into the event, so that one static bus rule per channel does: thousands of routes need no
thousands of rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hoso.activate.documents import (
    ENTERED,
    EXITED,
    REQUESTED,
    Activation,
    EmailDestination,
    SegmentTrigger,
    WebhookDestination,
)

AS_IS = "="
"""Before a destination's key: the destination subscribes to the type of the event, no activation stands between."""

Destinations = Mapping[str, EmailDestination | WebhookDestination]


class Route(NamedTuple):
    """Keys of activations (or ``=`` and a destination's key), of destinations, and kinds of channels; all sorted."""

    activations: list[str]
    destinations: list[str]
    channels: list[str]


def route(detail: Mapping[str, Any], activations: Mapping[str, Activation], destinations: Destinations) -> Route:
    """Where an event goes. One that already names its activations (a redrive) goes to those alone."""
    if detail.get("silent"):
        return Route([], [], [])  # a replay of history: nobody is told (reliability R48)
    given: list[str] | None = detail.get("activations")
    keys = [key for key, activation in activations.items() if is_meant(activation, key, detail)]
    if given is not None:
        keys = [key for key in given if key in activations]
    targets = {activations[key].destination for key in keys}
    if given is None or any(key.startswith(AS_IS) for key in given):
        for key, destination in destinations.items():
            subscribes = isinstance(destination, WebhookDestination) and detail.get("type") in destination.types
            if subscribes and (given is None or AS_IS + key in given):
                keys.append(AS_IS + key)
                targets.add(key)
    known = sorted(targets & destinations.keys())
    return Route(sorted(keys), known, sorted({destinations[key].kind for key in known}))


def is_meant(activation: Activation, key: str, detail: Mapping[str, Any]) -> bool:
    """Whether this event triggers this activation."""
    kind, trigger = detail.get("type"), activation.trigger
    if kind == REQUESTED:
        return detail.get("activation") == key
    if not isinstance(trigger, SegmentTrigger) or kind not in (ENTERED, EXITED):
        return False
    return detail.get("segment") == trigger.segment and trigger.kind in (kind, "segment.changed")


def routed(detail: Mapping[str, Any], found: Route) -> dict[str, Any]:
    """The event with its route."""
    return {
        **detail,
        "activations": found.activations,
        "destinations": found.destinations,
        "channels": found.channels,
    }
