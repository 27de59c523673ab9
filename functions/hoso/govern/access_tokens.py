"""Access tokens: what lets a server read profiles as Segment's Profile API is read, and a tablet greet.

Items in the ``control`` table:

==================  ========================  ================================================================
pk                  sk                        what
==================  ========================  ================================================================
``accesstoken``     ``<sha256 of the token>`` ``w`` workspace, ``n`` name, ``sc`` scope; ``x`` when it was revoked
``<ws>#tokens``     ``<prefix>``              ``name``, ``scope``, ``hash``, ``at``, ``revoked_at``
==================  ========================  ================================================================

A token of scope ``profiles`` reads profiles, one of scope ``host`` asks only how to greet who stands at a shop's door
(for the tablet, which may be lost), and neither does anything else. A token is shown once and stored as its SHA-256
(security S1, S2). It is no write key, and a write key is no token.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from hoso.model.errors import InvalidInput, NotFound
from hoso.platform.audit import audit_entry
from hoso.platform.clock import Clock
from hoso.platform.dynamo import ABSENT, Put, Table, transact

PROFILES, HOST = "profiles", "host"
SCOPES = (PROFILES, HOST)
KNOWN_TTL_MS = 30_000
"""How long a process trusts a token it has looked up: revocation works after this time at the latest."""
_START = "pt_"
_PREFIX_LENGTH = 11
_MAX_KEPT = 1_000
_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A live token: its workspace, its name, and what it may do (``profiles`` or ``host``)."""

    workspace: str
    name: str
    scope: str


class AccessTokens:
    """Makes, lists, revokes and finds tokens; every change is audited."""

    def __init__(self, table: Table, client: Any, clock: Clock, workspace: str) -> None:
        self._table = table
        self._client = client
        self._clock = clock
        self._workspace = workspace
        self._kept: dict[str, tuple[int, AccessToken]] = {}

    def find(self, token: str) -> AccessToken | None:
        """The live token, None for every other text.

        Raises:
            Transient: the table does not answer.
        """
        if not token.startswith(_START):
            return None
        digest, now = _digest(token), self._clock()
        kept = self._kept.get(digest)
        if kept is not None and 0 <= now - kept[0] < KNOWN_TTL_MS:
            return kept[1]
        held = self._table.get(("accesstoken", digest), consistent=True)
        if held is None or "x" in held:
            self._kept.pop(digest, None)
            return None
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        found = AccessToken(held["w"], held["n"], held["sc"])
        self._kept[digest] = (now, found)
        return found

    def new(self, name: object, scope: object, actor: str) -> dict[str, Any]:
        """A new token; this answer is the only place where it is shown.

        Raises:
            InvalidInput: a wrong name or scope.
        """
        if scope not in SCOPES:
            raise InvalidInput(f"scope is one of {', '.join(SCOPES)}")
        if not isinstance(name, str) or not 0 < len(name.strip()) <= _MAX_NAME:
            raise InvalidInput(f"name must be text of 1 to {_MAX_NAME} characters")
        token = _START + secrets.token_urlsafe(32)
        prefix, digest, now = token[:_PREFIX_LENGTH], _digest(token), self._clock()
        kept = {"w": self._workspace, "n": name.strip(), "sc": scope}
        listed = {"name": name.strip(), "scope": scope, "hash": digest, "at": now, "revoked_at": None}
        transact(
            self._client,
            [
                Put(self._table, {"pk": f"{self._workspace}#tokens", "sk": prefix, **listed}, ABSENT),
                Put(self._table, {"pk": "accesstoken", "sk": digest, **kept}, ABSENT),
                audit_entry(self._table, self._workspace, now, actor, "token.new", prefix),
            ],
        )
        return {"token": token, "prefix": prefix, "name": name.strip(), "scope": scope}

    def revoke(self, prefix: str, actor: str) -> None:
        """Take a token out of use. Revoking twice is harmless. Raises ``NotFound``."""
        held = self._table.get((f"{self._workspace}#tokens", prefix), consistent=True)
        if held is None:
            raise NotFound("no token has this prefix")
        if held["revoked_at"] is not None:
            return
        now = self._clock()
        kept = {"w": self._workspace, "n": held["name"], "sc": held["scope"]}
        gone = {"pk": "accesstoken", "sk": held["hash"], **kept, "x": now}
        transact(
            self._client,
            [
                Put(self._table, {**held, "revoked_at": now}),
                Put(self._table, gone),
                audit_entry(self._table, self._workspace, now, actor, "token.revoke", prefix),
            ],
        )

    def all(self) -> list[dict[str, Any]]:
        """Every token by prefix, without anything that opens a door."""
        return [
            {"prefix": item["sk"], **{name: item[name] for name in ("name", "scope", "at", "revoked_at")}}
            for item in self._table.query_all(f"{self._workspace}#tokens")
        ]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
