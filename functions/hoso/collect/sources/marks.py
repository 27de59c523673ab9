"""Transactions that were stored already, for senders that want to hear of a duplicate (VNPay, ZaloPay).

Item of the ``delivery`` table: ``<ws>#H#<source>#<first two of the digest>`` / ``<digest of the key>``: ``a`` digest of
the amount, ``ttl``. A mark is written after the events are stored: what is lost between the two is stored again, and
the message id keeps it one event. Wrong marks cost an answer, never an event.
"""

from __future__ import annotations

from hoso.collect.sources.contract import HookSource, Seen
from hoso.model.time import DAY_MS, SECOND_MS
from hoso.platform.dynamo import Key, Table
from hoso.platform.ids import content_id

KEPT_MS = 14 * DAY_MS
"""Longer than any of the senders repeats, and longer than message ids are told apart."""


class Marks:
    """Reads and writes marks."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, source: HookSource, seen: Seen, now: int) -> bool | None:
        """None: not seen. True: seen with this amount. False: seen with another. Raises ``Transient``."""
        item = self._table.get(_key(source, seen), consistent=True)
        if item is None or item["ttl"] * SECOND_MS <= now:
            return None
        return item["a"] == content_id(seen.amount)

    def put(self, source: HookSource, seen: Seen, now: int) -> None:
        """Note that the transaction is stored. Raises ``Transient``."""
        pk, sk = _key(source, seen)
        self._table.put({"pk": pk, "sk": sk, "a": content_id(seen.amount), "ttl": (now + KEPT_MS) // SECOND_MS})


def _key(source: HookSource, seen: Seen) -> Key:
    digest = content_id(source.kind, seen.key)
    return f"{source.workspace}#H#{source.key}#{digest[:2]}", digest
