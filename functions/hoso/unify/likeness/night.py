"""The likeness steps of a nightly run: candidates, weights, decisions, links. References travel between them.

All that a run writes lies under its own prefix, ``nightly/<workspace>/<date>/<token>/likeness/``:

===================  =================================================================================================
``subjects.json``    the records in their order: id, fingerprint, identifiers
``rows.tsv``         the same, normalised
``pairs.parquet``    tonight's candidates (records by number)
``parameters.json``  the model, and when it was fitted
``edges.json``       pairs above the lowest band, by ids of records: what the next night carries over
``decisions.json``   figures, links in force
``batch/``           what is to be written, 50 operations an object, named by its content; ``result/`` what came of it
===================  =================================================================================================

Which run the next night builds on is said in ``matching/<workspace>/latest.json``, written with the report: a run that
did not come to its end is as if it had not been, and every step may be killed and called again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from hoso.model.errors import Conflict, HosoError, NotFound
from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS, parse_instant
from hoso.platform.clock import Clock
from hoso.platform.log import logger
from hoso.platform.objects import Objects
from hoso.segment.lease import Lease, StaleRun
from hoso.unify.evidence import Probable
from hoso.unify.identities import Identities
from hoso.unify.likeness.columns import Columns, read_columns
from hoso.unify.likeness.conclusion import BATCH, latest_key
from hoso.unify.likeness.decide import Link, Night, Scored, Work, numbered, positions, work
from hoso.unify.likeness.explain import asked_for_its_group, explain_all
from hoso.unify.likeness.matcher import KEPT, Decisions, Edges, Matcher
from hoso.unify.likeness.model import Parameters
from hoso.unify.likeness.normalise import normalised
from hoso.unify.likeness.people import HEADER, Subject, subjects
from hoso.unify.likeness.records import Records, write_rows
from hoso.unify.likeness.reviews import ACCEPTED, LINKED, OPEN, REJECTED, WITHDRAWN, Review, Reviews
from hoso.unify.likeness.unasked import AUTO
from hoso.unify.people import People

REFIT_MS = 7 * DAY_MS
MEMORY_MB = 2_000
_JSON = "application/json"
_BINARY = "application/octet-stream"

Json = dict[str, Any]


class LikenessNight:
    """The steps for one workspace."""

    def __init__(
        self,
        people: People,
        identities: Callable[[str], Identities],
        reviews: Reviews,
        objects: Objects,
        lease: Lease,
        clock: Clock,
    ) -> None:
        self._people = people
        self._identities = identities
        self._reviews = reviews
        self._objects = objects
        self._lease = lease
        self._clock = clock

    def candidates(self, run: Json) -> Json:
        """Everybody as a record; the pairs of which one record is new or changed, once a week all pairs."""
        self._lease.renew(run["token"], self._clock())
        run = {**run, "likeness": {"key": f"{run['prefix']}likeness/", "started": self._clock()}}
        if run.get("segments") is not None:
            return run  # a backfill of segments
        identities = self._identities(run["workspace"])
        before = self._former(run)
        linked = frozenset(end for link in self._active(before) for end in (link.a, link.b))
        held = list(subjects(self._people.everyone(run["workspace"]), identities, linked))
        held.sort(key=lambda one: str(one.ids[0]))
        known = {name: fingerprint for name, fingerprint, _ in before["subjects"]} if before else {}
        fresh = np.asarray([known.get(one.id) != one.fingerprint for one in held], dtype=np.bool_)
        fitted = before["parameters"]["fitted"] if before else None
        refit = fitted is None or _instant(run) - fitted >= REFIT_MS
        self._put(run, "subjects.json", [one.document() for one in held])
        with tempfile.TemporaryDirectory(prefix="hoso-") as folder:
            rows = Path(folder) / "rows.tsv"
            write_rows(normalised((one.row for one in held), _COLUMNS), rows)
            self._upload(run, rows)
            scored = 0
            if held:
                matcher = Matcher(Records(rows, memory_mb=MEMORY_MB))
                if before and not refit and before["parameters"]["comparisons"] != _named(matcher):
                    refit = True  # a column came or went: the old weights are not of these comparisons
                scored = matcher.candidates(fresh=None if refit else fresh)
                matcher.keep(Path(folder) / "pairs.parquet")
                self._upload(run, Path(folder) / "pairs.parquet")
                matcher.records.close()
        figures = {"records": len(held), "fresh": int(fresh.sum()), "scored": scored, "refit": refit}
        return {**run, "likeness": {**run["likeness"], **figures}}

    def weights(self, run: Json) -> Json:
        """Fit the model, or take the former one; score tonight's pairs, carry the others over."""
        self._lease.renew(run["token"], self._clock())
        if not run["likeness"].get("records"):
            return run
        held = self._subjects(run)
        with self._matcher(run) as matcher:
            if run["likeness"]["refit"]:
                place = positions(held)
                parameters = matcher.fit(Decisions(self._decided(ACCEPTED, place), self._decided(REJECTED, place)))
                fitted, former = _instant(run), []
            else:
                before = self._former(run)
                assert before is not None  # noqa: S101  without a former run everything is fitted anew
                parameters, fitted = Parameters.parse(before["parameters"]), before["parameters"]["fitted"]
                former = _carried(before, self._get(run, "subjects.json"))
            edges = matcher.edges(parameters, KEPT)
        self._put(run, "parameters.json", {**parameters.document(), "fitted": fitted})
        scored: list[list[Any]] = [
            [held[int(a)].id, held[int(b)].id, round(float(p), 6)]
            for a, b, p in zip(edges.a, edges.b, edges.probability, strict=True)
        ]
        self._put(run, "edges.json", [*former, *scored])
        return {**run, "likeness": {**run["likeness"], "decided": parameters.decided}}

    def decisions(self, run: Json) -> Json:
        """Who is linked, asked about, taken apart; batches of the writes."""
        self._lease.renew(run["token"], self._clock())
        keys: list[str] = []
        if run["likeness"].get("records"):
            keys = self._decide(run)
        self._put(run, "batches.json", [{"key": key} for key in keys])
        return {**run, "links_key": f"{run['likeness']['key']}batches.json"}

    def link(self, given: Mapping[str, Any]) -> Json:
        """Write some batches. ``given`` is what a Distributed Map hands to a child."""
        run: Json = given["BatchInput"]
        identities = self._identities(run["workspace"])
        total = {"operations": 0, "failed": 0}
        for item in given["Items"]:
            counts = {"operations": 0, "joined": 0, "refused": 0}
            failed: list[str] = []
            for operation in orjson.loads(self._objects.get(item["key"])):
                self._lease.check(run["token"])
                counts["operations"] += 1
                try:
                    outcome = self._operate(identities, operation)
                except StaleRun:
                    raise
                except Exception as error:
                    # one pair that cannot be written must not hold up the others; the report lists it
                    code = error.code if isinstance(error, HosoError) else type(error).__name__
                    logger("unify").warning("likeness: pair failed", extra={"code": code})
                    failed.append(operation["id"])
                    continue
                if outcome is not None:
                    counts[outcome] += 1
            result = {**counts, "failed": failed}
            self._objects.put(item["key"].replace("/batch/", "/result/"), orjson.dumps(result), _JSON)
            total["operations"] += counts["operations"]
            total["failed"] += len(failed)
        return total

    def _operate(self, identities: Identities, operation: Json) -> str | None:
        """One write; ``joined`` or ``refused`` for a link."""
        a, b = Identifier(*operation["a"]), Identifier(*operation["b"])
        review = Review(
            operation["id"], a, b, operation["status"], operation["score"], operation["why"], operation["at"], "nightly"
        )
        record = operation.get("record")
        outcome: str | None = None
        if record is not None:
            held = self._reviews.find(review.id)
            if held is not None and held.status == REJECTED and record["score"] > 0:
                return "refused"  # a person was faster
            identities.apply(Probable(record["id"], operation["at"], a, b, record["score"]))
            if record["score"] > 0:
                outcome = "joined" if identities.person_of(a) == identities.person_of(b) else "refused"
        self._reviews.tell(review)
        return outcome

    def _decide(self, run: Json) -> list[str]:
        held = self._subjects(run)
        config = self._identities(run["workspace"]).config
        place = positions(held)
        by_id = {one.id: number for number, one in enumerate(held)}
        pairs = sorted(
            Scored(min(by_id[a], by_id[b]), max(by_id[a], by_id[b]), p) for a, b, p in self._get(run, "edges.json")
        )
        accepted, rejected = self._decided(ACCEPTED, place), self._decided(REJECTED, place)
        active = self._active(self._former(run))
        with self._matcher(run) as matcher:
            night = Night(held, config, active, accepted, rejected)
            found = work(night, pairs, lambda sure: _labels(matcher, sure))
            parameters = Parameters.parse(self._get(run, "parameters.json"))
            asked = [(pair.a, pair.b) for pair in (*found.link, *found.ask)]
            why = explain_all(matcher.records, parameters, asked)
        operations = self._operations(run, held, found, why)
        links = [
            *found.keep,
            *(Link(held[pair.a].ids[0], held[pair.b].ids[0], pair.probability) for pair in found.link),
        ]
        decided = {
            "linked": len(found.link),
            "queued": len(found.ask),
            "withdrawn": len(found.withdraw),
            "in_force": len(links),
            "contradicting": found.contradicting,
            "precision_estimate": round(sum(link.score for link in links) / len(links), 4) if links else None,
            "largest": found.largest,
        }
        self._put(run, "decisions.json", {"figures": decided, "links": [[list(a), list(b), s] for a, b, s in links]})
        keys: list[str] = []
        for first in range(0, len(operations), BATCH):
            body = orjson.dumps(operations[first : first + BATCH], option=orjson.OPT_SORT_KEYS)
            name = f"batch/{len(keys):06d}-{hashlib.sha256(body).hexdigest()[:12]}.json"
            self._objects.put(run["likeness"]["key"] + name, body, _JSON)
            keys.append(run["likeness"]["key"] + name)
        return keys

    def _operations(self, run: Json, held: Sequence[Subject], found: Work, why: Sequence[Json]) -> list[Json]:
        """The writes of a night: an object per pair."""
        at = _instant(run)
        operations: list[Json] = []

        def add(a: Identifier, b: Identifier, status: str, score: float, told: Json, record: float | None) -> None:
            name = self._reviews.pair_id(a, b)
            operation: Json = {"id": name, "a": list(a), "b": list(b), "status": status, "score": round(score, 4)}
            operation |= {"why": told, "at": at}
            if record is not None:
                operation["record"] = {"id": f"likeness:{name}:{status}:{run['as_of']}", "score": record}
            operations.append(operation)

        for link in found.withdraw:
            add(link.a, link.b, WITHDRAWN, 0.0, {}, 0.0)
        for pair, told in zip((*found.link, *found.ask), why, strict=True):
            a, b = held[pair.a].ids[0], held[pair.b].ids[0]
            if len(operations) < len(found.withdraw) + len(found.link):
                add(a, b, LINKED, pair.probability, told, pair.probability)
            else:
                sure = pair.probability >= AUTO
                add(a, b, OPEN, pair.probability, asked_for_its_group(told) if sure else told, None)
        told = {operation["id"] for operation in operations}
        for review in self._reviews.all(OPEN):
            if review.id not in told:
                add(review.a, review.b, WITHDRAWN, 0.0, dict(review.why), None)
        return operations

    def _decided(self, status: str, place: Mapping[Identifier, int]) -> frozenset[tuple[int, int]]:
        return numbered(((one.a, one.b) for one in self._reviews.all(status)), place)

    def _active(self, before: Json | None) -> list[Link]:
        """Links in force: of the former night, and those that people accepted since."""
        links: list[Any] = before["decisions"]["links"] if before else []
        failed = set(before["failed"]) if before else set[str]()
        found = {
            (link.a, link.b): link
            for link in (Link(Identifier(*a), Identifier(*b), score) for a, b, score in links)
            if self._reviews.pair_id(link.a, link.b) not in failed
        }
        for review in self._reviews.all(ACCEPTED):
            found[review.a, review.b] = Link(review.a, review.b, 1.0)
        return list(found.values())

    def _former(self, run: Json) -> Json | None:
        """What the last night that came to its end left; None when there is none, or its files have expired."""
        try:
            latest = orjson.loads(self._objects.get(latest_key(run["workspace"])))
            parts = ("subjects", "parameters", "edges", "decisions")
            read = {name: orjson.loads(self._objects.get(f"{latest['key']}{name}.json")) for name in parts}
            return {**read, "failed": latest["failed"]}
        except NotFound:
            return None

    def _subjects(self, run: Json) -> list[Subject]:
        return [
            Subject(name, tuple(Identifier(*one) for one in ids), ())
            for name, _, ids in self._get(run, "subjects.json")
        ]

    @contextmanager
    def _matcher(self, run: Json) -> Generator[Matcher, None, None]:
        """The matcher on the run's records, with tonight's candidates."""
        with tempfile.TemporaryDirectory(prefix="hoso-") as folder:
            for name in ("rows.tsv", "pairs.parquet"):
                (Path(folder) / name).write_bytes(self._objects.get(run["likeness"]["key"] + name))
            matcher = Matcher(Records(Path(folder) / "rows.tsv", memory_mb=MEMORY_MB))
            matcher.restore(Path(folder) / "pairs.parquet")
            yield matcher
            matcher.records.close()

    def _upload(self, run: Json, file: Path) -> None:
        with file.open("rb") as body:
            self._objects.put(run["likeness"]["key"] + file.name, body, _BINARY)

    def _put(self, run: Json, name: str, content: Any) -> None:
        self._objects.put(run["likeness"]["key"] + name, orjson.dumps(content), _JSON)

    def _get(self, run: Json, name: str) -> Any:
        return orjson.loads(self._objects.get(run["likeness"]["key"] + name))


_COLUMNS: Columns = read_columns(HEADER)


def _instant(run: Mapping[str, Any]) -> int:
    instant = parse_instant(run["as_of"])
    if instant is None:
        raise Conflict("the run carries no as_of")
    return instant


def _named(matcher: Matcher) -> list[str]:
    return [one.name for one in matcher.records.comparisons]


def _carried(before: Json, held: Iterable[Sequence[Any]]) -> list[Any]:
    """Former pairs whose records are as they were."""
    known = {name: fingerprint for name, fingerprint, _ in before["subjects"]}
    same = {name for name, fingerprint, _ in held if known.get(name) == fingerprint}
    return [edge for edge in before["edges"] if edge[0] in same and edge[1] in same]


def _labels(matcher: Matcher, sure: Sequence[Scored]) -> list[int]:
    size = len(sure)
    empty = np.zeros(size, dtype=np.int16)
    edges = Edges(
        np.asarray([pair.a for pair in sure], dtype=np.int32),
        np.asarray([pair.b for pair in sure], dtype=np.int32),
        empty,
        np.zeros(size, dtype=np.int64),
        empty,
        np.asarray([pair.probability for pair in sure], dtype=np.float32),
    )
    return matcher.clusters(edges, AUTO).tolist()
