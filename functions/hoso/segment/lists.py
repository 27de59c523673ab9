"""What an operator does with lists and suppression lists: make, fill, read, delete.

A list is a control document of kind ``list`` (name, description); who is on it lies with the people
(``hoso.unify.listed``). The suppression list of a channel is a list of the name ``!<channel>``, made when it is first
filled; addresses of which a channel told that nothing may go there are kept by ``activate`` and cannot be lifted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hoso.model.errors import Conflict, HosoError, InvalidInput, NotFound
from hoso.model.identifiers import IdentityConfig
from hoso.model.time import MINUTE_MS, format_instant
from hoso.platform.audit import audit_entry, audited
from hoso.platform.clock import Clock
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import Table
from hoso.platform.log import logger
from hoso.segment.check import InvalidSegment, leaves, read_segment
from hoso.segment.language import OnList, Segment
from hoso.segment.states import segment_states
from hoso.unify.listed import Entry, Expected, Listed, Place
from hoso.unify.listings import Listing, channel_of, suppression
from hoso.unify.lookup import Asked, read_asked
from hoso.unify.profiles import Profile

KIND = "list"
MOST_AT_ONCE = 1_000
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,29}|\*")
_MOST_FAULTS = 20

Json = dict[str, Any]
TELLING: Sequence[str] = ("email",)
"""Channels that tell of addresses to which nothing may go; the address is the identifier of the same type."""
Told = Callable[[str, str], Iterable[tuple[str, int, str]]]
"""Workspace, channel → what the channel itself suppressed: hash of the address, since when, why."""


class Lists:
    """The lists of a workspace."""

    def __init__(
        self,
        control: ControlStore,
        table: Table,
        listed: Listed,
        config: IdentityConfig,
        clock: Clock,
        workspace: str,
    ) -> None:
        self._control = control
        self._table = table
        self._listed = listed
        self._config = config
        self._clock = clock
        self._audited = audited(table, workspace, clock)
        self._workspace = workspace

    def all(self) -> list[Json]:
        """Every list that is no suppression list, by key."""
        documents = self._control.all(self._workspace, KIND)
        return [_shown(documents[key]) for key in sorted(documents) if channel_of(key) is None]

    def get(self, key: str) -> Json:
        """One list. Raises ``NotFound``."""
        return _shown(self._document(key))

    def put(self, key: str, body: Mapping[str, Any], actor: str) -> Json:
        """Make a list, or name it anew. Raises ``InvalidInput``."""
        if _KEY.fullmatch(key) is None:
            raise InvalidInput("the key of a list has letters, digits, . _ - and at most 100 characters")
        strange = body.keys() - {"name", "description"}
        if strange or not all(isinstance(value, str) and len(value) <= 500 for value in body.values()):
            raise InvalidInput("a list has a name and a description (texts of at most 500 characters)")
        named = {"name": body.get("name", key), "description": body.get("description", "")}
        return _shown(self._control.put(self._workspace, KIND, key, named, self._audited(actor, "list.put", key)))

    def change(self, key: str, body: Mapping[str, Any], actor: str, *, dry_run: bool = False) -> Json:
        """Put identifiers on a list (``add``) or take them off (``remove``), at most 1,000 together.

        What cannot be read is answered in ``refused`` and holds up nothing else; ``dry_run`` only reads.

        Raises:
            NotFound: there is no such list.
            InvalidInput: the lists are no lists of texts, or name one identifier on both sides.
        """
        if not dry_run:
            self._document(key)
        return self._change(key, body, actor, "list.members", dry_run=dry_run)

    def suppress(self, body: Mapping[str, Any], actor: str, *, dry_run: bool = False) -> Json:
        """As ``change`` for the suppression list of ``channel`` (``*``: all).

        Addresses that the channel itself told of stay suppressed: ``still`` counts them.
        """
        channel = _channel(body.get("channel", "*"))
        key = suppression(channel)
        if not dry_run and key not in self._control.all(self._workspace, KIND):
            self._control.put(self._workspace, KIND, key, {"name": f"suppressed: {channel}", "description": ""})
        rest = {name: value for name, value in body.items() if name != "channel"}
        return {"channel": channel, **self._change(key, rest, actor, "suppression.members", dry_run=dry_run)}

    def members(self, key: str, limit: int, start: Place | None) -> tuple[list[Json], Place | None]:
        """A page of who is on a list, each with the profile it belongs to now. Raises ``NotFound``."""
        self._document(key)
        return self._page(key, limit, start)

    def suppressed(self, channel: str, limit: int, start: Place | None) -> tuple[list[Json], Place | None]:
        """A page of what is suppressed by hand on a channel. Raises ``InvalidInput``."""
        return self._page(suppression(_channel(channel)), limit, start)

    def delete(self, key: str, actor: str) -> Json:
        """Take a list out of use; its members leave it first, at most 1,000 a call: call again until ``deleted``.

        Raises:
            NotFound: there is no such list.
            Conflict: a segment asks for it.
        """
        self._document(key)
        users = sorted(other.key for other in self._segments() if _asks_for(other, key))
        if users:
            raise Conflict(f"segment {users[0]} asks for it", code="in_use", hint="change or archive that one first")
        page = self._listed.page(self._workspace, key, MOST_AT_ONCE)
        gone = [Asked(None, f"p_{entry.fid}") for entry in page.items]
        self._listed.change(self._workspace, key, gone, Listing(on=False, at=self._clock(), reason="list deleted"))
        if page.next is None:
            entry = audit_entry(self._table, self._workspace, self._clock(), actor, "list.delete", key)
            self._table.put(entry.item)
            self._control.delete(self._workspace, KIND, key)
        return {"key": key, "removed": len(gone), "deleted": page.next is None}

    def _change(self, key: str, body: Mapping[str, Any], actor: str, action: str, *, dry_run: bool) -> Json:
        strange = body.keys() - {"add", "remove", "reason"}
        reason = body.get("reason", "")
        if strange or not isinstance(reason, str) or len(reason) > 200:
            raise InvalidInput("a change has add, remove and a reason (at most 200 characters)")
        refused: list[Json] = []
        sides = {side: self._read(body.get(side, []), side, refused) for side in ("add", "remove")}
        if len(sides["add"]) + len(sides["remove"]) + len(refused) > MOST_AT_ONCE:
            raise InvalidInput(f"at most {MOST_AT_ONCE} identifiers at once", hint="send the rest in another request")
        if sides["add"].keys() & sides["remove"].keys():
            raise InvalidInput("an identifier is both to be added and to be removed")
        counts = {"added": len(sides["add"]), "removed": len(sides["remove"])}
        if not dry_run:
            now = self._clock()
            for side, name in (("add", "added"), ("remove", "removed")):
                asked = list(sides[side].values())
                if asked:
                    fresh = Listing(on=side == "add", at=now, reason=reason)
                    counts[name] = self._listed.change(self._workspace, key, asked, fresh)
            self._table.put(audit_entry(self._table, self._workspace, now, actor, action, key).item)
        faults = {"refused": len(refused), "faults": refused[:_MOST_FAULTS]}
        return {"key": key, "dry_run": dry_run, **counts, **faults}

    def _read(self, given: object, side: str, refused: list[Json]) -> dict[str, Asked]:
        """The identifiers of one side by fragment; a place where one is unreadable, never its text, is noted."""
        if not isinstance(given, list):
            raise InvalidInput(f"{side} must be a list of TYPE:VALUE or profile ids")
        found: dict[str, Asked] = {}
        for position, text in enumerate(given):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            try:
                asked = read_asked(self._config, text if isinstance(text, str) else "")
                found[self._listed.fid_of(self._workspace, asked)] = asked
            except HosoError as error:
                refused.append({"side": side, "position": position, "code": error.code, "message": error.message})
        return found

    def _page(self, key: str, limit: int, start: Place | None) -> tuple[list[Json], Place | None]:
        page = self._listed.page(self._workspace, key, limit, start)
        owners = self._listed.owners(self._workspace, page.items)
        return [_entry(entry, pid) for entry, pid in zip(page.items, owners, strict=True)], page.next

    def _document(self, key: str) -> Document:
        if channel_of(key) is not None:
            raise NotFound(f"no list has the key {key}", hint="suppression lists are under /v1/suppressions")
        return self._control.get(self._workspace, KIND, key)

    def _segments(self) -> Iterator[Segment]:
        states = segment_states(self._control, self._workspace)
        for key, document in self._control.all(self._workspace, "segment").items():
            if states.get(key) == "archived":
                continue
            with suppress(InvalidSegment):
                yield read_segment(document.body)


class ListKeeper:
    """Makes the lists that people carry what the entries say, for nightly work. ``told`` is what channels told of."""

    def __init__(self, control: ControlStore, listed: Listed, told: Told) -> None:
        self._control = control
        self._listed = listed
        self._told = told

    def exact(self, workspace: str, people: Iterable[Profile], now: int) -> Iterator[Profile]:
        """The same people, those whose copies were wrong put right, here and in the table."""
        expected = self._expected(workspace)
        wrong = 0
        for profile in people:
            wrong += self._listed.repair(profile, expected, now - MINUTE_MS)
            yield profile
        if wrong:
            logger("segment").warning("listings repaired", extra={"listings": wrong})

    def _expected(self, workspace: str) -> Expected:
        """What must be so of each fragment (about 200 bytes an entry)."""
        found: dict[str, dict[str, Listing]] = {}
        for name in sorted(self._control.all(workspace, KIND)):
            for entry in self._listed.all(workspace, name):
                found.setdefault(entry.fid, {})[name] = Listing(on=True, at=entry.at, reason=entry.reason)
        for channel in TELLING:
            for fid, at, reason in self._told(workspace, channel):
                found.setdefault(fid, {})[suppression(channel, told=True)] = Listing(on=True, at=at, reason=reason)
        return found


def _asks_for(segment: Segment, key: str) -> bool:
    return any(isinstance(leaf, OnList) and leaf.key == key for leaf in leaves(segment.rule))


def _channel(given: object) -> str:
    if not isinstance(given, str) or _CHANNEL.fullmatch(given) is None:
        raise InvalidInput("channel is the name of a channel, such as email, or * for all")
    return given


def _shown(document: Document) -> Json:
    return {"key": document.key, "revision": document.revision, "at": format_instant(document.at), **document.body}


def _entry(entry: Entry, pid: str) -> Json:
    return {"profile_id": pid, "type": entry.type, "since": format_instant(entry.at), "reason": entry.reason}
