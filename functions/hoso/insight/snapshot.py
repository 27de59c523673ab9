"""People and deliveries as rows of tables; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from hoso.activate.deliveries import Delivery
from hoso.unify.profiles import Profile

Row = tuple[Any, ...]

COLUMNS: dict[str, tuple[str, ...]] = {
    "profiles": (
        *("profile_id VARCHAR", "email VARCHAR", "phone VARCHAR", "name VARCHAR", "events BIGINT", "orders BIGINT"),
        *("revenue DOUBLE", "first_seen BIGINT", "last_seen BIGINT", "split_id VARCHAR", "traits JSON", "consent JSON"),
    ),
    "identities": ("profile_id VARCHAR", "type VARCHAR", "value VARCHAR"),
    "memberships": ("profile_id VARCHAR", "segment VARCHAR", "revision BIGINT", "since BIGINT", "until BIGINT"),
    "deliveries": (
        *("profile_id VARCHAR", "delivery_id VARCHAR", "activation VARCHAR", "destination VARCHAR", "channel VARCHAR"),
        *("cause VARCHAR", "status VARCHAR", "reason VARCHAR", '"at" BIGINT', "updated BIGINT", "tries BIGINT"),
    ),
}


@dataclass(slots=True)
class Rows:
    """Rows of the tables that are made of people, and the identifiers that several of them use."""

    profiles: list[Row] = field(default_factory=list[Row])
    identities: list[Row] = field(default_factory=list[Row])
    memberships: list[Row] = field(default_factory=list[Row])
    shared: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


def rows_of(people: Iterable[Profile]) -> Rows:
    """One row a person, identifier and membership."""
    rows = Rows()
    for profile in people:
        if not profile.exists or profile.person.moved_to is not None:
            continue
        pid = profile.pid
        traits = {name: trait.value for name, trait in profile.traits.items() if trait.value is not None}
        rows.profiles.append(
            (
                pid,
                _text(traits.get("email")),
                _text(traits.get("phone")),
                _text(traits.get("name")),
                profile.totals["events"],
                profile.totals["orders"],
                float(profile.totals["revenue"]),
                profile.first_seen,
                profile.last_seen,
                profile.person.split_id or pid,
                orjson.dumps(traits).decode(),
                orjson.dumps({key: entry.state for key, entry in profile.consent.items()}).decode(),
            )
        )
        rows.identities += [(pid, kind, value) for kind, value in profile.person.identifiers]
        for text in profile.person.rest.get("sh", ()):
            kind, _, value = text.partition(":")
            rows.shared.add((kind, value))
        rows.memberships += [
            (pid, segment, held.revision, held.since, held.until)
            for segment, held in profile.person.memberships.items()
        ]
    return rows


def delivery_row(delivery: Delivery) -> Row:
    """One row a delivery."""
    return (
        *(delivery.pid, delivery.id, delivery.activation, delivery.destination, delivery.channel, delivery.cause),
        *(delivery.status, delivery.reason, delivery.at, delivery.updated, delivery.tries),
    )


def owners(identities: Iterable[Row], hubs: Iterable[tuple[str, str]], alone: Callable[[str, str], str]) -> list[Row]:
    """(hub type, hub value, profile id) for each hub; ``alone`` names an identifier that was never linked."""
    held = {(kind, value): pid for pid, kind, value in identities}
    return [(kind, value, held.get((kind, value)) or alone(kind, value)) for kind, value in hubs]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None if value is None else orjson.dumps(value).decode()
