"""The Lambda runtime: invocations with AWS's surroundings, in this process or one process per function.

Payload and result pass through JSON, errors become AWS's error document, a function serves one invocation at a
time. A time-out is real in isolated mode; in process it can only be reported.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from infra.twin.calls import current_function
from infra.twin.registry import Deployment, Function
from infra.twin.sandbox import Sandbox

PAYLOAD_BYTES = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """The JSON answer of an invocation; ``failed`` when it is AWS's error document."""

    payload: bytes
    failed: bool = False

    @property
    def value(self) -> Any:
        """The answer parsed."""
        return json.loads(self.payload)


@dataclass(slots=True)
class Figures:
    """What happened to a function so far."""

    invocations: int = 0
    errors: int = 0
    timeouts: int = 0
    duration_ms: float = 0
    last_error: str = ""


@dataclass(slots=True)
class LambdaContext:
    """The context object of an invocation."""

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    aws_request_id: str
    deadline_ms: float
    function_version: str = "$LATEST"
    log_group_name: str = ""
    log_stream_name: str = "twin"
    client_context: None = None
    identity: None = None

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's time-out."""
        return max(0, int(self.deadline_ms - time.time() * 1000))


class Worker(Protocol):
    """An execution environment of one function."""

    def run(self, payload: bytes, request_id: str) -> Outcome:
        """Invoke the handler."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class InProcess:
    """An execution environment in this process."""

    def __init__(self, function: Function, environment: Mapping[str, str], log: Path) -> None:
        self._function = function
        self._log = log.open("a", buffering=1, encoding="utf-8")
        self._sandbox = Sandbox(function.folder, environment, self._log)
        self._handler: Callable[[Any, LambdaContext], Any] | None = None

    def run(self, payload: bytes, request_id: str) -> Outcome:
        """Invoke the handler in this thread."""
        function = self._function
        try:
            with self._sandbox.entered():
                handler = self._handler = self._handler or self._sandbox.attribute(function.handler)
                deadline_ms = (time.time() + function.timeout_s) * 1000
                context = LambdaContext(function.name, function.arn, str(function.memory_mb), request_id, deadline_ms)
                result = handler(json.loads(payload), context)
                return Outcome(json.dumps(result, ensure_ascii=False, allow_nan=False).encode())
        except (Exception, SystemExit) as error:
            traceback.print_exc(file=self._log)
            return error_outcome(error)

    def close(self) -> None:
        """Close the log."""
        self._log.close()


def error_outcome(error: BaseException) -> Outcome:
    """AWS's error document of an exception."""
    trace = [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
    document = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": trace}
    return Outcome(json.dumps(document).encode(), failed=True)


@dataclass(slots=True)
class _Slot:
    lock: threading.RLock = field(default_factory=threading.RLock)
    worker: Worker | None = None
    figures: Figures = field(default_factory=Figures)


class Runtime:
    """Invokes functions by ARN or name. ``make`` builds an execution environment at a function's first invocation."""

    def __init__(self, deployment: Deployment, make: Callable[[Function, Mapping[str, str]], Worker]) -> None:
        self._deployment = deployment
        self._make = make
        self._slots = {arn: _Slot() for arn in deployment.functions}
        self.activity = 0
        """Number of invocations that began."""

    def invoke(self, name: str, payload: bytes) -> Outcome:
        """Run a function and wait. Raises ``KeyError`` for an unknown function."""
        function = self._deployment.function(name)
        slot = self._slots[function.arn]
        if len(payload) > PAYLOAD_BYTES:
            return error_outcome(ValueError(f"payload of {len(payload)} bytes, over {PAYLOAD_BYTES}"))
        with slot.lock:
            self.activity += 1
            token = current_function.set(function.logical)
            started = time.perf_counter()
            try:
                if slot.worker is None:
                    slot.worker = self._make(function, _environment(function, self._deployment.region))
                outcome = slot.worker.run(payload, str(uuid.uuid4()))
            finally:
                current_function.reset(token)
            if len(outcome.payload) > PAYLOAD_BYTES:
                outcome = error_outcome(ValueError("Function.ResponseSizeTooLarge"))
            _count(slot.figures, outcome, time.perf_counter() - started, function.timeout_s)
            return outcome

    def figures(self) -> dict[str, Figures]:
        """Counts by logical name."""
        return {function.logical: self._slots[arn].figures for arn, function in self._deployment.functions.items()}

    def close(self) -> None:
        """Stop all execution environments."""
        for slot in self._slots.values():
            if slot.worker is not None:
                slot.worker.close()
                slot.worker = None


def _count(figures: Figures, outcome: Outcome, seconds: float, timeout_s: int) -> None:
    figures.invocations += 1
    figures.duration_ms += seconds * 1000
    figures.timeouts += seconds > timeout_s
    if outcome.failed:
        figures.errors += 1
        figures.last_error = outcome.payload[:500].decode(errors="replace")


def _environment(function: Function, region: str) -> dict[str, str]:
    return {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "twin",
        "AWS_SECRET_ACCESS_KEY": "twin",
        "AWS_SESSION_TOKEN": "twin",
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.14",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "twin",
        "LAMBDA_TASK_ROOT": str(function.folder),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "POWERTOOLS_TRACE_DISABLED": "true",
        **function.environment,
    }
