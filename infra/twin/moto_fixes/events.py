"""EventBridge: PutEvents checks its entries and hands them to the twin's bus.

Moto calls targets inside PutEvents, fails for Lambda and Step Functions targets, and matches with its own transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any
from uuid import uuid4

from infra.twin.moto_fixes import replace

ENTRY_LIMIT = 10
REQUEST_BYTES = 1_048_576
_models: Any = import_module("moto.events.models")
on_put_events: Callable[[list[dict[str, Any]]], None] | None = None
"""Where accepted entries go: each as it was put, with ``EventId`` and the bus's name in ``EventBusName``. It must
return at once; delivery is asynchronous on AWS."""


def patch() -> None:
    """Put the repair in place."""
    replace(_models.EventsBackend, "put_events", put_events)


def put_events(self: Any, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``EventsBackend.put_events``; an answer per entry."""
    if len(events) > ENTRY_LIMIT:
        raise _models.ValidationException(
            "1 validation error detected: Value at 'entries' failed to satisfy constraint: "
            f"Member must have length less than or equal to {ENTRY_LIMIT}"
        )
    if sum(map(entry_bytes, events)) > REQUEST_BYTES:
        raise _models.ValidationException("Total size of the entries in the request is over the limit.")
    answers: list[dict[str, Any]] = []
    accepted: list[dict[str, Any]] = []
    for entry in events:
        bus = self._normalize_event_bus_arn(entry.get("EventBusName"))
        self.describe_event_bus(bus)
        refusal = _refusal(entry)
        answers.append(refusal or {"EventId": str(uuid4())})
        if refusal is None:
            accepted.append({**entry, **answers[-1], "EventBusName": bus or "default"})
    if accepted and on_put_events is not None:
        on_put_events(accepted)
    return answers


def entry_bytes(entry: dict[str, Any]) -> int:
    """The size of an entry as "Calculating PutEvents event entry size" of the EventBridge guide counts it."""
    texts = (entry.get("Source"), entry.get("DetailType"), entry.get("Detail"), *(entry.get("Resources") or ()))
    return sum(len(text.encode()) for text in texts if text) + (14 if entry.get("Time") else 0)


def _refusal(entry: dict[str, Any]) -> dict[str, Any] | None:
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            reason = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": reason}
    if entry["Source"].startswith("aws."):
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
    try:
        detail = json.loads(entry["Detail"])
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    return None
