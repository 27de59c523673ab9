"""Control documents: sources, destinations, segments, activations, templates, products, identity rules.

Keys of the ``control`` table

====================================  ==========================  ==========================================
pk                                    sk                          what
====================================  ==========================  ==========================================
``<workspace>#<kind>``                ``<key>``                   the current document, with its revision
``<workspace>#<kind>#revisions``      ``<key>#<revision:06d>``    every revision, never changed
``writekey``                          ``<sha256 of the key>``     which source a write key belongs to
``<workspace>#secret``                ``identity``                random key of the identifier hashes
====================================  ==========================  ==========================================
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hoso.model.errors import NotFound
from hoso.platform.clock import Clock
from hoso.platform.dynamo import ABSENT, Put, Refused, Table, Write, at_version, transact
from hoso.platform.ids import Hasher


@dataclass(frozen=True, slots=True)
class Document:
    """A control document at one revision. ``body`` is JSON; ``at`` is when this revision was made (UTC ms)."""

    kind: str
    key: str
    revision: int
    at: int
    body: dict[str, Any]


class ControlStore:
    """Reads and writes control documents; reads are kept for ``ttl_ms``, so that a warm function asks rarely."""

    def __init__(self, table: Table, client: Any, clock: Clock, ttl_ms: int) -> None:
        self._table = table
        self._client = client
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._kept: dict[tuple[str, str], tuple[int, dict[str, Document]]] = {}
        self._hashers: dict[str, Hasher] = {}

    def all(self, workspace: str, kind: str) -> dict[str, Document]:
        """The current documents of a kind, by key; at most ``ttl_ms`` old."""
        now = self._clock()
        kept = self._kept.get((workspace, kind))
        if kept is not None and kept[0] <= now < kept[0] + self._ttl_ms:
            return kept[1]
        found = {item["sk"]: _document(kind, item) for item in self._table.query_all(f"{workspace}#{kind}")}
        self._kept[(workspace, kind)] = (now, found)
        return found

    def get(self, workspace: str, kind: str, key: str) -> Document:
        """One current document, strongly consistent. Raises ``NotFound``."""
        item = self._table.get((f"{workspace}#{kind}", key), consistent=True)
        if item is None:
            raise NotFound(f"no {kind} has the key {key}")
        return _document(kind, item)

    def revision(self, workspace: str, kind: str, key: str, revision: int) -> Document:
        """One revision of a document, also of one that is out of use. Raises ``NotFound``."""
        item = self._table.get((f"{workspace}#{kind}#revisions", f"{key}#{revision:06d}"))
        if item is None:
            raise NotFound(f"{kind} {key} has no revision {revision}")
        return _document(kind, item)

    def revisions(self, workspace: str, kind: str, key: str) -> list[Document]:
        """All revisions of a document, the newest first."""
        found = self._table.query_all(f"{workspace}#{kind}#revisions", prefix=f"{key}#", reverse=True)
        return [_document(kind, item) for item in found]

    def put(
        self,
        workspace: str,
        kind: str,
        key: str,
        body: Mapping[str, Any],
        beside: Callable[[Document | None, Document], Sequence[Write]] | None = None,
    ) -> Document:
        """Store a document as its next revision; the same body again makes no new revision.

        ``beside`` gives writes that belong to the change (from the document before and the new one): they are done in
        the same transaction.

        Raises:
            Refused: somebody else stored a revision at the same moment.
        """
        pk = f"{workspace}#{kind}"
        held = self._table.get((pk, key), consistent=True)
        text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
        if held is not None and held["doc"] == text:
            return _document(kind, held)
        revision = (held["v"] if held else self._last_revision(workspace, kind, key)) + 1
        item = {"pk": pk, "sk": key, "v": revision, "at": self._clock(), "doc": text}
        history = {**item, "pk": f"{pk}#revisions", "sk": f"{key}#{revision:06d}"}
        fresh = _document(kind, item)
        unchanged = at_version(held["v"] if held else 0)
        writes: list[Write] = [Put(self._table, item, unchanged), Put(self._table, history, ABSENT)]
        if beside is not None:
            writes += beside(_document(kind, held) if held else None, fresh)
        transact(self._client, writes)
        self._kept.pop((workspace, kind), None)
        return fresh

    def _last_revision(self, workspace: str, kind: str, key: str) -> int:
        """The newest revision of a document that may be out of use; 0 when there never was one."""
        page = self._table.query(f"{workspace}#{kind}#revisions", f"{key}#", limit=1, reverse=True, consistent=True)
        return page.items[0]["v"] if page.items else 0

    def delete(self, workspace: str, kind: str, key: str) -> None:
        """Take a document out of use; its revisions stay."""
        self._table.delete((f"{workspace}#{kind}", key))
        self._kept.pop((workspace, kind), None)

    def hasher(self, workspace: str) -> Hasher:
        """The keyed hash of a workspace; its key is made at the first use and never changes."""
        if workspace not in self._hashers:
            self._hashers[workspace] = Hasher(self._identity_key(workspace))
        return self._hashers[workspace]

    def _identity_key(self, workspace: str) -> bytes:
        pk = f"{workspace}#secret"
        held = self._table.get((pk, "identity"), consistent=True)
        if held is None:
            key = secrets.token_bytes(32)
            try:
                self._table.put({"pk": pk, "sk": "identity", "key": key}, ABSENT)
                return key
            except Refused:
                held = self._table.get((pk, "identity"), consistent=True)
        if held is None:
            raise NotFound(f"the identity key of workspace {workspace} vanished")
        return held["key"]


def _document(kind: str, item: Mapping[str, Any]) -> Document:
    return Document(kind, item["sk"].split("#")[0], item["v"], item["at"], orjson.loads(item["doc"]))
