"""The lease of nightly runs: one at a time, with a fencing token that a run which lost it cannot get round (R32)."""

from __future__ import annotations

from dataclasses import dataclass

from hoso.model.errors import Conflict
from hoso.model.time import MINUTE_MS
from hoso.platform.dynamo import Item, Key, Refused, Table, at_version

LEASE_MS = 10 * MINUTE_MS
"""How long a run that does not report back keeps others out. Fencing, not this time, keeps a stale run from writing."""


class LeaseHeld(Conflict):
    """Another run holds the lease."""

    code = "lease_held"


class StaleRun(Conflict):
    """The lease was taken over: this run may not go on."""

    code = "stale_run"


@dataclass(frozen=True, slots=True)
class Lease:
    """One named lease in the ``delivery`` table: ``v``, ``owner``, ``token``, ``until`` (UTC ms)."""

    delivery: Table
    workspace: str
    name: str

    def acquire(self, owner: str, now: int) -> int:
        """Take the lease: when it is free, over, or the same owner's (a step that is tried again). Answers the token.

        Raises:
            LeaseHeld: somebody else holds it, or took it at the same moment.
        """
        held = self._read()
        if held is not None and held["until"] > now and held["owner"] != owner:
            raise LeaseHeld(f"{self.name} is being done by another run", hint="wait for its end, or for its lease's")
        token = (held["token"] if held else 0) + 1
        self._write(held, {"owner": owner, "token": token, "until": now + LEASE_MS})
        return token

    def renew(self, token: int, now: int) -> None:
        """Keep the lease. Raises ``StaleRun``."""
        held = self.check(token)
        try:
            self._write(held, {"owner": held["owner"], "token": token, "until": now + LEASE_MS})
        except LeaseHeld:
            # a step of the same run renewed at the same moment, or the lease is lost: the token tells
            self.check(token)

    def check(self, token: int) -> Item:
        """The lease, if it is still this token's. Raises ``StaleRun``."""
        held = self._read()
        if held is None or held["token"] != token:
            raise StaleRun(f"another run of {self.name} took over")
        return held

    def release(self, token: int, now: int) -> None:
        """Let the next run begin at once. A lease that was lost already is left alone."""
        held = self._read()
        if held is not None and held["token"] == token:
            self._write(held, {"owner": held["owner"], "token": token, "until": now})

    @property
    def _key(self) -> Key:
        return f"{self.workspace}#L", self.name

    def _read(self) -> Item | None:
        return self.delivery.get(self._key, consistent=True)

    def _write(self, held: Item | None, content: Item) -> None:
        version = held["v"] if held else 0
        pk, sk = self._key
        try:
            self.delivery.put({"pk": pk, "sk": sk, "v": version + 1, **content}, at_version(version))
        except Refused as error:
            raise LeaseHeld(f"{self.name} was taken at the same moment") from error
