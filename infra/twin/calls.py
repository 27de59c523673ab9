"""The one place where the twin steps between a function and AWS: layers around botocore's single call method.

A layer sees every call of every client of this process, in a fixed order, whatever was installed first::

    guards ─▶ faults ─▶ recorder ─▶ engine ─▶ botocore and moto

Guards stand first (a call that AWS refuses happens nowhere); faults stand before the recorder, so that the recorder
holds what AWS executed and bills; the engine answers DynamoDB and Kinesis without HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

Proceed = Callable[["Call"], dict[str, Any]]
Layer = Callable[["Call", Proceed], dict[str, Any]]

ORDER = ("guards", "faults", "recorder", "engine")

current_function: ContextVar[str] = ContextVar("current_function", default="")
"""Logical name of the function in whose name this thread calls AWS; empty for the twin itself."""


class Call:
    """One API call: the client it was made on, the botocore service and operation names, and its parameters."""

    __slots__ = ("client", "operation", "params", "service")

    def __init__(self, client: Any, service: str, operation: str, params: dict[str, Any]) -> None:
        self.client = client
        self.service = service
        self.operation = operation
        self.params = params

    def error(self, code: str, message: str, status: int = 400) -> ClientError:
        """The exception that botocore raises for this call when AWS answers with an error code."""
        answer: Any = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "twin", "HTTPHeaders": {}, "RetryAttempts": 0},
            "message": message,
        }
        return self.client.exceptions.from_code(code)(answer, self.operation)


_stock: Any = getattr(BaseClient, "_make_api_call")  # noqa: B009  private, by name
_layers: dict[str, Layer] = {}
_change = threading.Lock()


def use(name: str, layer: Layer) -> None:
    """Put a layer in its place; a layer of the same name is replaced."""
    with _change:
        _layers[name] = layer
        _patch()


def layer(name: str) -> Layer | None:
    """The layer of this name, if one is in place."""
    return _layers.get(name)


def drop(name: str) -> None:
    """Take a layer out; without layers botocore is as it was."""
    with _change:
        _layers.pop(name, None)
        _patch()


def _patch() -> None:
    setattr(BaseClient, "_make_api_call", _intercepted() if _layers else _stock)  # noqa: B010


def _intercepted() -> Any:
    chain: Proceed = _at_botocore
    for name in reversed(ORDER):
        if name in _layers:
            chain = _around(_layers[name], chain)

    def make_api_call(self: Any, operation_name: str, api_params: dict[str, Any]) -> dict[str, Any]:
        return chain(Call(self, self.meta.service_model.service_name, operation_name, api_params))

    return make_api_call


def _around(layer: Layer, inner: Proceed) -> Proceed:
    return lambda call: layer(call, inner)


def _at_botocore(call: Call) -> dict[str, Any]:
    return _stock(call.client, call.operation, call.params)
