"""The Lambda that copies the stream into the archive."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.collect.archive import Range, ranges
from hoso.collect.parquet import parquet_file
from hoso.collect.quarantine import quarantine
from hoso.platform.aws import client
from hoso.platform.log import logger
from hoso.platform.metrics import meter, metered
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings

_STAGE = "archive"


@metered
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Archive a batch of one shard; what was not stored is reported by the first sequence number of its range."""
    objects, workspace = _tools()
    for part in ranges(event["Records"], workspace):
        try:
            _store(part, objects)
        except Exception as error:
            # reported rather than raised, so that the same records come again as the same range
            logger(_STAGE).error("range not stored", extra={"first": part.first, "error": type(error).__name__})
            return {"batchItemFailures": [{"itemIdentifier": part.first}]}
    return {"batchItemFailures": []}


def _store(part: Range, objects: Objects) -> None:
    for name, columns in part.files():
        if columns.body:
            with parquet_file(columns) as file:
                objects.put_once(name, file, "application/vnd.apache.parquet")
            meter().add("archived", len(columns.body))
    for name, summary in part.summary_files():
        objects.put_once(name, summary, "application/json")
    for bad in part.bad:
        logger(_STAGE).warning("bad record", extra={"workspace": bad.workspace, "rows": len(bad.rows)})
        quarantine(objects, bad.workspace, _STAGE, "", bad.at, bad.rows)
        meter().add("quarantined", len(bad.rows), stage=_STAGE)


@cache
def _tools() -> tuple[Objects, str]:
    settings = Settings.from_env(os.environ)
    return Objects(settings.bucket, client("s3")), settings.workspace
