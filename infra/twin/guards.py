"""What AWS refuses and moto accepts: checks of requests, as the outermost layer around every call.

Checks of stored values (numbers, nesting, sets, 400 KB an item, 4 MB a transaction), of PutEvents and of Kinesis
records stand in ``moto_fixes``, where calls over HTTP pass, too. Limits: quota page and API reference of each service.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from infra.twin import calls
from infra.twin.calls import Call, Proceed
from infra.twin.moto_fixes import dynamodb

BATCH_WRITE_LIMIT = 25
EXPRESSION_BYTES = 4_096
MESSAGE_BYTES = 1_048_576
RECIPIENT_LIMIT = 50
_EXPRESSIONS = (
    *("ConditionExpression", "FilterExpression", "KeyConditionExpression"),
    *("ProjectionExpression", "UpdateExpression"),
)
_PLACEHOLDER = re.compile(r"[:#][A-Za-z0-9_]+")
_PATH_HEAD = re.compile(r"(?<![A-Za-z0-9_.:#])#?[A-Za-z_][A-Za-z0-9_]*\b(?!\s*\()")
_SQS_REFUSES = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Refusal(Exception):
    """AWS would answer with this error code and message."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(message)
        self.code = code


def install() -> None:
    """Check every call of this process from now on."""
    calls.use("guards", _guard)


def _guard(call: Call, proceed: Proceed) -> dict[str, Any]:
    check = _CHECKS.get((call.service, call.operation))
    if check is not None:
        try:
            check(call)
        except Refusal as refusal:
            raise call.error(refusal.code, str(refusal)) from None
    return proceed(call)


def _request(call: Call) -> None:
    _placeholders(call.params)


def _query(call: Call) -> None:
    """A filter must not name the keys of what is queried."""
    params = call.params
    _placeholders(params)
    table = dynamodb.table_named(call.client.meta.region_name, params.get("TableName", ""))
    if "FilterExpression" not in params or table is None:
        return
    index = next((i for i in table.all_indexes() if i.name == params.get("IndexName")), table)
    names: Mapping[str, str] = params.get("ExpressionAttributeNames") or {}
    filtered = {names.get(name, name) for name in _heads(params["FilterExpression"])}
    for key in index.schema:
        if key["AttributeName"] in filtered:
            raise Refusal(
                "Filter Expression can only contain non-primary key attributes: "
                f"Primary key attribute: {key['AttributeName']}"
            )


def _batch_write(call: Call) -> None:
    requests = sum(len(entries) for entries in call.params.get("RequestItems", {}).values())
    if requests > BATCH_WRITE_LIMIT:
        raise Refusal("Too many items requested for the BatchWriteItem call")


def _batch_get(call: Call) -> None:
    for request in call.params.get("RequestItems", {}).values():
        _placeholders(request)


def _transaction(call: Call) -> None:
    for entry in call.params.get("TransactItems", ()):
        for body in entry.values():
            _placeholders(body)


def _placeholders(request: Mapping[str, Any]) -> None:
    """Every placeholder is given and used; expressions are short enough."""
    values: Mapping[str, Any] | None = request.get("ExpressionAttributeValues")
    names: Mapping[str, Any] | None = request.get("ExpressionAttributeNames")
    texts = [request[name] for name in _EXPRESSIONS if name in request]
    if not texts and (values is not None or names is not None):
        kind = "Names" if names is not None else "Values"
        raise Refusal(f"ExpressionAttribute{kind} can only be specified when using expressions")
    used: set[str] = set()
    for text in texts:
        if len(text.encode()) > EXPRESSION_BYTES:
            raise Refusal("Invalid expression: Expression size has exceeded the maximum allowed size")
        used |= _used(text)
    given = {*(values or ()), *(names or ())}
    for name in used - given:
        kind = "name" if name.startswith("#") else "value"
        raise Refusal(f"Invalid expression: An expression attribute {kind} used in expression is not defined: {name}")
    for name in given - used:
        kind = "Names" if name.startswith("#") else "Values"
        raise Refusal(f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{name}}}")


@lru_cache(maxsize=2_000)
def _used(expression: str) -> frozenset[str]:
    return frozenset(_PLACEHOLDER.findall(expression))


@lru_cache(maxsize=2_000)
def _heads(expression: str) -> frozenset[str]:
    """The first names of the paths in an expression (and its keywords, which are reserved words and no attributes)."""
    return frozenset(_PATH_HEAD.findall(expression))


def _message(call: Call) -> None:
    _message_bytes([call.params])


def _messages(call: Call) -> None:
    _message_bytes(call.params.get("Entries", []))


def _message_bytes(messages: list[Mapping[str, Any]]) -> None:
    """All messages of a request together have at most 1 MB, in characters that XML allows."""
    size = 0
    for message in messages:
        body = str(message.get("MessageBody", ""))
        if _SQS_REFUSES.search(body):
            raise Refusal("Invalid characters were found in the message body.", "InvalidMessageContents")
        size += len(body.encode())
        attributes: Mapping[str, Mapping[str, Any]] = message.get("MessageAttributes") or {}
        for name, attribute in attributes.items():
            text = str(attribute.get("StringValue") or "").encode()
            size += len(name.encode()) + len(attribute["DataType"]) + len(text or attribute.get("BinaryValue") or b"")
    if size > MESSAGE_BYTES:
        raise Refusal(
            f"One or more parameters are invalid. Reason: Message must be shorter than {MESSAGE_BYTES} bytes.",
            "InvalidParameterValue" if len(messages) == 1 else "AWS.SimpleQueueService.BatchRequestTooLong",
        )


def _mail(call: Call) -> None:
    destination: Mapping[str, list[str]] = call.params.get("Destination") or {}
    if sum(len(addresses) for addresses in destination.values()) > RECIPIENT_LIMIT:
        raise Refusal(f"Recipient count exceeds {RECIPIENT_LIMIT}.", "BadRequestException")


_CHECKS: dict[tuple[str, str], Callable[[Call], None]] = {
    ("dynamodb", "BatchGetItem"): _batch_get,
    ("dynamodb", "BatchWriteItem"): _batch_write,
    ("dynamodb", "Query"): _query,
    ("dynamodb", "TransactGetItems"): _transaction,
    ("dynamodb", "TransactWriteItems"): _transaction,
    **{("dynamodb", name): _request for name in ("GetItem", "PutItem", "DeleteItem", "UpdateItem", "Scan")},
    ("sqs", "SendMessage"): _message,
    ("sqs", "SendMessageBatch"): _messages,
    ("sesv2", "SendEmail"): _mail,
}
