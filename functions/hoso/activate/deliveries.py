"""One delivery: an activation that reaches for one person because of one cause, and what became of it (pure).

States: ``sending`` (a worker holds it until ``lease``), ``waiting`` (quiet hours, a breaker), ``retrying`` (a try
failed, the next is at ``next_at``), and the ends: ``sent``, ``skipped`` (a rule said no), ``parked`` (an e-mail of
unknown outcome), ``failed`` (given up). Parked and failed ones can be redriven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from hoso.model.time import DAY_MS, MINUTE_MS, SECOND_MS, format_instant
from hoso.platform.dynamo import Item
from hoso.platform.ids import content_id

SENDING, WAITING, RETRYING = "sending", "waiting", "retrying"
SENT, SKIPPED, PARKED, FAILED = "sent", "skipped", "parked", "failed"
STATUSES = (SENT, SKIPPED, RETRYING, WAITING, PARKED, FAILED)
REDRIVABLE = (PARKED, FAILED)
ENDS = frozenset({SENT, SKIPPED, PARKED, FAILED})
LEASE_MS = 2 * MINUTE_MS
"""Longer than any function that sends may run."""
KEEP_MS = 90 * DAY_MS
NOBODY = "-"
"""Stands for the profile id of an event that is about nobody."""
_KEPT_ATTEMPTS = 20
_REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Delivery:
    """The state of a delivery. Times are UTC ms; ``version`` 0 means not stored yet.

    ``first_at`` begins the time in which it is tried, anew at each redrive (``round``). ``attempts`` are the latest
    tries: time and result. ``detail`` is the JSON of the cause, from which everything can be done again.
    """

    workspace: str
    pid: str
    id: str
    activation: str
    destination: str
    channel: str
    cause: str
    type: str
    at: int
    detail: str
    status: str = WAITING
    reason: str = ""
    version: int = 0
    first_at: int = 0
    tries: int = 0
    next_at: int = 0
    lease: int = 0
    owner: str = ""
    round: int = 0
    updated: int = 0
    reference: str = ""
    attempts: tuple[tuple[int, str], ...] = ()

    def sending(self, now: int, owner: str) -> Delivery:
        """A worker takes it; ``owner`` names this very take."""
        return replace(self, status=SENDING, lease=now + LEASE_MS, owner=owner, updated=now)

    def waiting(self, until: int, reason: str, now: int) -> Delivery:
        """Asked again later, without a try."""
        return replace(self, status=WAITING, reason=reason, next_at=until, lease=0, updated=now)

    def tried(self, result: str, now: int) -> Delivery:
        """One more try with its result."""
        attempts = (*self.attempts, (now, result[:_REASON_LENGTH]))[-_KEPT_ATTEMPTS:]
        return replace(self, tries=self.tries + 1, attempts=attempts, updated=now, lease=0)

    def retrying(self, at: int, reason: str) -> Delivery:
        """To be tried again at this instant."""
        return replace(self, status=RETRYING, reason=reason[:_REASON_LENGTH], next_at=at, lease=0)

    def ended(self, status: str, reason: str, now: int, reference: str = "") -> Delivery:
        """An end."""
        reason, reference = reason[:_REASON_LENGTH], reference or self.reference
        return replace(self, status=status, reason=reason, next_at=0, lease=0, updated=now, reference=reference)

    def redriven(self, now: int) -> Delivery:
        """Begins anew; all rules are asked again."""
        again = self.round + 1
        return replace(
            self, status=RETRYING, reason="redriven", round=again, first_at=now, tries=0, next_at=now, updated=now
        )


def delivery_id(detail: Mapping[str, Any], activation: str, destination: str) -> str:
    """The activation id: a function of workspace, person, cause, destination and the cause's version (R40).

    A repeated or redriven message finds the same delivery; it is also the id a webhook's receiver sees.
    """
    pid = str(detail.get("profile_id") or NOBODY)
    cause, version = str(detail["event_id"]), str(detail.get("version", 1))
    return content_id(str(detail["workspace"]), pid, cause, destination, activation, version)


def as_item(delivery: Delivery) -> Item:
    """The item of a delivery (docs/data-model.md)."""
    return {
        "pk": f"{delivery.workspace}#A#{delivery.pid}",
        "sk": delivery.id,
        "v": delivery.version,
        "activation": delivery.activation,
        "destination": delivery.destination,
        "channel": delivery.channel,
        "cause": delivery.cause,
        "type": delivery.type,
        "at": delivery.at,
        "detail": delivery.detail,
        "status": delivery.status,
        "reason": delivery.reason,
        "first": delivery.first_at,
        "tries": delivery.tries,
        "next": delivery.next_at,
        "lease": delivery.lease,
        "owner": delivery.owner,
        "round": delivery.round,
        "updated": delivery.updated,
        "ref": delivery.reference,
        "attempts": [list(attempt) for attempt in delivery.attempts],
        "ttl": (delivery.at + KEEP_MS) // SECOND_MS,
    }


def from_item(item: Item) -> Delivery:
    """The delivery in an item."""
    workspace, _, pid = item["pk"].split("#", 2)
    tries = cast("list[list[Any]]", item["attempts"])
    return Delivery(
        workspace=workspace,
        pid=pid,
        id=item["sk"],
        activation=item["activation"],
        destination=item["destination"],
        channel=item["channel"],
        cause=item["cause"],
        type=item["type"],
        at=item["at"],
        detail=item["detail"],
        status=item["status"],
        reason=item["reason"],
        version=item["v"],
        first_at=item["first"],
        tries=item["tries"],
        next_at=item["next"],
        lease=item["lease"],
        owner=item["owner"],
        round=item["round"],
        updated=item["updated"],
        reference=item["ref"],
        attempts=tuple((at, result) for at, result in tries),
    )


def as_json(delivery: Delivery) -> dict[str, Any]:
    """The delivery as the API shows it."""
    shown: dict[str, Any] = {
        "id": delivery.id,
        "at": format_instant(delivery.at),
        "updated": format_instant(delivery.updated),
        "profile_id": None if delivery.pid == NOBODY else delivery.pid,
        "activation": delivery.activation,
        "destination": delivery.destination,
        "channel": delivery.channel,
        "type": delivery.type,
        "cause": delivery.cause,
        "status": delivery.status,
        "reason": delivery.reason,
        "tries": delivery.tries,
        "next_at": format_instant(delivery.next_at) if delivery.next_at else None,
        "reference": delivery.reference,
        "attempts": [{"at": format_instant(at), "result": result} for at, result in delivery.attempts],
    }
    return shown


def redrive_row(delivery: Delivery, now: int) -> Item:
    """The outbox row that sends a redriven delivery on its way; the same for the same round."""
    detail = orjson.loads(delivery.detail)
    return {
        "pk": f"{delivery.workspace}#{delivery.pid}",
        "sk": content_id(delivery.id, "redrive", str(delivery.round)),
        "type": delivery.type,
        "detail": orjson.dumps({**detail, "activations": [delivery.activation], "redrive": delivery.round}).decode(),
        "at": now,
        "ttl": (now + KEEP_MS) // SECOND_MS,
    }
