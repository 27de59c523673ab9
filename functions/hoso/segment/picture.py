"""Everybody and the archive as files that a question can be asked of in seconds.

The people are those of the last nightly snapshot (``nightly/<ws>/latest.json``); where there is none yet, they are read
from the table. Events are the archive's, up to now. Files never change under their name, so a warm function keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from hoso.model.errors import NotFound
from hoso.model.time import format_instant, parse_instant
from hoso.platform.objects import Objects
from hoso.segment.archive_files import Archive
from hoso.segment.live import LiveRules
from hoso.segment.nightly_run import latest_key, snapped
from hoso.segment.nightly_tables import write_people
from hoso.unify.profiles import Profile

FILES = ("people.parquet", "fragments.parquet")


@dataclass(frozen=True, slots=True)
class Picture:
    """Local files of everybody, of the hubs that lead to them, of all events; people as of ``people_at`` (UTC ms)."""

    people: Path
    fragments: Path
    events: Sequence[Path]
    people_at: int


class Pictures:
    """Takes pictures of a workspace; ``folder`` keeps the files between questions."""

    def __init__(self, objects: Objects, workspace: str, folder: Path) -> None:
        self._objects = objects
        self._workspace = workspace
        self._folder = folder

    def last(self, as_of: int) -> Picture | None:
        """The people of the last nightly run with the events up to ``as_of``; None before the first run."""
        try:
            latest = orjson.loads(self._objects.get(latest_key(self._workspace)))
        except NotFound:
            return None
        people, fragments = (self._copy(latest["prefix"] + name) for name in FILES)
        return Picture(people, fragments, self._events(as_of), parse_instant(latest["as_of"]) or as_of)

    def fresh(self, everyone: Callable[[], Iterator[Profile]], rules: LiveRules, as_of: int) -> Picture:
        """The people as they are now, read one by one: exact, and slow where there are many."""
        self._folder.mkdir(parents=True, exist_ok=True)
        people, fragments = (self._folder / f"fresh-{name}" for name in FILES)
        write_people(snapped(everyone(), rules, as_of), people, fragments)
        return Picture(people, fragments, self._events(as_of), as_of)

    def _events(self, as_of: int) -> list[Path]:
        archive = Archive(self._objects, self._workspace)
        days = archive.days(format_instant(as_of)[:10])
        wanted = [key for day in days for key in archive.files(day)]
        names = {self._name(key) for key in wanted}
        for file in self._folder.glob("archive*"):
            if file.name not in names:
                file.unlink()
        return [self._copy(key) for key in wanted]

    def _copy(self, key: str) -> Path:
        file = self._folder / self._name(key)
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh = file.with_suffix(".new")
            fresh.write_bytes(self._objects.get(key))
            fresh.rename(file)
        return file

    @staticmethod
    def _name(key: str) -> str:
        return key.replace("/", "__")
