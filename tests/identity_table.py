"""A DynamoDB client in memory, with just the calls and conditions that identity uses: for thousands of random runs.

What AWS and moto do beyond that is covered by the tests that run on moto.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


class MemoryDynamo:
    """Items by table and key in wire form; whole transactions, version conditions, upserts."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self.calls: list[str] = []
        self.written = 0
        self.keys_read = 0
        self.last: list[dict] = []

    def get_item(self, **request: Any) -> dict:
        self.calls.append("get_item")
        item = self._table(request["TableName"]).get(_key(request["Key"]))
        return {} if item is None else {"Item": dict(item)}

    def batch_get_item(self, **call: Any) -> dict:
        self.calls.append("batch_get_item")
        found: dict[str, list] = {}
        for table, request in call["RequestItems"].items():
            assert 0 < len(request["Keys"]) <= 100
            self.keys_read += len(request["Keys"])
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
                _update(table.setdefault(_key(body["Key"]), dict(body["Key"])), body)
            self.written += verb != "ConditionCheck"
        return {}

    def _table(self, name: str) -> dict:
        return self.tables.setdefault(name, {})

    def _holds(self, body: dict, held: dict | None) -> bool:
        expression = body.get("ConditionExpression")
        if expression is None:
            return True
        if expression == "attribute_not_exists(pk)":
            return held is None
        assert expression == "#v = :v"
        return held is not None and held["v"] == body["ExpressionAttributeValues"][":v"]


def _update(item: dict, body: dict) -> None:
    names, values = body["ExpressionAttributeNames"], body["ExpressionAttributeValues"]
    for placeholder, name in names.items():
        value = values[":" + placeholder[1:]]
        if f"ADD {placeholder}" in body["UpdateExpression"]:
            item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(value["N"]))}
        elif f"if_not_exists({placeholder}," not in body["UpdateExpression"] or name not in item:
            item[name] = value


def _key(wire: dict) -> tuple[str, str]:
    return wire["pk"]["S"], wire["sk"]["S"]
