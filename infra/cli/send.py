"""``hoso send``: post a file of events in batches, with progress, resumable."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from infra.cli.connection import CommandError, Connection

BATCH_EVENTS = 250
BATCH_BYTES = 2_000_000
_TRIES = 8
_LONGEST_PAUSE_S = 30


@dataclass(slots=True)
class Sent:
    """What a run of ``send`` did: lines in the file, accepted and rejected now, and lines done in an earlier run."""

    lines: int
    accepted: int
    rejected: list[dict[str, Any]]
    resumed_at: int


def send_file(connection: Connection, file: Path, write_key: str, *, quiet: bool = False, resume: bool = True) -> Sent:
    """Post every line of an NDJSON file to ``/v1/batch`` in order.

    Progress is kept beside the twin's data, so that a run that was cut goes on where it stopped; sending a line twice
    is harmless.

    Raises:
        CommandError: the address refuses the whole batch or stays unavailable.
    """
    total = _count_lines(file)
    mark = _mark(connection, file)
    done = int(mark.read_text() or 0) if resume and mark.exists() else 0
    result = Sent(lines=total, accepted=0, rejected=[], resumed_at=done)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=quiet) as progress:
        task = progress.add_task(f"sending {file.name}", total=total, completed=done)
        for first, lines in _batches(file, done):
            _post(connection, lines, first, write_key, result)
            done = first + len(lines)
            mark.write_text(str(done))
            progress.update(task, completed=done)
    mark.unlink(missing_ok=True)
    return result


def _post(connection: Connection, lines: list[bytes], first: int, write_key: str, result: Sent) -> None:
    body = b'{"batch":[' + b",".join(lines) + b"]}"
    headers = {"Content-Type": "application/json"}
    attempt = 0
    while True:
        answer = connection.request("POST", "/v1/batch", data=body, headers=headers, auth=(write_key, ""))
        attempt += 1
        if answer.status_code not in (429, 503) or attempt == _TRIES:
            break
        time.sleep(min(float(answer.headers.get("Retry-After", 2**attempt)), _LONGEST_PAUSE_S))
    parsed = answer.json()
    if answer.status_code == 200:
        rejected = parsed.get("rejected", [])
        result.accepted += len(lines) - len(rejected)
        result.rejected += [{**entry, "line": first + entry["index"] + 1} for entry in rejected]
    elif answer.status_code == 400:
        result.rejected.append(
            {"line": first + 1, "lines": len(lines), "code": parsed["code"], "message": parsed["message"]}
        )
    else:
        raise CommandError(
            f"line {first + 1}: answered {answer.status_code} {parsed.get('code')}: {parsed.get('message')}"
        )


def _batches(file: Path, skip: int) -> Iterator[tuple[int, list[bytes]]]:
    lines: list[bytes] = []
    size = 0
    first = skip
    with file.open("rb") as stream:
        for number, line in enumerate(stream):
            if number < skip:
                continue
            text = _json_text(line)
            if lines and (len(lines) == BATCH_EVENTS or size + len(text) > BATCH_BYTES):
                yield first, lines
                first, lines, size = number, [], 0
            lines.append(text)
            size += len(text)
    if lines:
        yield first, lines


def _json_text(line: bytes) -> bytes:
    """The line, or ``null`` in its place (the API rejects that entry) when it would break the batch around it."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return b"null"
    return line.strip()


def _count_lines(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            return sum(1 for _ in stream)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from error


def _mark(connection: Connection, file: Path) -> Path:
    name = hashlib.sha256(f"{connection.url}|{file.resolve()}|{file.stat().st_size}".encode()).hexdigest()[:16]
    folder = (connection.data or Path(".hoso")) / "sending"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
