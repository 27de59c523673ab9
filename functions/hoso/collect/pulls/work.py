"""Pulls, step by step: ask for a window, wait for its file, drop it where files are imported, go on to the next.

State per source and object, in the ``delivery`` table: ``<workspace>#U#<source>`` / ``<object>``: ``v``, ``since``
(what came before is here), ``until`` and ``job`` (asked for, absent: nothing is), ``next`` (not before), ``tries`` and
``trouble`` since the last success, ``span`` (ms; a window that made too large a file was cut), ``files``, ``at``.

A step is killed anywhere and done again: a job that nobody waits for is asked for anew, a file has a name of its
window, and an import knows content that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from hoso.collect.pulls import puller_of
from hoso.collect.pulls.contract import Caller, Json, Puller, TooMuch, Trouble, Window, begin_of, due_after
from hoso.collect.sources.contract import TOKEN, HookSource
from hoso.collect.sources.reading import given
from hoso.model.time import DAY_MS, MINUTE_MS, format_instant
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Item, Refused, Table, at_version
from hoso.platform.http import Outbound
from hoso.platform.metrics import meter
from hoso.platform.objects import Objects
from hoso.platform.retry import delay_ms

SETTLED_MS = MINUTE_MS
"""How far behind now a window ends: what a sender has just written may not be found yet."""

LONGEST_JOB_MS = DAY_MS
SHORTEST_MS = MINUTE_MS
_FILE_TYPE = "text/csv"


@dataclass(frozen=True, slots=True)
class Pulls:
    """Works for the sources of a workspace. ``uniform`` draws between two bounds."""

    workspace: str
    delivery: Table
    objects: Objects
    outbound: Outbound
    clock: Clock
    uniform: Callable[[float, float], float]

    def run(self, source: HookSource) -> None:
        """One step for each object of a source. Raises ``Transient`` when a table or the bucket does not answer."""
        puller = puller_of(source.kind)
        settings: Json | None = source.settings.get("pull")
        if puller is None or not settings:
            return
        for name in puller.objects(settings):
            held = self.delivery.get((_pk(self.workspace, source.key), name), consistent=True)
            state: Item = held or {"v": 0, "since": begin_of(settings), "next": 0, "tries": 0, "files": 0}
            if state["next"] > self.clock():
                continue
            moved = self._step(source, puller, settings, name, state)
            self._keep(source.key, name, state["v"], moved)

    def _step(self, source: HookSource, puller: Puller, settings: Json, name: str, state: Item) -> Item:
        """The state after one step."""
        now = self.clock()
        try:
            secret = next(iter(source.secrets.get(TOKEN, ())), "")
            if not secret:
                raise Trouble("the source has no secret for api_token")
            caller = Caller(self.outbound, settings["api"], now)
            puller.sign_in(caller, settings, secret)
            if "job" not in state:
                return self._ask(puller, caller, settings, name, state, now)
            window = Window(settings, name, state["since"], state["until"])
            progress = puller.progress(caller, window, state["job"])
            if progress == "running" and now - state["at"] < LONGEST_JOB_MS:
                return state
            if progress != "done":
                raise Trouble(f"the job is {progress}", gone=True)
            files = self._fetch(source, puller, caller, window, state["job"])
        except TooMuch as error:
            span = max((state["until"] - state["since"]) // 2, SHORTEST_MS)
            return {**_without_job(state), "span": span, "next": now, "trouble": error.message}
        except Trouble as error:
            meter().add("pulls", outcome="trouble")
            wait = delay_ms(state["tries"] + 8, error.after_ms, self.uniform)
            base = _without_job(state) if error.gone else state
            return {**base, "tries": state["tries"] + 1, "trouble": error.message, "next": now + wait}
        meter().add("pulls", outcome="done")
        behind = now - state["until"] > due_after(settings)
        done = {"since": state["until"], "next": now if behind else now + due_after(settings), "tries": 0}
        kept = {key: value for key, value in _without_job(state).items() if key not in ("trouble", "span")}
        return {**kept, **done, "files": state["files"] + files}

    def _ask(self, puller: Puller, caller: Caller, settings: Json, name: str, state: Item, now: int) -> Item:
        span = min(state.get("span", puller.longest_ms), puller.longest_ms)
        # senders tell times in whole seconds: windows meet at whole minutes
        settled = (now - SETTLED_MS) // MINUTE_MS * MINUTE_MS
        window = Window(settings, name, state["since"], min(settled, state["since"] + span))
        if window.until <= window.since:
            return {**state, "next": now + due_after(settings)}
        job = puller.create(caller, window)
        return {**state, "job": job, "until": window.until, "at": now, "next": now}

    def _fetch(self, source: HookSource, puller: Puller, caller: Caller, window: Window, job: str) -> int:
        """Drop the files of a job, each with what its rows are; how many they are."""
        root = f"imports/{quote(self.workspace, safe='')}/{source.key}/"
        span = f"{_short(window.since)}-{_short(window.until)}"
        mapping = orjson.dumps(puller.mapping(window) | given(id_type=source.settings.get("id_type")))
        count = 0
        for count, body in enumerate(_filled(puller.files(caller, window, job)), 1):
            key = f"{root}pulled-{window.object}-{span}-{count}.csv"
            self.objects.put(f"{key}.mapping.json", mapping, "application/json")
            self.objects.put(key, body, _FILE_TYPE)
        return count

    def _keep(self, source: str, name: str, version: int, state: Mapping[str, object]) -> None:
        item = {**state, "pk": _pk(self.workspace, source), "sk": name, "v": version + 1}
        try:
            self.delivery.put(item, at_version(version))
        except Refused:
            meter().add("pulls", outcome="raced")  # another step was faster: what it did stands


def standings(delivery: Table, workspace: str, source: str) -> list[Json]:
    """How the pulls of a source stand, by object. Raises ``Transient``."""
    found: list[Json] = []
    for item in delivery.query_all(_pk(workspace, source)):
        times = {name: format_instant(item[name]) for name in ("since", "until", "next", "at") if name in item}
        found.append({"object": item["sk"], **times, "files": item["files"], "trouble": item.get("trouble")})
    return found


def _pk(workspace: str, source: str) -> str:
    return f"{workspace}#U#{source}"


def _filled(files: Iterator[bytes]) -> Iterator[bytes]:
    """The files that have rows beside that of their columns."""
    return (body for body in files if body.strip().count(b"\n"))


def _short(instant: int) -> str:
    """An instant in the name of a file.

    >>> _short(1_767_596_400_000)
    '20260105T070000'
    """
    return format_instant(instant)[:19].replace("-", "").replace(":", "")


def _without_job(state: Item) -> Item:
    return {name: value for name, value in state.items() if name not in ("job", "until")}
