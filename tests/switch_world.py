"""What tests of a switch of the identity rules share: the tables with a shadow, a small store of people who share
addresses, the machine that runs a switch to its end, and what must be equal afterwards."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hoso.collect.handlers import archive
from hoso.model.errors import Transient
from hoso.model.identity_config import IdentityConfig
from hoso.segment.archive_files import Archive, local_copies
from hoso.segment.batch import connect
from hoso.unify import pages
from hoso.unify.archive_range import Range
from hoso.unify.compare import prints_of
from hoso.unify.handlers import identity_rules, rewind, switches
from tests.admin_calls import admin_event, answered
from tests.unify_world import NOW, Context, World, packed, shadow_table, unify_world

MINUTE, DAY = 60_000, 86_400_000
PLAIN = {"schema": "identity/1", "names": False}
OTHER = {
    "schema": "identity/1",
    "names": False,
    "types": {
        "phone": {"rank": 1.5, "limit": 5, "fanout": 5},
        "email": {"rank": 4, "limit": 5, "fanout": 1},
        "anonymous_id": {"rank": 8, "limit": 1, "window_days": 7, "fanout": 10, "device": True},
        "device_id": None,
    },
}
"""Telephones before customer numbers, an e-mail of two people is shared, devices are no identifiers."""


@contextmanager
def switch_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The tables, the shadow, a stream and the bucket, empty; the rules are ``PLAIN``."""
    cached = (archive._tools, rewind.parts, rewind.objects, identity_rules.parts)
    with unify_world(folder) as made:
        for one in cached:
            one.cache_clear()
        shadow_table(monkeypatch)
        monkeypatch.setattr(switches, "_run", lambda held: None)  # the machine is ``to_its_end``
        made.parts.control.put("main", "identity", "rules", PLAIN)
        yield made
    for one in cached:
        one.cache_clear()


def config_of(world: World) -> IdentityConfig:
    return world.parts.identities("main").config


def receive(
    world: World, events: list[dict[str, Any]], source: str = "web", identity: IdentityConfig | None = None
) -> None:
    """Let events come in: state and archive get the same records, made by the rules in force or those given."""
    for arrive in arrival(world, events, identity or config_of(world), source):
        arrive()


def arrival(
    world: World, events: list[dict[str, Any]], identity: IdentityConfig, source: str = "web"
) -> tuple[Callable[[], None], Callable[[], None]]:
    """The two ways of events off the stream: into state, and into the archive."""
    batch = world.kinesis(packed(events, world.now, source=source, identity=identity))
    for row in batch["Records"]:
        row["eventID"] = f"shardId-000000000000:{row['kinesis']['sequenceNumber']}"

    def into_state() -> None:
        assert world.deliver(batch) == []

    def into_archive() -> None:
        assert archive.handler(batch, None) == {"batchItemFailures": []}

    return into_state, into_archive


def store_of(seed: int, count: int = 60, first: int = 0) -> list[dict[str, Any]]:
    """Events of a dozen people, some of whom share an e-mail, a telephone or a device."""
    chance = random.Random(seed)
    events: list[dict[str, Any]] = []
    for number in range(first, first + count):
        person = chance.randrange(10)
        event: dict[str, Any] = {
            "messageId": f"m-{seed}-{number}",
            "timestamp": f"2026-11-{1 + number % 27:02d}T{number % 24:02d}:00:00Z",
        }
        traits: dict[str, Any] = {}
        if chance.random() < 0.5:
            traits["email"] = f"e{person // 2}@x.vn"
        if chance.random() < 0.5:
            traits["phone"] = f"09012345{person % 7:02d}"
        if chance.random() < 0.5:
            event["userId"] = f"u{person}"
        if chance.random() < 0.6 or not (traits or "userId" in event):
            event["anonymousId"] = f"a{person % 6}"
        if chance.random() < 0.2:
            event["context"] = {"device": {"id": f"d{person % 3}"}}
        if traits and chance.random() < 0.7:
            event |= {"type": "identify", "traits": {**traits, "city": f"c{number}"}}
        else:
            event |= {"type": "track", "event": chance.choice(("Viewed", "Order Completed")), "properties": traits}
            if event["event"] == "Order Completed":
                event["properties"] = {**traits, "orderId": f"o{number}", "total": 10, "currency": "VND"}
        events.append(event)
    return events


def with_names(events: list[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    """The same events, some with a name, a member's number, or as an alias."""
    found: list[dict[str, Any]] = []
    for event in events:
        who = chance.randrange(10)
        if event["type"] == "identify" and chance.random() < 0.6:
            event["traits"]["name"] = ("An Nguyen", "Binh Tran", "Chi Le", "Dung Pham")[who % 4]
        if chance.random() < 0.08:
            former = chance.choice((f"u{(who + 5) % 10}", f"a{who % 6}"))
            same = {name: event[name] for name in ("messageId", "timestamp")}
            found.append({"type": "alias", **same, "userId": f"u{who}", "previousId": former})
            continue
        if chance.random() < 0.15:
            event.setdefault("context", {})["externalIds"] = [{"type": "member_no", "id": f"{who % 4 + 70}"}]
        found.append(event)
    return found


def some_rules(chance: random.Random) -> dict[str, Any]:
    """Identity rules by lot."""
    types: dict[str, Any] = {}
    if chance.random() < 0.5:
        rank, limit = chance.choice((0.5, 1.5, 3.5, 9)), chance.choice((1, 2, 5))
        types["phone"] = {"rank": rank, "limit": limit, "fanout": chance.choice((1, 2, 5))}
    if chance.random() < 0.5:
        rank, limit = chance.choice((0.7, 2.5, 8)), chance.choice((1, 5))
        types["email"] = chance.choice((None, {"rank": rank, "limit": limit, "fanout": chance.choice((1, 3))}))
    if chance.random() < 0.4:
        rank, limit = chance.choice((8, 1.2)), chance.choice((1, 3))
        types["anonymous_id"] = {"rank": rank, "limit": limit, "window_days": 7, "fanout": 10, "device": True}
    if chance.random() < 0.4:
        types["device_id"] = None
    if chance.random() < 0.4:
        types["member_no"] = {"rank": chance.choice((0.1, 2, 7)), "limit": chance.choice((1, 3))}
    document: dict[str, Any] = {"schema": "identity/1", "types": types, "names": chance.random() < 0.5}
    if chance.random() < 0.3:
        document["order"] = "last"
    if chance.random() < 0.2:
        document["blocked"] = ["e1@x.vn", "a2", "+84901234503"]
    if chance.random() < 0.2:
        document["max_ids"] = 4
    return document


def fill(world: World, seed: int, count: int = 60) -> None:
    """Receive a store in four days, with two segments."""
    world.segment("buyers", {"kind": "event", "event": ["Order Completed"], "op": "gte", "value": 2})
    world.segment("lookers", {"kind": "event", "event": ["Viewed"], "op": "gte", "value": 3})
    events = store_of(seed, count)
    for day, first in enumerate(range(0, len(events), 1 + len(events) // 4)):
        world.now = NOW + day * DAY
        receive(world, events[first : first + 1 + len(events) // 4])


def ask(method: str, path: str, body: Any = None, roles: str = "[engineer]", **names: str) -> tuple[int, Any]:
    """A call of the switches' API."""
    request = admin_event(f"{method} /v1/identity/switches{path}", names, body, roles=roles)
    return answered(switches.handler(request, Context()))


def to_its_end(world: World, replay: str, between: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run the machine of a switch until it says that it is done; ``between`` is told each status."""
    event = {"workspace": "main", "replay": replay}
    for _ in range(2_000):
        between(rewind.rewinds("main").get(replay)["status"])
        event = switches.step(event, Context())
        if event["done"]:
            status, found = ask("GET", "/{id}", id=replay)
            if status != 200:
                raise Transient("the look at it failed")
            return found
        if rewind.rewinds("main").get(replay)["status"] == "waiting":
            world.now += MINUTE
    raise AssertionError("the switch does not end")


def compared(world: World, document: Any) -> dict[str, Any]:
    """A switch that waits to be confirmed."""
    world.now += MINUTE
    status, started = ask("POST", "", {"document": document})
    assert status == 202, started
    return to_its_end(world, started["id"])


def switched(
    world: World, document: Any, between: Callable[[str], None] = lambda _: None, **more: Any
) -> dict[str, Any]:
    """A switch that was confirmed and has settled."""
    ready = compared(world, document)
    assert ready["status"] == "ready", ready
    status, committed = ask("POST", "/{id}/commit", {"confirm": True, "lag_s": 1, **more}, id=ready["id"])
    assert status == 202, committed
    return to_its_end(world, ready["id"], between)


def prints(world: World) -> dict[Any, Any]:
    """Fragments and people, as a rebuild must have them; with them the memberships of people who have any."""
    found: dict[Any, Any] = dict(prints_of(world.parts.profiles.scan(), "main"))
    for item in world.items(kind="P"):
        if item["sk"] == "P" and item.get("m"):
            found[item["pk"], "m"] = sorted(item["m"])
    return found


def settled(world: World) -> None:
    """Evaluate everybody whom a merge or a parting left for the next event."""
    for item in world.items(kind="P"):
        if item.get("dirty"):
            world.parts.people.reevaluate("main", item["pk"].rpartition("#")[2], world.now)


def archive_agrees(world: World) -> bool:
    """Whether whoever reads the archive finds each event under the identifier under whose fragment it counts."""
    archive = Archive(rewind.objects(), "main")
    keys = [key for day in archive.days("9999-12-31") for key in archive.files(day)]
    with local_copies(rewind.objects(), keys) as files, connect() as database:
        query = "SELECT DISTINCT hub_type, hub_value, message_id FROM read_parquet(?)"
        read = set(database.execute(query, [[str(file) for file in files]]).fetchall())
    counting: set[tuple[str, str, str]] = set()
    for item in world.items(kind="F"):
        if item["sk"] == "H" and "g" in item:
            stored = world.parts.store.timeline("main", item["pk"].rpartition("#")[2], item["g"])
            news = [new for page in stored for new in pages.events_of(page)]
            counting |= {(*item["hub"], new.event.message_id) for new in news}
    known = {message_id for _, _, message_id in counting}  # what was set aside is in the archive alone
    return {row for row in read if row[2] in known} == counting


def told(world: World) -> list[tuple[str, str, str, str, bool]]:
    """What was announced of memberships: profile id, type, segment, kind of the reason, silent."""
    details = [json.loads(row["detail"]) for row in world.items("outbox")]
    return sorted(
        (one["profile_id"], one["type"], one["segment"], one["reason"]["kind"], one.get("silent", False))
        for one in details
        if "segment" in one
    )


def rebuilt(world: World) -> dict[str, Any]:
    """The report of a fresh rebuild under the rules in force."""
    held = rewind.rewinds("main").create(f"{world.now:013d}-z", Range(0, world.now + 1), "shadow", 20_000, "test")
    event = {"workspace": "main", "replay": held["sk"]}
    while not (event := switches.step(event, Context()))["done"]:
        pass
    return rewind.shown(rewind.rewinds("main").get(held["sk"]))["report"]


def members_as_evaluated(world: World) -> bool:
    """Whether everybody is a member of what the segments say now."""
    now, people = world.now, world.parts.people
    for profile in people.everyone("main"):
        told = people.verdicts(profile, now)
        if {key for key, verdict in told.items() if verdict.member} != set(profile.person.memberships):
            return False
    return True
