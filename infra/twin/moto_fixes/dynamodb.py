"""DynamoDB: cost per call that does not grow with the table, and the answers of AWS where moto's differ.

Replaced are the storage of tables (``rows``), the checks of values (``values``) and the operations on them. Kept are
moto's tables, request checks, expression parsers and evaluators. Legacy parameters (``QueryFilter``, ``ScanFilter``,
``AttributeUpdates``) are refused. What differs from stock moto on purpose:

* a transaction decides first and writes then: no copies of tables
* a repeated ClientRequestToken acts once in 10 minutes
* calls are atomic, batches are checked before anything is written
"""

from __future__ import annotations

import marshal
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from moto.core.responses import ActionResult
from moto.dynamodb.exceptions import (
    AttributeDoesNotExist,
    ConditionalCheckFailed,
    HashKeyTooLong,
    IncorrectDataType,
    InvalidAttributeTypeError,
    ItemSizeTooLarge,
    ItemSizeToUpdateTooLarge,
    KeyIsEmptyStringException,
    MockValidationException,
    MultipleTransactionsException,
    ProvidedKeyDoesNotExist,
    RangeKeyTooLong,
    TooManyTransactionsException,
    TransactionCanceledException,
    TransactWriteSingleOpException,
)
from moto.dynamodb.limits import HASH_KEY_MAX_LENGTH, RANGE_KEY_MAX_LENGTH

from infra.twin.moto_fixes import expressions, pages, replace, streams
from infra.twin.moto_fixes.rows import Attributes, Key, Row, Snapshot, store_of
from infra.twin.moto_fixes.values import Malformed, Wire, canonical, text_size, value

LOCK = threading.RLock()
"""Held during every DynamoDB call: on AWS each is atomic."""
TOKEN_LIFE_S = 600
TRANSACTION_ITEMS = 100
TRANSACTION_BYTES = 4 * 1024 * 1024
Names = Mapping[str, str] | None
Values = Mapping[str, Wire] | None
Place = tuple[Key, Key]
_core: Any = import_module("moto.core")
_models: Any = import_module("moto.dynamodb.models")
_backend: Any = _models.DynamoDBBackend
_types: Any = import_module("moto.dynamodb.models.dynamo_type")
_table: Any = import_module("moto.dynamodb.models.table").Table
_utilities: Any = import_module("moto.dynamodb.models.utilities")
_responses: Any = import_module("moto.dynamodb.responses")


class IdempotentParameterMismatchException(MockValidationException):
    """The same ClientRequestToken with other writes."""

    def __init__(self) -> None:
        super().__init__("The parameters of this request differ from those of the first with this token")
        self.description = self.description.replace("ValidationException", type(self).__name__)


def patch() -> None:
    """Put the repairs in place."""
    handler = _responses.DynamoHandler
    replace(_table, "put_item", put_item)
    replace(_backend, "get_item", get_item)
    replace(_backend, "update_item", update_item)
    replace(_backend, "delete_item", delete_item)
    replace(_backend, "transact_write_items", transact_write_items)
    replace(handler, "batch_write_item", batch_write_item)
    replace(handler, "transact_write_items", _once(handler.transact_write_items))
    replace(handler, "call_action", _atomic(handler.call_action))
    replace(handler, "_contains_duplicates", _contains_duplicates)
    replace(_responses, "TRANSACTION_MAX_ITEMS", TRANSACTION_ITEMS)
    replace(_types.LimitedSizeDict, "__setitem__", dict[str, Any].__setitem__)  # ``canonical`` checks sizes, once
    plain = _plain(_utilities.dynamo_to_dict)
    replace(_utilities, "dynamo_to_dict", plain)
    replace(_responses, "dynamo_to_dict", plain)
    expressions.patch()
    pages.patch()
    streams.patch()


def dump(table: Any) -> Iterator[Wire]:
    """All items of a moto table in wire form (binary values as bytes), as of now."""
    with LOCK:
        rows = list(store_of(table).primary.walk())
    return (row.plain for row in rows)


def restore(table: Any, items: Iterable[Wire]) -> None:
    """Put items back that ``dump`` gave; no stream record is made."""
    with LOCK:
        store = store_of(table)
        for item in items:
            plain, size = canonical(item)
            store.put(plain, Row(plain, size))


def account() -> str:
    """The account whose resources the calls of this process reach."""
    return os.environ.get("MOTO_ACCOUNT_ID") or _core.DEFAULT_ACCOUNT_ID


def table_named(region: str, name: str) -> Any:
    """The moto table of a name or ARN; None if there is none."""
    return _models.dynamodb_backends[account()][region].tables.get(name.rpartition("/")[2])


def row_of(table: Any, attributes: Wire) -> Row | None:
    """The stored row under the key that an item or a ``Key`` has."""
    return store_of(table).primary.get(*_place(table, attributes))


def get_item(self: Any, table_name: str, keys: Wire, projection_expressions: Any = None) -> Any:
    """``DynamoDBBackend.get_item``."""
    row = row_of(self.get_table(table_name), keys)
    if row is None:
        return None
    pages.looked_at.set(row.size)
    return row.snapshot().project(projection_expressions) if projection_expressions else row.snapshot()


def put_item(
    self: Any,
    item: Wire,
    expected: Any = None,
    expression: str | None = None,
    names: Names = None,
    values: Values = None,
    overwrite: bool = False,
    answer: str | None = None,
) -> Snapshot:
    """``Table.put_item``; ``overwrite`` means that there is no condition."""
    plain, size = _checked(self, item)
    place = _place(self, plain)
    row = store_of(self).primary.get(*place)
    if expected:
        raise MockValidationException("Expected is not imitated: use ConditionExpression")
    if not overwrite:
        _check(row.snapshot() if row else None, expression, names, values, answer)
    _write(self, place, row, plain, size)
    return Snapshot(plain, size)


def delete_item(
    self: Any,
    table_name: str,
    key: Wire,
    names: Names = None,
    values: Values = None,
    expression: str | None = None,
    answer: str | None = None,
) -> Snapshot | None:
    """``DynamoDBBackend.delete_item``."""
    table = self.get_table(table_name)
    place = _place(table, key)
    row = store_of(table).primary.get(*place)
    current = row.snapshot() if row else None
    _check(current, expression, names, values, answer)
    _write(table, place, row, None, 0)
    return current


def update_item(self: Any, table_name: str, key: Wire, **request: Any) -> Snapshot:
    """``DynamoDBBackend.update_item``."""
    if request.get("attribute_updates") or request.get("expected"):
        raise MockValidationException("AttributeUpdates and Expected are not imitated: use expressions")
    table = self.get_table(table_name)
    place = _place(table, key)
    row = store_of(table).primary.get(*place)
    current = row.snapshot() if row else None
    names, values = request["expression_attribute_names"], request["expression_attribute_values"]
    answer = request.get("return_values_on_condition_check_failure")
    _check(current, request.get("condition_expression"), names, values, answer)
    plain, size = _updated(table, key, current, request["update_expression"], names, values)
    _write(table, place, row, plain, size)
    return Snapshot(plain, size)


def batch_write_item(self: Any) -> Any:
    """``DynamoHandler.batch_write_item``: all is checked before anything is written."""
    todo: list[tuple[Any, Place, Wire | None, int]] = []
    for table_name, requests in self.body["RequestItems"].items():
        table = self.dynamodb_backend.get_table(table_name)
        for request in requests:
            ((kind, body),) = request.items()
            plain, size = _checked(table, body["Item"]) if kind == "PutRequest" else (None, 0)
            todo.append((table, _place(table, plain if plain is not None else body["Key"]), plain, size))
    if len({(table.name, place) for table, place, _, _ in todo}) < len(todo):
        raise MockValidationException("Provided list of item keys contains duplicates")
    for table, place, plain, size in todo:
        _write(table, place, store_of(table).primary.get(*place), plain, size)
    return ActionResult({"ItemCollectionMetrics": {}, "UnprocessedItems": {}})


def transact_write_items(self: Any, transact_items: list[dict[str, Any]]) -> None:
    """``DynamoDBBackend.transact_write_items``: every condition and new item first, then all writes."""
    if len(transact_items) > TRANSACTION_ITEMS:
        raise TooManyTransactionsException
    reasons: list[tuple[str | None, str | None, Wire | None]] = []
    writes: dict[tuple[str, Place], tuple[Any, Place, Row | None, Wire | None, int]] = {}
    for entry in transact_items:
        if len(entry) != 1:
            raise TransactWriteSingleOpException
        ((kind, body),) = entry.items()
        table = self.get_table(body["TableName"])
        plain, size = _checked(table, body["Item"]) if kind == "Put" else (None, 0)
        place = _place(table, plain if plain is not None else body["Key"])
        if (table.name, place) in writes:
            raise MultipleTransactionsException
        row = store_of(table).primary.get(*place)
        current = row.snapshot() if row else None
        names, values = body.get("ExpressionAttributeNames"), body.get("ExpressionAttributeValues")
        reason: tuple[str | None, str | None, Wire | None] = (None, None, None)
        try:
            _check(current, body.get("ConditionExpression"), names, values, None)
            if kind == "Update":
                plain, size = _updated(table, body["Key"], current, body["UpdateExpression"], names, values)
            elif kind == "ConditionCheck":
                plain, size = (current.plain, current.bytes) if current else (None, 0)
        except ConditionalCheckFailed as failed:
            wanted = body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            reason = ("ConditionalCheckFailed", failed.message, current.plain if current and wanted else None)
        except (ItemSizeToUpdateTooLarge, IncorrectDataType, AttributeDoesNotExist) as refused:
            reason = ("ValidationError", refused.message, None)
        reasons.append(reason)
        writes[(table.name, place)] = (table, place, row, plain, size)
    if sum(size for _, _, _, _, size in writes.values()) > TRANSACTION_BYTES:
        raise MockValidationException("The aggregate size of the items in a transaction cannot exceed 4 MB")
    if any(code for code, _, _ in reasons):
        raise TransactionCanceledException(reasons)
    for write in writes.values():
        _write(*write)


def _updated(
    table: Any, key: Wire, current: Snapshot | None, expression: str, names: Names, values: Values
) -> tuple[Wire, int]:
    """The item after an update expression, by moto's validator and executor on a copy."""
    item = _types.Item(None, None, current.plain if current else {})
    if expression:
        expressions.execute(expression, item, table, names or {}, values or {})
    try:
        return canonical({**{name: key[name] for name in table.table_key_attrs}, **item.to_json()["Attributes"]})
    except ItemSizeTooLarge:
        raise ItemSizeToUpdateTooLarge from None


def _check(current: Snapshot | None, expression: str | None, names: Names, values: Values, answer: str | None) -> None:
    if expression and not expressions.holds(current, expression, names, values):
        raise ConditionalCheckFailed(item=current.plain if current and answer == "ALL_OLD" else None)


def _write(table: Any, place: Place, old: Row | None, plain: Wire | None, size: int) -> None:
    """Store an item (or take it out: ``plain`` is None) and tell the stream. An unchanged item changes nothing."""
    store = store_of(table)
    if plain is not None:
        new = Row(plain, size)
        if table.stream_shard is not None:
            table.stream_shard.add(old.snapshot() if old else None, Snapshot(plain, size))
        store.put(plain, new)
    elif old is not None:
        if table.stream_shard is not None:
            table.stream_shard.add(old.snapshot(), None)
        store.remove(place)


def _checked(table: Any, item: Any) -> tuple[Wire, int]:
    """An item in canonical form, its index keys of the declared types."""
    plain, size = canonical(item)
    for index in (*table.global_indexes, *table.indexes):
        types = {entry["AttributeName"]: entry["AttributeType"] for entry in table.attr}
        for name in index.schema_key_attrs:
            if name in plain and types[name] not in plain[name]:
                raise MockValidationException(
                    f"One or more parameter values were invalid: Type mismatch for Index Key {name} "
                    f"Expected: {types[name]} Actual: {next(iter(plain[name]))} IndexName: {index.name}"
                )
    return plain, size


def _place(table: Any, attributes: Wire) -> Place:
    """Partition and sort key of an item or of a ``Key``."""
    name, kind = table.hash_key_attr, table.hash_key_type
    partition = _key_part(attributes, name, kind, HASH_KEY_MAX_LENGTH, HashKeyTooLong)
    name, kind = table.range_key_attr, table.range_key_type
    if name is None:
        return (partition,), ()
    return (partition,), (_key_part(attributes, name, kind, RANGE_KEY_MAX_LENGTH, RangeKeyTooLong),)


def _key_part(attributes: Wire, name: str, kind: str, longest: int, too_long: Callable[[], Exception]) -> Any:
    if name not in attributes:
        raise ProvidedKeyDoesNotExist
    if type(attributes[name]) is not dict:
        raise Malformed("an attribute value must be a map")
    attribute: Wire = attributes[name]
    if kind not in attribute:
        raise InvalidAttributeTypeError(name, expected_type=kind, actual_type=next(iter(attribute), ""))
    content: Any = attribute[kind]
    if kind == "N":
        return _types.DynamoType(value(attribute)[0]).cast_value
    if not content:
        raise KeyIsEmptyStringException(name)
    if (len(content) if kind == "B" else text_size(content)) > longest:
        raise too_long()
    return content


def _once(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``DynamoHandler.transact_write_items`` that knows its tokens."""

    def transact(self: Any) -> Any:
        token = self.body.get("ClientRequestToken")
        if token is None:
            return stock(self)
        seen: dict[str, tuple[float, bytes]] = self.dynamodb_backend.__dict__.setdefault("tokens", {})
        now = time.monotonic()
        while seen and seen[next(iter(seen))][0] + TOKEN_LIFE_S < now:
            del seen[next(iter(seen))]
        content = marshal.dumps(self.body["TransactItems"])
        if token not in seen:
            answer = stock(self)
            seen[token] = (now, content)
            return answer
        if seen[token][1] != content:
            raise IdempotentParameterMismatchException
        return ActionResult({"ConsumedCapacity": [], "ItemCollectionMetrics": {}})

    return transact


def _atomic(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call_action(self: Any) -> Any:
        with LOCK:
            return stock(self)

    return call_action


def _plain(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``dynamo_to_dict`` that lets stored items out as they are."""
    return lambda thing: thing.plain if type(thing) is Attributes else stock(thing)


def _contains_duplicates(_self: Any, keys: list[Any]) -> bool:
    """``DynamoHandler._contains_duplicates`` in one pass; keys are wire keys or texts."""
    seen = {k if isinstance(k, str) else frozenset((n, *a.items()) for n, a in k.items()) for k in keys}
    return len(seen) < len(keys)
