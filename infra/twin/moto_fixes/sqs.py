"""SQS: sending, receiving and deleting cost the same in a long queue as in a short one (standard queues).

Moto walks the queue for each of them. Here a queue keeps its visible messages in order, the others in a heap by the
time when they become visible, and knows its messages by receipt handle. FIFO queues are refused: nothing uses them.
"""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import copy
from importlib import import_module
from itertools import count
from typing import Any

from infra.twin.moto_fixes import replace

DELETED_KEPT = 100_000
LONGEST_MS = 43_200_000
_WAKE_S = 0.25
_models: Any = import_module("moto.sqs.models")


class Messages:
    """The messages of a queue; stands in ``Queue._messages``."""

    def __init__(self) -> None:
        self.all: dict[str, Any] = {}
        self.ready: OrderedDict[str, Any] = OrderedDict()
        self.waiting: list[tuple[float, int, Any]] = []
        self.handles: dict[str, Any] = {}
        self.deleted: OrderedDict[str, None] = OrderedDict()
        self._numbers = count()

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.all.values()))

    def __len__(self) -> int:
        return len(self.all)

    def append(self, message: Any) -> None:
        """Add a message, or give it its new place after its time of visibility changed."""
        self.all[message.id] = message
        self.ready.pop(message.id, None)
        due = _due(message)
        if due < _models.unix_time_millis():
            self.ready[message.id] = message
        else:
            heapq.heappush(self.waiting, (due, next(self._numbers), message))

    def remove(self, message: Any) -> None:
        """Take a message out for good; its handles stay known for a while, for deletes that come twice."""
        del self.all[message.id]
        self.ready.pop(message.id, None)
        for handle in message.all_receipt_handles:
            if self.handles.pop(handle, None):
                self.deleted[handle] = None
        while len(self.deleted) > DELETED_KEPT:
            self.deleted.popitem(last=False)

    def visible(self) -> OrderedDict[str, Any]:
        """The messages that can be received, in the order of their becoming visible."""
        now = _models.unix_time_millis()
        while self.waiting and self.waiting[0][0] < now:
            due, _, message = heapq.heappop(self.waiting)
            if self.all.get(message.id) is message and due == _due(message):
                self.ready[message.id] = message
        return self.ready

    def hidden(self) -> list[Any]:
        """The messages that are delayed or in flight."""
        ready = self.visible()
        return [self.all[name] for name in {m.id for _, _, m in self.waiting} if name in self.all and name not in ready]


def patch() -> None:
    """Put the repairs in place."""
    queue, backend = _models.Queue, _models.SQSBackend
    replace(queue, "__init__", _with_messages(queue.__init__))
    replace(queue, "delete_message", delete_message)
    replace(queue, "approximate_number_of_messages", property(_number_visible))
    replace(queue, "approximate_number_of_messages_delayed", property(_number_delayed))
    replace(queue, "approximate_number_of_messages_not_visible", property(_number_in_flight))
    replace(backend, "receive_message", receive_message)
    replace(backend, "change_message_visibility", change_message_visibility)
    replace(backend, "purge_queue", purge_queue)


def receive_message(
    self: Any,
    queue_name: str,
    count: int,
    wait_seconds_timeout: int,
    visibility_timeout: int,
    message_attribute_names: list[str] | None = None,
) -> list[Any]:
    """``SQSBackend.receive_message``."""
    queue = self.get_queue(queue_name)
    end = time.monotonic() + wait_seconds_timeout
    with queue._messages_lock:
        while True:
            taken = _take(queue, count, visibility_timeout)
            left = end - time.monotonic()
            if taken or left <= 0:
                break
            queue._messages_lock.wait(min(left, _WAKE_S))
    for message in taken:
        _models._filter_message_attributes(message, message_attribute_names or [])
    return taken


def _take(queue: Any, most: int, visibility_timeout: int) -> list[Any]:
    """Copies of up to ``most`` visible messages, which become invisible; what was received too often is redriven."""
    messages: Messages = queue._messages
    ready = messages.visible()
    received: list[Any] = []
    while ready and len(received) < most:
        message = ready.popitem(last=False)[1]
        if message.sent_timestamp + queue.message_retention_period * 1_000 <= _models.unix_time_millis():
            messages.remove(message)
        elif queue.dead_letter_queue and message.approximate_receive_count >= queue.redrive_policy["maxReceiveCount"]:
            messages.remove(message)
            queue.dead_letter_queue.add_message(message)
        else:
            message.mark_received(visibility_timeout=visibility_timeout)
            messages.handles[message.receipt_handle] = message
            received.append(message)
    for message in received:
        messages.append(message)
    return [copy(message) for message in received]


def delete_message(self: Any, receipt_handle: str) -> None:
    """``Queue.delete_message``."""
    with self._messages_lock:
        messages: Messages = self._messages
        message = messages.handles.get(receipt_handle)
        if message is not None:
            messages.remove(message)
        elif receipt_handle not in messages.deleted:
            raise _models.ReceiptHandleIsInvalid


def change_message_visibility(self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
    """``SQSBackend.change_message_visibility``."""
    queue = self.get_queue(queue_name)
    with queue._messages_lock:
        message = queue._messages.handles.get(receipt_handle)
        if message is None:
            raise _models.ReceiptHandleIsInvalid
        if _models.unix_time_millis() + int(visibility_timeout) * 1_000 - message.sent_timestamp > LONGEST_MS:
            raise _models.InvalidParameterValue(
                f"Value {visibility_timeout} for parameter VisibilityTimeout is invalid. Reason: Total "
                "VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            )
        message.change_visibility(visibility_timeout)
        queue._messages.append(message)
        queue._messages_lock.notify_all()


def purge_queue(self: Any, queue_name: str) -> None:
    """``SQSBackend.purge_queue``."""
    queue = self.get_queue(queue_name)
    with queue._messages_lock:
        queue._messages = Messages()


def _with_messages(stock: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stock(self, *args, **kwargs)
        if self.fifo_queue:
            raise _models.InvalidParameterValue("FIFO queues are not imitated")
        self._messages = Messages()

    return init


def _number_visible(self: Any) -> int:
    with self._messages_lock:
        return len(self._messages.visible())


def _number_delayed(self: Any) -> int:
    with self._messages_lock:
        return sum(message.delayed for message in self._messages.hidden())


def _number_in_flight(self: Any) -> int:
    with self._messages_lock:
        return sum(not message.visible for message in self._messages.hidden())


def _due(message: Any) -> float:
    return max(message.visible_at, message.delayed_until)
