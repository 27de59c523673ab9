"""Fault injection for tests: the n-th AWS call of a piece of work fails, in every way in which AWS calls fail.

The sweep of reliability R13 in four lines::

    faults = Faults()
    with faults.watch() as seen:                # how many calls does one good run make?
        run()
    for n in range(1, seen.calls + 1):
        for fault in (faults.fail_before, faults.fail_after):
            reset()
            with fault(n), suppress(Exception):
                run()                           # the n-th call fails …
            run()                               # … the retry must lead to the same state as one good run

Calls are counted from 1, from the start of the ``with`` block, over all threads. Only calls to ``services`` (botocore
names, e.g. ``{"dynamodb", "kinesis"}``; default all) and ``operations`` (e.g. ``{"PutItem"}``; default all) count.

===========================  ==========================================================================================
``watch()``                  counts, breaks nothing; ``.calls`` and ``.log`` ([(service, operation), …])
``fail_before(n)``           call n is not executed and raises
``fail_after(n)``            call n is executed, and then raises: the caller does not know that it happened
``throttle(n, times=1)``     calls n … n+times-1 are not executed and raise the service's throttling error
``partial(n)``               call n, if it is PutRecords, PutEvents, SendMessageBatch, DeleteMessageBatch,
                             BatchWriteItem or BatchGetItem, is executed for every second entry only; the rest is
                             reported as failed or unprocessed (an answer, not an exception). Others pass unharmed.
===========================  ==========================================================================================

``fail_before`` and ``fail_after`` raise a ``ClientError`` of status 500 by default, ``error="timeout"`` raises
botocore's ``ReadTimeoutError``, any other text is the error code to raise. The object that ``with … as`` yields has
``.hit``: was the n-th call ever made? Every block also works while another is open (the inner one acts).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ReadTimeoutError

from infra.twin import calls
from infra.twin.calls import Call, Proceed

THROTTLED = {
    "dynamodb": "ProvisionedThroughputExceededException",
    "kinesis": "ProvisionedThroughputExceededException",
    "sqs": "RequestThrottled",
    "s3": "SlowDown",
    "events": "ThrottlingException",
    "sesv2": "TooManyRequestsException",
}
INTERNAL = {"dynamodb": "InternalServerError", "s3": "InternalError", "events": "InternalException"}
Action = Callable[[Call, Proceed], dict[str, Any]]


class Watch:
    """What was seen during one ``with`` block."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.hit = False
        self.lock = threading.Lock()

    @property
    def calls(self) -> int:
        """Number of calls that counted."""
        return len(self.log)


class Faults:
    """See the module's text."""

    def __init__(self, services: set[str] | None = None, operations: set[str] | None = None) -> None:
        self.services = services
        self.operations = operations

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        with self._acting(range(0), lambda call, proceed: proceed(call)) as watch:
            yield watch

    @contextmanager
    def fail_before(self, n: int, error: str = "") -> Iterator[Watch]:
        def refuse(call: Call, _proceed: Proceed) -> dict[str, Any]:
            raise _failure(call, error)

        with self._acting(range(n, n + 1), refuse) as watch:
            yield watch

    @contextmanager
    def fail_after(self, n: int, error: str = "") -> Iterator[Watch]:
        def forget(call: Call, proceed: Proceed) -> dict[str, Any]:
            proceed(call)
            raise _failure(call, error)

        with self._acting(range(n, n + 1), forget) as watch:
            yield watch

    @contextmanager
    def throttle(self, n: int, times: int = 1) -> Iterator[Watch]:
        def refuse(call: Call, _proceed: Proceed) -> dict[str, Any]:
            raise call.error(THROTTLED.get(call.service, "ThrottlingException"), "slow down")

        with self._acting(range(n, n + times), refuse) as watch:
            yield watch

    @contextmanager
    def partial(self, n: int) -> Iterator[Watch]:
        with self._acting(range(n, n + 1), _half) as watch:
            yield watch

    @contextmanager
    def _acting(self, targets: range, action: Action) -> Iterator[Watch]:
        watch = Watch()

        def layer(call: Call, proceed: Proceed) -> dict[str, Any]:
            if not self._counts(call):
                return proceed(call)
            with watch.lock:
                watch.log.append((call.service, call.operation))
                struck = watch.calls in targets
                watch.hit = watch.hit or struck
            return action(call, proceed) if struck else proceed(call)

        outer = calls.layer("faults")
        calls.use("faults", layer)
        try:
            yield watch
        finally:
            if outer is None:
                calls.drop("faults")
            else:
                calls.use("faults", outer)

    def _counts(self, call: Call) -> bool:
        return (self.services is None or call.service in self.services) and (
            self.operations is None or call.operation in self.operations
        )


def _failure(call: Call, error: str) -> Exception:
    if error == "timeout":
        return ReadTimeoutError(endpoint_url=call.client.meta.endpoint_url, error="injected")
    return call.error(error or INTERNAL.get(call.service, "InternalFailure"), "injected failure", status=500)


def _half(call: Call, proceed: Proceed) -> dict[str, Any]:
    if call.operation in ("BatchWriteItem", "BatchGetItem"):
        return _half_of_tables(call, proceed)
    listed = {"PutRecords": "Records", "PutEvents": "Entries"}.get(call.operation)
    if listed:
        return _half_of_list(call, proceed, listed)
    if call.operation in ("SendMessageBatch", "DeleteMessageBatch"):
        return _half_of_messages(call, proceed)
    return proceed(call)


def _half_of_tables(call: Call, proceed: Proceed) -> dict[str, Any]:
    asked: dict[str, Any] = call.params["RequestItems"]
    reading = call.operation == "BatchGetItem"
    taken: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for table, request in asked.items():
        entries = request["Keys"] if reading else request
        first, rest = entries[::2], entries[1::2]
        taken[table] = {**request, "Keys": first} if reading else first
        if rest:
            left[table] = {**request, "Keys": rest} if reading else rest
    answer = proceed(Call(call.client, call.service, call.operation, {**call.params, "RequestItems": taken}))
    return {**answer, "UnprocessedKeys" if reading else "UnprocessedItems": left}


def _half_of_list(call: Call, proceed: Proceed, listed: str) -> dict[str, Any]:
    entries: list[Any] = call.params[listed]
    answer = proceed(Call(call.client, call.service, call.operation, {**call.params, listed: entries[::2]}))
    code = "ThrottlingException" if listed == "Entries" else "ProvisionedThroughputExceededException"
    failed = {"ErrorCode": code, "ErrorMessage": "injected failure"}
    done = iter(answer[listed])
    results = [dict(failed) if position % 2 else next(done) for position in range(len(entries))]
    count = "FailedEntryCount" if listed == "Entries" else "FailedRecordCount"
    return {**answer, listed: results, count: answer.get(count, 0) + len(entries) // 2}


def _half_of_messages(call: Call, proceed: Proceed) -> dict[str, Any]:
    entries: list[Any] = call.params["Entries"]
    answer = proceed(Call(call.client, call.service, call.operation, {**call.params, "Entries": entries[::2]}))
    failed = [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in entries[1::2]]
    return {**answer, "Failed": [*answer.get("Failed", []), *failed]}
