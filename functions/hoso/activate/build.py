"""How activation's parts are put together from the settings of a function."""

from __future__ import annotations

import random
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from hoso.activate.catalogue import Catalogue
from hoso.activate.channels import Channel
from hoso.activate.channels.email import EmailChannel
from hoso.activate.channels.webhook import WebhookChannel
from hoso.activate.courier import Courier
from hoso.activate.credentials import CredentialStore
from hoso.activate.feedback import Feedback
from hoso.activate.inbox import Inbox
from hoso.activate.outbox import Sender
from hoso.activate.store import DeliveryStore
from hoso.activate.trigger import PriceWalk
from hoso.model.identifiers import Identifier
from hoso.platform.aws import client
from hoso.platform.bus import Bus
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.http import Outbound
from hoso.platform.mail import Mailer
from hoso.platform.queue import DeadLetters, Queue
from hoso.platform.settings import Settings

if TYPE_CHECKING:
    from hoso.unify.people import People

SENDER_TTL_MS = 1_000
"""The sender follows new activations faster than the slower parts: what it does not route is not sent."""
_JITTER = random.SystemRandom()


class Parts:
    """Everything that activation's functions share, made from one set of settings, each at its first use."""

    def __init__(self, settings: Settings) -> None:
        dynamo: Any = client("dynamodb")
        self.settings = settings
        self.clock = clock_from(settings.clock_file)
        self.control_table = Table(settings.control_table, dynamo)
        self.control = ControlStore(self.control_table, dynamo, self.clock, settings.config_ttl_ms)
        self.catalogue = Catalogue(self.control)
        self.outbox = Table(settings.outbox_table, dynamo)
        self.store = DeliveryStore(dynamo, Table(settings.delivery_table, dynamo), self.outbox)
        self.credentials = CredentialStore(self.control_table, self.clock)

    @cached_property
    def sender(self) -> Sender:
        """The outbox sender."""
        ttl_ms = min(SENDER_TTL_MS, self.settings.config_ttl_ms)
        control = ControlStore(self.control_table, client("dynamodb"), self.clock, ttl_ms)
        return Sender(self.outbox, Bus(self.settings.bus, client("events")), Catalogue(control))

    def inbox(self, kind: str) -> Inbox:
        """What works off a channel's queue."""
        queues = client("sqs")
        dead = DeadLetters(self.settings.dead_letters, queues)
        return Inbox(self._courier(kind), Queue(queues), dead, self.clock, _JITTER.uniform)

    def feedback(self) -> Feedback:
        """What takes the events of SES about addresses."""
        from hoso.unify.build import Parts as Unify
        from hoso.unify.listings import Listing, suppression

        listed = Unify(self.settings).listed

        def note(workspace: str, channel: str, address: Identifier, reason: str, at: int) -> None:
            fresh = Listing(on=True, at=at, reason=reason)
            listed.mirror(workspace, suppression(channel, told=True), address, fresh)

        return Feedback(self.store, self.control.hasher, note, self.clock)

    def price_walk(self) -> PriceWalk:
        """What a price drop starts. It runs rarely, so it reads its documents anew each time."""
        from hoso.segment.members import members

        control = ControlStore(self.control_table, client("dynamodb"), self.clock, ttl_ms=0)
        profiles = Table(self.settings.profiles_table, client("dynamodb"))
        return PriceWalk(
            Catalogue(control), self.store, self.outbox, partial(members, profiles), self._people(), self.clock
        )

    def _people(self) -> People:
        from hoso.unify.build import Parts as Unify

        return Unify(self.settings).people

    def _courier(self, kind: str) -> Courier:
        channel = self._email() if kind == "email" else self._webhook()
        hasher, people = self.control.hasher, self._people()
        return Courier(channel, self.catalogue, self.store, people, hasher, self.clock, _JITTER.uniform)

    def _email(self) -> Channel:
        mailer = Mailer(client("sesv2", attempts=1), self.settings.mail_configuration_set)
        return EmailChannel(mailer, self.catalogue, self.settings.mail_from)

    def _webhook(self) -> Channel:
        return WebhookChannel(Outbound(local=self.settings.outbound_http), self.credentials)
