"""Webhooks signed as Standard Webhooks say: at least once, with an id that stays the same.

Body: ``{"type", "timestamp", "data": {"delivery_id", "profile_id", "action"?, "segment"?, "activation"?, …}}``. A
destination that stands for a list (an ads audience) acts on ``action``: ``add`` or ``remove``; ``data.at`` (UTC ms) of
the cause puts messages about one person in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from hoso.activate import signing
from hoso.activate.channels import Again, Delivered, Order, Refused, Result
from hoso.activate.credentials import Credentials, CredentialStore
from hoso.activate.documents import WebhookDestination
from hoso.model.errors import InvalidInput
from hoso.model.time import format_instant
from hoso.platform import retry
from hoso.platform.http import Blocked, NoAnswer, Outbound, Reply
from hoso.platform.retry import WEBHOOK, Meaning, Window

MAX_BODY = 20_000
_ROUTING = frozenset({"activations", "destinations", "channels", "redrive", "workspace", "version"})
_SHOWN_ANSWER = 200


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """Calls webhooks."""

    client: Outbound
    credentials: CredentialStore

    @property
    def kind(self) -> str:
        """Serves webhook destinations."""
        return "webhook"

    @property
    def at_most_once(self) -> bool:
        """Receivers drop repeats by the id."""
        return False

    @property
    def window(self) -> Window:
        """Three days."""
        return WEBHOOK

    def address(self, traits: Mapping[str, Any], identifiers: Mapping[str, list[str]]) -> str | None:  # noqa: ARG002
        """A webhook needs no address of the person."""
        return None

    def prepare(self, order: Order) -> bytes:
        """The body. Raises ``InvalidInput`` when it is too large."""
        data = {key: value for key, value in order.detail.items() if key not in _ROUTING}
        data |= {"delivery_id": order.id, "profile_id": order.pid or None}
        if order.action:
            data["action"] = order.action
        if order.activation is not None:
            data["activation"] = order.activation_key
            data |= _about(order)
        message = {"type": order.detail["type"], "timestamp": format_instant(order.detail["at"]), "data": data}
        body = orjson.dumps(message)
        if len(body) > MAX_BODY:
            raise InvalidInput(f"the message is over {MAX_BODY} bytes", code="message_too_large")
        return body

    def send(self, order: Order, message: bytes, now: int) -> Result:
        """Call it; refused credentials are read anew once, since they may have just been rotated (R53)."""
        credentials = self.credentials.get(order.workspace, order.destination_key)
        reply = self._call(order, message, credentials, now)
        if isinstance(reply, Reply) and retry.meaning(reply.status) is Meaning.UNAUTHORISED:
            renewed = self.credentials.get(order.workspace, order.destination_key, fresh=True)
            if renewed != credentials:
                reply = self._call(order, message, renewed, now)
        return _result(reply, now) if isinstance(reply, Reply) else reply

    def _call(self, order: Order, body: bytes, credentials: Credentials, now: int) -> Reply | Result:
        destination = order.destination
        if not isinstance(destination, WebhookDestination) or not credentials.secrets:
            return Refused("not a webhook with a signing secret")
        signed = signing.headers(order.id, now, body, credentials.secrets)
        headers = {**credentials.headers, "content-type": "application/json", **signed}
        try:
            return self.client.post(destination.url, headers, body)
        except (Blocked, InvalidInput) as error:
            return Refused(error.message)
        except NoAnswer as error:
            return Again(error.message)


def _about(order: Order) -> dict[str, Any]:
    """What the destination wants to know about the person, and nothing else."""
    destination = order.destination
    if not isinstance(destination, WebhookDestination):
        return {}
    wanted = destination.payload
    told: dict[str, Any] = {}
    if wanted.identifiers:
        told["identifiers"] = {
            kind: [_hashed(value) if wanted.hashed else value for value in order.identifiers[kind]]
            for kind in wanted.identifiers
            if order.identifiers.get(kind)
        }
    # Whoever is taken off a list is named, no more.
    if wanted.traits and order.action != "remove":
        told["traits"] = {name: order.person[name] for name in wanted.traits if name in order.person}
    return told


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _result(reply: Reply, now: int) -> Result:
    result = f"{reply.status} {_shown(reply.body)}".strip()
    meaning = retry.meaning(reply.status)
    asked_ms = retry.retry_after_ms(reply.retry_after, now)
    match meaning:
        case Meaning.DELIVERED:
            return Delivered(str(reply.status))
        case Meaning.RETRY:
            return Again(result, asked_ms)
        case Meaning.THROTTLED:
            return Again(result, asked_ms, fault=False)
        case Meaning.GONE:
            return Refused(result, gone=True)
        case _:
            return Refused(result)


def _shown(body: bytes) -> str:
    """The begin of an answer as plain text, for the operator (security S24)."""
    text = body[:_SHOWN_ANSWER].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)
