"""What SES tells afterwards: a hard bounce or a complaint suppresses the address (reliability R47).

SES puts these events on the default bus (source ``aws.ses``); the message's tags say which workspace sent it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from hoso.activate.channels.email import TAG_WORKSPACE
from hoso.activate.store import DeliveryStore
from hoso.model.identifiers import Identifier, normalise
from hoso.platform.clock import Clock
from hoso.platform.ids import Hasher

SOURCE = "aws.ses"
Note = Callable[[str, str, Identifier, str, int], None]
"""Workspace, channel, the address, why, when."""


class Feedback:
    """Takes SES's events. ``note`` tells the people's side: segments may ask for suppression."""

    def __init__(self, store: DeliveryStore, hasher: Callable[[str], Hasher], note: Note, clock: Clock) -> None:
        self._store = store
        self._hasher = hasher
        self._note = note
        self._clock = clock

    def __call__(self, envelope: Mapping[str, Any]) -> None:
        """Suppress the addresses that an event of SES speaks of. Events of other sources say nothing.

        Safe to repeat. The address comes first: whatever breaks after it, nothing is sent there any more.
        """
        if envelope.get("source") != SOURCE:
            return
        detail: Mapping[str, Any] = envelope["detail"]
        workspace = _workspace(detail)
        reason, addresses = bad_addresses(detail)
        if workspace is not None:
            for address in addresses:
                known = normalise("email", address)
                if known is not None:
                    hasher, now = self._hasher(workspace), self._clock()
                    self._store.suppress(workspace, "email", known, reason, hasher, now)
                    self._note(workspace, "email", Identifier("email", known), reason, now)


def bad_addresses(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Why nothing may go to which addresses any more; none for events that say nothing of that kind."""
    kind = detail.get("eventType")
    if kind == "Complaint":
        return "complaint", _addresses(detail.get("complaint"), "complainedRecipients")
    bounce = detail.get("bounce")
    if kind == "Bounce" and isinstance(bounce, dict):
        told = cast("dict[str, Any]", bounce)
        if told.get("bounceType") == "Permanent":
            return "bounce", _addresses(told, "bouncedRecipients")
    return "", []


def _addresses(told: object, name: str) -> list[str]:
    if not isinstance(told, dict):
        return []
    entries = cast("dict[str, Any]", told).get(name)
    listed = cast("list[dict[str, Any]]", entries) if isinstance(entries, list) else []
    return [str(entry.get("emailAddress", "")) for entry in listed]


def _workspace(detail: Mapping[str, Any]) -> str | None:
    tags: Any = detail.get("mail", {}).get("tags", {}).get(TAG_WORKSPACE)
    return str(tags[0]) if tags else None
