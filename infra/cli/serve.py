"""Start a twin on a data folder and give it its first sources and keys."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from infra.cli.connection import KEYS_FILE, TWIN_FILE, CommandError, Connection, find_twin
from infra.twin import Twin

ADMIN_ROLES = ("admin", "engineer", "analyst", "marketer", "privacy", "viewer")
LOCAL_SOURCES = {"local-web": "web", "local-server": "server"}


@contextmanager
def open_twin(folder: Path, port: int, *, isolated: bool = False) -> Generator[Connection, None, None]:
    """A running twin on this folder, with its keys; it stops, and saves, at the end.

    Raises:
        CommandError: another twin already runs on the folder.
    """
    if find_twin(folder) is not None:
        raise CommandError(f"a twin already runs on {folder}; stop it first, or use another --data folder")
    folder.mkdir(parents=True, exist_ok=True)
    with Twin(data=folder, port=port, isolated=isolated) as twin:
        connection = Connection(twin.url, twin.admin_token(ADMIN_ROLES), data=folder)
        connection.write_keys = _ensure_keys(connection, folder)
        (folder / TWIN_FILE).write_text(json.dumps({"url": twin.url, "pid": os.getpid()}))
        try:
            yield connection
        finally:
            (folder / TWIN_FILE).unlink(missing_ok=True)


def _ensure_keys(connection: Connection, folder: Path) -> dict[str, str]:
    """The folder's write keys; made through the admin API at the first start, since a key is shown only once."""
    file = folder / KEYS_FILE
    keys: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    for source, kind in LOCAL_SOURCES.items():
        if source not in keys:
            connection.call("PUT", f"/v1/sources/{source}", {"name": source, "kind": kind})
            keys[source] = connection.call("POST", f"/v1/sources/{source}/keys", {})["key"]
    keys["admin"] = connection.token
    file.touch(mode=0o600, exist_ok=True)
    file.write_text(json.dumps(keys, indent=1))
    return keys
