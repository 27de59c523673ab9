"""People made anew under the rules in force, piece by piece: what follows a change of the rules.

Walks the recorded evidence (identifier items) in the order of the table and decides every component again. A piece that
was killed is repeated from its cursor, which is harmless: a decision is a function of the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hoso.model.errors import Conflict, Transient
from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import Key, Table
from hoso.unify.identities import Identities
from hoso.unify.people import People

Json = dict[str, Any]
_RESERVE_MS = 6_000


class Piece(NamedTuple):
    """What one call did. ``cursor`` says where the next one begins, None at the end. ``left`` are identifiers whose
    component is too large, or stayed busy."""

    cursor: list[str] | None
    looked: int
    changed: int
    left: int


def rederive(
    table: Table,
    identities: Identities,
    people: People,
    workspace: str,
    start: Sequence[str] | None,
    remaining_ms: Callable[[], int],
    now: int,
) -> Piece:
    """One piece, as long as there is time. Raises ``Transient`` when the table stays throttled."""
    looked = changed = left = 0
    done: set[Identifier] = set()
    place: Key | None = (start[0], start[1]) if start else None
    prefix = f"{workspace}#I#"
    for item in table.scan(start=place):
        key: Key = (item["pk"], item["sk"])
        if item["pk"].startswith(prefix) and item["sk"] == "I" and "val" in item:  # of who was erased there is nothing
            one = Identifier(item["pk"].removeprefix(prefix).split("#")[0], item["val"])
            if one not in done:
                looked += 1
                try:
                    change = identities.rederive(one, now)
                except (Conflict, Transient):
                    left += 1
                else:
                    done.update(change.pids)
                    changed += len(change.touched)
                    for pid in change.touched:
                        people.reevaluate(workspace, pid, now, kind="rule")
        if remaining_ms() < _RESERVE_MS:
            return Piece([key[0], key[1]], looked, changed, left)
    return Piece(None, looked, changed, left)
