"""DynamoDB's Query and Scan: a page costs what it holds, whatever the table holds.

A page that ends at ``Limit`` has a LastEvaluatedKey, as on AWS also at the end of the data. Legacy filters are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from moto.dynamodb.exceptions import MockValidationException

from infra.twin.moto_fixes import replace
from infra.twin.moto_fixes.rows import Condition, Index, Key, Row, Snapshot, store_of
from infra.twin.moto_fixes.values import Wire

PAGE_BYTES = 1024 * 1024
looked_at: ContextVar[int] = ContextVar("looked_at", default=0)
"""Bytes of the items that the last read of this thread looked at: what AWS bills."""
_table: Any = import_module("moto.dynamodb.models.table").Table


def patch() -> None:
    """Put the repairs in place."""
    replace(_table, "query", query)
    replace(_table, "scan", scan)
    replace(_table, "all_items", _all_items)
    replace(_table, "__len__", _length)


def query(
    self: Any, *given: Any, hash_key_conditions: Any, range_key_conditions: Any, **legacy: Any
) -> tuple[list[Any], int, Wire | None]:
    """``Table.query``."""
    limit, start, forward, projection, index_name, consistent, condition = given[3:]
    if legacy:
        raise MockValidationException("QueryFilter is not imitated: use FilterExpression")
    index = _index_of(self, index_name, consistent)
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in self.attr}
    partitions = {name: _operand(operand, types[name]) for name, operand in hash_key_conditions}
    sorts: list[Condition] = [
        (comparison, [_operand(operand, types[name]) for operand in operands])
        for name, comparison, operands in range_key_conditions
    ]
    partition = tuple(partitions[name] for name in index.partition)
    rows = index.find(partition, sorts, _start(index, start)[1] if start else None, forward)
    return _page(self, rows, limit, condition, projection, index_name)


def scan(self: Any, *given: Any, segments: tuple[int | None, int | None]) -> tuple[list[Any], int, Wire | None]:
    """``Table.scan``."""
    filters, limit, start, condition, index_name, consistent, projection = given
    if filters:
        raise MockValidationException("ScanFilter is not imitated: use FilterExpression")
    index = _index_of(self, index_name, consistent)
    rows = index.walk(_start(index, start) if start else None, segments[0] or 0, segments[1] or 1)
    return _page(self, rows, limit, condition, projection, index_name)


def _page(
    table: Any, rows: Iterator[Row], limit: int | None, condition: Any, projection: Any, index_name: str | None
) -> tuple[list[Any], int, Wire | None]:
    """One page: at most ``limit`` items and 1 MB are looked at, the filter comes after."""
    index = table.get_index(index_name) if index_name else None
    found: list[Any] = []
    size = seen = 0
    last: Row | None = None
    for row in rows:
        if last and (seen == limit or size + row.size > PAGE_BYTES):
            break
        seen, size, last = seen + 1, size + row.size, row
        item: Any = row.snapshot()
        if condition is None or condition.expr(item):
            item = index.project(item) if index else item
            found.append(item.project(projection) if projection else item)
    else:
        last = last if seen == limit else None
    looked_at.set(size)
    if last is None:
        return found, seen, None
    names = [*table.table_key_attrs, *(index.schema_key_attrs if index else ())]
    return found, seen, {name: last.plain[name] for name in names}


def _index_of(table: Any, name: str | None, consistent: bool) -> Index:
    store = store_of(table)
    if name is None:
        return store.primary
    if consistent and table.get_index(name, error_if_not=True) in table.global_indexes:
        raise MockValidationException("Consistent reads are not supported on global secondary indexes")
    table.get_index(name, error_if_not=True)
    return store.secondary[name]


def _start(index: Index, start: Wire) -> tuple[Key, Key]:
    place = index.key(start)
    if place is None:
        raise MockValidationException("The provided starting key is invalid")
    return place


def _operand(operand: Any, kind: str) -> Any:
    if operand.type != kind:
        raise MockValidationException(
            "One or more parameter values were invalid: Condition parameter type does not match schema type"
        )
    return operand.cast_value


def _all_items(self: Any) -> list[Snapshot]:
    return [row.snapshot() for row in store_of(self).primary.walk()]


def _length(self: Any) -> int:
    return len(store_of(self).primary)
