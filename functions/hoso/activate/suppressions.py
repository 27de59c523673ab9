"""Addresses that a channel itself told of (bounces, complaints), for the other capabilities: by hash alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hoso.platform.dynamo import Key, Table


class Told(NamedTuple):
    """The keyed hash of an address (for e-mail that of the identifier), since when (UTC ms), and why."""

    hash: str
    at: int
    reason: str


def told(delivery: Table, workspace: str, channel: str) -> Iterator[Told]:
    """Everything that is suppressed on a channel because the channel said so."""
    after: str | None = ""
    while after is not None:
        found, after = told_page(delivery, workspace, channel, 1_000, after)
        yield from found


def told_page(
    delivery: Table, workspace: str, channel: str, limit: int, after: str = ""
) -> tuple[list[Told], str | None]:
    """At most ``limit`` of them after a hash, and the hash after which to go on; None at the end."""
    pk = f"{workspace}#X#{channel}"
    start: Key | None = (pk, after) if after else None
    page = delivery.query(pk, limit=limit, start=start, consistent=True)
    found = [Told(item["sk"], item["at"], item["reason"]) for item in page.items]
    return found, None if page.start is None else page.start[1]
