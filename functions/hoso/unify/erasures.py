"""Requests to erase a person, as documents that outlive the tables of people (security S51-S55).

Items of the ``control`` table: ``<ws>#erasure`` / ``e<at:013d>-<hash>`` with ``v``; ``at``, ``until`` (UTC ms: what
happened or came up to then is erased), ``by``, ``state``, ``pid``, ``members`` [type, keyed hash] of each identifier,
``near`` (profile ids of others whose merge log may name them), ``lists`` [name, hash], ``told`` (activations that told
somebody of the person), ``counts``, ``look_at``, ``hot_at``. No value of an identifier is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hoso.model.errors import NotFound
from hoso.model.time import DAY_MS, HOUR_MS, MINUTE_MS, format_instant
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Item, Key, Put, Table, at_version

RUNNING, SETTLING, PARTIAL = "running", "settling", "partial"
"""The stores of people are being emptied; they are empty and will be looked at again; they are done, and what a receipt
calls pending is left."""
ERASURE = "erasure:"
"""Begins what a timer entry of an erasure names."""
HOT_MS, ARCHIVE_MS, BACKUPS_MS = 72 * HOUR_MS, 14 * DAY_MS, 29 * DAY_MS
"""By when, from the request on, the stores are to be done (security, section 5)."""
_STREAM_MS = DAY_MS
_OVERLAP_MS = 15 * MINUTE_MS
_PREFIX = "e"

Json = dict[str, Any]


class Erasures:
    """The documents of all workspaces."""

    def __init__(self, control: Table, clock: Clock, ttl_ms: int) -> None:
        self._table = control
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._read: dict[str, tuple[int, str, dict[str, int]]] = {}

    def hashes(self, workspace: str, *, fresh: bool = False) -> Mapping[str, int]:
        """Per keyed hash of an erased identifier the time (UTC ms) up to which; at most the time of the configuration
        old, unless ``fresh``. After the first look only what is new is read."""
        now = self._clock()
        held = self._read.get(workspace)
        if held is not None and not fresh and held[0] <= now < held[0] + self._ttl_ms:
            return held[2]
        newest, known = (held[1], held[2]) if held else ("", dict[str, int]())
        for item in self._after(workspace, newest):
            for _, fid in item["members"]:
                known[fid] = max(item["until"], known.get(fid, 0))
            # documents that are written at one time may be seen in another order
            newest = max(newest, _name(max(0, item["at"] - _OVERLAP_MS)))
        self._read[workspace] = (now, newest, known)
        return known

    def get(self, workspace: str, erasure: str) -> Item:
        """One document, strongly consistent. Raises ``NotFound``."""
        item = self._table.get((_pk(workspace), erasure), consistent=True)
        if item is None:
            raise NotFound("no such erasure", hint="GET /v1/erasures lists them")
        return item

    def page(self, workspace: str, limit: int, before: str | None) -> tuple[list[Item], str | None]:
        """Documents, the newest first, and where the next page starts."""
        start: Key | None = (_pk(workspace), before) if before else None
        page = self._table.query(_pk(workspace), _PREFIX, limit=limit, start=start, reverse=True)
        return page.items, page.start[1] if page.start else None

    def of(self, workspace: str, fids: set[str]) -> Item | None:
        """The newest document that is about an identifier with one of these hashes; strongly consistent."""
        found = self._table.query_all(_pk(workspace), _PREFIX, reverse=True, consistent=True)
        return next((item for item in found if not fids.isdisjoint(fid for _, fid in item["members"])), None)

    def first(self, item: Item) -> Put:
        """The write of a new document."""
        return Put(self._table, item, at_version(0))

    def note(self, held: Item, **news: Any) -> Item:
        """Write progress on the condition that nobody else did. Raises ``Refused``."""
        item = {**held, **news, "v": held["v"] + 1}
        self._table.put(item, at_version(held["v"]))
        return item

    def _after(self, workspace: str, newest: str) -> Iterator[Item]:
        start: Key | None = (_pk(workspace), newest) if newest else None
        while True:
            page = self._table.query(_pk(workspace), _PREFIX, start=start, consistent=True)
            yield from page.items
            start = page.start
            if start is None:
                return


def key_of(workspace: str, at: int, name: str) -> Key:
    """The key of a document."""
    return _pk(workspace), f"{_name(at)}-{name}"


def shown(held: Item, now: int) -> Json:
    """A document as the API shows it: the receipt, with what became of each store."""
    hot = "done" if held["state"] == PARTIAL else "pending"
    stores: list[Json] = [{"store": name, "state": hot, "note": note} for name, note in _HOT]
    stores += [{"store": name, "state": state, "note": note} for name, state, note in _REST]
    streamed = "done" if now >= held["at"] + _STREAM_MS else "pending"
    stores.append({"store": "stream", "state": streamed, "note": "its records end after 24 hours"})
    told: list[str] = sorted(held.get("told", ()))
    sent = "activations told somebody of this person: have them erase it, Hoso does not call them"
    stores.append(
        {
            "store": "destinations",
            "state": "pending" if told else "not applicable",
            "note": sent if told else "nothing went out about this person in the 90 days that deliveries are kept",
            "activations": told,
        }
    )
    instants = {"at": held["at"], "until": held["until"], "hot_done_at": held.get("hot_at")}
    clocks = {"hot": HOT_MS, "archive": ARCHIVE_MS, "backups": BACKUPS_MS}
    return {
        "id": held["sk"],
        "profile_id": held["pid"],
        "state": held["state"],
        **{name: format_instant(value) if value else None for name, value in instants.items()},
        "by": held["by"],
        "counts": held["counts"],
        "due": {name: format_instant(held["at"] + left) for name, left in clocks.items()},
        "archive": "pending",
        "stores": stores,
    }


_HOT = (
    ("profile", "person, fragments, traits, consent, scores"),
    ("identity", "identifiers are left as keyed hashes that keep out what came before"),
    ("timeline", "its pages with the events in them"),
    ("memberships", "also the lists of members and lists of people"),
    ("merge log", "also what the logs of others say of this person's identifiers"),
    ("outbox", "announcements that waited"),
    ("deliveries", "also the counts for frequency caps"),
    ("timers", "no evaluation is left to be done"),
)
_REST = (
    ("archive", "pending", "objects are not rewritten yet; SQL, nightly runs, replays and pasts leave the events out"),
    ("nightly snapshots", "pending", "the next night's is without the person; older ones stay"),
    ("likeness", "pending", "pairs that were found stay until they are decided; the next night finds none"),
    ("operators' records", "pending", "cuts and blocks that parted nobody stay, with the identifiers that they name"),
    ("quarantine", "pending", "refused rows expire after 90 days"),
    ("imports", "pending", "imported files stay as they were put there"),
    ("exports", "pending", "files that were exported stay"),
    ("queues", "pending", "messages under way find nobody when they are sent, and expire after at most 14 days"),
    ("backups", "pending", "point-in-time copies end after 14 days"),
    ("suppression lists", "not applicable", "keyed hashes stay, so that nothing is sent to the address"),
    ("marks", "not applicable", "keyed hashes of bills and addresses name no person, and expire after 400 days"),
    ("logs and metrics", "not applicable", "they hold no personal data"),
)


def _name(at: int) -> str:
    return f"{_PREFIX}{at:013d}"


def _pk(workspace: str) -> str:
    return f"{workspace}#erasure"
