"""The nightly run, step by step: what each reads, writes and hands on (design, section 5).

What a run writes lies under ``nightly/<workspace>/<date>/<token>/``. The token is new for each execution: a run that
was overtaken cannot touch the files of its successor, and its lease does not let it change a membership.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from hoso.model.errors import HosoError, InvalidInput, NotFound
from hoso.model.time import DAY_MS, MINUTE_MS, SECOND_MS, format_instant, parse_instant
from hoso.platform.clock import Clock
from hoso.platform.log import logger
from hoso.platform.metrics import meter
from hoso.platform.objects import Objects
from hoso.segment.archive_files import JSON, PARQUET, Archive, local_copies
from hoso.segment.check import read_segment
from hoso.segment.lease import Lease, StaleRun
from hoso.segment.lists import ListKeeper
from hoso.segment.live import LiveRules
from hoso.segment.nightly_tables import (
    Answer,
    Snapped,
    Totals,
    answers,
    needs_backfill,
    needs_work,
    working,
    write_people,
)
from hoso.segment.nightly_traits import TraitSteps, fresh_of, instant_of
from hoso.segment.person import Verdict
from hoso.unify.copies import copies_key
from hoso.unify.fragments import ERASED
from hoso.unify.likeness.conclusion import conclude
from hoso.unify.people import People
from hoso.unify.placement import placing_of
from hoso.unify.profiles import Profile, rule_state

LEASE_NAME = "nightly"
BATCH_PEOPLE = 50
TOLERATED_SHARE = 0.001
"""Failed people above this share of those that needed work fail the run (reliability R34)."""
_AHEAD_MS = 10 * MINUTE_MS
_MOST_LISTED = 200

Json = dict[str, Any]


class TooManyFailed(HosoError):
    """People could not be brought up to date: more than is tolerated."""

    code = "too_many_failed"


class Nightly:
    """The steps of a run. Inputs and outputs are small JSON objects: references, never data (reliability R31)."""

    def __init__(
        self,
        people: People,
        objects: Objects,
        lease: Lease,
        clock: Clock,
        bucket: str,
        keeper: ListKeeper | None = None,
        known_at: Callable[[Iterable[str]], int] = lambda _keys: 0,
    ) -> None:
        """``known_at`` tells from when on (UTC ms) every process works with the newest state of segments."""
        self._people = people
        self._keeper = keeper
        self._known_at = known_at
        self._objects = objects
        self._lease = lease
        self.traits = TraitSteps(people, objects, lease, clock)
        self._clock = clock
        self._bucket = bucket

    def compact(self, given: Mapping[str, Any]) -> Json:
        """Take the lease, compact the days of the archive, name the files that hold the events up to ``as_of``.

        With ``segments`` (keys) the run is a *backfill*: it looks at these alone and leaves the archive as it is. It
        waits ``wait_s`` seconds, until nobody who folds events works with the rules of before any more: what is folded
        later is evaluated for the segments, and what was folded before is in the snapshot (decision 0084).
        """
        workspace = self._lease.workspace
        now = self._clock()
        as_of = parse_instant(given.get("as_of"))
        if as_of is None or as_of > now + _AHEAD_MS:
            raise InvalidInput("as_of must be a date-time that has come", hint="write such as 2026-11-22T19:00:00Z")
        text = format_instant(as_of)
        token = self._lease.acquire(str(given.get("execution") or f"{workspace}-{text}"), now)
        only: list[str] | None = given.get("segments")
        archive = Archive(self._objects, workspace)
        days = archive.days(text[:10])
        placing = placing_of(self._objects, workspace)
        compacted = sum([archive.compact(day, placing) for day in days]) if only is None else 0
        name = text[:10] if only is None else str(given["lease"])
        run: Json = {
            "as_of": text,
            "workspace": workspace,
            "run": f"{workspace}-{name}",
            "lease": self._lease.name,
            "token": token,
            "bucket": self._bucket,
            "prefix": f"nightly/{workspace}/{name}/{token}/",
            "compacted": compacted,
            "segments": only,
            "wait_s": 0 if only is None else max(0, -(-(self._known_at(only) - now) // SECOND_MS)),
        }
        self._put(run, "archive.json", [key for day in days for key in archive.files(day)])
        return run

    def snapshot(self, run: Json) -> Json:
        """Write everybody, the hubs that lead to them, and the segments with their revisions."""
        self._lease.renew(run["token"], self._clock())
        book = self._people.book(run["workspace"])
        documents = [
            {
                "document": segment.model_dump(mode="json", by_alias=True, exclude_none=True),
                "revision": book.revisions[segment.key],
                "paused": segment.key in book.rules.paused,
            }
            for segment in book.rules.segments
        ]
        self._put(run, "segments.json", documents)
        defined = [
            {
                "document": definition.model_dump(mode="json", by_alias=True, exclude_none=True),
                "revision": book.trait_revisions[key],
            }
            for key, definition in sorted(book.definitions.items())
        ]
        self._put(run, "definitions.json", defined)
        with tempfile.TemporaryDirectory(prefix="hoso-") as folder:
            people, fragments = Path(folder) / "people.parquet", Path(folder) / "fragments.parquet"
            found = self._people.everyone(run["workspace"])
            if self._keeper is not None:
                found = self._keeper.exact(run["workspace"], found, self._clock())
            number = write_people(snapped(found, book.rules, instant_of(run)), people, fragments)
            for file in (people, fragments):
                with file.open("rb") as body:
                    self._objects.put(run["prefix"] + file.name, body, PARQUET)
        return {**run, "people": number}

    def evaluate(self, run: Json) -> Json:
        """Answer all segments for everybody by SQL; batches of the people whose memberships differ."""
        self._lease.renew(run["token"], self._clock())
        held = self._get(run, "segments.json")
        segments = [read_segment(one["document"]) for one in held]
        revisions = {one["document"]["key"]: one["revision"] for one in held}
        paused = {one["document"]["key"] for one in held if one.get("paused")}
        only: list[str] | None = run.get("segments")
        told = (revisions.keys() if only is None else revisions.keys() & set(only)) - paused
        totals = Totals(members=dict.fromkeys(sorted(told), 0))
        keys = [run["prefix"] + name for name in ("people.parquet", "fragments.parquet")]
        with local_copies(self._objects, [*keys, *self._get(run, "archive.json")]) as (people, fragments, *events):
            fresh = fresh_of(self._objects, run)
            found = answers(segments, instant_of(run), events, people, fragments, told, fresh)
            if only is None:
                work = working(found, totals, lambda one: needs_work(one, revisions, lambda key: key not in paused))
            else:
                work = working(found, totals, lambda one: needs_backfill(one, revisions, told))
            batches = self._put_batches(run, work, revisions)
        self._put(run, "batches.json", [{"key": key} for key in batches])
        self._put(run, "totals.json", asdict(totals))
        return {**run, "batches": len(batches), "batches_key": run["prefix"] + "batches.json"}

    def apply(self, given: Mapping[str, Any]) -> Json:
        """Bring the people of some batches up to date, each on its present state.

        ``given`` is what a Distributed Map hands to a child: ``{"Items": [{"key"}…], "BatchInput": run}``.
        """
        run: Json = given["BatchInput"]
        done = {"people": 0, "failed": 0}
        for item in given["Items"]:
            self._lease.check(run["token"])
            result = self._apply_batch(run, orjson.loads(self._objects.get(item["key"])))
            self._objects.put(item["key"].replace("/batch/", "/result/"), orjson.dumps(result), JSON)
            done["people"] += result["people"]
            done["failed"] += len(result["failed"])
        return done

    def report(self, run: Json) -> Json:
        """Sum the run up, store the report, let the lease go.

        Raises:
            TooManyFailed: after the report was stored.
        """
        self._lease.check(run["token"])
        totals = self._get(run, "totals.json")
        entered: dict[str, int] = {}
        exited: dict[str, int] = {}
        failed: list[str] = []
        worked = 0
        for batch in self._unreported(run):
            worked += len(batch)
            failed += [person["profile_id"] for person in batch]
        for key in self._objects.keys(run["prefix"] + "result/"):
            result = orjson.loads(self._objects.get(key))
            worked += result["people"]
            failed += result["failed"]
            for figures, part in ((entered, result["entered"]), (exited, result["exited"])):
                for segment, number in part.items():
                    figures[segment] = figures.get(segment, 0) + number
        computed: Json = self.traits.published(run) if "traits" in run else {"stored": 0, "failed": []}
        worked += computed["stored"] + len(computed["failed"])
        failed += computed["failed"]
        report: Json = {
            **{name: run[name] for name in ("as_of", "workspace", "run", "token")},
            **totals,
            "computed": computed["stored"],
            "worked": worked,
            "entered": sum(entered.values()),
            "exited": sum(exited.values()),
            "entered_by_segment": entered,
            "exited_by_segment": exited,
            "failed": len(failed),
            "failed_people": failed,
        }
        likeness = conclude(self._objects, run, self._clock())
        if likeness is not None:
            report["likeness"] = likeness
        copies = self._copies(run)
        if copies is not None:
            report["copies"] = copies
        key = f"{run['prefix'].rstrip('/').rpartition('/')[0]}/report.json"
        self._objects.put(key, orjson.dumps(report), JSON)
        if run.get("segments") is None:
            latest = {name: run[name] for name in ("as_of", "prefix", "people")}
            self._objects.put(latest_key(run["workspace"]), orjson.dumps(latest), JSON)
        self._lease.release(run["token"], self._clock())
        meter().add("nightly_differences", report["differences"])
        figures = {name: value for name, value in report.items() if isinstance(value, int)}
        logger("segment").info("nightly", extra=figures)
        if len(failed) > worked * TOLERATED_SHARE:
            raise TooManyFailed(f"{len(failed)} of {worked} people failed", hint=f"they are listed in {key}")
        if likeness is not None and likeness["lost"] > likeness["operations"] * TOLERATED_SHARE:
            raise TooManyFailed(f"{likeness['lost']} likeness pairs failed", hint=f"they are listed in {key}")
        shown = {name: _bounded(value) for name, value in report.items() if name != "failed_people"}
        return {**shown, "report_key": key}

    def _apply_batch(self, run: Json, people: list[Json]) -> Json:
        entered: dict[str, int] = {}
        exited: dict[str, int] = {}
        failed: list[str] = []
        for person in people:
            try:
                after = self._bring_up(run, person)
            except StaleRun:
                raise
            except Exception as error:
                # whatever is wrong with one person must not hold up the others; too many of them fail the run
                code = error.code if isinstance(error, HosoError) else type(error).__name__
                logger("segment").warning("nightly: person failed", extra={"code": code})
                failed.append(person["profile_id"])
                continue
            if after is None:
                continue
            before = set(person["before"])
            for figures, keys in ((entered, after - before), (exited, before - after)):
                for key in keys:
                    figures[key] = figures.get(key, 0) + 1
        return {"people": len(people), "entered": entered, "exited": exited, "failed": failed}

    def _bring_up(self, run: Json, person: Json) -> set[str] | None:
        """Write what the person's present state says; where it was capped, the nightly answer counts, and a state
        that told otherwise than the whole archive is put right before.

        Answers the segments the person is in afterwards; None when nobody is left under the id.
        """
        workspace, pid = run["workspace"], person["profile_id"]
        at = max(self._clock(), instant_of(run))
        nightly = frozenset[str](person["members"])
        revisions: Mapping[str, int] = person["revisions"]
        after: set[str] | None = None

        def decide(profile: Profile) -> dict[str, Verdict]:
            nonlocal after
            self._lease.check(run["token"])
            live = self._people.verdicts(profile, at)
            book = self._people.book(workspace)
            present, paused = book.revisions, book.rules.paused
            held = profile.person.memberships
            after = set() if profile.exists else None
            for key, verdict in live.items():
                asked = revisions.get(key) == present.get(key) and profile.pid == pid
                if verdict.spilled and asked and key not in paused:
                    live[key] = Verdict(key in nightly, verdict.until)
                if after is not None and (live[key].member if not live[key].spilled else key in held):
                    after.add(key)
            return live

        if person["differ"]:
            exact = {key: key in nightly for key in person["differ"]}
            self._people.repair(workspace, pid, instant_of(run), person["known"], exact)
        try:
            kind = "nightly" if run.get("segments") is None else "rule"
            self._people.apply_verdicts(workspace, pid, decide, as_of=at, kind=kind, every=True)
        except NotFound:
            return None
        return after

    def _put_batches(self, run: Json, work: Iterable[Answer], revisions: Mapping[str, int]) -> list[str]:
        keys: list[str] = []
        batch: list[Json] = []

        def flush() -> None:
            keys.append(f"{run['prefix']}batch/{len(keys):06d}.json")
            self._objects.put(keys[-1], orjson.dumps(batch), JSON)
            batch.clear()

        for answer in work:
            members = sorted(answer.members)
            batch.append(
                {
                    "profile_id": answer.profile_id,
                    "members": members,
                    "revisions": {
                        key: revisions[key] for key in sorted(answer.members | answer.spilled | answer.differences)
                    },
                    "before": sorted(answer.memberships),
                    "known": answer.known,
                    "differ": sorted(answer.differences),
                }
            )
            if len(batch) >= BATCH_PEOPLE:
                flush()
        if batch:
            flush()
        return keys

    def _unreported(self, run: Json) -> Iterator[list[Json]]:
        """Batches without a result: the map tolerates children that failed, and with them their people."""
        found = {key.rpartition("/")[2] for key in self._objects.keys(run["prefix"] + "result/")}
        for batch in self._get(run, "batches.json"):
            if batch["key"].rpartition("/")[2] not in found:
                yield orjson.loads(self._objects.get(batch["key"]))

    def _copies(self, run: Json) -> Json | None:
        """What was counted of copies under other identifiers in the day before the run (decision 0055)."""
        try:
            told: Json = orjson.loads(self._objects.get(copies_key(run["workspace"])))
        except NotFound:
            return None
        return told if told["at"] > instant_of(run) - DAY_MS else None

    def _put(self, run: Json, name: str, content: Any) -> None:
        self._objects.put(run["prefix"] + name, orjson.dumps(content), JSON)

    def _get(self, run: Json, name: str) -> Any:
        return orjson.loads(self._objects.get(run["prefix"] + name))


def latest_key(workspace: str) -> str:
    """The object that tells where the last whole snapshot of a workspace lies: ``{"as_of", "prefix", "people"}``."""
    return f"nightly/{workspace}/latest.json"


def snapped(people: Iterable[Profile], rules: LiveRules, as_of: int) -> Iterator[Snapped]:
    """People as a snapshot keeps them; those who went elsewhere are left out."""
    for profile in people:
        if not profile.exists or profile.person.moved_to is not None:
            continue
        state = rule_state(profile.person, profile.fragments, profile.policies)
        stale = any(rules.missing(fragment.hot.meters) for fragment in profile.fragments)
        verdicts = {} if stale else rules.evaluate(state, as_of)
        yield Snapped(
            state,
            [(*fragment.hot.hub, fragment.hot.rest.get(ERASED)) for fragment in profile.fragments if fragment.exists],
            {key: held.revision for key, held in profile.person.memberships.items()},
            None if stale else [key for key, verdict in verdicts.items() if verdict.member],
            [key for key, verdict in verdicts.items() if verdict.spilled and key not in rules.paused],
            profile.totals["events"],
            {name: list(entry[:4]) for name, entry in profile.computed.items()},
        )


def _bounded(value: Any) -> Any:
    """Figures by segment, cut so that the output stays far under the limit of a state's data."""
    if not isinstance(value, dict):
        return value
    figures: list[tuple[str, int]] = list(value.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return dict(figures[:_MOST_LISTED])
