"""Send quarantined rows again, repaired or as they were, the way every event goes (promise 1, reliability P4).

Repeating a replay is harmless: events keep their message ids, and those that have none get one that is a function of
the entry and the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from hoso.collect.events import Frame
from hoso.collect.intake import Hash, Sender, open_single, take
from hoso.collect.parse import parse_batch
from hoso.collect.plans import Plan
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput
from hoso.model.identifiers import DEFAULT, IdentityConfig


@dataclass(slots=True)
class Replay:
    """What came of a replay: rows whose events are all good, rows that are refused again, records for the stream."""

    accepted: list[int] = field(default_factory=list[int])
    rejected: list[BadRow] = field(default_factory=list[BadRow])
    records: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])


Opened = Callable[[Any], Any]
"""Makes of a payload that is no event (a webhook's delivery) what it means; answers every other as it is."""


def replay(
    entry: Mapping[str, Any],
    repaired: Mapping[int, Any],
    hash_of: Hash,
    plan: Plan | None = None,
    opened: Opened = lambda payload: payload,
    identity: IdentityConfig = DEFAULT,
) -> Replay:
    """Judge the rows of a quarantine entry again; ``repaired`` holds new payloads by row index.

    ``plan`` is what the source follows now: a row that it still refuses stays where it is. ``identity`` are the rules
    in force: they choose the identifier under which an event stands.
    The time of receipt stays that of the entry, so that corrected times come out as they would have then.
    """
    done = Replay()
    sender = Sender(entry["workspace"], entry["source"], plan=plan, identity=identity)
    for row in entry["rows"]:
        index: int = row["index"]
        payload = repaired.get(index, row["payload"])
        numbers = iter(range(1_000_000))
        frame = Frame(
            received_at=row.get("at", entry["at"]),
            new_id=lambda index=index, numbers=numbers: f"{entry['id']}-{index}-{next(numbers)}",
            sent_at=row.get("sent_at", entry.get("sent_at")),
        )
        try:
            raw = _text(opened(payload))
            batch = parse_batch(raw) if _is_batch(raw) else open_single(raw)
            taken = take(raw, batch, frame, sender, hash_of)
        except InvalidInput as error:
            done.rejected.append(BadRow(index, row["message_id"], error.code, error.message, None))
            continue
        done.records += taken.records
        if taken.rejected:
            first = taken.rejected[0]
            done.rejected.append(BadRow(index, first.message_id, first.code, first.reason, None))
        else:
            done.accepted.append(index)
    return done


def _text(payload: Any) -> bytes:
    """The JSON text of a payload: quarantined text is as it was sent."""
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogatepass")
    if type(payload) is dict and payload.keys() == {"base64"}:
        raise InvalidInput("these bytes are no text; send a repaired payload", code="needs_repair")
    return orjson.dumps(payload)


def _is_batch(raw: bytes) -> bool:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return type(body) is dict and type(cast("dict[str, Any]", body).get("batch")) is list
