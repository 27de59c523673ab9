"""Where moto's services meet the twin: Lambda invocations, bus entries and mail; and the mock itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import Context
from importlib import import_module
from typing import Any

from infra.twin import memory
from infra.twin.bus import Bus
from infra.twin.courier import Courier
from infra.twin.lambdas import Runtime
from infra.twin.mail import Outbox, simulated
from infra.twin.moto_fixes import events
from infra.twin.registry import Deployment

_core: Any = import_module("moto.core.models")
_lambda: Any = import_module("moto.awslambda.models").LambdaBackend
_sesv2: Any = import_module("moto.sesv2.responses").SESV2Response
_notifications: Any = import_module("moto.s3.notifications")
_states: Any = import_module("moto.stepfunctions.parser.models").StepFunctionsParserBackend
_CONFIG = {"stepfunctions": {"execute_state_machine": True}}


class _BotocoreOnly(_core.MockAWS):
    """``mock_aws`` without its second half, which patches ``requests``: nothing here calls AWS through that."""

    def _enable_patching(self, reset: bool = True) -> None:
        _core.botocore_stubber.enabled = True
        if reset:
            _core.BackendDict.reset()

    def _disable_patching(self, remove_data: bool) -> None:
        _core.botocore_stubber.enabled = False
        if remove_data:
            _core.BackendDict.reset()


@contextmanager
def mocked() -> Generator[None, None, None]:
    """botocore speaks to moto inside the block, which begins and ends with nothing in it."""
    mock = _BotocoreOnly(_CONFIG)
    mock.start()
    try:
        yield
    finally:
        mock.stop()


@contextmanager
def connected(
    deployment: Deployment, runtime: Runtime, courier: Courier, bus: Bus, outbox: Outbox
) -> Generator[None, None, None]:
    """Inside the block moto's Lambda runs the twin's functions, PutEvents feeds its bus, SendEmail its outbox."""

    def invoke(_self: Any, name: str, _qualifier: Any, body: Any, headers: Any, response_headers: Any) -> bytes | None:
        payload: bytes = body.encode() if isinstance(body, str) else body or b"{}"
        try:
            function = deployment.function(name)
        except KeyError:
            return None
        if headers.get("X-Amz-Invocation-Type") == "Event":
            courier.post(deployment.invoke_settings[function.arn], payload.decode(), "")
            return b""
        outcome = runtime.invoke(function.arn, payload)
        if outcome.failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        response_headers["Content-Length"] = str(len(outcome.payload))
        return outcome.payload

    def send_email(self: Any) -> str:
        request = json.loads(self.body)
        message_id = outbox.send(request)
        told = simulated(request, message_id)
        if told is not None:
            bus.put([told])
        return json.dumps({"MessageId": message_id})

    def object_event(_account: str, event_name: Any, bucket: Any, key: Any) -> None:
        told = bucket.name in deployment.notifying and event_name.value.startswith("s3:ObjectCreated:")
        if told and not memory.restoring.get():
            bus.put([_object_created(bucket.name, key)])

    start = _states.start_execution

    def start_execution(*args: Any, **kwargs: Any) -> Any:
        # The execution's threads are not the calling function's.
        return Context().run(start, *args, **kwargs)

    with (
        _replaced(_lambda, "invoke", invoke),
        _replaced(_sesv2, "send_email", send_email),
        _replaced(_states, "start_execution", start_execution),
        _replaced(_notifications, "send_event", object_event),
    ):
        events.on_put_events = bus.put
        try:
            yield
        finally:
            events.on_put_events = None


def _object_created(bucket: str, key: Any) -> dict[str, Any]:
    """The entry of an event ``Object Created`` (S3 user guide, "EventBridge event message structure")."""
    held = {"key": key.name, "size": key.size, "etag": str(key.etag).strip('"'), "sequencer": "0"}
    detail = {"version": "0", "bucket": {"name": bucket}, "object": held, "reason": "PutObject"}
    return {
        "Source": "aws.s3",
        "DetailType": "Object Created",
        "Detail": json.dumps(detail),
        "Resources": [f"arn:aws:s3:::{bucket}"],
    }


@contextmanager
def _replaced(owner: Any, name: str, value: Callable[..., Any]) -> Generator[None, None, None]:
    stock = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, stock)
