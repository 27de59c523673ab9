"""The work of an import: cut a file, send a piece, sum up. Each step can be killed and called again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from hoso.collect.events import Frame
from hoso.collect.imports.layouts import Layout, layout_of
from hoso.collect.imports.mapping import Mapping, parse_mapping
from hoso.collect.imports.pieces import Events, cut, map_piece, open_rows
from hoso.collect.imports.rows import Row, format_of, parquet_rows, text_rows
from hoso.collect.imports.store import Imports, pack
from hoso.collect.intake import Hash, Sender, take
from hoso.collect.parse import parse_batch
from hoso.collect.plans import Plan
from hoso.collect.quarantine import quarantine
from hoso.model.bad_row import BadRow
from hoso.model.errors import InvalidInput, Transient
from hoso.model.identifiers import DEFAULT, IdentityConfig
from hoso.platform.objects import Objects
from hoso.platform.stream import Stream

STAGE = "import"
BATCH_EVENTS = 1_000
PUT_BUDGET_S = 60.0
QUARANTINE_ROWS = 500
MAX_REJECTS = 100_000
"""Most lines of the list of rejects; the report counts all."""

REJECTS = ".rejects.ndjson"
MAPPING = ".mapping.json"
MANIFEST = ".manifest.json"
MANIFEST_DIFFERS = "manifest_differs"
SOURCE_MAPPING = "mapping.json"

Json = dict[str, Any]
Spend = Callable[[str, int], None]
"""Take so many events from the budget of a source; waits for it, or raises ``Transient``."""


@dataclass(frozen=True, slots=True)
class Importer:
    """What the work needs, for one workspace."""

    workspace: str
    imports: Imports
    objects: Objects
    stream: Stream
    hash_of: Hash
    spend: Spend = lambda _source, _events: None
    plan_of: Callable[[str, str], Plan | None] = lambda _workspace, _source: None
    identity_of: Callable[[str], IdentityConfig] = lambda _workspace: DEFAULT

    def plan(self, name: str) -> Json:
        """Cut the dropped file into stored pieces; pieces that were handed in are left as they are.

        Raises:
            InvalidInput: the file as a whole cannot be used.
        """
        record = self.imports.load(name)
        if record.get("pieces") is None:
            mapping = _mapping(record)
            form = (mapping and mapping.format) or record["format"]
            with TemporaryDirectory() as folder:
                opened = open_rows(self._rows(record["key"], form, mapping, Path(folder)), mapping, record["source"])
                rows = number = 0
                for number, (count, piece) in enumerate(cut(opened.rows, opened.layout.group_of), 1):
                    self.imports.put_piece(name, number, pack(piece))
                    rows += count
            if record.get("told_rows") not in (None, rows):
                message = f"the manifest tells {record['told_rows']} rows, the file has {rows}"
                raise InvalidInput(message, code=MANIFEST_DIFFERS, hint="drop the whole file, or the right manifest")
            record |= {"columns": opened.columns, "layout": opened.layout.name, "pieces": number, "rows": rows}
            self.imports.update(record)
        key = self.imports.put_items(name, record["pieces"])
        return {"workspace": self.workspace, "import": name, "pieces": record["pieces"], "pieces_key": key}

    def _rows(self, key: str, form: str, mapping: Mapping | None, folder: Path) -> Iterator[Row]:
        if form != "parquet":
            told = mapping or Mapping()
            return text_rows(self.objects.ranges(key), form, told.encoding, told.delimiter)
        file = folder / "file.parquet"
        with file.open("wb") as out:
            for part in self.objects.ranges(key):
                out.write(part)
        return parquet_rows(file)

    def do_piece(self, name: str, number: int) -> Json:
        """Send the events of a piece and quarantine the rest; a piece that is done is not done again."""
        done = self.imports.result(name, number)
        if done is not None:
            return done
        record = self.imports.load(name)
        found = map_piece(self.imports.piece(name, number), layout_for(record))
        accepted = self._send(record, found)
        self._quarantine(record, found)
        result: Json = {
            "piece": number,
            "rows": found.rows,
            "accepted": accepted,
            "rejected": [{"row": line, "code": code, "message": reason} for line, code, reason, _ in found.bad],
        }
        self.imports.put_result(name, number, result)
        return result

    def _send(self, record: Json, found: Events) -> int:
        """Put the events on the stream through the intake of all events; what that refuses is added to the bad rows."""
        source: str = record["source"]
        sender = Sender(
            self.workspace, source, plan=self.plan_of(self.workspace, source), identity=self.identity_of(self.workspace)
        )
        accepted = 0
        for first in range(0, len(found.events), BATCH_EVENTS):
            raw = orjson.dumps({"batch": found.events[first : first + BATCH_EVENTS]})
            batch = parse_batch(raw)
            frame = Frame(record["at"], lambda: "")
            taken = take(raw, batch, frame, sender, self.hash_of)
            self.spend(source, taken.accepted)
            self.stream.put(taken.records, PUT_BUDGET_S)
            accepted += taken.accepted
            found.bad += [
                (found.lines[first + bad.index], bad.code, bad.reason, found.events[first + bad.index])
                for bad in taken.rejected
            ]
        found.bad.sort(key=lambda bad: bad[0])
        return accepted

    def _quarantine(self, record: Json, found: Events) -> None:
        for first in range(0, len(found.bad), QUARANTINE_ROWS):
            rows = [
                BadRow(line, _message_id(payload), code, reason, payload)
                for line, code, reason, payload in found.bad[first : first + QUARANTINE_ROWS]
            ]
            quarantine(self.objects, self.workspace, STAGE, record["source"], record["at"], rows)

    def refuse_file(self, record: Json, error: InvalidInput) -> Json:
        """Note a file that cannot be used as a whole: one entry in quarantine, and a report."""
        row = BadRow(0, None, error.code, error.message, {"file": record.get("key") or record["file"]})
        quarantine(self.objects, self.workspace, STAGE, record["source"], record["at"], [row])
        report = {**_about(record), "status": "refused", "code": error.code, "message": error.message}
        self.imports.put_report(record["id"], report)
        return report

    def finish(self, name: str) -> Json:
        """Sum up; writes the report and, beside a dropped file, its rejects. Raises ``NotFound``."""
        record = self.imports.load(name)
        refused = self.imports.report(name)
        if refused is not None and refused["status"] == "refused":
            return refused
        rows = accepted = rejected = 0
        codes: Counter[str] = Counter()
        listed: list[bytes] = []
        missing: list[int] = []
        for number in range(1, record["pieces"] + 1):
            result = self.imports.result(name, number)
            if result is None:
                missing.append(number)
                continue
            rows += result["rows"]
            accepted += result["accepted"]
            rejected += len(result["rejected"])
            codes.update(bad["code"] for bad in result["rejected"])
            listed += [orjson.dumps(bad) for bad in result["rejected"][: MAX_REJECTS - len(listed)]]
        report: Json = {
            **_about(record),
            "status": "partial" if missing else "done",
            "rows": rows,
            "accepted": accepted,
            "rejected": rejected,
            "codes": dict(codes),
            "missing_pieces": missing,
            "first_rejects": [orjson.loads(bad) for bad in listed[:20]],
        }
        if record.get("key") and listed:
            self.objects.put(record["key"] + REJECTS, b"\n".join(listed) + b"\n", "application/x-ndjson")
        self.imports.put_report(name, report)
        return report

    def progress(self, name: str) -> Json:
        """Where an import is: its report, or how many pieces are here and how many are done."""
        record = self.imports.load(name)
        report = self.imports.report(name)
        done = len(self.imports.results(name))
        here = {**_about(record), "pieces": record.get("pieces"), "pieces_done": done, "rows": record.get("rows")}
        if report is None or report["status"] == "partial":
            return {**here, **(report or {}), "status": "running" if record.get("pieces") else "receiving"}
        return {**here, **report}


def layout_for(record: Json) -> Layout:
    """The layout of an import. Raises ``InvalidInput``."""
    return layout_of(_mapping(record), record["columns"], record["source"])


def new_record(name: str, workspace: str, source: str, file: str, at: int, mapping: Json | None, **more: Any) -> Json:
    """A new import. ``at`` (UTC ms) is the time of receipt of all its events, in every repeated try."""
    form = format_of(file)
    told = parse_mapping(mapping) if mapping is not None else None
    if form is None and (told is None or told.format is None):
        raise InvalidInput(
            "the file's name says no format", code="unknown_format", hint="name it .csv, .ndjson or .parquet"
        )
    named = {"id": name, "workspace": workspace, "source": source, "file": file, "at": at}
    return {**named, "format": form, "mapping": mapping, "pieces": None, "rows": None, **more}


def wait_for_budget(take_: Callable[[str, int], bool], sleep: Callable[[float], None] = time.sleep) -> Spend:
    """``Spend`` that waits up to a minute for a budget whose ``take_`` answers False while it is used up."""

    def spend(source: str, events: int) -> None:
        for _ in range(13):
            if take_(source, events):
                return
            sleep(5)
        raise Transient("the source's budget is used up", hint="the import goes on later")

    return spend


def _about(record: Json) -> Json:
    return {name: record.get(name) for name in ("id", "source", "file", "at", "layout")}


def _mapping(record: Json) -> Mapping | None:
    return None if record["mapping"] is None else parse_mapping(record["mapping"])


def _message_id(payload: Any) -> str | None:
    named: object = payload.get("messageId") if isinstance(payload, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return named if isinstance(named, str) else None
