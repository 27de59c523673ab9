"""DynamoDB, as little of it as Hoso needs: whole-item conditional puts, transactions, drained batches, paged queries.

Items are plain dicts with ``pk`` and ``sk``; numbers are int or float, sets are sets of text. Nothing here builds an
expression from user data (security S12): names and values only travel in placeholders.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from hoso.model.errors import Conflict, InvalidInput, Transient
from hoso.platform.wire import from_wire, to_wire

Item = dict[str, Any]
Key = tuple[str, str]

BATCH_GET_LIMIT = 100
BATCH_WRITE_LIMIT = 25
TRANSACTION_LIMIT = 100
_DRAIN_ATTEMPTS = 6
_BASE_DELAY_S = 0.02
_TRANSIENT = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionInProgressException",
        "LimitExceededException",
    }
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition expression with its placeholders. ``names`` map ``#x`` to attributes, ``values`` ``:x`` to values."""

    expression: str
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def wire(self) -> dict[str, Any]:
        """The condition's part of a request."""
        wire: dict[str, Any] = {"ConditionExpression": self.expression}
        if self.names:
            wire["ExpressionAttributeNames"] = dict(self.names)
        if self.values:
            wire["ExpressionAttributeValues"] = to_wire(self.values)
        return wire


ABSENT = Condition("attribute_not_exists(pk)")
"""Nothing is stored under this key yet."""


def at_version(version: int) -> Condition:
    """The item still has this version in ``v``; version 0 means that it does not exist yet."""
    if version == 0:
        return ABSENT
    return Condition("#v = :v", {"#v": "v"}, {":v": version})


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole item, in a transaction."""

    table: Table
    item: Item
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an item, in a transaction."""

    table: Table
    key: Key
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Demand that a condition holds for an item that is not written, in a transaction."""

    table: Table
    key: Key
    condition: Condition


@dataclass(frozen=True, slots=True)
class Update:
    """Change some attributes of an item, or make it with them, in a transaction.

    ``add`` raises numbers (from 0) and adds to sets, ``default`` sets what is not there yet. Attribute
    names must not be user data.
    """

    table: Table
    key: Key
    put: Mapping[str, Any] = field(default_factory=dict[str, Any])
    add: Mapping[str, int | frozenset[str]] = field(default_factory=dict[str, "int | frozenset[str]"])
    default: Mapping[str, Any] = field(default_factory=dict[str, Any])
    condition: Condition | None = None

    def wire(self) -> dict[str, Any]:
        """The update's part of a request, its condition included."""
        names: dict[str, str] = dict(self.condition.names) if self.condition else {}
        values: dict[str, Any] = dict(self.condition.values) if self.condition else {}
        parts: dict[str, list[str]] = {}
        for verb, form, given in (
            ("SET", "{0} = {1}", self.put),
            ("SET", "{0} = if_not_exists({0}, {1})", self.default),
            ("ADD", "{0} {1}", self.add),
        ):
            for name, value in given.items():
                names[f"#u{name}"], values[f":u{name}"] = name, value
                parts.setdefault(verb, []).append(form.format(f"#u{name}", f":u{name}"))
        wire: dict[str, Any] = {
            "UpdateExpression": " ".join(f"{verb} {', '.join(terms)}" for verb, terms in parts.items()),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": to_wire(values),
        }
        if self.condition:
            wire["ConditionExpression"] = self.condition.expression
        return wire


Write = Put | Delete | Check | Update


class Refused(Conflict):
    """A condition did not hold. ``positions`` name the items of the transaction whose condition failed."""

    code = "condition_failed"

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(f"condition failed at {list(positions)}", hint="read again and decide again")
        self.positions = tuple(positions)


@dataclass(frozen=True, slots=True)
class Page:
    """Items of one query page; ``start`` is what the next call takes, None at the end."""

    items: list[Item]
    start: Key | None


class Table:
    """One table, with one method per way of access."""

    __slots__ = ("_client", "_sleep", "name")

    def __init__(self, name: str, client: Any, sleep: Callable[[float], None] = time.sleep) -> None:
        self.name = name
        self._client = client
        self._sleep = sleep

    def get(self, key: Key, *, consistent: bool = False) -> Item | None:
        """The item, or None."""
        answer = self._call("get_item", Key=_key(key), ConsistentRead=consistent)
        return from_wire(answer["Item"]) if "Item" in answer else None

    def batch_get(self, keys: Iterable[Key], *, consistent: bool = False, late: Container[str] = ()) -> dict[Key, Item]:
        """The items that exist among these keys; unprocessed keys are asked again (reliability R20). The maps in the
        attributes ``late`` are read when somebody looks into them."""
        wanted = list(dict.fromkeys(keys))
        found: dict[Key, Item] = {}
        for first in range(0, len(wanted), BATCH_GET_LIMIT):
            pending = [_key(key) for key in wanted[first : first + BATCH_GET_LIMIT]]
            for attempt in range(_DRAIN_ATTEMPTS):
                answer = self._call(
                    "batch_get_item", RequestItems={self.name: {"Keys": pending, "ConsistentRead": consistent}}
                )
                for wire in answer["Responses"].get(self.name, []):
                    item = from_wire(wire, late)
                    found[(item["pk"], item["sk"])] = item
                pending = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
                if not pending:
                    break
                self._pause(attempt)
            else:
                raise Transient(f"{len(pending)} keys stayed unread after {_DRAIN_ATTEMPTS} tries")
        return found

    def put(self, item: Item, condition: Condition | None = None) -> None:
        """Write a whole item. Raises ``Refused`` when the condition does not hold."""
        self._call("put_item", Item=to_wire(item), **(condition.wire() if condition else {}))

    def update(self, change: Update) -> None:
        """Change attributes of one item. Raises ``Refused`` when the condition does not hold."""
        self._call("update_item", Key=_key(change.key), **change.wire())

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        """Remove an item. Raises ``Refused`` when the condition does not hold."""
        self._call("delete_item", Key=_key(key), **(condition.wire() if condition else {}))

    def batch_write(self, puts: Iterable[Item] = (), deletes: Iterable[Key] = ()) -> None:
        """Unconditional writes; unprocessed ones are written again (reliability R20). Keys must be distinct."""
        requests: list[dict[str, Any]] = [{"PutRequest": {"Item": to_wire(item)}} for item in puts]
        requests += [{"DeleteRequest": {"Key": _key(key)}} for key in deletes]
        for first in range(0, len(requests), BATCH_WRITE_LIMIT):
            pending = requests[first : first + BATCH_WRITE_LIMIT]
            for attempt in range(_DRAIN_ATTEMPTS):
                answer = self._call("batch_write_item", RequestItems={self.name: pending})
                pending = answer.get("UnprocessedItems", {}).get(self.name, [])
                if not pending:
                    break
                self._pause(attempt)
            else:
                raise Transient(f"{len(pending)} writes stayed undone after {_DRAIN_ATTEMPTS} tries")

    def query(
        self,
        pk: str,
        prefix: str = "",
        *,
        limit: int | None = None,
        start: Key | None = None,
        reverse: bool = False,
        consistent: bool = False,
    ) -> Page:
        """One page of the items under ``pk`` whose ``sk`` begins with ``prefix``, in order of ``sk``."""
        condition, values = "pk = :pk", {":pk": pk}
        if prefix:
            condition, values = "pk = :pk AND begins_with(sk, :sk)", {":pk": pk, ":sk": prefix}
        request: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": to_wire(values),
            "ScanIndexForward": not reverse,
            "ConsistentRead": consistent,
        }
        if limit is not None:
            request["Limit"] = limit
        if start is not None:
            request["ExclusiveStartKey"] = _key(start)
        answer = self._call("query", **request)
        last = answer.get("LastEvaluatedKey")
        return Page([from_wire(wire) for wire in answer["Items"]], (last["pk"]["S"], last["sk"]["S"]) if last else None)

    def query_all(
        self, pk: str, prefix: str = "", *, reverse: bool = False, consistent: bool = False
    ) -> Iterator[Item]:
        """All items of a query, page by page."""
        start: Key | None = None
        while True:
            page = self.query(pk, prefix, start=start, reverse=reverse, consistent=consistent)
            yield from page.items
            start = page.start
            if start is None:
                return

    def scan(self, *, segment: int = 0, segments: int = 1, start: Key | None = None) -> Iterator[Item]:
        """Every item of one of ``segments`` parts of the table, after ``start`` in the table's own order."""
        request: dict[str, Any] = {"Segment": segment, "TotalSegments": segments}
        if start is not None:
            request["ExclusiveStartKey"] = to_wire({"pk": start[0], "sk": start[1]})
        while True:
            answer = self._call("scan", **request)
            for wire in answer["Items"]:
                yield from_wire(wire)
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        if "RequestItems" not in request:
            request["TableName"] = self.name
        return call(self._client, operation, **request)

    def _pause(self, attempt: int) -> None:
        self._sleep(random.uniform(0, _BASE_DELAY_S * 2**attempt))  # noqa: S311  jitter needs no secrecy


def transact(client: Any, writes: Sequence[Write], token: str | None = None) -> None:
    """All writes or none.

    ``token`` (a function of the content) makes a repeated call harmless for ten minutes.

    Raises:
        Refused: a condition failed; its positions tell which (reliability R12: the reasons are read one by one).
        InvalidInput: ``item_too_large``, an item is over the size limit.
        Transient: throttled or in conflict with another transaction; the same call may succeed later.
    """
    request: dict[str, Any] = {"TransactItems": [_transact_item(write) for write in writes]}
    if token is not None:
        request["ClientRequestToken"] = token
    call(client, "transact_write_items", **request)


def call(client: Any, operation: str, **request: Any) -> dict[str, Any]:
    """One API call, its failures turned into typed errors."""
    try:
        return getattr(client, operation)(**request)
    except ClientError as error:
        raise _typed(error) from error
    except BotoCoreError as error:
        raise Transient(f"{operation}: {type(error).__name__}") from error


def _typed(error: ClientError) -> Exception:
    response = cast("dict[str, Any]", error.response)
    code: str = response.get("Error", {}).get("Code", "")
    if code == "ConditionalCheckFailedException":
        return Refused([0])
    if code == "TransactionCanceledException":
        reasons: list[str] = [reason.get("Code", "None") for reason in response.get("CancellationReasons", [])]
        failed = [position for position, reason in enumerate(reasons) if reason == "ConditionalCheckFailed"]
        if failed:
            return Refused(failed)
        if "ValidationError" in reasons or "ItemCollectionSizeLimitExceeded" in reasons:
            return InvalidInput("an item of the transaction is refused by the table", code="item_too_large")
        return Transient("transaction cancelled: " + ", ".join(sorted(set(reasons) - {"None"})))
    if code in _TRANSIENT:
        return Transient(f"table says {code}")
    if code == "ValidationException" and "size" in str(error).lower():
        return InvalidInput("an item is over the size limit", code="item_too_large")
    return error


def _transact_item(write: Write) -> dict[str, Any]:
    body: dict[str, Any] = {"TableName": write.table.name}
    if isinstance(write, Put):
        body["Item"] = to_wire(write.item)
    else:
        body["Key"] = _key(write.key)
    if isinstance(write, Update):
        body |= write.wire()
    elif write.condition is not None:
        body |= write.condition.wire()
    return {type(write).__name__ if not isinstance(write, Check) else "ConditionCheck": body}


def _key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
