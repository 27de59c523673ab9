"""A DynamoDB client in memory, with just the calls and conditions that unify uses: for thousands of random runs.

What AWS and moto do beyond that is covered by the tests that run on moto.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from botocore.exceptions import ClientError


class MemoryDynamo:
    """Items by table and key in wire form; whole transactions, version conditions, upserts."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self._names: dict[str, tuple[dict, int, dict[str, list[str]]]] = {}
        self.calls: list[str] = []
        self.written = 0
        self.keys_read = 0
        self.last: list[dict] = []
        self.keys: list[tuple[str, str]] = []

    def get_item(self, **request: Any) -> dict:
        self.calls.append("get_item")
        self.keys.append(_key(request["Key"]))
        item = self._table(request["TableName"]).get(_key(request["Key"]))
        return {} if item is None else {"Item": dict(item)}

    def put_item(self, **call: Any) -> dict:
        self.calls.append("put_item")
        self._check(call, self._table(call["TableName"]).get(_key(call["Item"])))
        self._table(call["TableName"])[_key(call["Item"])] = dict(call["Item"])
        self.written += 1
        return {}

    def update_item(self, **call: Any) -> dict:
        self.calls.append("update_item")
        table = self._table(call["TableName"])
        self._check(call, table.get(_key(call["Key"])))
        _update(table, call)
        self.written += 1
        return {}

    def delete_item(self, **call: Any) -> dict:
        self.calls.append("delete_item")
        self._check(call, self._table(call["TableName"]).get(_key(call["Key"])))
        self._drop(call["TableName"], _key(call["Key"]))
        self.written += 1
        return {}

    def batch_write_item(self, **call: Any) -> dict:
        self.calls.append("batch_write_item")
        for table, requests in call["RequestItems"].items():
            assert 0 < len(requests) <= 25
            for request in requests:
                ((verb, body),) = request.items()
                if verb == "PutRequest":
                    self._table(table)[_key(body["Item"])] = dict(body["Item"])
                else:
                    self._drop(table, _key(body["Key"]))
                self.written += 1
        return {"UnprocessedItems": {}}

    def query(self, **call: Any) -> dict:
        self.calls.append("query")
        values = call["ExpressionAttributeValues"]
        prefix = values.get(":sk", {"S": ""})["S"]
        held, pk = self._table(call["TableName"]), values[":pk"]["S"]
        found = self._partitions(call["TableName"]).get(pk, [])
        names = sorted((pk, sk) for sk in found if sk.startswith(prefix))
        return {"Items": [dict(held[name]) for name in (names if call["ScanIndexForward"] else names[::-1])]}

    def scan(self, **call: Any) -> dict:
        self.calls.append("scan")
        held = self._table(call["TableName"])
        return {"Items": [dict(held[name]) for name in sorted(held)]}

    def batch_get_item(self, **call: Any) -> dict:
        self.calls.append("batch_get_item")
        found: dict[str, list] = {}
        for table, request in call["RequestItems"].items():
            assert 0 < len(request["Keys"]) <= 100
            self.keys_read += len(request["Keys"])
            self.keys += map(_key, request["Keys"])
            held = self._table(table)
            found[table] = [dict(held[_key(key)]) for key in request["Keys"] if _key(key) in held]
        return {"Responses": found, "UnprocessedKeys": {}}

    def transact_write_items(self, **call: Any) -> dict:
        self.calls.append("transact_write_items")
        entries: list[dict] = call["TransactItems"]
        assert 0 < len(entries) <= 100
        self.last = entries
        keys, reasons = [], []
        for entry in entries:
            ((_, body),) = entry.items()
            key = (body["TableName"], *_key(body.get("Key") or body["Item"]))
            keys.append(key)
            held = self._table(key[0]).get(key[1:])
            reasons.append({"Code": "None" if self._holds(body, held) else "ConditionalCheckFailed"})
        assert len(set(keys)) == len(keys), "one item twice in a transaction"
        if any(reason["Code"] != "None" for reason in reasons):
            error = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(error, "TransactWriteItems")
        for entry in entries:
            ((verb, body),) = entry.items()
            table = self._table(body["TableName"])
            if verb == "Put":
                table[_key(body["Item"])] = dict(body["Item"])
            elif verb == "Update":
                _update(table, body)
            elif verb == "Delete":
                self._drop(body["TableName"], _key(body["Key"]))
            self.written += verb != "ConditionCheck"
        return {}

    def _partitions(self, name: str) -> dict[str, list[str]]:
        """Sort keys by partition. New items stand at the end of a dict, so that only they have to be looked at."""
        held = self._table(name)
        of, count, found = self._names.get(name, (held, 0, {}))
        if of is not held:
            count, found = 0, {}
        for pk, sk in islice(held, count, None):
            found.setdefault(pk, []).append(sk)
        self._names[name] = (held, len(held), found)
        return found

    def _drop(self, name: str, key: tuple[str, str]) -> None:
        self._table(name).pop(key, None)
        self._names.pop(name, None)

    def _table(self, name: str) -> dict:
        return self.tables.setdefault(name, {})

    def _check(self, call: dict, held: dict | None) -> None:
        if not self._holds(call, held):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")

    def _holds(self, body: dict, held: dict | None) -> bool:
        expression = body.get("ConditionExpression")
        if expression is None:
            return True
        if expression == "attribute_not_exists(pk)":
            return held is None
        if expression == "attribute_not_exists(#f) OR size(#f) < :most":
            return True
        placeholder = expression.partition(" = ")[0]
        assert expression == f"{placeholder} = :{placeholder[1:]}"
        name = body["ExpressionAttributeNames"][placeholder]
        return held is not None and held.get(name) == body["ExpressionAttributeValues"][":" + placeholder[1:]]


def _update(table: dict, body: dict) -> None:
    # a new item: what was read before, and pictures of the whole table, stay as they are
    item = table[_key(body["Key"])] = dict(table.get(_key(body["Key"]), body["Key"]))
    names, values = body["ExpressionAttributeNames"], body["ExpressionAttributeValues"]
    for placeholder, name in ((held, name) for held, name in names.items() if held.startswith("#u")):
        value = values[":" + placeholder[1:]]
        if f"ADD {placeholder}" in body["UpdateExpression"]:
            if "SS" in value:
                item[name] = {"SS": sorted({*item.get(name, {"SS": []})["SS"], *value["SS"]})}
            else:
                item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(value["N"]))}
        elif f"if_not_exists({placeholder}," not in body["UpdateExpression"] or name not in item:
            item[name] = value


def _key(wire: dict) -> tuple[str, str]:
    return wire["pk"]["S"], wire["sk"]["S"]
