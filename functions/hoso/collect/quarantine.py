"""The quarantine: what was refused, with its payload and the reason, to be repaired and replayed (promise 1).

One object per refused request or stream record, under ``quarantine/<workspace>/<day>/<stage>/<id>.json``. The id
tells time and stage and is a function of the content, so that a repeated try writes the same object.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from hoso import __version__
from hoso.model.bad_row import BadRow
from hoso.model.errors import NotFound
from hoso.model.time import format_instant
from hoso.platform.ids import content_id

if TYPE_CHECKING:
    from hoso.platform.objects import Objects

__all__ = ["STAGES", "BadRow", "is_open", "load", "mark_replayed", "newest_ids", "object_key", "quarantine"]

STAGES = ("collect", "archive", "consume", "duplicate", "flood", "import", "lookup")
_ROOT = "quarantine"
_OPTIONAL = frozenset({"at", "sent_at", "first"})
_ID = re.compile(r"(\d{13})-([a-z]{1,20})-[A-Za-z0-9_-]{12}")


def quarantine(
    objects: Objects,
    workspace: str,
    stage: str,
    source: str,
    at: int,
    rows: Sequence[BadRow],
    *,
    sent_at: int | None = None,
) -> str:
    """Store refused rows; answers the id of the entry. The same rows again make the same object.

    ``at`` (UTC ms) must not change in a repeated try: take the time of receipt. ``sent_at`` is the client's clock at
    the sending, which a replay needs to correct the time of the events.

    Raises:
        Transient: the bucket does not answer.
    """
    listed = [_row(row) for row in rows]
    raw = orjson.dumps(listed)
    entry_id = f"{at:013d}-{stage}-{content_id(workspace, source, raw.decode())[:12]}"
    entry: dict[str, Any] = {
        "id": entry_id,
        "workspace": workspace,
        "stage": stage,
        "code": rows[0].code,
        "reason": rows[0].reason,
        "source": source,
        "at": at,
        "sent_at": sent_at,
        "version": __version__,
        "rows": listed,
    }
    objects.put_once(object_key(workspace, entry_id), orjson.dumps(entry), "application/json")
    return entry_id


def object_key(workspace: str, entry_id: str) -> str:
    """Where an entry is stored. Raises ``NotFound`` for what is no id."""
    match = _ID.fullmatch(entry_id)
    if match is None:
        raise NotFound("no such quarantine entry")
    return f"{_ROOT}/{quote(workspace, safe='')}/{format_instant(int(match[1]))[:10]}/{match[2]}/{entry_id}.json"


def load(objects: Objects, workspace: str, entry_id: str) -> dict[str, Any]:
    """An entry with its rows. Raises ``NotFound``, ``Transient``."""
    try:
        return orjson.loads(objects.get(object_key(workspace, entry_id)))
    except NotFound as error:
        raise NotFound("no such quarantine entry") from error


def mark_replayed(objects: Objects, workspace: str, entry: dict[str, Any], replay: dict[str, Any]) -> None:
    """Note a replay in its entry: nothing is removed. Raises ``Transient``."""
    entry = {**entry, "replays": [*entry.get("replays", []), replay]}
    objects.put(object_key(workspace, entry["id"]), orjson.dumps(entry), "application/json")


def is_open(entry: dict[str, Any]) -> bool:
    """Whether a row of the entry was never taken by a replay."""
    done = {index for replay in entry.get("replays", []) for index in replay["accepted"]}
    return any(row["index"] not in done for row in entry["rows"])


def newest_ids(objects: Objects, workspace: str, before: str | None = None, stage: str | None = None) -> Iterator[str]:
    """Ids of entries, newest first; ``before`` is the last one of the page before."""
    root = f"{_ROOT}/{quote(workspace, safe='')}/"
    last_day = format_instant(int(before[:13]))[:10] if before else None
    for folder in reversed(objects.folders(root)):
        day = folder.removeprefix(root).rstrip("/")
        if last_day is not None and day > last_day:
            continue
        ids = sorted((key.rpartition("/")[2].removesuffix(".json") for key in objects.keys(folder)), reverse=True)
        for entry_id in ids:
            if (before is None or entry_id < before) and (stage is None or entry_id[14:].startswith(f"{stage}-")):
                yield entry_id


def _row(row: BadRow) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(row).items() if value is not None or name not in _OPTIONAL}
    return {**kept, "payload": _storable(row.payload)}


def _storable(payload: Any) -> Any:
    return {"base64": b64encode(payload).decode()} if isinstance(payload, bytes) else payload
