"""Sources and their write keys.

Items in the ``control`` table, beside the source documents (kind ``source``):

========================  ========================  ==========================================================
pk                        sk                        what
========================  ========================  ==========================================================
``writekey``              ``<sha256 of the key>``   ``w`` workspace, ``s`` source; ``x`` revoked from then on
``<workspace>#keys``      ``<source>``              ``v``; ``keys``: list of {prefix, hash, at, revoked_at}
========================  ========================  ==========================================================

A key is shown once and stored as its SHA-256 with a short public prefix (security S2). A source has at most two live
keys, so that one can be exchanged without a gap (S3).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hoso.collect.documents import NO_CONSENT
from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.platform.audit import audit_entry
from hoso.platform.clock import Clock
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import ABSENT, Put, Table, at_version, transact

KIND = "source"
MAX_LIVE_KEYS = 2
KNOWN_TTL_MS = 30_000
"""How long a process trusts a key it has looked up: revocation works after this time at the latest."""

UNKNOWN_TTL_MS = 2_000
_MAX_KEPT = 10_000
_KEY_START = "wk_"
_PREFIX_LENGTH = 11
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

EVENTS_PER_MINUTE = 600_000
"""Budget of a source that names none: 10,000 events a second."""

SourceKind = Literal["web", "mobile", "server"]


@dataclass(frozen=True, slots=True)
class Source:
    """An enabled source. ``kind`` tells whether the connection is the customer's own (web, mobile).

    ``consent`` is the state of consent before anybody was asked, see ``hoso.collect.documents``.
    """

    workspace: str
    key: str
    name: str
    kind: str
    events_per_minute: int = EVENTS_PER_MINUTE
    consent: Mapping[str, Any] = field(default_factory=lambda: NO_CONSENT)


class WriteKeys:
    """Finds the source of a write key; keeps what it found, good keys for up to ``KNOWN_TTL_MS``."""

    def __init__(self, table: Table, control: ControlStore, clock: Clock) -> None:
        self._table = table
        self._control = control
        self._clock = clock
        self._kept: dict[str, tuple[int, Source | None]] = {}

    def find(self, write_key: str) -> Source | None:
        """The enabled source of a live key, None for every other text, whatever is wrong with it.

        Raises:
            Transient: the table does not answer: nothing is known about the key then.
        """
        digest = _digest(write_key)
        now = self._clock()
        kept = self._kept.get(digest)
        if kept is not None and 0 <= now - kept[0] < (KNOWN_TTL_MS if kept[1] else UNKNOWN_TTL_MS):
            return kept[1]
        source = self._look_up(digest, now)
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[digest] = (now, source)
        return source

    def _look_up(self, digest: str, now: int) -> Source | None:
        held = self._table.get(("writekey", digest), consistent=True)
        if held is None or held.get("x", now + 1) <= now:
            return None
        try:
            body = self._control.get(held["w"], KIND, held["s"]).body
        except NotFound:
            return None
        if not body["enabled"]:
            return None
        budget = body.get("events_per_minute") or EVENTS_PER_MINUTE
        consent = body.get("consent") or NO_CONSENT
        return Source(held["w"], held["s"], body["name"], body["kind"], budget, consent)


class SourceAdmin:
    """Makes and lists sources and keys of one workspace; every change is audited."""

    def __init__(self, table: Table, client: Any, control: ControlStore, clock: Clock, workspace: str) -> None:
        self._table = table
        self._client = client
        self._control = control
        self._clock = clock
        self._workspace = workspace

    def all(self) -> list[dict[str, Any]]:
        """Every source with its settings and the prefixes of its keys, by name."""
        keys = {item["sk"]: item["keys"] for item in self._table.query_all(f"{self._workspace}#keys")}
        documents = self._control.all(self._workspace, KIND)
        return [
            {**_shown(document.key, document.body), "keys": _shown_keys(keys.get(document.key, []))}
            for document in sorted(documents.values(), key=lambda document: document.key)
        ]

    def put(self, key: str, settings: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """Make or change a source. ``settings``: name, kind, enabled, consent.

        Raises:
            InvalidInput: the source's key is not made of small letters, digits, ``-`` and ``_``.
            Conflict: a webhook source has this key.
        """
        if _NAME.fullmatch(key) is None:
            raise InvalidInput("a source's key is 1 to 63 small letters, digits, - or _", code="invalid_key")
        self._refuse_webhook(self._control.all(self._workspace, KIND).get(key))
        document = self._control.put(self._workspace, KIND, key, settings)
        entry = audit_entry(self._table, self._workspace, self._clock(), actor, "source.put", key)
        self._table.put(entry.item, ABSENT)
        return _shown(key, document.body)

    def new_key(self, source: str, actor: str) -> dict[str, str]:
        """A new write key; this answer is the only place where it is shown.

        Raises:
            NotFound: no such source.
            Conflict: the source has two live keys; revoke one first.
        """
        self._refuse_webhook(self._control.get(self._workspace, KIND, source))
        version, keys = self._keys_of(source)
        if len(self._live(keys)) >= MAX_LIVE_KEYS:
            raise Conflict(f"a source has at most {MAX_LIVE_KEYS} live keys", hint="revoke one first")
        return self._add_key(source, version, keys, (), actor, "key.new")

    def rotate(self, source: str, revoke_at: int, actor: str) -> dict[str, str]:
        """A new write key now; the other live keys go out of use at ``revoke_at`` (UTC ms). One transaction.

        Raises:
            NotFound: no such source.
            Conflict: the source has two keys that stay live; revoke one first, or wait until it is out of use.
        """
        self._control.get(self._workspace, KIND, source)
        version, keys = self._keys_of(source)
        old = self._live(keys)
        if len(old) >= MAX_LIVE_KEYS:
            raise Conflict(f"a source has at most {MAX_LIVE_KEYS} live keys", hint="revoke one first")
        for key in old:
            key["revoked_at"] = min(revoke_at, key["revoked_at"] or revoke_at)
        return self._add_key(source, version, keys, old, actor, "key.rotate")

    def revoke(self, source: str, prefix: str, actor: str, at: int | None = None) -> None:
        """Take a key out of use: now, or at an instant (UTC ms) to come; every process knows within ``KNOWN_TTL_MS``.

        Raises:
            NotFound: the source has no such key. Revoking twice is harmless: the earlier time counts.
        """
        now = self._clock()
        at = now if at is None else max(at, now)
        version, keys = self._keys_of(source)
        held = next((key for key in keys if key["prefix"] == prefix), None)
        if held is None:
            raise NotFound("the source has no key with this prefix")
        if held["revoked_at"] is not None and held["revoked_at"] <= at:
            return
        held["revoked_at"] = at
        self._write_keys(source, version, keys, [self._gone(source, held)], actor, "key.revoke", prefix)

    def _refuse_webhook(self, document: Document | None) -> None:
        if document is not None and "settings" in document.body:
            raise Conflict("this is a webhook source", hint="hoso sources: it has secrets, not write keys")

    def _add_key(
        self,
        source: str,
        version: int,
        keys: list[dict[str, Any]],
        going: Sequence[Mapping[str, Any]],
        actor: str,
        action: str,
    ) -> dict[str, str]:
        """Store a new key, and when the others go."""
        self._control.hasher(self._workspace)  # made here once: the public ingestion function may not write this table
        write_key = _KEY_START + secrets.token_urlsafe(24)
        prefix, digest = write_key[:_PREFIX_LENGTH], _digest(write_key)
        keys.append({"prefix": prefix, "hash": digest, "at": self._clock(), "revoked_at": None})
        owner = {"pk": "writekey", "sk": digest, "w": self._workspace, "s": source}
        owners = [Put(self._table, owner, ABSENT), *(self._gone(source, key) for key in going)]
        self._write_keys(source, version, keys, owners, actor, action, prefix)
        return {"key": write_key, "prefix": prefix}

    def _gone(self, source: str, key: Mapping[str, Any]) -> Put:
        """The owner item of a key that is or will be out of use."""
        gone = {"pk": "writekey", "sk": key["hash"], "w": self._workspace, "s": source, "x": key["revoked_at"]}
        return Put(self._table, gone)

    def _live(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        now = self._clock()
        return [key for key in keys if key["revoked_at"] is None or key["revoked_at"] > now]

    def _keys_of(self, source: str) -> tuple[int, list[dict[str, Any]]]:
        held = self._table.get((f"{self._workspace}#keys", source), consistent=True)
        return (held["v"], held["keys"]) if held else (0, [])

    def _write_keys(
        self,
        source: str,
        version: int,
        keys: list[dict[str, Any]],
        owners: Sequence[Put],
        actor: str,
        action: str,
        prefix: str,
    ) -> None:
        listed = {"pk": f"{self._workspace}#keys", "sk": source, "v": version + 1, "keys": keys}
        entry = audit_entry(self._table, self._workspace, self._clock(), actor, action, f"{source}/{prefix}")
        transact(self._client, [Put(self._table, listed, at_version(version)), *owners, entry])


def _digest(write_key: str) -> str:
    return hashlib.sha256(write_key.encode("utf-8", "surrogatepass")).hexdigest()


def _shown(key: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": key,
        "name": body["name"],
        "kind": body["kind"],
        "enabled": body["enabled"],
        "events_per_minute": body.get("events_per_minute") or EVENTS_PER_MINUTE,
        "consent": body.get("consent") or dict(NO_CONSENT),
    }


def _shown_keys(keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"prefix": key["prefix"], "at": key["at"], "revoked_at": key["revoked_at"]} for key in keys]
