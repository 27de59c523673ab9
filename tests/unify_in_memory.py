"""The consumer and the people API on tables in memory: whole runs of unify by the thousand, without AWS and moto."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hoso.model.bad_row import BadRow
from hoso.model.errors import Transient
from hoso.model.identifiers import STANDARD, Identifier, IdentityConfig
from hoso.model.record import Event, Record, pack
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.ids import Hasher
from hoso.platform.wire import from_wire
from hoso.unify.consumer import Consumer
from hoso.unify.evidence import Evidence, Operation
from hoso.unify.identities import Identities
from hoso.unify.people import People
from hoso.unify.rulebook import Rulebook
from hoso.unify.store import ProfileStore
from tests.identity_table import MemoryDynamo

START = 1_700_000_000_000
"""The instant (UTC ms) at which the time of the random streams begins."""
NOW = START + 40 * 86_400_000
KEY = b"a key that is the same in all runs"


class MemoryWorld:
    """One worker on tables that other workers may share; ``client`` is what it calls."""

    def __init__(
        self,
        client: Any,
        config: IdentityConfig = STANDARD,
        revision: int = 0,
        now: int = NOW,
        config_ttl_ms: int = 0,
    ) -> None:
        self.now = now
        self.aside: list[BadRow] = []
        tables = {name: Table(name, client, sleep=_at_once) for name in ("profiles", "outbox", "delivery", "control")}
        self.control = ControlStore(tables["control"], client, lambda: self.now, config_ttl_ms)
        hasher = Hasher(KEY)
        self.store = ProfileStore(
            client,
            profiles=tables["profiles"],
            outbox=tables["outbox"],
            delivery=tables["delivery"],
            hasher=lambda _: hasher,
        )
        self.identities = Identities(
            tables["profiles"],
            tables["outbox"],
            tables["delivery"],
            client,
            hasher,
            "main",
            config,
            lambda: self.now,
            sleep=_at_once,
            revision=revision,
        )
        self.rulebook = Rulebook(self.control)
        self.people = People(self.store, lambda _: self.identities, self.rulebook, lambda: self.now, _at_once)
        self.consumer = Consumer(
            self.store,
            lambda _: self.identities,
            self.rulebook,
            lambda *told: self.aside.extend(told[-1]),
            lambda: self.now,
            keep_days=400,
            dedupe_days=30,
            sleep=_at_once,
        )

    def consume(self, told: Sequence[Evidence], tries: int = 20) -> None:
        """Deliver what events tell, each event in a record, as the stream does: again what failed."""
        rows = [kinesis(one, self.now) for one in told]
        for _ in range(tries):
            tally = self.consumer.consume(rows, lambda: 60_000)
            rows = [row for place, row in enumerate(rows) if place in tally.failed]
            if not rows:
                return
        raise AssertionError(f"not consumed in {tries} deliveries")

    def apply(self, record: Operation, tries: int = 20) -> None:
        """Apply a record; again when others kept changing the same people."""
        for attempt in range(tries):
            try:
                self.identities.apply(record)
            except Transient:
                if attempt == tries - 1:
                    raise
            else:
                return

    def hub_owner(self, hub: Identifier) -> str:
        """Whose a hub is by its hot item."""
        fid = self.store.fragment_id("main", hub)
        item = self.store.read([(f"main#F#{fid}", "H")], consistent=True).get((f"main#F#{fid}", "H"), {})
        return item.get("o") or f"p_{fid}"


def kinesis(told: Evidence, received_at: int) -> dict[str, Any]:
    """The row of a batch with one event that tells this; times count from ``START``."""
    body: dict[str, Any] = {"type": "identify", "messageId": told.event_id}
    if told.name is not None:
        body["traits"] = {"name": told.name}
    if told.previous is not None:
        body |= {"type": "alias", "previousId": told.previous.value}
        if told.previous.type == "anonymous_id":
            body["anonymousId"] = told.previous.value
    kinds = [found.type for found in (told.hub, *told.ids)]
    # only an alias may name two values of a type; what it replaces may be of a type that the consumer does not read
    name = "$alias" if told.previous is not None or len(set(kinds)) < len(kinds) else "Viewed"
    ids = [list(one) for one in told.ids]
    event = Event(told.event_id, START + told.ts, START + told.ts, name, ids, body)
    blob = pack(Record("main", told.source or "shop", received_at, told.hub, [event]))
    return {"kinesis": {"data": base64.b64encode(blob).decode()}}


def stored(client: MemoryDynamo, table: str = "profiles") -> Iterable[dict[str, Any]]:
    """All items of a table, plain."""
    return [from_wire(client.tables[table][key]) for key in sorted(client.tables.get(table, {}))]


def copy_of(client: MemoryDynamo) -> MemoryDynamo:
    """Another client on a copy of the tables."""
    other = MemoryDynamo()
    other.tables = {name: dict(items) for name, items in client.tables.items()}
    return other


def without_unread(told: Evidence) -> Evidence:
    """The evidence as the consumer can read it from an event: a former id is a user or an anonymous id."""
    if told.previous is not None and told.previous.type not in ("user_id", "anonymous_id"):
        return told._replace(previous=None)
    return told


Act = Callable[[], None]


def _at_once(_: float) -> None:
    """Nobody waits in these runs."""
