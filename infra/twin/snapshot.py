"""The twin's state on disk: tables as JSON lines, objects as files, the rest as one JSON document.

A snapshot is a folder of its own, taken while nothing changes and named in ``current`` when it is complete; a process
that is killed while it writes leaves the one before. Unchanged tables are linked, unchanged rows copied. Control plane
and execution history are not kept: they come from the templates.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson

from infra.twin import memory
from infra.twin.courier import Courier
from infra.twin.moto_fixes import dynamodb as fixed_dynamodb
from infra.twin.pollers import StreamPoller
from infra.twin.registry import Deployment

EVERY_S = 30.0
_CURRENT = "current"


class Store:
    """Saves and restores a deployment's data in a folder."""

    def __init__(self, folder: Path, deployment: Deployment, courier: Courier, pollers: list[StreamPoller]) -> None:
        self._folder = folder
        self._deployment = deployment
        self._courier = courier
        self._pollers = pollers
        self._rows: dict[str, list[Any]] = {}
        self._places: dict[str, dict[int, tuple[int, int]]] = {}
        """Where each row's line begins and ends in the last snapshot, by the row's id."""
        self._number = 0
        self._lock = threading.Lock()
        (folder / "objects").mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Write a snapshot."""
        with self._lock:
            self._save()

    def restore(self) -> bool:
        """Put the last complete snapshot into moto; answers whether there was one."""
        try:
            name = (self._folder / _CURRENT).read_text().strip()
        except FileNotFoundError:
            return False
        source = self._folder / name
        self._number = int(name)
        region = self._deployment.region
        for table in self._deployment.tables:
            file = source / f"{table}.jsonl"
            if file.exists():
                fixed_dynamodb.restore(memory.table_of(region, table), _items(file))
        state: dict[str, Any] = orjson.loads((source / "state.json").read_bytes())
        for table, rows in state["changes"].items():
            if table in self._deployment.tables:
                memory.load_changes(region, table, rows)
        for stream, saved in state["streams"].items():
            if stream in self._deployment.streams:
                memory.load_stream(region, stream, saved)
        for poller in self._pollers:
            poller.position = state["positions"].get(_place(poller), poller.position)
        for arn, messages in state["queues"].items():
            if arn in self._deployment.queues:
                memory.Queue(arn).load(messages)
        for about in state["objects"]:
            if about["bucket"] in self._deployment.buckets:
                value = (self._folder / "objects" / about["file"]).read_bytes()
                memory.load_object(about["bucket"], about["key"], value, about)
        self._courier.load(state["parcels"])
        return True

    def _save(self) -> None:
        region = self._deployment.region
        queues = [memory.Queue(arn) for arn in self._deployment.queues]
        with memory.standing_still(queues):
            positions = {_place(poller): poller.position for poller in self._pollers}
            state: dict[str, Any] = {
                "positions": {place: at for place, at in positions.items() if ":kinesis:" in place},
                "parcels": self._courier.dump(),
                "queues": {queue.arn: queue.dump() for queue in queues},
                "streams": {
                    name: memory.dump_stream(region, name, self._passed(name)) for name in self._deployment.streams
                },
                "changes": {
                    poller.shard.arn.split("/")[1]: memory.dump_changes(
                        region, poller.shard.arn.split("/")[1], poller.position
                    )
                    for poller in self._pollers
                    if isinstance(poller.shard, memory.TableShard)
                },
            }
            rows = {table: memory.rows(region, table) for table in self._deployment.tables}
            kept = [(bucket, key) for bucket in self._deployment.buckets for key in memory.objects(bucket)]
        for poller in self._pollers:
            if isinstance(poller.shard, memory.TableShard):
                poller.shard.forget(positions[_place(poller)])
        state["objects"] = [self._object(bucket, key) for bucket, key in kept]
        try:
            self._write(state, rows)
        except BaseException:
            # What is known of the last files may be half of this one: write everything the next time.
            self._rows, self._places = {}, {}
            raise

    def _passed(self, stream: str) -> dict[str, int]:
        """Up to where every consumer has read each shard of a stream."""
        passed: dict[str, int] = {}
        for poller in self._pollers:
            if poller.shard.arn.endswith(f":stream/{stream}"):
                passed[poller.shard.id] = min(poller.position, passed.get(poller.shard.id, poller.position))
        return passed

    def _object(self, bucket: str, key: Any) -> dict[str, Any]:
        modified = key.last_modified.replace(tzinfo=UTC).timestamp()
        identity = f"{bucket}\0{key.name}\0{key.etag}\0{modified}"
        name = hashlib.sha256(identity.encode()).hexdigest()
        file = self._folder / "objects" / name
        if not file.exists():
            _replace(file, key.value)
        metadata = dict(key.metadata.items())
        return {"bucket": bucket, "key": key.name, "file": name, "modified": modified, "metadata": metadata}

    def _write(self, state: Mapping[str, Any], rows: Mapping[str, list[Any]]) -> None:
        before = self._folder / str(self._number)
        target = self._folder / str(self._number + 1)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for table, now in rows.items():
            file = target / f"{table}.jsonl"
            # Rows are never changed in place: the same rows are the same content.
            if self._rows.get(table) == now and (before / file.name).exists():
                file.hardlink_to(before / file.name)
                continue
            self._write_rows(file, before / file.name, now, self._places.get(table, {}), table)
        (target / "state.json").write_bytes(orjson.dumps(state))
        _replace(self._folder / _CURRENT, target.name.encode())
        self._number += 1
        self._sweep(target.name, {entry["file"] for entry in state["objects"]})

    def _write_rows(self, file: Path, old: Path, now: list[Any], known: dict[int, tuple[int, int]], table: str) -> None:
        """Write a table; the lines of rows that the last snapshot had are copied, which is much faster."""
        lines = old.read_bytes() if known and old.exists() else b""
        places: dict[int, tuple[int, int]] = {}
        at = 0
        with file.open("wb") as stream:
            for row in now:
                place = known.get(id(row)) if lines else None
                line = lines[place[0] : place[1]] if place else orjson.dumps(memory.wire_to_json(row.plain)) + b"\n"
                places[id(row)] = (at, at := at + len(line))
                stream.write(line)
        # The list keeps the rows alive, so that an id stays that of its row.
        self._rows[table], self._places[table] = now, places

    def _sweep(self, current: str, files: set[str]) -> None:
        for entry in self._folder.iterdir():
            if entry.name.isdigit() and entry.name != current:
                shutil.rmtree(entry, ignore_errors=True)
        for file in (self._folder / "objects").iterdir():
            if file.name not in files:
                file.unlink(missing_ok=True)


class Saver:
    """Saves every 30 seconds when something happened, and at the end."""

    def __init__(self, store: Store, activity: Callable[[], Any]) -> None:
        self._store = store
        self._activity = activity
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="saver")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the last state is saved."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)
            self._store.save()

    def _loop(self) -> None:
        seen: Any = None
        while not self._stop.wait(EVERY_S):
            now = self._activity()
            try:
                if now != seen:
                    self._store.save()
                    seen = now
            except Exception:
                traceback.print_exc()


def _place(poller: StreamPoller) -> str:
    return f"{poller.source.key}|{poller.shard.arn}|{poller.shard.id}"


def _items(file: Path) -> Iterable[dict[str, Any]]:
    with file.open("rb") as stream:
        for line in stream:
            yield memory.json_to_wire(json.loads(line))


def _replace(file: Path, content: bytes) -> None:
    fresh = file.with_name(f".{file.name}")
    fresh.write_bytes(content)
    fresh.replace(file)
