"""The members of a segment, page by page: the member items of all shards, one shard after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hoso.platform.dynamo import Table
from hoso.unify.settlement import MEMBER_SHARDS

Place = Sequence[int | str]
"""A shard, and the profile id after which to go on in it (empty: from its begin). It is JSON."""


class Member(NamedTuple):
    """A profile id, and since and until when (UTC ms) it is a member, under which revision of the segment."""

    pid: str
    since: int
    until: int | None
    revision: int


class MemberPage(NamedTuple):
    """Members, and where the next page begins; None at the end."""

    items: list[Member]
    next: Place | None


def members(profiles: Table, workspace: str, segment: str, limit: int, start: Place | None = None) -> MemberPage:
    """At most ``limit`` members after ``start``, in an order that stays the same."""
    shard, after = (int(start[0]), str(start[1])) if start else (0, "")
    found: list[Member] = []
    while shard < MEMBER_SHARDS:
        pk = f"{workspace}#S#{segment}#{shard}"
        page = profiles.query(pk, limit=limit - len(found), start=(pk, after) if after else None)
        found += [Member(item["sk"], item["since"], item.get("until"), item["rev"]) for item in page.items]
        shard, after = (shard + 1, "") if page.start is None else (shard, page.start[1])
        if len(found) >= limit:
            return MemberPage(found, [shard, after] if shard < MEMBER_SHARDS else None)
    return MemberPage(found, None)
