"""Secrets of destinations: signing secrets and header values, apart from the documents (security S26; R53).

Item of the ``control`` table: ``<ws>#secret`` / ``destination#<key>``: ``secrets`` (newest first, two while one is
rotated out) and ``headers``. Documents, their revisions and API answers hold masked forms only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hoso.activate.signing import PREFIX
from hoso.model.time import MINUTE_MS
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Key, Table

KEPT_MS = 5 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a destination is called with."""

    secrets: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def masked(self) -> dict[str, object]:
        """How an API answer shows them: enough to tell two secrets apart, not to use one."""
        return {
            "secrets": [f"{PREFIX}…{secret[-4:]}" for secret in self.secrets],
            "headers": dict.fromkeys(self.headers, "…"),
        }


class CredentialStore:
    """Reads and writes credentials; reads are kept for five minutes at most."""

    def __init__(self, control: Table, clock: Clock) -> None:
        self._table = control
        self._clock = clock
        self._kept: dict[Key, tuple[int, Credentials]] = {}

    def get(self, workspace: str, destination: str, *, fresh: bool = False) -> Credentials:
        """The credentials of a destination; empty ones when there are none. ``fresh`` passes over what is kept."""
        key, now = _key(workspace, destination), self._clock()
        kept = self._kept.get(key)
        if not fresh and kept is not None and kept[0] <= now < kept[0] + KEPT_MS:
            return kept[1]
        item = self._table.get(key, consistent=True)
        found = Credentials(tuple(item["secrets"]), item["headers"]) if item else Credentials()
        self._kept[key] = (now, found)
        return found

    def put(self, workspace: str, destination: str, credentials: Credentials) -> None:
        """Store the credentials of a destination."""
        pk, sk = _key(workspace, destination)
        item = {"pk": pk, "sk": sk, "secrets": list(credentials.secrets), "headers": dict(credentials.headers)}
        self._table.put(item)
        self._kept.pop((pk, sk), None)


def _key(workspace: str, destination: str) -> Key:
    return f"{workspace}#secret", f"destination#{destination}"
