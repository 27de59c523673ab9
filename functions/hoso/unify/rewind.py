"""Replay of a range of the archive (design, promise 4; reliability R48): into the stream, or into a shadow.

*Live* puts the events on the stream again, marked: what is known is passed over, what is missing is restored, and what
changes is announced to nobody. *Shadow* folds them by the consumer's own code into the shadow table, from nothing, and
then says where it differs from the live one. A replay is a document with its progress, worked on step by step; a step
that was killed is repeated from the last note, which is harmless. Events stand where the last switch of the identity
rules put them (``hoso.unify.placement``); a *switch* rebuilds the shadow under others (``hoso.unify.switch``).

Documents are items of the ``delivery`` table: ``<workspace>#Y`` / ``<replay id>`` with ``v``; ``since until source
into rate actor``; ``status`` (clearing, filling, striking, comparing; ends: done, stopped, failed with ``reason``),
``place``, ``struck``, ``events``, ``aside``, ``started``, ``updated``, ``report`` (JSON), ``ttl``; of a switch also
what ``hoso.unify.switch`` names.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any, Literal

import orjson

from hoso.model.bad_row import BadRow
from hoso.model.errors import Conflict, NotFound, Transient
from hoso.model.time import DAY_MS, MINUTE_MS, SECOND_MS
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Item, Key, Put, Refused, Table, at_version
from hoso.platform.objects import Objects
from hoso.platform.stream import Stream
from hoso.unify.archive_range import ArchiveRange, Range, records_of
from hoso.unify.compare import compare, prints_of
from hoso.unify.consumer import Consumer
from hoso.unify.copies import Striker
from hoso.unify.rehub import RulesAt, copies_under, stored_under

Into = Literal["live", "shadow", "switch"]
ENDS = frozenset({"done", "stopped", "failed"})
READY = "ready"
"""A switch of the rules that waits for its confirmation."""
HIDDEN = frozenset({"pk", "sk", "v", "ttl", "place", "struck", "rules", "cursor", "check"})
"""Attributes that are no part of what is shown of a replay."""
STEP_S = 10
"""A step works on as many events as the rate allows in this time; the machine waits for what is left of it."""
MOST_A_STEP = 20_000
_RECORDS_A_BATCH = 500
_CLEARED_AT_ONCE = 2_000
_COPIES_AT_ONCE = 500
_KEPT_MS = 90 * DAY_MS
_ALIVE_MS = 30 * MINUTE_MS

Json = dict[str, Any]


class Rewinds:
    """The documents of replays."""

    def __init__(self, delivery: Table, clock: Clock, workspace: str) -> None:
        self._table = delivery
        self._clock = clock
        self._workspace = workspace

    def create(self, replay: str, wanted: Range, into: Into, rate: int, actor: str, **more: Any) -> Json:
        """A new replay; a switch that waits, and a replay that died, lose the shadow to it. Raises ``Conflict`` while
        another one works on it."""
        now = self._clock()
        if into != "live":
            others = [held for held in self.all() if held["into"] != "live" and held["status"] not in ENDS]
            if any(_blocks(held, now) for held in others):
                raise Conflict("another replay works on the shadow", hint="wait for its end, or stop it")
            for held in others:
                self._lose(held)
        item: Item = {
            "pk": self._pk,
            "sk": replay,
            "v": 1,
            "since": wanted.since,
            "until": wanted.until,
            "source": wanted.source,
            "into": into,
            "rate": rate,
            "actor": actor,
            "status": "filling" if into == "live" else "clearing",
            "events": 0,
            "aside": 0,
            "started": now,
            "updated": now,
            "ttl": (now + _KEPT_MS) // SECOND_MS,
            **more,
        }
        self._table.put(item, at_version(0))
        return item

    def get(self, replay: str) -> Item:
        """One replay, strongly consistent. Raises ``NotFound``."""
        item = self._table.get((self._pk, replay), consistent=True)
        if item is None:
            raise NotFound("no such replay")
        return item

    def page(self, limit: int, before: str | None) -> tuple[list[Item], str | None]:
        """Replays, newest first, and where the next page starts."""
        start: Key | None = (self._pk, before) if before else None
        page = self._table.query(self._pk, limit=limit, start=start, reverse=True)
        return page.items, page.start[1] if page.start else None

    def all(self) -> Iterator[Item]:
        """Every replay that is kept, newest first."""
        return self._table.query_all(self._pk, reverse=True)

    def note(self, held: Item, **news: Any) -> Item:
        """Write progress on the condition that nobody else did. Raises ``Refused``."""
        write = self.noting(held, **news)
        self._table.put(write.item, write.condition)
        return write.item

    def noting(self, held: Item, **news: Any) -> Put:
        """The write of ``note``, for a transaction."""
        item = {**held, **news, "v": held["v"] + 1, "updated": self._clock()}
        return Put(self._table, item, at_version(held["v"]))

    def stop(self, replay: str) -> Item:
        """Stop a replay at its next step; one that has ended stays as it is."""
        return self._end(replay, status="stopped")

    def fail(self, replay: str, error: str) -> Item:
        """Note that a replay's machine gave up, and which kind of error it was; one that has ended stays as it is."""
        reason = f"a step failed after all tries: {error[:100]}; the log of ReplayFunction tells more"
        return self._end(replay, status="failed", reason=reason)

    def _lose(self, held: Item) -> None:
        """End a replay whose shadow another one takes. Raises ``Conflict`` when it goes on at this moment."""
        try:
            self.note(held, status="stopped", reason="another replay took the shadow")
        except Refused:
            raise Conflict("another replay works on the shadow", hint="wait for its end, or stop it") from None

    def _end(self, replay: str, **news: Any) -> Item:
        for _ in range(5):
            held = self.get(replay)
            if held["status"] in ENDS:
                return held
            try:
                return self.note(held, **news)
            except Refused:
                continue
        raise Transient("the replay keeps changing")

    @property
    def _pk(self) -> str:
        return f"{self._workspace}#Y"


class Rewinder:
    """Works on one replay, a step at a time."""

    def __init__(
        self,
        rewinds: Rewinds,
        objects: Objects,
        stream: Stream,
        live: Table,
        shadow: Table,
        shadow_consumer: Callable[[Callable[[Sequence[BadRow]], None]], Consumer],
        hash_of: Callable[[str, str], str],
        workspace: str,
        strikers: tuple[Striker, Striker],
        dedupe_days: int,
        rules_at: RulesAt,
    ) -> None:
        self._rewinds = rewinds
        self._objects = objects
        self._stream = stream
        self._live = live
        self._shadow = shadow
        self._consumer = shadow_consumer
        self._hash_of = hash_of
        self._workspace = workspace
        self._strikers = strikers
        self._within_ms = dedupe_days * DAY_MS
        self._rules_at = rules_at

    def step(self, replay: str, remaining_ms: Callable[[], int]) -> bool:
        """Do the next piece of work; answers whether the replay has ended.

        Raises:
            Transient: a dependency is down; the same step may be repeated.
        """
        held = self._rewinds.get(replay)
        try:
            if held["status"] == "clearing":
                self._rewinds.note(held, status="filling" if self.clear() else "clearing")
            elif held["status"] == "filling":
                after = "striking" if held["into"] == "shadow" else "done"
                # the place names somebody's identifier: it does not stay
                self._rewinds.note(held, **(self.fill(held, remaining_ms) or {"status": after, "place": None}))
            elif held["status"] == "striking":
                self._rewinds.note(held, **(self.strike(held) or {"status": "comparing"}))
            elif held["status"] == "comparing":
                self._compare(held)
        except Refused:
            pass  # stopped, or another worker was faster: it goes on from there
        return self._rewinds.get(replay)["status"] in ENDS

    def clear(self) -> bool:
        """Empty the shadow table, some thousand items a step. Answers whether it was empty already."""
        batch = [(item["pk"], item["sk"]) for item in islice(self._shadow.scan(), _CLEARED_AT_ONCE)]
        self._shadow.batch_write(deletes=batch)
        return not batch

    def fill(self, held: Item, remaining_ms: Callable[[], int]) -> Item | None:
        """Send or fold the next events of the range; what there is to note, None at its end."""
        wanted = Range(held["since"], held["until"], held["source"])
        limit = most_a_step(held)
        place = tuple(held["place"]) if held.get("place") else None
        events = ArchiveRange(self._objects, self._workspace, wanted).after(place, limit)  # pyright: ignore[reportArgumentType]
        if not events:
            return None
        under = [stored_under(event, self._rules_at) for event in events]
        records = list(records_of(self._workspace, under, held["sk"], self._hash_of))
        aside = 0
        if held["into"] == "live":
            self._stream.put(records)
        else:
            aside = self._fold([blob for _, blob in records], remaining_ms)
        return {
            "place": list(events[-1].place),
            "events": held["events"] + len(events),
            "aside": held["aside"] + aside,
        }

    def _fold(self, blobs: Sequence[bytes], remaining_ms: Callable[[], int]) -> int:
        """Fold records into the shadow; answers how many events were set aside."""
        aside = 0

        def keep(rows: Sequence[BadRow]) -> None:
            nonlocal aside
            aside += len(rows)

        consumer = self._consumer(keep)
        for first in range(0, len(blobs), _RECORDS_A_BATCH):
            batch = blobs[first : first + _RECORDS_A_BATCH]
            raw = [{"kinesis": {"data": base64.b64encode(blob).decode()}} for blob in batch]
            tally = consumer.consume(raw, remaining_ms)
            if tally.failed:
                raise Transient(f"{len(tally.failed)} records could not be folded; the step is repeated")
        return aside

    def strike(self, held: Item) -> Item | None:
        """Take the copies out of the shadow that were taken out of the live people (decision 0055); what there is to
        note, None at the end."""
        live, shadow = self._strikers
        archive = ArchiveRange(self._objects, self._workspace, Range(held["since"], held["until"], held["source"]))
        found = archive.copies(self._within_ms, held.get("struck") or "", _COPIES_AT_ONCE, bodies=True)
        under = copies_under(found, self._rules_at)
        taken = [*copies_under(live.taken_out(self._workspace, found), self._rules_at)]
        taken += live.taken_out(self._workspace, under)
        shadow.strike(self._workspace, taken, dry_run=False)
        return {"struck": found[-1].place} if len(found) == _COPIES_AT_ONCE else None

    def _compare(self, held: Item) -> Item:
        found = compare(self._live.scan(), prints_of(self._shadow.scan(), self._workspace), self._workspace)
        report = {**asdict(found), "equal": found.equal}
        return self._rewinds.note(held, status="done", report=orjson.dumps(report).decode())


def most_a_step(held: Item) -> int:
    """How many events a step works on at most. A step that did fewer is followed by the next one at once."""
    return min(MOST_A_STEP, held["rate"] * STEP_S)


def shown(held: Item) -> Json:
    """A replay as the API shows it."""
    answer: Json = {name: value for name, value in held.items() if name not in HIDDEN}
    report: Any = orjson.loads(held["report"]) if "report" in held else None
    return {"id": held["sk"], **answer, "report": report}


def _blocks(held: Item, now: int) -> bool:
    return held["status"] != READY and held["updated"] > now - _ALIVE_MS
