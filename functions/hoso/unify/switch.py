"""The switch of the identity rules: rebuilt in the shadow, compared, confirmed, then taken over (decision 0064).

*Prepare*: the whole archive is folded under the candidate rules into the shadow, with the operators' records of the
live people, and a report says what would change. *Commit* puts the rules in force and, in the same transaction, sets
the switch going again. *Settle*: the shadow catches up with what came meanwhile; every live component takes the
rebuilt evidence in the place of its own; the shadow catches up once more, with what former rules still let in; events
are placed under the identifiers under which they stand now, for whoever reads the archive, and move there; the
segments of everybody concerned are evaluated, once; and live is held against the shadow. Every
step may be killed and repeated.

A switch is a replay (``hoso.unify.rewind``) with ``into`` switch and also: ``rules`` (the document, JSON), ``base``
revision in force at its start, ``revision`` after the commit, ``phase`` 0 prepare, 1 and 2 settle, ``cursor``,
``silent``, ``wake`` (UTC ms: it waits until then), ``lag_s`` (how long stragglers are waited for), counts ``adopted
moved evaluated left``, ``compared`` (UTC ms of the report), ``report`` and ``check`` (JSON).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from hoso.model.errors import Conflict
from hoso.model.identifiers import Identifier
from hoso.model.time import HOUR_MS, SECOND_MS, format_instant
from hoso.platform.dynamo import Item, Key, Refused, Table
from hoso.platform.objects import Objects
from hoso.segment.archive_files import Archive
from hoso.unify.adoption import Adopter
from hoso.unify.build import Parts
from hoso.unify.evidence import Apart, Block, Cut, Operation, Probable, pair
from hoso.unify.identity_items import Known
from hoso.unify.identity_writes import Cause
from hoso.unify.mover import Mover
from hoso.unify.placement import placing_of, put_placement
from hoso.unify.rewind import ENDS, HIDDEN, READY, Rewinder, Rewinds
from hoso.unify.store import cold_key
from hoso.unify.switch_compare import Tables, same_content
from hoso.unify.switch_report import report

PHASES = (
    ("clearing", "filling", "striking", "recording", "comparing"),
    ("waiting", "filling", "striking", "recording", "replacing"),
    ("waiting", "filling", "striking", "recording", "adopting", "placing", "moving", "evaluating", "checking"),
)
OVERLAP_MS = HOUR_MS
"""How far a catch-up goes back: what was received before the last one, and archived after it."""
PIECE_MS = 20_000
RESERVE_MS = 15_000
_CHUNK = 50

Json = dict[str, Any]
Remaining = Callable[[], int]


class Switcher:
    """Works on one switch, a step at a time. ``shadow`` works under the candidate rules."""

    def __init__(
        self,
        rewinds: Rewinds,
        rewinder: Rewinder,
        objects: Objects,
        live: Parts,
        shadow: Parts,
        adopter: Adopter,
        mover: Mover,
        workspace: str,
    ) -> None:
        self._rewinds = rewinds
        self._rewinder = rewinder
        self._objects = objects
        self._live = live
        self._shadow = shadow
        self._adopter = adopter
        self._mover = mover
        self._workspace = workspace
        self._identities = shadow.identities(workspace)

    def step(self, replay: str, remaining_ms: Remaining) -> bool:
        """Do the next piece of work; answers whether the switch has ended, or waits to be confirmed.

        Raises:
            Transient: a dependency is down; the same step may be repeated.
        """
        held = self._rewinds.get(replay)
        if held["status"] in ENDS or held["status"] == READY:
            return True
        try:
            work: Callable[[Item, Remaining], Json | None] = getattr(self, f"_{held['status']}")
            news = work(held, remaining_ms)
            self._rewinds.note(held, **(self._following(held) if news is None else news))
        except Refused:
            pass  # stopped, or another worker was faster: it goes on from there
        after = self._rewinds.get(replay)["status"]
        return after in ENDS or after == READY

    def _following(self, held: Item) -> Json:
        """What to note when a piece of work is done: the next one."""
        phase: int = held["phase"]
        now, work = self._live.clock(), PHASES[phase]
        place = work.index(held["status"]) + 1
        news: Json = {"cursor": None}
        if place < len(work):
            news["status"] = work[place]
        elif phase == 0:
            news["status"] = READY
        elif phase == 1:
            news |= {"phase": 2, "status": PHASES[2][0], "wake": now + held["lag_s"] * SECOND_MS}
        else:
            news["status"] = "done"
        if news["status"] == "filling" and phase:
            since = max(0, held["until"] - OVERLAP_MS)
            news |= {"since": since, "until": now + 1, "place": None, "struck": ""}
        return news

    def _clearing(self, _held: Item, _remaining: Remaining) -> Json | None:
        return None if self._rewinder.clear() else {}

    def _waiting(self, held: Item, _remaining: Remaining) -> Json | None:
        return None if self._live.clock() >= held["wake"] else {}

    def _filling(self, held: Item, remaining_ms: Remaining) -> Json | None:
        return self._rewinder.fill(held, remaining_ms)

    def _striking(self, held: Item, _remaining: Remaining) -> Json | None:
        return self._rewinder.strike(held)

    def _recording(self, held: Item, remaining_ms: Remaining) -> Json | None:
        """Tell the shadow what operators and likeness told the live people."""

        def record(one: Identifier, item: Item) -> Json:
            left = 0
            for operation in _records_of(held["sk"], one, Known.of(item), self._live.clock()):
                try:
                    self._identities.apply(operation)
                except Conflict:
                    left += 1
            return {"left": left}

        return self._identifiers(held, (self._live.profiles,), remaining_ms, record)

    def _comparing(self, held: Item, _remaining: Remaining) -> Json | None:
        now = self._live.clock()
        present = self._live.identities(self._workspace).config
        made = report(self._live, self._shadow, self._workspace, present, self._identities.config, held["until"], now)
        return {**self._following(held), "report": orjson.dumps(made).decode(), "compared": now}

    def _replacing(self, held: Item, remaining_ms: Remaining) -> Json | None:
        return self._adopt(held, remaining_ms, replace=True)

    def _adopting(self, held: Item, remaining_ms: Remaining) -> Json | None:
        return self._adopt(held, remaining_ms, replace=False)

    def _adopt(self, held: Item, remaining_ms: Remaining, *, replace: bool) -> Json | None:
        """Bring the live evidence to the rebuilt one, component by component."""
        cause = Cause(f"switch {held['sk']}", held["started"], "rules", None, silent=held["silent"])
        done: set[Identifier] = set()

        def adopt(one: Identifier, _item: Item) -> Json:
            if one in done:
                return {}
            try:
                change = self._adopter.adopt(one, cause, replace=replace)
            except Conflict:
                return {"left": 1}
            done.update(change.pids)
            return {"adopted": len(change.touched)}

        return self._identifiers(held, (self._shadow.profiles, self._live.profiles), remaining_ms, adopt)

    def _placing(self, held: Item, remaining_ms: Remaining) -> Json | None:
        """Have everybody who reads the archive find events where they stand from now on, day by day."""
        began, archive = remaining_ms(), Archive(self._objects, self._workspace)
        put_placement(self._objects, self._workspace, held["sk"], held["rules"], held["until"])
        placing = placing_of(self._objects, self._workspace)
        done = (held.get("cursor") or [""])[0]
        for day in sorted(archive.days(format_instant(held["until"])[:10])):
            if day <= done:
                continue
            archive.compact(day, placing)
            if began - remaining_ms() > PIECE_MS or remaining_ms() < RESERVE_MS:
                return {"cursor": [day]}
        return None

    def _moving(self, held: Item, remaining_ms: Remaining) -> Json | None:
        """Move events to the identifiers under which the rebuild has them, of all fragments that differ from it."""
        waiting: list[Item] = []

        def move() -> Json:
            found = {"moved": 0, "left": 0}
            for item in self._differing(waiting):
                fid = item["pk"].rpartition("#")[2]
                moved = self._mover.move(self._workspace, fid, self._identities.config, held["until"])
                found["moved"] += moved.events
                found["left"] += moved.left
            waiting.clear()
            return found

        def one(item: Item) -> Json:
            if item["pk"].startswith(f"{self._workspace}#F#") and item["sk"] == "H" and item.get("n"):
                waiting.append(item)
            return move() if len(waiting) >= _CHUNK else {}

        return self._walk(held, (self._live.profiles,), remaining_ms, one, move)

    def _evaluating(self, held: Item, remaining_ms: Remaining) -> Json | None:
        """Evaluate the segments of everybody whom the switch touched; what changes is announced here, once."""
        now = self._live.clock()

        def evaluate(item: Item) -> Json:
            if not (item["pk"].startswith(f"{self._workspace}#P#") and item["sk"] == "P" and item.get("dirty")):
                return {}
            pid = item["pk"].rpartition("#")[2]
            self._live.people.reevaluate(self._workspace, pid, now, kind="rule", silent=held["silent"])
            return {"evaluated": 1}

        return self._walk(held, (self._live.profiles,), remaining_ms, evaluate)

    def _checking(self, held: Item, _remaining: Remaining) -> Json | None:
        tables = Tables(self._live.profiles, self._shadow.profiles, self._identities.keys, held["until"])
        found = tables.compare().counts()
        return {**self._following(held), "check": orjson.dumps(found).decode()}

    def _differing(self, hots: list[Item]) -> Iterator[Item]:
        """Those of these fragments that the shadow has otherwise."""
        keys: list[Key] = [(item["pk"], item["sk"]) for item in hots]
        colds = [cold_key(self._workspace, item["pk"].rpartition("#")[2]) for item in hots]
        mine = self._live.profiles.batch_get(colds, consistent=True)
        theirs = self._shadow.profiles.batch_get([*keys, *colds], consistent=True)
        for item, key, cold in zip(hots, keys, colds, strict=True):
            own = mine.get(cold)
            same = own is None or same_content(own, theirs.get(cold))
            if not (same and same_content(item, theirs.get(key))):
                yield item

    def _identifiers(
        self, held: Item, tables: tuple[Table, ...], remaining_ms: Remaining, work: Callable[[Identifier, Item], Json]
    ) -> Json | None:
        """Work on every identifier item of tables."""
        prefix = f"{self._workspace}#I#"

        def one(item: Item) -> Json:
            if not (item["pk"].startswith(prefix) and item["sk"] == "I" and "val" in item):  # erased: nothing is known
                return {}
            return work(Identifier(item["pk"].removeprefix(prefix).split("#")[0], item["val"]), item)

        return self._walk(held, tables, remaining_ms, one)

    def _walk(
        self,
        held: Item,
        tables: tuple[Table, ...],
        remaining_ms: Remaining,
        work: Callable[[Item], Json],
        rest: Callable[[], Json] = dict,
    ) -> Json | None:
        """Go through the items of tables from where the last step stopped. ``work`` answers counts, ``rest`` does what
        it put off. Answers what to note, None at the end if nothing was counted."""
        began = remaining_ms()
        counts: dict[str, int] = {}
        cursor: list[Any] = held.get("cursor") or [0]
        number, place = int(cursor[0]), cursor[1:]

        def count(found: Json) -> None:
            for name, value in found.items():
                counts[name] = counts.get(name, 0) + value

        for table in tables[number:]:
            for item in table.scan(start=(place[0], place[1]) if place else None):
                count(work(item))
                if began - remaining_ms() > PIECE_MS or remaining_ms() < RESERVE_MS:
                    count(rest())
                    return {**_added(held, counts), "cursor": [number, item["pk"], item["sk"]]}
            number, place = number + 1, []
        count(rest())
        return {**self._following(held), **_added(held, counts)}


def switch_shown(held: Item) -> Json:
    """A switch as the API shows it."""
    answer: Json = {name: value for name, value in held.items() if name not in HIDDEN and name != "into"}
    for name in ("report", "check"):
        answer[name] = orjson.loads(held[name]) if name in held else None
    return {"id": held["sk"], **answer}


def _added(held: Item, counts: dict[str, int]) -> Json:
    return {name: held.get(name, 0) + value for name, value in counts.items()}


def _records_of(replay: str, one: Identifier, known: Known, now: int) -> Iterator[Operation]:
    """What operators and likeness told of an identifier, as records that take effect once."""
    for other in sorted(known.cuts):
        yield Cut(f"{replay} cut {one} {other}", now, [pair(one, other)])
    for other in sorted(known.aparts):
        yield Apart(f"{replay} apart {one} {other}", now, [pair(one, other)])
    for other, score in sorted(known.probable.items()):
        yield Probable(f"{replay} probable {one} {other} {score}", now, one, other, score)
    if known.blocked:
        yield Block(f"{replay} block {one}", now, one, on=True)
