"""How unify's parts are put together from the settings of a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from hoso.model.identifiers import DEFAULT
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.unify.identities import Identities
from hoso.unify.people import People
from hoso.unify.rulebook import Rulebook
from hoso.unify.store import ProfileStore


class Parts:
    """Everything that unify's functions and its callers share, made from one set of settings."""

    def __init__(self, settings: Settings) -> None:
        dynamo: Any = client("dynamodb")
        self.settings = settings
        self.clock = clock_from(settings.clock_file)
        self.profiles = Table(settings.profiles_table, dynamo)
        self.outbox = Table(settings.outbox_table, dynamo)
        self.control = ControlStore(Table(settings.control_table, dynamo), dynamo, self.clock, settings.config_ttl_ms)
        self.store = ProfileStore(
            dynamo,
            profiles=self.profiles,
            outbox=self.outbox,
            delivery=Table(settings.delivery_table, dynamo),
            hasher=self.control.hasher,
        )
        self.rulebook = Rulebook(self.control)
        self.identities: Callable[[str], Identities] = cache(self._identities)
        self.people = People(self.store, self.identities, self.rulebook, self.clock)

    def _identities(self, workspace: str) -> Identities:
        """Identity of a workspace, under its own rules where it has some."""
        return Identities(
            self.profiles,
            self.outbox,
            client("dynamodb"),
            self.control.hasher(workspace),
            workspace,
            DEFAULT,
            self.clock,
        )
