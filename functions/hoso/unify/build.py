"""How unify's parts are put together from the settings of a function."""

from __future__ import annotations

from typing import Any

from hoso.model.identifiers import IdentityConfig
from hoso.platform.aws import client
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.identity_rules import RulesInForce
from hoso.platform.settings import Settings
from hoso.unify.eraser import Eraser
from hoso.unify.erasures import Erasures
from hoso.unify.identities import Identities
from hoso.unify.listed import Listed
from hoso.unify.people import People
from hoso.unify.rulebook import Rulebook
from hoso.unify.store import ProfileStore

_CLIENTS = ("web", "mobile")


class Parts:
    """Everything that unify's functions and its callers share, made from one set of settings."""

    def __init__(self, settings: Settings, config: IdentityConfig | None = None) -> None:
        """``config``: identity rules to work under; without, those in force."""
        dynamo: Any = client("dynamodb")
        self.settings = settings
        self.clock = clock_from(settings.clock_file)
        self.profiles = Table(settings.profiles_table, dynamo)
        self.outbox = Table(settings.outbox_table, dynamo)
        self.control_table = Table(settings.control_table, dynamo)
        self.control = ControlStore(self.control_table, dynamo, self.clock, settings.config_ttl_ms)
        self.store = ProfileStore(
            dynamo,
            profiles=self.profiles,
            outbox=self.outbox,
            delivery=Table(settings.delivery_table, dynamo),
            hasher=self.control.hasher,
        )
        self.rulebook = Rulebook(self.control)
        self.erasures = Erasures(self.control_table, self.clock, settings.config_ttl_ms)
        self.rules_in_force = RulesInForce(self.control)
        self._config = config
        self._kept: dict[str, Identities] = {}
        self.people = People(self.store, self.identities, self.rulebook, self.clock)
        self.listed = Listed(self.store, self.people)

    def identities(self, workspace: str) -> Identities:
        """Identity of a workspace, under the rules in force (or those that these parts work under)."""
        config = self._config or self.rules_in_force.of(workspace)
        kept = self._kept.get(workspace)
        if kept is None or kept.config is not config:
            kept = self._kept[workspace] = self.identities_under(workspace, config)
            kept.erased = lambda: self.erasures.hashes(workspace)
        sources = self.control.all(workspace, "source").values()
        kept.clients = frozenset(source.key for source in sources if source.body.get("kind") in _CLIENTS)
        return kept

    def eraser(self, workspace: str) -> Eraser:
        """What erases people of a workspace."""
        identities = self.identities(workspace)
        return Eraser(
            self.store, identities, self.erasures, self.control_table, client("dynamodb"), self.clock, workspace
        )

    def identities_under(self, workspace: str, config: IdentityConfig) -> Identities:
        """Identity of a workspace under other rules."""
        return Identities(
            self.profiles,
            self.outbox,
            self.store.delivery,
            client("dynamodb"),
            self.control.hasher(workspace),
            workspace,
            config,
            self.clock,
            # where nobody was ever sorted, nobody has a side to keep
            has_sides=lambda: any(self.control.all(workspace, kind) for kind in ("segment", "activation")),
            revision=self.rules_in_force.revision_of(workspace),
        )
