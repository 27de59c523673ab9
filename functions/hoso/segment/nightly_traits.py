"""The nightly steps that make computed traits and scores, and store those that changed.

They stand between the snapshot and the evaluation: segments of the same night see the fresh values, and the state that
the differences are applied to holds them already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from hoso.model.errors import HosoError, InvalidInput, NotFound
from hoso.model.time import parse_instant
from hoso.platform.clock import Clock
from hoso.platform.log import logger
from hoso.platform.objects import Objects
from hoso.segment.archive_files import JSON, local_copies
from hoso.segment.batch import connect
from hoso.segment.lease import Lease
from hoso.segment.nightly_tables import make_distinct, make_views
from hoso.segment.traits.batch import Fresh, changes, compute
from hoso.segment.traits.language import read_trait
from hoso.segment.traits.store import held_history, history_key, report_key, with_night
from hoso.unify.computed import Computed
from hoso.unify.people import People

BATCH_PEOPLE = 50
PART_PEOPLE = 10_000
"""People whose fresh values are in memory at once: some 7 KB each with ten values."""
FRESH = "fresh.json"
"""Names the parts that hold the fresh values of everybody, for the evaluation."""
REPORT = "traits.json"

Json = dict[str, Any]


class TraitSteps:
    """``compute`` and ``store``; inputs and outputs are the nightly run's references."""

    def __init__(self, people: People, objects: Objects, lease: Lease, clock: Clock) -> None:
        self._people = people
        self._objects = objects
        self._lease = lease
        self._clock = clock

    def compute(self, run: Json) -> Json:
        """Make all values of everybody; batches of the people whose values differ from the stored."""
        self._lease.renew(run["token"], self._clock())
        held: list[Json] = orjson.loads(self._objects.get(run["prefix"] + "definitions.json"))
        definitions = [read_trait(one["document"]) for one in held]
        revisions = {
            output: f"{definition.key}@{one['revision']}"
            for definition, one in zip(definitions, held, strict=True)
            for output in definition.outputs
        }
        as_of = instant_of(run)
        archive: list[str] = orjson.loads(self._objects.get(run["prefix"] + "archive.json"))
        keys = [run["prefix"] + name for name in ("people.parquet", "fragments.parquet")]
        with local_copies(self._objects, [*keys, *archive]) as (people, fragments, *events):
            report, number, batches = self._made(run, definitions, revisions, as_of, (people, fragments, events))
        self._put(run, REPORT, {"as_of": run["as_of"], "traits": report})
        traits_key = self._put(run, "traits-batches.json", [{"key": key} for key in batches])
        return {**run, "traits": number, "traits_key": traits_key}

    def store(self, given: Mapping[str, Any]) -> Json:
        """Store the fresh values of some batches. ``given`` is what a Distributed Map hands to a child."""
        run: Json = given["BatchInput"]
        as_of = instant_of(run)
        done = {"people": 0, "failed": 0}
        for item in given["Items"]:
            self._lease.check(run["token"])
            people: list[Json] = orjson.loads(self._objects.get(item["key"]))
            failed = [one["profile_id"] for one in people if not self._stored(run, one, as_of)]
            result = orjson.dumps({"people": len(people), "failed": failed})
            self._objects.put(item["key"].replace("/traits/", "/traits-result/"), result, JSON)
            done["people"] += len(people)
            done["failed"] += len(failed)
        return done

    def published(self, run: Json) -> Json:
        """Make the report of the definitions the present one; the figures of the run: people stored, people failed."""
        report = self._objects.get(run["prefix"] + REPORT)
        self._objects.put(report_key(run["workspace"]), report, JSON)
        history = with_night(held_history(self._objects, run["workspace"]), orjson.loads(report))
        self._objects.put(history_key(run["workspace"]), orjson.dumps(history), JSON)
        figures: Json = {"stored": 0, "failed": list[str]()}
        for key in self._objects.keys(run["prefix"] + "traits-result/"):
            result = orjson.loads(self._objects.get(key))
            figures["stored"] += result["people"] - len(result["failed"])
            figures["failed"] += result["failed"]
        return figures

    def _made(
        self,
        run: Json,
        definitions: Sequence[Any],
        revisions: Mapping[str, str],
        as_of: int,
        files: tuple[Path, Path, Sequence[Path]],
    ) -> tuple[Json, int, list[str]]:
        """Make all values and write the fresh ones; answers the report, the number of people, and the batches."""
        people, fragments, events = files
        with connect() as database:
            database.execute(f"SET temp_directory = '{people.parent}'")
            make_views(database, events, people, fragments)
            make_distinct(database, "events")
            report = compute(database, definitions, as_of)
            withheld = [
                output
                for definition in definitions
                if "withheld" in report[definition.key]
                for output in definition.outputs
            ]
            return report, *self._written(run, changes(database, revisions, withheld, as_of))

    def _written(self, run: Json, fresh: Iterable[Fresh]) -> tuple[int, list[str]]:
        """Write fresh values part by part, so that memory holds one part; answers the people and the batches."""
        people, parts, batches = 0, list[str](), list[str]()
        waiting = iter(fresh)
        while part := [_wire(one) for one in islice(waiting, PART_PEOPLE)]:
            people += len(part)
            parts.append(self._put(run, f"fresh/{len(parts):06d}.json", part))
            for start in range(0, len(part), BATCH_PEOPLE):
                batch = part[start : start + BATCH_PEOPLE]
                batches.append(self._put(run, f"traits/{len(batches):06d}.json", batch))
        self._put(run, FRESH, parts)
        return people, batches

    def _stored(self, run: Json, person: Json, as_of: int) -> bool:
        values = {
            name: Computed(entry["kind"], entry["value"], as_of, entry["revision"], entry["reason"], as_of)
            for name, entry in person["values"].items()
        }
        try:
            self._people.put_computed(run["workspace"], person["profile_id"], values)
        except NotFound:
            return True  # the id leads nowhere any more: whoever has these events now gets the values next night
        except Exception as error:
            # whatever is wrong with one person must not hold up the others; too many of them fail the run
            code = error.code if isinstance(error, HosoError) else type(error).__name__
            logger("segment").warning("nightly: traits of a person failed", extra={"code": code})
            return False
        return True

    def _put(self, run: Json, name: str, content: Any) -> str:
        key = run["prefix"] + name
        self._objects.put(key, orjson.dumps(content), JSON)
        return key


def fresh_of(objects: Objects, run: Json) -> Iterator[Fresh]:
    """The fresh values of a run, for its evaluation; none where the step was left out."""
    if "traits" in run:
        for part in orjson.loads(objects.get(run["prefix"] + FRESH)):
            for one in orjson.loads(objects.get(part)):
                yield Fresh(one["profile_id"], one["values"])


def _wire(fresh: Fresh) -> Json:
    return {"profile_id": fresh.profile_id, "values": fresh.values}


def instant_of(run: Mapping[str, Any]) -> int:
    """The instant (UTC ms) that a nightly run is made for. Raises ``InvalidInput``."""
    instant = parse_instant(run["as_of"])
    if instant is None:
        raise InvalidInput("the run carries no as_of")
    return instant
