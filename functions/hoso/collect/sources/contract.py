"""What a webhook source is made of: how a delivery is verified, what it means, and what its sender wants to hear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from hoso.model.errors import HosoError

Json = dict[str, Any]
Reply = dict[str, Any]

JSON_TYPE = "application/json"
SIGNING = "signing"
"""The use of a secret that deliveries are verified with."""
TOKEN = "api_token"  # noqa: S105
"""The use of a secret that the sender's API is asked with."""


class Unverified(HosoError):
    """Nothing proves that the delivery comes from its sender (answers 401)."""

    code = "bad_signature"


class Replayed(Unverified):
    """The signature is good, but its time is outside the window."""

    code = "replayed"


class Contradicted(HosoError):
    """A transaction that is known says another amount than before."""

    code = "amount_mismatch"


class Settings(BaseModel):
    """Settings of a kind that has none; those of the others extend it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class HookSource:
    """An enabled webhook source. ``secrets`` are its live secrets by use, newest first; ``events_per_minute`` is its
    budget."""

    workspace: str
    key: str
    kind: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    events_per_minute: int = 600_000

    @property
    def signing(self) -> Sequence[str]:
        """What deliveries are verified with, newest first."""
        return self.secrets.get(SIGNING, ())


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request of a sender. ``query`` and ``body`` are as they came over the wire, header names in lower case.

    ``address`` is the URL as its sender called it. ``now`` is the time of receipt (UTC ms).
    """

    source: HookSource
    method: str
    headers: Mapping[str, str]
    query: str
    body: bytes
    now: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a delivery tells.

    ``body`` is a call of the tracking API less its message id; ``key`` is what tells it from every other of the same
    source, the same in every repetition; ``external_id`` is the sender's own name for it; ``at`` is when it happened.
    """

    body: Json
    key: str
    external_id: str
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How a sender's repetition is recognised, for senders that are told so: key of the transaction, and its amount."""

    key: str
    amount: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """Something that a delivery names without telling it: the sender's ``id`` for it, and what was ``told``."""

    id: str
    told: Json


@dataclass(frozen=True, slots=True)
class Question:
    """A request to the sender's API."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Details:
    """How what a sender only names is fetched from its API.

    ``wanted`` are the look-ups of a delivery; ``ask`` makes the question about up to ``most`` of them, with a live
    secret of the use ``token``; ``facts`` are what the answer (JSON) tells: by look-up, in its order, None for one that
    the sender does not know. Without a secret of this use nothing is fetched.
    """

    wanted: Callable[[Delivery], Sequence[Lookup]]
    ask: Callable[[HookSource, str, Sequence[Lookup]], Question]
    facts: Callable[[HookSource, Sequence[Lookup], Json], Sequence[Sequence[Fact] | None]]
    most: int = 1
    passing: Callable[[Json], bool] = lambda _answer: False
    """Whether a refusal (its JSON) may be over later, for senders that do not tell by the status."""


def _no_check(_delivery: Delivery) -> Reply | None:
    return None


def _stored(_delivery: Delivery, _duplicate: bool) -> Reply:
    return reply(200, {"success": True})


def _refused(_delivery: Delivery, error: HosoError, status: int) -> Reply:
    return reply(status, {"success": False, "code": error.code, "message": error.message})


@dataclass(frozen=True, slots=True)
class HookKind:
    """A sender.

    ``verify`` raises ``Unverified`` unless the delivery is the sender's. ``facts`` are what it tells; it raises
    ``InvalidInput`` when it cannot be read, and an entry of the list may be one such error. ``greet`` answers a check
    of the address before anything is verified (None: it is no check). ``stored`` and ``refused`` make the answers.
    ``seen`` names the transaction, for senders that want to hear of duplicates. ``uses`` are the uses of its secrets,
    ``needs_secret`` tells that without a secret for signing nothing can be verified.
    """

    name: str
    verify: Callable[[Delivery], None]
    facts: Callable[[Delivery], Sequence[Fact | HosoError]]
    methods: frozenset[str] = frozenset({"POST"})
    greet: Callable[[Delivery], Reply | None] = _no_check
    stored: Callable[[Delivery, bool], Reply] = _stored
    refused: Callable[[Delivery, HosoError, int], Reply] = _refused
    seen: Callable[[Delivery], Seen] | None = None
    settings: type[BaseModel] = Settings
    uses: tuple[str, ...] = (SIGNING,)
    needs_secret: bool = True
    keeps_refused: bool = True
    """Whether the quarantine may hold what of this sender was refused."""
    check_secret: Callable[[str], str] | None = None
    """The form a secret must have: answers it cleaned, raises ``ValueError``."""
    new_secret: Callable[[], str] | None = None
    """Makes a secret, where we may choose it."""
    details: Details | None = None
    """How to fetch what its deliveries only name."""


def reply(status: int, body: Any) -> Reply:
    """A JSON answer."""
    return {"statusCode": status, "headers": {"content-type": JSON_TYPE}, "body": orjson.dumps(body).decode()}


def text(status: int, body: str, kind: str = "text/plain; charset=utf-8") -> Reply:
    """An answer of another media type."""
    return {"statusCode": status, "headers": {"content-type": kind, "x-content-type-options": "nosniff"}, "body": body}
