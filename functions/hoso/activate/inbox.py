"""A batch of a channel's queue: hand each event to the courier, send back what has to come again, bury what is over.

When a message comes again is its visibility, set here; whether it is given up is the courier's rule, not the queue's
receive count. What is given up goes to the dead-letter queue with its reason, so that the alarm on it rings (R45).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from hoso.activate.courier import Courier
from hoso.model.errors import HosoError, InvalidInput, Transient
from hoso.model.time import HOUR_MS, SECOND_MS
from hoso.platform.clock import Clock
from hoso.platform.log import logger
from hoso.platform.queue import DeadLetters, Queue

MOST_ERRORS = 8
"""Receives after which a message that breaks the code is buried."""
LONGEST_MS = 12 * HOUR_MS - 60 * SECOND_MS
_TROUBLE_MS = (2 * SECOND_MS, 30 * SECOND_MS)

Detail = Mapping[str, Any]


class Inbox:
    """Works off one batch of messages."""

    def __init__(
        self,
        courier: Courier,
        queue: Queue,
        dead: DeadLetters,
        clock: Clock,
        uniform: Callable[[float, float], float],
    ) -> None:
        self._courier = courier
        self._queue = queue
        self._dead = dead
        self._clock = clock
        self._uniform = uniform

    def work(self, records: list[dict[str, Any]], may_go_on: Callable[[], bool]) -> list[str]:
        """The ids of the messages that have to come again.

        One destination that does not answer must not use up the time of the others in the batch (R43): after its first
        fault the rest of its messages are held back for a few seconds, without a try.
        """
        again: list[str] = []
        ill: set[str] = set()
        for record in records:
            if not may_go_on():
                again.append(record["messageId"])
                continue
            if not self._one(record, ill):
                again.append(record["messageId"])
        return again

    def _one(self, record: dict[str, Any], ill: set[str]) -> bool:
        """Whether the message is done with."""
        try:
            return self._handle(record, ill)
        except Transient as error:
            logger("activate").warning("delivery waits", extra={"code": error.code})
            self._hide(record, self._uniform(*_TROUBLE_MS))
            return False
        except Exception as error:  # a message that breaks the code must neither vanish nor loop for ever
            return self._broken(record, error)

    def _handle(self, record: dict[str, Any], ill: set[str]) -> bool:
        try:
            envelope = _envelope(record["body"])
            outcomes = self._courier.deliver(envelope["detail"], ill)
        except InvalidInput as error:
            self._dead.put(record["body"], error.code)
            return True
        for outcome in outcomes:
            if self._courier.is_fault(outcome):
                ill.add(outcome.delivery.destination)
            if outcome.dead:
                self._dead.put(record["body"], outcome.delivery.reason, outcome.delivery.id)
        times = [outcome.again_at for outcome in outcomes if outcome.again_at is not None]
        if not times:
            return True
        self._hide(record, min(times) - self._clock())
        return False

    def _broken(self, record: dict[str, Any], error: Exception) -> bool:
        receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
        kind = error.code if isinstance(error, HosoError) else type(error).__name__
        logger("activate").error("delivery broke", extra={"error": kind, "receives": receives})
        if receives >= MOST_ERRORS:
            self._dead.put(record["body"], f"error: {kind}")
            return True
        self._hide(record, self._uniform(*_TROUBLE_MS))
        return False

    def _hide(self, record: dict[str, Any], wait_ms: float) -> None:
        bounded = min(max(wait_ms, SECOND_MS), LONGEST_MS)
        self._queue.hide(record["eventSourceARN"], record["receiptHandle"], -int(-bounded // SECOND_MS))


def _envelope(body: str) -> dict[str, Any]:
    try:
        envelope: Any = orjson.loads(body)
    except ValueError as error:
        raise InvalidInput("the message is not JSON", code="bad_message") from error
    if isinstance(envelope, dict):
        found = cast("dict[str, Any]", envelope)
        if isinstance(found.get("detail"), dict):
            return found
    raise InvalidInput("the message is not an event of the bus", code="bad_message")
