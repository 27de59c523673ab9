"""Where the repaired moto keeps the items of a table: per key, in order, as bytes.

A row is stored marshalled: reading makes a fresh copy at C speed (moto copies attribute by attribute), the caller can
change what it gets without changing the table, and a hundred thousand items are nothing to the garbage collector.
"""

from __future__ import annotations

import marshal
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from decimal import Decimal
from hashlib import md5
from importlib import import_module
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType, Item

from infra.twin.moto_fixes.values import Wire

Key = tuple[Any, ...]
Condition = tuple[str, list[Any]]
"""A comparison of a sort key (``= < <= > >= BETWEEN BEGINS_WITH``) and its operands."""
_MOTO_ITEM: Any = Item
_deserialize: Any = import_module("boto3.dynamodb.types").TypeDeserializer().deserialize


class Attributes:
    """Read access to a wire item in the way moto's expressions ask for it."""

    __slots__ = ("plain",)

    def __init__(self, plain: Wire) -> None:
        self.plain = plain

    def __contains__(self, name: str) -> bool:
        return name in self.plain

    def __getitem__(self, name: str) -> DynamoType:
        return DynamoType(self.plain[name])


class Snapshot:
    """What moto's handlers and expressions see of an item: a copy of one moment."""

    __slots__ = ("attrs", "bytes", "plain")
    hash_key = range_key = None
    project = _MOTO_ITEM.project

    def __init__(self, plain: Wire, size: int) -> None:
        self.plain = plain
        self.bytes = size
        self.attrs = Attributes(plain)

    def __deepcopy__(self, memo: dict[int, Any]) -> Snapshot:
        return self

    def size(self) -> int:
        """Bytes, as DynamoDB bills them."""
        return self.bytes

    def to_json(self) -> dict[str, Wire]:
        """The item in wire form."""
        return {"Attributes": self.plain}

    def to_regular_json(self) -> dict[str, Any]:
        """The item as plain values."""
        return {name: _deserialize(attribute) for name, attribute in self.plain.items()}

    def describe_attrs(self, attributes: Sequence[str] | None = None) -> dict[str, Any]:
        """All or some attributes, for an answer."""
        if attributes:
            return {"Item": Attributes({name: entry for name, entry in self.plain.items() if name in attributes})}
        return {"Item": self.attrs}


class Row:
    """One stored item; ``size`` as DynamoDB bills it."""

    __slots__ = ("blob", "size")

    def __init__(self, plain: Wire, size: int) -> None:
        self.blob = marshal.dumps(plain)
        self.size = size

    @property
    def plain(self) -> Wire:
        """A copy of the item in wire form."""
        return marshal.loads(self.blob)  # noqa: S302  written above, in this process

    def snapshot(self) -> Snapshot:
        """A copy of the item in the form that moto works with."""
        return Snapshot(self.plain, self.size)


class Bucket:
    """The rows of one partition key; ``order`` is sorted. ``number`` and ``slice`` are its place in a scan."""

    __slots__ = ("number", "order", "rows", "slice")

    def __init__(self, number: int, partition: Key) -> None:
        first = partition[0]
        self.number = number
        self.slice = md5(first if isinstance(first, bytes) else str(first).encode(), usedforsecurity=False).digest()[0]
        self.order: list[Key] = []
        self.rows: dict[Key, Row] = {}


class Index:
    """The rows of a table (or of a secondary index) by their keys."""

    def __init__(self, partition: Sequence[str], sort: Sequence[str]) -> None:
        self.partition = tuple(partition)
        self.sort = tuple(sort)
        self.buckets: dict[Key, Bucket] = {}
        self._scan_order: list[Bucket] = []

    def __len__(self) -> int:
        return sum(len(bucket.rows) for bucket in self._scan_order)

    def key(self, plain: Wire) -> tuple[Key, Key] | None:
        """Partition and sort key of an item; None if an attribute is missing (a sparse index)."""
        try:
            return tuple([_part(plain[name]) for name in self.partition]), tuple([_part(plain[n]) for n in self.sort])
        except KeyError:
            return None

    def get(self, partition: Key, sort: Key) -> Row | None:
        """The row under a key."""
        bucket = self.buckets.get(partition)
        return None if bucket is None else bucket.rows.get(sort)

    def put(self, partition: Key, sort: Key, row: Row) -> None:
        """Store a row under a key."""
        bucket = self.buckets.get(partition)
        if bucket is None:
            bucket = self.buckets[partition] = Bucket(len(self._scan_order), partition)
            self._scan_order.append(bucket)
        if sort not in bucket.rows:
            insort(bucket.order, sort)
        bucket.rows[sort] = row

    def remove(self, partition: Key, sort: Key) -> None:
        """Take a row out. The empty bucket stays: a scan that goes on behind it needs its place."""
        bucket = self.buckets[partition]
        del bucket.rows[sort]
        del bucket.order[bisect_left(bucket.order, sort)]

    def find(self, partition: Key, conditions: Sequence[Condition], after: Key | None, forward: bool) -> Iterator[Row]:
        """The rows of a partition whose sort key fits the conditions (all but the last are ``=``), in order."""
        bucket = self.buckets.get(partition)
        if bucket is None:
            return
        low, high = 0, len(bucket.order)
        for place, (comparison, values) in enumerate(conditions):
            low, high = _range(bucket.order, low, high, place, comparison, values)
        if after is not None and forward:
            low = max(low, bisect_right(bucket.order, after))
        elif after is not None:
            high = min(high, bisect_left(bucket.order, after))
        for position in range(low, high) if forward else range(high - 1, low - 1, -1):
            yield bucket.rows[bucket.order[position]]

    def walk(self, after: tuple[Key, Key] | None = None, segment: int = 0, segments: int = 1) -> Iterator[Row]:
        """All rows, or those of a segment, behind a key."""
        start = -1
        if after is not None and after[0] in self.buckets:
            bucket = self.buckets[after[0]]
            start = bucket.number
            for sort in bucket.order[bisect_right(bucket.order, after[1]) :]:
                yield bucket.rows[sort]
        for number in range(start + 1, len(self._scan_order)):
            bucket = self._scan_order[number]
            if bucket.slice % segments == segment:
                for sort in bucket.order:
                    yield bucket.rows[sort]


class Store:
    """The items of a table with its indexes; takes the place of ``Table.items`` in moto."""

    def __init__(self, key: Sequence[str]) -> None:
        self.primary = Index(key[:1], key[1:])
        self.secondary: dict[str, Index] = {}

    def index(self, name: str, partition: Sequence[str], sort: Sequence[str]) -> Index:
        """The secondary index of this name, filled at its first use."""
        if name not in self.secondary:
            index = Index(partition, (*sort, *self.primary.partition, *self.primary.sort))
            self.secondary[name] = index
            for row in self.primary.walk():
                _add(index, row.plain, row)
        return self.secondary[name]

    def put(self, plain: Wire, row: Row) -> None:
        """Store a row in the table and its indexes."""
        key = self.primary.key(plain)
        assert key is not None  # noqa: S101  the caller has checked the key
        if self.secondary:
            self._forget(key)
            for index in self.secondary.values():
                _add(index, plain, row)
        self.primary.put(*key, row)

    def remove(self, key: tuple[Key, Key]) -> None:
        """Take a row out of the table and its indexes."""
        self._forget(key)
        self.primary.remove(*key)

    def _forget(self, key: tuple[Key, Key]) -> None:
        old = self.primary.get(*key) if self.secondary else None
        for index in self.secondary.values() if old else ():
            held = index.key(old.plain) if old else None
            if held is not None:
                index.remove(*held)


def store_of(table: Any) -> Store:
    """The items of a moto table. It stands in ``Table.items``, so that moto's backups copy it."""
    store = table.items
    if type(store) is not Store:
        store = table.items = Store(table.table_key_attrs)
    for index in (*table.global_indexes, *table.indexes):
        if index.name not in store.secondary:
            parts = {"HASH": list[str](), "RANGE": list[str]()}
            for key in index.schema:
                parts[key["KeyType"]].append(key["AttributeName"])
            store.index(index.name, parts["HASH"], parts["RANGE"])
    return store


def _add(index: Index, plain: Wire, row: Row) -> None:
    key = index.key(plain)
    if key is not None:
        index.put(*key, row)


def _part(attribute: Wire) -> Any:
    ((kind, content),) = attribute.items()
    return Decimal(content) if kind == "N" else content


def _range(keys: list[Key], low: int, high: int, at: int, comparison: str, values: list[Any]) -> tuple[int, int]:
    """The part of ``keys[low:high]`` where part ``at`` fits a comparison; all parts before it are equal there."""
    first, last = values[0], values[-1]
    if comparison == "BEGINS_WITH":
        low = bisect_left(keys, first, low, high, key=lambda sort: sort[at])
        return low, bisect_right(keys, first, low, high, key=lambda sort: sort[at][: len(first)])
    if comparison in ("=", "BETWEEN", ">=", ">"):
        low = (bisect_right if comparison == ">" else bisect_left)(keys, first, low, high, key=lambda sort: sort[at])
    if comparison in ("=", "BETWEEN", "<=", "<"):
        high = (bisect_left if comparison == "<" else bisect_right)(keys, last, low, high, key=lambda sort: sort[at])
    return low, high
