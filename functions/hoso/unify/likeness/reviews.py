"""Pairs that matching linked or wants decided, in the ``control`` table.

======================================  ==============================  ===========================================
pk                                      sk                              what
======================================  ==============================  ===========================================
``<workspace>#likeness``                ``<pair id>``                   the pair: ``v``, ``status``, ``score``,
                                                                        ``a`` and ``b`` (identifiers), ``why`` (JSON),
                                                                        ``at``, ``by``, ``n`` decisions so far
``<workspace>#likeness#<status>``       ``<9999 - score>#<pair id>``    the pairs of a status, the likeliest first
======================================  ==============================  ===========================================

Statuses: ``open`` (to be decided), ``linked`` (without asking), ``withdrawn`` (the score fell, or nobody need decide
any more), ``accepted`` and ``rejected`` (by a person; these stay until a person decides otherwise).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from hoso.model.errors import NotFound
from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import Delete, Item, Key, Put, Table, at_version, transact
from hoso.platform.ids import Hasher

OPEN, LINKED, WITHDRAWN, ACCEPTED, REJECTED = "open", "linked", "withdrawn", "accepted", "rejected"
STATUSES = (OPEN, LINKED, WITHDRAWN, ACCEPTED, REJECTED)
DECIDED = frozenset((ACCEPTED, REJECTED))


@dataclass(frozen=True, slots=True)
class Review:
    """One pair. ``why`` is what ``hoso.unify.likeness.explain`` says of it, values masked."""

    id: str
    a: Identifier
    b: Identifier
    status: str
    score: float
    why: Mapping[str, Any]
    at: int
    by: str
    version: int = 0
    decisions: int = 0


class Reviews:
    """Pairs of one workspace."""

    def __init__(self, control: Table, client: Any, workspace: str, hasher: Hasher) -> None:
        self._table = control
        self._client = client
        self._hasher = hasher
        self._pk = f"{workspace}#likeness"

    def pair_id(self, a: Identifier, b: Identifier) -> str:
        """The id of a pair of identifiers, whichever comes first."""
        return "l_" + self._hasher.text("likeness\0" + "\0".join(sorted((str(a), str(b)))))

    def get(self, pair: str) -> Review:
        """One pair, strongly consistent. Raises ``NotFound``."""
        held = self.find(pair)
        if held is None:
            raise NotFound("no pair has this id", hint="list them: GET /v1/likeness/reviews")
        return held

    def find(self, pair: str) -> Review | None:
        """One pair, strongly consistent, or None."""
        item = self._table.get((self._pk, pair), consistent=True)
        return None if item is None else _review(item)

    def page(self, status: str, limit: int, start: str | None = None) -> tuple[list[Review], str | None]:
        """Pairs of a status, the likeliest first, and where the next page starts."""
        pk = f"{self._pk}#{status}"
        found = self._table.query(pk, limit=limit, start=(pk, start) if start else None)
        names = [item["sk"].partition("#")[2] for item in found.items]
        items = self._table.batch_get([(self._pk, name) for name in names], consistent=True)
        listed = [_review(items[self._pk, name]) for name in names if (self._pk, name) in items]
        return [one for one in listed if one.status == status], found.start[1] if found.start else None

    def all(self, status: str) -> Iterator[Review]:
        """All pairs of a status."""
        start: str | None = None
        while True:
            found, start = self.page(status, 100, start)
            yield from found
            if start is None:
                return

    def tell(self, review: Review) -> bool:
        """Store what matching says of a pair; what a person decided stays. Answers whether it was stored.

        Raises:
            Refused: somebody else wrote the pair at the same moment.
        """
        held = self.find(review.id)
        if held is not None and held.status in DECIDED:
            return False
        if review.status == WITHDRAWN and held is None:
            return False
        if held is not None and (held.status, held.score) == (review.status, review.score) and held.why == review.why:
            return True
        version, decisions = (held.version, held.decisions) if held else (0, 0)
        self.put(replace(review, version=version, decisions=decisions), held)
        return True

    def put(self, review: Review, held: Review | None) -> None:
        """Store a pair over what is held of it. Raises ``Refused`` when that is no longer held."""
        item = {
            "pk": self._pk,
            "sk": review.id,
            "v": review.version + 1,
            "a": list(review.a),
            "b": list(review.b),
            "status": review.status,
            "score": _basis_points(review.score),
            "why": orjson.dumps(review.why, option=orjson.OPT_SORT_KEYS).decode(),
            "at": review.at,
            "by": review.by,
            "n": review.decisions,
        }
        listed = self._listed(review)
        writes: list[Put | Delete] = [
            Put(self._table, item, at_version(review.version)),
            Put(self._table, {"pk": listed[0], "sk": listed[1]}),
        ]
        if held is not None and self._listed(held) != listed:
            writes.append(Delete(self._table, self._listed(held)))
        transact(self._client, writes)

    def _listed(self, review: Review) -> Key:
        return f"{self._pk}#{review.status}", f"{9_999 - min(_basis_points(review.score), 9_999):04d}#{review.id}"


def _basis_points(score: float) -> int:
    return round(score * 10_000)


def _review(item: Item) -> Review:
    return Review(
        item["sk"],
        Identifier(*item["a"]),
        Identifier(*item["b"]),
        item["status"],
        item["score"] / 10_000,
        orjson.loads(item["why"]),
        item["at"],
        item["by"],
        item["v"],
        item["n"],
    )
