"""Channels: one file each. A channel turns an order into a message and says what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hoso.activate.documents import Activation, EmailDestination, WebhookDestination
from hoso.platform.retry import Window


@dataclass(frozen=True, slots=True)
class Order:
    """One message to make and send.

    ``id`` is the delivery's, the same at every try. ``activation`` is None when the destination gets the event as it
    is. ``action``: ``add`` or ``remove`` on a list, empty for other messages. ``person`` holds the traits, plain, and
    ``identifiers`` per type the values; ``address`` is where the channel reaches the person.
    """

    id: str
    workspace: str
    destination_key: str
    destination: EmailDestination | WebhookDestination
    activation_key: str
    activation: Activation | None
    detail: Mapping[str, Any]
    pid: str
    action: str
    person: Mapping[str, Any]
    identifiers: Mapping[str, list[str]]
    address: str | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """It arrived; ``reference`` is the receiver's id of it, if it gave one."""

    result: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """Known not to be done, or harmless to repeat. ``fault``: the destination is ill (not just busy)."""

    result: str
    after_ms: int | None = None
    fault: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """This message will never be taken. ``gone``: nor any other, the destination is no more."""

    result: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have arrived, and must not be repeated without a person's decision."""

    result: str


Result = Delivered | Again | Refused | Unknown


class Channel(Protocol):
    """What the courier asks of a channel."""

    @property
    def kind(self) -> str:
        """Kind of the destinations it serves."""
        ...

    @property
    def at_most_once(self) -> bool:
        """Whether a message of unknown outcome must not be sent again."""
        ...

    @property
    def window(self) -> Window:
        """How long a message is tried."""
        ...

    def address(self, traits: Mapping[str, Any], identifiers: Mapping[str, list[str]]) -> str | None:
        """Where it reaches a person; None: nowhere."""
        ...

    def prepare(self, order: Order) -> Any:
        """The message, before anything is claimed. Raises ``InvalidInput``, ``NotFound``."""
        ...

    def send(self, order: Order, message: Any, now: int) -> Result:
        """Send it, once."""
        ...
