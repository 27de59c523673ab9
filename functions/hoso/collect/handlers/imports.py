"""The Lambdas that import files: what was dropped into the bucket, and the steps of the import machine.

==========  ==========================================================  ==========================================
step        input                                                       output
==========  ==========================================================  ==========================================
dropped     an event ``Object Created`` of the bucket                   the report, or where the import goes on
plan        ``{"workspace", "import"}``                                 the same with ``pieces`` and ``pieces_key``
do_pieces   ``{"Items": [{"n"}…], "BatchInput": the plan}``             ``{"pieces"}``
finish      the plan                                                    the report
==========  ==========================================================  ==========================================

A small file is done at once by ``dropped``. Each step can be killed and called again with the same input.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any, cast
from urllib.parse import quote

import orjson

from hoso.collect.imports.store import Imports, import_id
from hoso.collect.imports.work import (
    MANIFEST,
    MANIFEST_DIFFERS,
    MAPPING,
    REJECTS,
    SOURCE_MAPPING,
    Importer,
    new_record,
    wait_for_budget,
)
from hoso.collect.plan_lookup import PlansInUse
from hoso.collect.write_keys import EVENTS_PER_MINUTE, KIND
from hoso.model.errors import InvalidInput, NotFound
from hoso.model.time import MINUTE_MS
from hoso.platform.aws import client
from hoso.platform.budget import Budgets, counter
from hoso.platform.clock import Clock, clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.identity_rules import RulesInForce
from hoso.platform.log import logger
from hoso.platform.machine import Machine
from hoso.platform.metrics import meter, metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.stream import Stream, stream_client

SMALL_BYTES = 4_000_000
SMALL_PACKED_BYTES = 400_000
_KEPT_HASHES = 10_000
_STAGE = "import"

Json = dict[str, Any]


@metered
def dropped(event: Json, _context: object) -> Json:
    """Begin with a file that somebody put into ``imports/<workspace>/<source>/``."""
    here = tools()
    key: str = event["detail"]["object"]["key"]
    parts = key.split("/")
    if len(parts) < 4 or parts[1] != quote(here.workspace, safe=""):
        return {"ignored": "not in imports/<workspace>/<source>/"}
    if key.endswith(MANIFEST) and parts[-1] != MANIFEST:
        key = key.removesuffix(MANIFEST)  # with its file it may come in any order
    elif key.endswith((REJECTS, MAPPING, MANIFEST)) or parts[-1] in ("", SOURCE_MAPPING):
        return {"ignored": "no file of rows"}
    return here.begin(key, parts[2])


@metered
def plan(event: Json, _context: object) -> Json:
    """Cut the file into pieces."""
    here = tools()
    name: str = event["import"]
    try:
        return here.importer.plan(name)
    except InvalidInput as error:
        here.importer.refuse_file(here.importer.imports.load(name), error)
        key = here.importer.imports.put_items(name, 0)
        return {"workspace": here.workspace, "import": name, "pieces": 0, "pieces_key": key}


@metered
def do_pieces(event: Json, _context: object) -> Json:
    """Do some pieces."""
    here = tools()
    name: str = event["BatchInput"]["import"]
    for item in event["Items"]:
        here.count(here.importer.do_piece(name, item["n"]))
    return {"pieces": len(event["Items"])}


@metered
def finish(event: Json, _context: object) -> Json:
    """Sum up."""
    return tools().importer.finish(event["import"])


@dataclass(frozen=True, slots=True)
class Tools:
    """What this process works with."""

    workspace: str
    importer: Importer
    control: ControlStore
    machine: Machine
    clock: Clock

    def begin(self, key: str, source: str) -> Json:
        """Do a dropped file, or hand it to the machine when it is large. The same file again is not done again."""
        objects, imports = self.importer.objects, self.importer.imports
        try:
            size, _ = objects.size(key)
            digest = _digest(objects.ranges(key))
        except NotFound:
            return {"ignored": "the file is gone"}
        record: Json = {"id": "", "source": source, "file": key.rpartition("/")[2], "key": key, "at": self.clock()}
        try:
            mapping = self._mapping(key, source)
            told_rows = self._manifest(key, digest)
            name = import_id(self.workspace, source, digest, mapping)
            more: Json = {"key": key, "told_rows": told_rows}
            record = new_record(name, self.workspace, source, record["file"], record["at"], mapping, **more)
            self._known(source)
            record = imports.create(record)
        except InvalidInput as error:
            record["id"] = record["id"] or import_id(self.workspace, source, f"{digest} {error.code}", None)
            return self.importer.refuse_file(record, error)
        report = imports.report(name)
        if report is not None and report.get("code") == MANIFEST_DIFFERS and record.get("told_rows") != told_rows:
            record |= {"told_rows": told_rows, "key": key}
            imports.update(record)
            imports.put_report(name, {**report, "status": "partial", "code": ""})
        elif report is not None and report["status"] != "partial":
            return report
        packed = key.endswith((".gz", ".parquet"))
        if size > (SMALL_PACKED_BYTES if packed else SMALL_BYTES):
            self.machine.start({"workspace": self.workspace, "import": name}, name=f"{name}-{record['at']}")
            return {"import": name, "status": "running"}
        return self.do_all(name)

    def do_all(self, name: str) -> Json:
        """A small import from its first step to its last."""
        try:
            planned = self.importer.plan(name)
        except InvalidInput as error:
            return self.importer.refuse_file(self.importer.imports.load(name), error)
        for number in range(1, planned["pieces"] + 1):
            self.count(self.importer.do_piece(name, number))
        return self.importer.finish(name)

    def count(self, result: Json) -> None:
        """Count what became of a piece."""
        meter().add("accepted", result["accepted"])
        meter().add("quarantined", len(result["rejected"]), stage=_STAGE)
        logger(_STAGE).info("piece", extra={"piece": result["piece"], "accepted": result["accepted"]})

    def _mapping(self, key: str, source: str) -> Json | None:
        """The mapping beside the file, or that of its source. Raises ``InvalidInput`` for what is no JSON."""
        for place in (key + MAPPING, f"imports/{quote(self.workspace, safe='')}/{source}/{SOURCE_MAPPING}"):
            try:
                return orjson.loads(self.importer.objects.get(place))
            except NotFound:
                continue
            except orjson.JSONDecodeError as error:
                raise InvalidInput("the mapping is no JSON", code="invalid_mapping") from error
        return None

    def _manifest(self, key: str, digest: str) -> int | None:
        """The rows that a manifest beside the file tells. Raises ``InvalidInput`` when it tells of another file."""
        try:
            told: object = orjson.loads(self.importer.objects.get(key + MANIFEST))
        except NotFound:
            return None
        except orjson.JSONDecodeError as error:
            raise InvalidInput("the manifest is no JSON", code="invalid_manifest") from error
        manifest = cast("Json", told) if isinstance(told, dict) else {}
        named, rows = manifest.get("sha256"), manifest.get("rows")
        if not isinstance(named, str) or (rows is not None and type(rows) is not int):
            raise InvalidInput("a manifest tells file, sha256 (hex) and rows", code="invalid_manifest")
        if named.lower() != digest or manifest.get("file") not in (None, key.rpartition("/")[2]):
            message = "the manifest beside the file tells of another file"
            raise InvalidInput(message, code=MANIFEST_DIFFERS, hint="drop the whole file again, or the right manifest")
        return rows

    def _known(self, source: str) -> None:
        try:
            enabled = self.control.get(self.workspace, KIND, source).body.get("enabled")
        except NotFound:
            enabled = False
        if not enabled:
            raise InvalidInput("no enabled source has the name of the folder", code="unknown_source")


def _digest(parts: Iterable[bytes]) -> str:
    found = sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


@cache
def tools() -> Tools:
    """What this process works with, made at its first call."""
    settings = Settings.from_env(os.environ)
    clock = clock_from(settings.clock_file)
    dynamodb = client("dynamodb")
    control = ControlStore(Table(settings.control_table, dynamodb), dynamodb, clock, settings.config_ttl_ms)
    objects = Objects(settings.bucket, client("s3"))
    importer = Importer(
        workspace=settings.workspace,
        imports=Imports(objects, settings.workspace),
        objects=objects,
        stream=Stream(settings.stream, stream_client()),
        hash_of=lru_cache(maxsize=_KEPT_HASHES)(control.hasher(settings.workspace).identifier),
        plan_of=PlansInUse(Table(settings.control_table, dynamodb), clock, settings.config_ttl_ms).of,
        identity_of=RulesInForce(control).of,
        spend=wait_for_budget(_budget(settings, control, clock)),
    )
    return Tools(settings.workspace, importer, control, Machine(settings.machine, client("stepfunctions")), clock)


def _budget(settings: Settings, control: ControlStore, clock: Clock) -> Callable[[str, int], bool]:
    """Take events from the budget of a source and of the workspace, as the tracking API does."""
    budgets = Budgets(counter(Table(settings.delivery_table, client("dynamodb")), MINUTE_MS), MINUTE_MS)

    def take(source: str, events: int) -> bool:
        now, workspace = clock(), settings.workspace
        budget = control.get(workspace, KIND, source).body.get("events_per_minute") or EVENTS_PER_MINUTE
        if budgets.take(workspace, source, events, budget, now) == "spent":
            return False
        if budgets.take(workspace, "", events, settings.workspace_events_per_minute, now) == "spent":
            budgets.give_back(workspace, source, events, now)
            return False
        return True

    return take
