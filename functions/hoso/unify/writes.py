"""The items of a membership change, as writes of one transaction (docs/data-model.md, invariants 1 and 3)."""

from __future__ import annotations

from collections.abc import Iterable

from hoso.platform.dynamo import Delete, Put, Update, Write, at_version
from hoso.unify.fragments import Fragment
from hoso.unify.profiles import person_item
from hoso.unify.settlement import Settlement
from hoso.unify.store import ProfileStore, hot_key


def settlement_writes(store: ProfileStore, workspace: str, settled: Settlement) -> list[Write]:
    """The person, its member items, its timer and its announcements."""
    person = settled.person
    writes: list[Write] = [Put(store.profiles, person_item(person, workspace), at_version(person.version - 1))]
    writes += [Put(store.profiles, item) for item in settled.puts]
    writes += [Delete(store.profiles, key) for key in settled.drops]
    writes += [Put(store.outbox, item) for item in settled.outbox]
    if settled.due is not None:
        writes.append(Put(store.delivery, settled.due))
    return writes


def bumps(store: ProfileStore, workspace: str, pid: str, fragments: Iterable[Fragment]) -> list[Write]:
    """Raise the versions of fragments that are not written otherwise (invariant 1)."""
    return [
        Update(
            store.profiles,
            hot_key(workspace, fragment.fid),
            put={"o": pid},
            add={"v": 1},
            condition=at_version(fragment.hot.version),
        )
        for fragment in fragments
    ]
