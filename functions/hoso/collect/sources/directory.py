"""Webhook sources, their addresses and their secrets.

Items of the ``control`` table, beside the source documents (kind ``source``, with ``settings``):

==========================  ============================  ====================================================
pk                          sk                            what
==========================  ============================  ====================================================
``hookpath``                ``<sha256 of the token>``     ``w`` workspace, ``s`` source; ``x`` when revoked
``<workspace>#secret``      ``hook#<source>``             ``v``; ``secrets``, ``addresses``: lists of {id, use,
                                                          value, at}, newest first
==========================  ============================  ====================================================

The token in an address is random: it tells the workspace and the source, and for senders that sign nothing it is what
proves them. So it is a secret like the others; two of each use live at a time, so that one can be exchanged without a
gap (security S3, connectors 0.1).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from hoso.collect.sources import KINDS, kind_of
from hoso.collect.sources.contract import SIGNING, HookKind, HookSource, Json
from hoso.collect.write_keys import EVENTS_PER_MINUTE, KIND
from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.platform.audit import audit_entry
from hoso.platform.clock import Clock
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import ABSENT, Key, Put, Table, Write, at_version, transact

MAX_LIVE = 2
KNOWN_TTL_MS = 30_000
"""How long a process trusts what it knows of an address: a revocation works after this time at the latest (S3)."""

UNKNOWN_TTL_MS = 2_000
PATH = "/v1/hooks/"
ADDRESS = "address"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_MAX_KEPT = 10_000
_MIN_SECRET, _MAX_SECRET = 8, 512


class HookSources:
    """Finds the source of an address; keeps what it found."""

    def __init__(self, table: Table, control: ControlStore, clock: Clock) -> None:
        self._table = table
        self._control = control
        self._clock = clock
        self._kept: dict[str, tuple[int, HookSource | None]] = {}

    def find(self, token: str) -> HookSource | None:
        """The enabled source of an address, None for every other token. Raises ``Transient``."""
        digest, now = _digest(token), self._clock()
        kept = self._kept.get(digest)
        if kept is not None and 0 <= now - kept[0] < (KNOWN_TTL_MS if kept[1] else UNKNOWN_TTL_MS):
            return kept[1]
        found = self._look_up(digest)
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[digest] = (now, found)
        return found

    def _look_up(self, digest: str) -> HookSource | None:
        held = self._table.get(("hookpath", digest), consistent=True)
        return None if held is None or "x" in held else self.named(held["w"], held["s"])

    def all(self, workspace: str) -> Iterator[HookSource]:
        """The enabled webhook sources of a workspace, by their keys. Raises ``Transient``."""
        for key, document in sorted(self._control.all(workspace, KIND).items()):
            if document.body["kind"] in KINDS:
                source = self.named(workspace, key)
                if source is not None:
                    yield source

    def named(self, workspace: str, source: str) -> HookSource | None:
        """An enabled source by its key, as it is now. Raises ``Transient``."""
        try:
            body = self._control.get(workspace, KIND, source).body
        except NotFound:
            return None
        if not body["enabled"] or body["kind"] not in KINDS:
            return None
        item = self._table.get(_secret_key(workspace, source), consistent=True)
        by_use: dict[str, list[str]] = {}
        for entry in item["secrets"] if item else ():
            by_use.setdefault(entry["use"], []).append(entry["value"])
        budget = body.get("events_per_minute") or EVENTS_PER_MINUTE
        return HookSource(workspace, source, body["kind"], body.get("settings", {}), by_use, budget)


class HookAdmin:
    """Makes and changes the webhook sources of one workspace; every change is audited, secrets are masked."""

    def __init__(
        self, table: Table, client: Any, control: ControlStore, clock: Clock, workspace: str, public_url: str = ""
    ) -> None:
        self._table = table
        self._client = client
        self._control = control
        self._clock = clock
        self._workspace = workspace
        self._public_url = public_url.rstrip("/")

    def all(self) -> list[Json]:
        """Every webhook source, by its key; addresses and secrets are masked."""
        found = self._control.all(self._workspace, KIND)
        return [
            self._shown(found[key], open_address=False) for key in sorted(found) if found[key].body["kind"] in KINDS
        ]

    def show(self, key: str) -> Json:
        """One source with its addresses. Raises ``NotFound``."""
        return self._shown(self._document(key), open_address=True)

    def put(self, key: str, body: Mapping[str, Any], actor: str) -> Json:
        """Make or change a source: ``name``, ``kind``, ``enabled``, ``settings``, ``events_per_minute``.

        A new one gets its first address.

        Raises:
            InvalidInput: names each wrong setting, never its value.
            Conflict: a source of another kind has this key.
        """
        if _NAME.fullmatch(key) is None:
            raise InvalidInput("a source's key is 1 to 63 small letters, digits, - or _", code="invalid_key")
        kind = _kind(body["kind"])
        try:
            settings = kind.settings.model_validate(body.get("settings") or {}).model_dump(mode="json")
        except ValidationError as error:
            faults = [f"settings.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            raise InvalidInput("; ".join(faults[:20])) from error
        before = self._control.all(self._workspace, KIND).get(key)
        if before is not None and before.body["kind"] != kind.name:
            raise Conflict(f"the source {key} is of kind {before.body['kind']}", hint="take another key")
        self._control.hasher(self._workspace)  # made here once: the public function may not write this table
        stored = {"name": body["name"], "kind": kind.name, "enabled": body["enabled"], "settings": settings}
        if body.get("events_per_minute"):
            stored["events_per_minute"] = body["events_per_minute"]
        document = self._control.put(self._workspace, KIND, key, stored)
        entry = audit_entry(self._table, self._workspace, self._clock(), actor, "hook.put", key)
        self._table.put(entry.item, ABSENT)
        if not self._held(key)[1]["addresses"]:
            self.new_address(key, actor)
        return self._shown(document, open_address=True)

    def add_secret(self, key: str, use: str, value: str | None, actor: str) -> Json:
        """A secret for one use, beside the one that is live: ``value`` is the sender's; left out, one is made.

        Answers the id of the secret, and the secret where it was made here: it is never shown again.

        Raises:
            NotFound, Conflict: no such source; two secrets of this use are live.
            InvalidInput: the kind has no such use, or the secret has not the form that the kind demands.
        """
        kind = _kind(self._document(key).body["kind"])
        if use not in kind.uses:
            raise InvalidInput(f"secrets of a {kind.name} source are for: {', '.join(kind.uses) or 'nothing'}")
        made = value is None
        secret = (kind.new_secret or _new_secret)() if value is None else _checked(kind, use, value)
        entry_id = self._add(key, "secrets", use, secret, actor)
        return {"id": entry_id, "use": use, **({"secret": secret} if made else {})}

    def new_address(self, key: str, actor: str) -> Json:
        """A further address, to be called before the old one is revoked. Raises ``NotFound``, ``Conflict``."""
        self._document(key)
        token = secrets.token_urlsafe(24)
        entry_id = self._add(key, "addresses", ADDRESS, token, actor)
        return {"id": entry_id, "path": PATH + token, "url": self._url(token)}

    def revoke(self, key: str, entry_id: str, actor: str) -> None:
        """Take a secret or an address out of use, after ``KNOWN_TTL_MS`` at the latest. Raises ``NotFound``."""
        version, lists = self._held(key)
        found = next((entry for entry in lists["secrets"] + lists["addresses"] if entry["id"] == entry_id), None)
        if found is None:
            raise NotFound("the source has no secret and no address with this id")
        now = self._clock()
        gone: list[Write] = []
        for name in ("secrets", "addresses"):
            lists[name] = [entry for entry in lists[name] if entry["id"] != entry_id]
        if found["use"] == ADDRESS:
            place = {"pk": "hookpath", "sk": _digest(found["value"]), "w": self._workspace, "s": key, "x": now}
            gone.append(Put(self._table, place))
        self._write(key, version, lists, actor, "hook.revoke", f"{key}/{found['use']}/{entry_id}", gone)

    def _add(self, key: str, name: str, use: str, value: str, actor: str) -> str:
        version, lists = self._held(key)
        if sum(entry["use"] == use for entry in lists[name]) >= MAX_LIVE:
            raise Conflict(f"a source has at most {MAX_LIVE} live of these", hint="revoke the older one first")
        entry_id = secrets.token_hex(4)
        lists[name] = [{"id": entry_id, "use": use, "value": value, "at": self._clock()}, *lists[name]]
        more: list[Write] = []
        if use == ADDRESS:
            place = {"pk": "hookpath", "sk": _digest(value), "w": self._workspace, "s": key}
            more.append(Put(self._table, place, ABSENT))
        self._write(key, version, lists, actor, "hook.add", f"{key}/{use}/{entry_id}", more)
        return entry_id

    def _write(
        self, key: str, version: int, lists: Mapping[str, Any], actor: str, action: str, subject: str, more: list[Write]
    ) -> None:
        pk, sk = _secret_key(self._workspace, key)
        item = {"pk": pk, "sk": sk, "v": version + 1, "secrets": lists["secrets"], "addresses": lists["addresses"]}
        entry = audit_entry(self._table, self._workspace, self._clock(), actor, action, subject)
        transact(self._client, [Put(self._table, item, at_version(version)), entry, *more])

    def _held(self, key: str) -> tuple[int, dict[str, list[Json]]]:
        item = self._table.get(_secret_key(self._workspace, key), consistent=True)
        if item is None:
            return 0, {"secrets": [], "addresses": []}
        return item["v"], {"secrets": item["secrets"], "addresses": item["addresses"]}

    def _document(self, key: str) -> Document:
        document = self._control.get(self._workspace, KIND, key)
        if document.body["kind"] not in KINDS:
            raise NotFound(f"the source {key} is no webhook source", hint="its write keys are at /v1/sources")
        return document

    def _shown(self, document: Document, *, open_address: bool) -> Json:
        lists = self._held(document.key)[1]
        kind = _kind(document.body["kind"])
        shown: Json = {
            "key": document.key,
            **document.body,
            "secrets": [
                {"id": entry["id"], "use": entry["use"], "at": entry["at"], "masked": "…" + entry["value"][-4:]}
                for entry in lists["secrets"]
            ],
            "addresses": [
                {"id": entry["id"], "at": entry["at"], **self._address(entry["value"], open_address)}
                for entry in lists["addresses"]
            ],
        }
        if kind.needs_secret and not any(entry["use"] == SIGNING for entry in lists["secrets"]):
            shown["missing"] = "a secret for signing: every delivery is refused until it is set"
        return shown

    def _address(self, token: str, open_address: bool) -> Json:
        return {"path": PATH + token, "url": self._url(token)} if open_address else {"path": f"{PATH}{token[:4]}…"}

    def _url(self, token: str) -> str | None:
        return f"{self._public_url}{PATH}{token}" if self._public_url else None


def token_of(path: str) -> str | None:
    """The token in the path of a request, or None.

    >>> token_of("/v1/hooks/abc/")
    'abc'
    """
    token = path[len(PATH) :].rstrip("/") if path.startswith(PATH) else ""
    return token if token and "/" not in token and len(token) <= 200 else None


def _kind(name: str) -> HookKind:
    kind = kind_of(name)
    if kind is None:
        raise InvalidInput(f"kind is one of {', '.join(sorted(KINDS))}")
    return kind


def _checked(kind: HookKind, use: str, value: str) -> str:
    """The secret in its clean form. The message never repeats it."""
    if not _MIN_SECRET <= len(value) <= _MAX_SECRET or not value.isprintable():
        raise InvalidInput(f"a secret is {_MIN_SECRET} to {_MAX_SECRET} printable characters", code="invalid_secret")
    if kind.check_secret is None or use != SIGNING:
        return value
    try:
        return kind.check_secret(value)
    except ValueError as error:
        raise InvalidInput(f"the secret has not the form of {kind.name}: {error}", code="invalid_secret") from error


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _secret_key(workspace: str, source: str) -> Key:
    return f"{workspace}#secret", f"hook#{source}"
