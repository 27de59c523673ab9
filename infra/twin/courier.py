"""Asynchronous deliveries: what EventBridge, the scheduler and queued Lambda invocations do.

A parcel is one body for one target. It is tried with growing pauses up to the target's retries and age, then
put into the target's dead-letter queue. Parcels that are under way are part of the twin's saved state.
"""

from __future__ import annotations

import heapq
import itertools
import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.twin.lambdas import Runtime
from infra.twin.registry import Deployment, Target

_THREADS = 4
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class Parcel:
    """A body under way to a target. ``born`` and ``due`` are seconds of the machine's clock."""

    target: Target
    body: str
    origin: str
    born: float = field(default_factory=time.time)
    due: float = 0.0
    attempts: int = 0
    last_error: str = ""


class DeliveryFailed(Exception):
    """A target did not take a parcel."""


class Courier:
    """Delivers parcels in the background."""

    def __init__(self, deployment: Deployment, runtime: Runtime, client: Callable[[str], Any]) -> None:
        self._deployment = deployment
        self._runtime = runtime
        self._client = client
        self._heap: list[tuple[float, int, Parcel]] = []
        self._busy: dict[int, Parcel] = {}
        self._number = itertools.count()
        self._change = threading.Condition()
        self._open = True
        self.activity = 0
        self.given_up: dict[str, int] = {}
        """Parcels that went to a dead-letter queue, or nowhere, by target."""
        self._threads = [threading.Thread(target=self._work, daemon=True, name="courier") for _ in range(_THREADS)]
        self._started = False

    def start(self) -> None:
        """Begin to deliver."""
        self._started = True
        for thread in self._threads:
            thread.start()

    def post(self, target: Target, body: str, origin: str) -> None:
        """Take a parcel; returns at once."""
        # A bus only hands a function's event to Lambda, which then tries by the function's own settings.
        asynchronous = self._deployment.invoke_settings.get(target.arn, target)
        self._put(Parcel(asynchronous, body, origin))

    def pending(self) -> list[str]:
        """What is under way, by target."""
        with self._change:
            parcels = [*self._busy.values(), *(entry[2] for entry in self._heap)]
        return sorted({f"delivery to {parcel.target.key} ({parcel.last_error or 'first try'})" for parcel in parcels})

    def dump(self) -> list[dict[str, Any]]:
        """The parcels under way, as JSON values."""
        with self._change:
            return [asdict(parcel) for parcel in (*self._busy.values(), *(entry[2] for entry in self._heap))]

    def load(self, parcels: list[dict[str, Any]]) -> None:
        """Take up parcels of an earlier run."""
        for saved in parcels:
            self._put(Parcel(Target(**saved.pop("target")), **saved))

    def advance(self, step_ms: int) -> None:
        """Time has moved: what waits is due so much earlier, and so much older."""
        with self._change:
            for _, _, parcel in self._heap:
                parcel.due -= step_ms / 1000
                parcel.born -= step_ms / 1000
            self._heap = [(parcel.due, number, parcel) for _, number, parcel in self._heap]
            heapq.heapify(self._heap)
            self._change.notify_all()

    def stop(self) -> None:
        """Finish what is in hand; keep the rest."""
        with self._change:
            self._open = False
            self._change.notify_all()
        for thread in self._threads if self._started else ():
            thread.join(timeout=30)

    def _put(self, parcel: Parcel) -> None:
        with self._change:
            heapq.heappush(self._heap, (parcel.due, next(self._number), parcel))
            self._change.notify()

    def _take(self) -> Parcel | None:
        with self._change:
            while self._open:
                if not self._heap:
                    self._change.wait()
                    continue
                pause = self._heap[0][0] - time.time()
                if pause > 0:
                    self._change.wait(pause)
                    continue
                parcel = heapq.heappop(self._heap)[2]
                self._busy[id(parcel)] = parcel
                self.activity += 1
                return parcel
            return None

    def _work(self) -> None:
        while (parcel := self._take()) is not None:
            try:
                self._try(parcel)
            except Exception:
                traceback.print_exc()
            finally:
                with self._change:
                    self._busy.pop(id(parcel), None)

    def _try(self, parcel: Parcel) -> None:
        parcel.attempts += 1
        try:
            self._deliver(parcel)
        except Exception as error:
            parcel.last_error = f"{type(error).__name__}: {error}"[:300]
            target = parcel.target
            pause = min(_LONGEST_PAUSE_S, _PAUSE_S * 2**parcel.attempts)
            if parcel.attempts > target.retries or time.time() + pause - parcel.born > target.max_age_s:
                self._give_up(parcel)
            else:
                parcel.due = time.time() + pause
                self._put(parcel)

    def _deliver(self, parcel: Parcel) -> None:
        arn = parcel.target.arn
        service = arn.split(":")[2]
        if service == "sqs":
            self._client("sqs").send_message(QueueUrl=self._deployment.queues[arn], MessageBody=parcel.body)
        elif service == "lambda":
            outcome = self._runtime.invoke(arn, parcel.body.encode())
            if outcome.failed:
                raise DeliveryFailed(outcome.payload.decode()[:200])
        elif service == "states":
            self._client("stepfunctions").start_execution(
                stateMachineArn=arn, name=str(uuid.uuid4()), input=parcel.body
            )
        else:
            raise DeliveryFailed(f"targets of {service} are not imitated")

    def _give_up(self, parcel: Parcel) -> None:
        target = parcel.target
        self.given_up[target.key] = self.given_up.get(target.key, 0) + 1
        if target.dead_letter is None:
            return
        attributes = {
            "ERROR_CODE": "SDK_CLIENT_ERROR",
            "ERROR_MESSAGE": parcel.last_error,
            "TARGET_ARN": target.arn,
            "RULE_ARN": parcel.origin,
            "RETRY_ATTEMPTS": str(parcel.attempts - 1),
        }
        self._client("sqs").send_message(
            QueueUrl=self._deployment.queues[target.dead_letter],
            MessageBody=parcel.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
            },
        )


def json_text(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
