"""How a command reaches a Hoso: the twin that runs on a data folder, or any deployment by its address.

``--url`` names an address (a token comes from ``HOSO_TOKEN``), ``--data`` a twin's data folder. A folder whose twin
does not run is opened for the length of the command. Without either, the twin on the default folder is taken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import requests
import typer

DEFAULT_DATA = Path(".hoso")
TWIN_FILE = "twin.json"
KEYS_FILE = "keys.json"
TIMEOUT_S = 60
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of a twin.", show_default=False)]
UrlOption = Annotated[str | None, typer.Option("--url", help="Address of a running Hoso.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class CommandError(Exception):
    """A command cannot go on; the text says why and what to do."""


@dataclass(slots=True)
class Connection:
    """An address with its credentials. ``data`` is the twin's folder, None for a remote deployment."""

    url: str
    token: str
    write_keys: dict[str, str] = field(default_factory=dict[str, str])
    data: Path | None = None
    _session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON answer of an admin call.

        Raises:
            CommandError: nobody answers, or the answer is an error (its message and hint are passed on).
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        params = {name: value for name, value in query.items() if value is not None}
        answer = self.request(method, path, json=body, headers=headers, params=params)
        if answer.status_code >= 400:
            raise CommandError(_problem(method, path, answer))
        return answer.json()

    def request(self, method: str, path: str, **more: Any) -> requests.Response:
        """A plain HTTP call. Raises ``CommandError`` when nobody answers."""
        more.setdefault("timeout", TIMEOUT_S)
        try:
            return self._session.request(method, self.url + path, **more)
        except requests.RequestException as error:
            raise CommandError(
                f"nobody answers at {self.url} ({type(error).__name__}); start a twin with: hoso up"
            ) from error

    def pages(self, path: str, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """All items of a paged list, at most ``limit``."""
        cursor: str | None = None
        count = 0
        while True:
            page = self.call("GET", path, cursor=cursor, **query)
            for item in page["items"]:
                yield item
                count += 1
                if limit is not None and count >= limit:
                    return
            cursor = page.get("next")
            if not cursor:
                return

    def write_key(self, name: str = "local-server") -> str:
        """A write key of the twin by its name. Raises ``CommandError`` when it is not known here."""
        if name not in self.write_keys:
            raise CommandError("no write key is known for this address; pass --write-key")
        return self.write_keys[name]

    def drain(self, timeout_s: float = 120) -> dict[str, Any]:
        """Wait until all that the twin accepted is processed; what is stuck otherwise."""
        answer = self.request("POST", "/_twin/drain", json={"timeout_s": timeout_s}, timeout=timeout_s + 30)
        if answer.status_code == 404:
            raise CommandError(f"{self.url} is not a twin: watch the dashboard of the deployment instead")
        return answer.json()


@contextmanager
def connect(data: Path | None, url: str | None) -> Generator[Connection, None, None]:
    """The connection that the two options name."""
    if url is not None:
        yield _at(url.rstrip("/"), data)
        return
    folder = data or DEFAULT_DATA
    running = find_twin(folder)
    if running is not None:
        yield running
        return
    if not (folder / KEYS_FILE).exists():
        raise CommandError(f"no twin has run on {folder}; start one with: hoso up --data {folder}")
    from infra.cli.serve import open_twin

    with open_twin(folder, port=0) as connection:
        yield connection


def _at(url: str, data: Path | None) -> Connection:
    """The deployment at an address. A twin on this machine names its data folder, in which its keys are."""
    connection = Connection(url, os.environ.get("HOSO_TOKEN", ""), data=data)
    if data is None and urlsplit(url).hostname in _LOOPBACK:
        told = connection.request("GET", "/_twin/env")
        connection.data = Path(told.json()["data"]) if told.status_code == 200 else None
    if connection.data is not None:
        connection.write_keys = _known_keys(connection.data)
        connection.token = connection.token or connection.write_keys.get("admin", "")
    return connection


def find_twin(folder: Path) -> Connection | None:
    """The twin that runs on this folder, or None."""
    try:
        held = json.loads((folder / TWIN_FILE).read_text())
        os.kill(held["pid"], 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    keys = _known_keys(folder)
    connection = Connection(held["url"], keys.get("admin", ""), keys, folder)
    try:
        connection.request("GET", "/health", timeout=5)
    except CommandError:
        return None
    return connection


def _known_keys(folder: Path) -> dict[str, str]:
    try:
        return json.loads((folder / KEYS_FILE).read_text())
    except FileNotFoundError:
        return {}


def _problem(method: str, path: str, answer: requests.Response) -> str:
    try:
        body = answer.json()
        text = f"{body.get('code') or body.get('message')}: {body.get('message', '')}"
        hint = body.get("hint")
    except ValueError:
        text, hint = answer.text[:200], None
    return f"{method} {path} answered {answer.status_code}: {text}" + (f"\n  → {hint}" if hint else "")
