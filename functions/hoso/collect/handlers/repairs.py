"""Routes of the quarantine: list, show, repair, replay, drop (behind ``hoso.collect.handlers.admin``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hoso.collect.plan_lookup import PlansInUse
from hoso.collect.plans import Plan
from hoso.collect.quarantine import STAGES, is_open, load, mark_replayed, newest_ids
from hoso.collect.repair import Outcome, compile_map, open_rows, repair
from hoso.collect.replay import Opened
from hoso.collect.sources.again import is_delivery, read_again
from hoso.collect.sources.lookups import STAGE as LOOKUP
from hoso.collect.sources.lookups import orders_again
from hoso.model.errors import InvalidInput
from hoso.model.identity_config import IdentityConfig
from hoso.model.time import parse_instant
from hoso.platform.clock import Clock
from hoso.platform.objects import Objects
from hoso.platform.queue import WorkQueue
from hoso.platform.stream import Stream
from hoso.platform.web import Request, encode_cursor

MOST_ROWS = 500
"""Rows that one call works on; a caller that wants more goes on with the cursor, at its own pace."""
_MOST_LOOKED_AT = 500

Json = dict[str, Any]


class RepairedRow(BaseModel):
    """A new payload for a row of a quarantine entry."""

    model_config = ConfigDict(extra="forbid")

    index: int
    payload: Any


class ReplayOrder(BaseModel):
    """What to replay of an entry: all rows, some of them repaired. ``dry_run`` only judges."""

    model_config = ConfigDict(extra="forbid")

    rows: list[RepairedRow] = []
    dry_run: bool = False


class RepairOrder(BaseModel):
    """Which rows of which entries to map and send again, or to drop; nothing is changed unless ``dry_run`` is false.

    All members that are given must hold. ``since`` and ``until`` are instants (ISO 8601) of the entry's receipt.
    """

    model_config = ConfigDict(extra="forbid")

    ids: list[str] = Field(default=[], max_length=100)
    stage: str | None = None
    code: str | None = None
    source: str | None = None
    since: str | None = None
    until: str | None = None
    map: Any = None
    drop: bool = False
    dry_run: bool = True
    limit: int = Field(default=100, ge=1, le=MOST_ROWS)
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What the routes work with. ``audit`` notes actor, action and subject, ``settings_of`` gives settings."""

    workspace: str
    objects: Objects
    stream: Stream
    hash_of: Callable[[str, str], str]
    plans: PlansInUse
    clock: Clock
    audit: Callable[[str, str, str], None]
    settings_of: Callable[[str], Json]
    identity_of: Callable[[str], IdentityConfig]
    lookups: WorkQueue


def list_entries(request: Request, here: Bench) -> Json:
    """Entries that wait, newest first, by ``?stage= &code= &source=``; ``?state=all`` lists the others too."""
    request.require("engineer", "privacy", "analyst")
    query = request.query
    _check_stage(query.get("stage"))
    limit = request.limit()
    items: list[Json] = []
    last: str | None = None
    more = False
    ids = newest_ids(here.objects, here.workspace, request.cursor, query.get("stage"))
    for looked, entry_id in enumerate(ids):
        if len(items) >= limit or looked >= _MOST_LOOKED_AT:
            more = True
            break
        last = entry_id
        entry = load(here.objects, here.workspace, entry_id)
        wanted = _matches(entry, query.get("code"), query.get("source"))
        if wanted and (is_open(entry) or query.get("state") == "all"):
            waiting = len(open_rows(entry))
            replays = len(entry.get("replays", []))
            items.append({**entry, "rows": len(entry["rows"]), "open": waiting, "replays": replays})
    return {"items": items, "next": encode_cursor(last) if more and last else None}


def show_entry(request: Request, here: Bench) -> Json:
    """One entry with its payloads: these are customers' data."""
    request.require("engineer", "privacy")
    return load(here.objects, here.workspace, request.path["id"])


def replay_entry(request: Request, here: Bench) -> Json:
    """Send the open rows of one entry again; what is refused again stays where it is."""
    actor = request.require("engineer")
    order = request.parse(ReplayOrder)
    entry = load(here.objects, here.workspace, request.path["id"])
    if entry["stage"] == LOOKUP:
        asked = len(_ask_again(here, entry, actor.subject, dry_run=order.dry_run))
        already = len(entry["rows"]) - asked
        return {"accepted": asked, "rejected": [], "already": already, "dry_run": order.dry_run}
    given = {row.index: row.payload for row in order.rows}
    repaired = {**entry, "rows": [{**row, "payload": given.get(row["index"], row["payload"])} for row in entry["rows"]]}
    outcomes, judged = repair(
        repaired,
        compile_map(None),
        here.hash_of,
        _plan(here, entry),
        opened=_opened(here, entry),
        identity=here.identity_of(here.workspace),
    )
    if not order.dry_run:
        _send(here, entry, judged.records, judged.accepted, actor.subject)
    return {
        "accepted": len(judged.accepted),
        "rejected": [
            {"index": one.index, "code": one.code, "message": one.message} for one in outcomes if not one.accepted
        ],
        "already": len(entry["rows"]) - len(outcomes),
        "dry_run": order.dry_run,
    }


def repair_entries(request: Request, here: Bench) -> Json:
    """Map rows of many entries and send those that are good now; a dry run shows each before and after."""
    actor = request.require("engineer")
    order = request.parse(RepairOrder)
    _check_stage(order.stage)
    mapping = compile_map(order.map)
    rows: list[Json] = []
    accepted, last = 0, None
    ids = _ids(here, order)
    for looked, entry_id in enumerate(ids):
        if looked >= _MOST_LOOKED_AT:
            break
        last = entry_id
        entry = load(here.objects, here.workspace, entry_id)
        if not _matches(entry, order.code, order.source) or not is_open(entry):
            continue
        if entry["stage"] == LOOKUP and not order.drop:
            # there is nothing to map
            outcomes = [] if order.map else _ask_again(here, entry, actor.subject, dry_run=order.dry_run)
            accepted += len(outcomes)
            rows += [{"id": entry_id, "source": entry["source"], **asdict(one)} for one in outcomes]
            continue
        only = [row["index"] for row in entry["rows"] if order.code in (None, row["code"])]
        identity = here.identity_of(here.workspace)
        outcomes, judged = repair(
            entry, mapping, here.hash_of, _plan(here, entry), only, _opened(here, entry), identity
        )
        done = [one.index for one in outcomes] if order.drop else judged.accepted
        if not order.dry_run:
            _send(here, entry, [] if order.drop else judged.records, done, actor.subject, drop=order.drop)
        accepted += len(done)
        rows += [{"id": entry_id, "source": entry["source"], **asdict(one)} for one in outcomes]
        if len(rows) >= order.limit:
            break
    if not order.dry_run and accepted:
        verb = "drop" if order.drop else "repair"
        here.audit(actor.subject, f"quarantine.{verb}", f"{order.stage or '*'}/{order.code or '*'}: {accepted} rows")
    more = last is not None and next(islice(ids, 1), None) is not None
    return {
        "rows": rows,
        "matched": len(rows),
        "accepted": accepted,
        "dry_run": order.dry_run,
        "next": last if more else None,
    }


def _ask_again(here: Bench, entry: Json, actor: str, *, dry_run: bool) -> list[Outcome]:
    """Put the look-ups of an entry that wait on their queue once more; what comes of it may stand in a new entry."""
    waiting = open_rows(entry)
    if waiting and not dry_run:
        payloads = [row["payload"] for row in waiting]
        here.lookups.put(orders_again(here.workspace, entry["source"], here.clock(), payloads))
        done = [row["index"] for row in waiting]
        mark_replayed(here.objects, here.workspace, entry, {"at": here.clock(), "actor": actor, "accepted": done})
    return [Outcome(row["index"], None, row["payload"], row["payload"], accepted=True) for row in waiting]


def _plan(here: Bench, entry: Json) -> Plan | None:
    """What the source follows now: a row that it still refuses stays where it is."""
    return here.plans.of(here.workspace, entry["source"])


def _opened(here: Bench, entry: Json) -> Opened:
    """Reads a kept delivery of a webhook as its sender's module does now; every other payload is an event already."""

    def read(payload: Any) -> Any:
        if not is_delivery(payload):
            return payload
        source: str = entry["source"]
        return read_again(payload, here.workspace, source, here.settings_of(source), entry["at"])

    return read


def _send(here: Bench, entry: Json, records: Any, done: list[int], actor: str, *, drop: bool = False) -> None:
    """Put records on the stream, then note it: a crash between the two sends them again, which changes nothing."""
    if not done:
        return
    here.stream.put(records)
    note: Json = {"at": here.clock(), "actor": actor, "accepted": done}
    mark_replayed(here.objects, here.workspace, entry, {**note, "dropped": True} if drop else note)


def _ids(here: Bench, order: RepairOrder) -> Iterator[str]:
    if order.ids:
        yield from (one for one in sorted(order.ids, reverse=True) if order.cursor is None or one < order.cursor)
        return
    since, until = _bound(order.since), _bound(order.until)
    for entry_id in newest_ids(here.objects, here.workspace, order.cursor, order.stage):
        at = int(entry_id[:13])
        if since is not None and at < since:
            return
        if until is None or at < until:
            yield entry_id


def _bound(text: str | None) -> int | None:
    if text is None:
        return None
    found = parse_instant(text)
    if found is None:
        raise InvalidInput("since and until are instants", hint="write such as 2026-11-28T04:00:00Z")
    return found


def _matches(entry: Json, code: str | None, source: str | None) -> bool:
    return (source is None or entry["source"] == source) and (
        code is None or any(row["code"] == code for row in entry["rows"])
    )


def _check_stage(stage: str | None) -> None:
    if stage is not None and stage not in STAGES:
        raise InvalidInput(f"stage is one of {', '.join(STAGES)}")
