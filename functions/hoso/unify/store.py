"""Items of people and fragments in the ``profiles`` table, one method per way of access.

Keys are in docs/data-model.md: ``<ws>#F#<fid>`` with ``H`` (hot), ``C`` (cold) and ``T#…`` (timeline pages);
``<ws>#P#<pid>`` with ``P`` (person).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS, SECOND_MS
from hoso.platform.dynamo import Condition, Item, Key, Put, Refused, Table, Update, Write, transact
from hoso.platform.ids import Hasher
from hoso.unify import pages
from hoso.unify.marks import MOST_CARRIERS

_MARK_DAYS = 400
_FIRST_LOOK = 10
"""Pages in the first query of a timeline: most questions are answered by the newest ones."""


class ProfileStore:
    """Reads and writes of unify. ``hasher`` gives the keyed hash of a workspace."""

    def __init__(
        self,
        client: Any,
        *,
        profiles: Table,
        outbox: Table,
        delivery: Table,
        hasher: Callable[[str], Hasher],
    ) -> None:
        self._client = client
        self._hasher = hasher
        self.profiles = profiles
        self.outbox = outbox
        self.delivery = delivery

    def fragment_id(self, workspace: str, hub: Identifier | tuple[str, str]) -> str:
        """The id of the fragment that keeps what comes under this hub."""
        return self._hasher(workspace).identifier(*hub)

    def read(self, keys: Iterable[Key], *, consistent: bool) -> dict[Key, Item]:
        """The items that exist among these keys."""
        wanted = list(keys)
        return self.profiles.batch_get(wanted, consistent=consistent) if wanted else {}

    def people(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """The person items that exist among these keys, strongly consistent, for an evaluation: why they are in each of
        their segments is read when it is asked for, as most evaluations change nothing."""
        wanted = list(keys)
        return self.profiles.batch_get(wanted, consistent=True, late=("mr",)) if wanted else {}

    def put_pages(self, items: Sequence[Item]) -> None:
        """Write timeline pages; nothing sees them before a commit names them."""
        if items:
            self.profiles.batch_write(items)

    def commit(self, writes: Sequence[Write]) -> None:
        """All writes or none; a single put goes without the price of a transaction. Raises ``Refused``."""
        if len(writes) == 1 and isinstance(writes[0], Put):
            only = writes[0]
            only.table.put(only.item, only.condition)
        elif writes:
            transact(self._client, writes)

    def timeline(self, workspace: str, fid: str, newest: str | None) -> Iterator[Item]:
        """The timeline pages of a fragment from this one back, strongly consistent."""
        if newest is not None:
            yield from pages.linked(self._stored_pages(workspace, fid), newest)

    def note_marks(self, workspace: str, marks: Mapping[str, str], now: int) -> None:
        """Note that fragments carry marks (mark → fragment id); again, and in any order, it is the same.

        A mark that too many carry takes no more: it means nothing then.
        """
        room = Condition("attribute_not_exists(#f) OR size(#f) < :most", {"#f": "f"}, {":most": MOST_CARRIERS})
        ttl = (now + _MARK_DAYS * DAY_MS) // SECOND_MS
        for mark, fid in sorted(marks.items()):
            with suppress(Refused):
                key = self.mark_key(workspace, mark)
                self.profiles.update(Update(self.profiles, key, {"ttl": ttl}, {"f": frozenset({fid})}, condition=room))

    def mark_key(self, workspace: str, mark: str) -> Key:
        """Key of the list of fragments that carry a mark."""
        return f"{workspace}#R#{self._hasher(workspace).text(mark)}", "R"

    def scan(self, *, segment: int = 0, segments: int = 1) -> Iterator[Item]:
        """Every item of one part of the table, for nightly work."""
        return self.profiles.scan(segment=segment, segments=segments)

    def _stored_pages(self, workspace: str, fid: str) -> Iterator[Item]:
        pk = f"{workspace}#F#{fid}"
        start: Key | None = None
        limit: int | None = _FIRST_LOOK
        while True:
            page = self.profiles.query(pk, pages.PREFIX, limit=limit, start=start, reverse=True, consistent=True)
            yield from page.items
            start, limit = page.start, None
            if start is None:
                return


def hot_key(workspace: str, fid: str) -> Key:
    """Key of a fragment's hot item."""
    return f"{workspace}#F#{fid}", "H"


def cold_key(workspace: str, fid: str) -> Key:
    """Key of a fragment's cold item."""
    return f"{workspace}#F#{fid}", "C"


def person_key(workspace: str, pid: str) -> Key:
    """Key of a person's item."""
    return f"{workspace}#P#{pid}", "P"
