"""Whether two tables hold the same people: what must be equal after a rebuild from the archive (R48). Pure.

Compared are the fragments (counts, times, meters, consent, traits, orders) and who belongs together. Left out is what
depends on the way the events came: versions, rings of message ids, names of pages; and memberships, which depend on
the time of the question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from hoso.platform.dynamo import Item, Key
from hoso.unify.fragments import cold_of, hot_of

MOST_NAMED = 20
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


class Print(NamedTuple):
    """What is left of an item for the comparison: hash of its content; for hot items also that of the meters, with
    the version of the rules that they belong to (meters of different rules are not compared)."""

    content: bytes
    rules: str = ""
    meters: bytes = b""

    def equals(self, other: Print) -> bool:
        """Whether both stand for the same state."""
        return self.content == other.content and (self.rules != other.rules or self.meters == other.meters)


@dataclass(slots=True)
class Difference:
    """Counts of fragments and people that are the same, differ, or are on one side only; some of their keys."""

    same: int = 0
    differ: int = 0
    only_live: int = 0
    only_shadow: int = 0
    named: list[str] = field(default_factory=list[str])

    @property
    def equal(self) -> bool:
        """Whether both tables hold the same people."""
        return not (self.differ or self.only_live or self.only_shadow)


def print_of(item: Item) -> Print | None:
    """The fingerprint of an item of the profiles table; None for what is not compared."""
    kind = item["pk"].split("#", 2)[1:2]
    if kind == ["F"] and item["sk"] == "H":
        hot = hot_of(item, ("", ""))
        if not hot.events:
            return None  # an identifier that only belongs to somebody
        owner = hot.owner or f"p_{item['pk'].rpartition('#')[2]}"
        content = [hot.hub, owner, hot.events, hot.first, hot.last, hot.shown, hot.conflicts]
        return Print(_hash(content), hot.rules, _hash(hot.meters))
    if kind == ["F"] and item["sk"] == "C":
        cold = cold_of(item)
        orders = {order_id: order.wire() for order_id, order in cold.orders.items()}
        if not (cold.traits or cold.said or orders or cold.overflow or cold.story):
            return None  # nothing but what was computed, or lists
        return Print(_hash([cold.traits, cold.said, orders, cold.base.wire(), cold.overflow]))
    if kind == ["P"] and item["sk"] == "P" and "to" not in item and len(item.get("ids", ())) > 1:
        return Print(_hash([sorted(item["ids"]), sorted(item.get("fr", ()))]))
    return None


def prints_of(items: Iterable[Item], workspace: str) -> dict[Key, Print]:
    """The fingerprints of a workspace's items by their keys (about 200 bytes each)."""
    found: dict[Key, Print] = {}
    for item in items:
        if item["pk"].startswith(f"{workspace}#"):
            made = print_of(item)
            if made is not None:
                found[item["pk"], item["sk"]] = made
    return found


def compare(live: Iterable[Item], shadow: dict[Key, Print], workspace: str) -> Difference:
    """Hold the live table's items against the fingerprints of the shadow, which are used up."""
    answer = Difference()
    for item in live:
        made = print_of(item) if item["pk"].startswith(f"{workspace}#") else None
        if made is None:
            continue
        key = (item["pk"], item["sk"])
        other = shadow.pop(key, None)
        if other is not None and made.equals(other):
            answer.same += 1
            continue
        if other is None:
            answer.only_live += 1
        else:
            answer.differ += 1
        _name(answer, key)
    answer.only_shadow = len(shadow)
    for key in sorted(shadow):
        _name(answer, key)
    return answer


def _name(answer: Difference, key: Key) -> None:
    if len(answer.named) < MOST_NAMED:
        answer.named.append("/".join(key))


def _hash(content: Any) -> bytes:
    return blake2b(orjson.dumps(content, default=list, option=_OPTIONS), digest_size=12).digest()
