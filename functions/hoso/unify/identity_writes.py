"""Writing a decision on identity: one transaction, or a first one and resumable steps when a person is large.

Every transaction is conditioned on the version of each person that the decision rests on. Whoever changes the item of
an identifier also writes the item of its person, so these versions guard the identifiers too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from hoso.model.identifiers import Identifier
from hoso.model.time import DAY_MS, MINUTE_MS, SECOND_MS
from hoso.platform.clock import Clock
from hoso.platform.dynamo import (
    ABSENT,
    TRANSACTION_LIMIT,
    Check,
    Item,
    Key,
    Put,
    Table,
    Update,
    Write,
    at_version,
    transact,
)
from hoso.platform.ids import content_id
from hoso.unify.evidence import Evidence, Operation
from hoso.unify.identity_changes import Change
from hoso.unify.identity_component import Component, TooLarge
from hoso.unify.identity_items import IdentityKeys, read_identifier
from hoso.unify.settlement import due_item, open_record_item

MOVES_PER_STEP = 45
_OUTBOX_TTL_MS = 7 * DAY_MS
_MAY_BE_EMPTY = ("nb", "sh")


class Cause(NamedTuple):
    """Why a decision was taken: the event or record, its time, and the rule that it came under. ``silent``: all of it
    comes from a replay."""

    id: str
    ts: int
    rule: str
    record_id: str | None
    silent: bool = False
    source: str = ""
    note: Item | None = None

    @classmethod
    def of(cls, told: Sequence[Evidence], records: Sequence[Operation], note: Item | None = None) -> Cause:
        """The cause of a decision on this evidence (its latest event) or record."""
        if records:
            record = records[0]
            return cls(record.record_id, record.ts, type(record).__name__.lower(), record.record_id, note=note)
        latest = max(told, key=lambda one: (one.ts, one.event_id))
        silent = all(one.silent for one in told)
        rule = "link" if latest.previous is None else "alias"
        return cls(latest.event_id, latest.ts, rule, None, silent, latest.source)


class IdentityWriter:
    """The write path of identity."""

    def __init__(
        self, profiles: Table, outbox: Table, delivery: Table, client: Any, keys: IdentityKeys, clock: Clock
    ) -> None:
        self._table = profiles
        self._outbox = outbox
        self._delivery = delivery
        self._client = client
        self._keys = keys
        self._clock = clock

    def write(self, component: Component, change: Change, cause: Cause, waiting: Collection[str] = ()) -> None:
        """Write a change. ``waiting`` are people whose segments no event of this work will have evaluated: they fall
        due at once, so that the sweeper does, whoever dies (of very many the next night does).

        Raises:
            Refused: somebody changed one of the people meanwhile; read and decide again.
            TooLarge: the evidence of more identifiers changes than one transaction holds.
        """
        bases = self._bases(component, change)
        now = self._clock()
        for pid in waiting:
            change.people[pid]["due"] = now
        writes = self._people(change, bases)
        writes += self._identifiers(component, change.learnt)
        writes += self._history(component, change, bases, cause)
        if cause.record_id is not None:
            writes.append(
                Put(
                    self._table,
                    (cause.note or {})
                    | _item(self._keys.record_key(cause.record_id), v=1, at=now, people=change.touched),
                    ABSENT,
                )
            )
            if "open" in (cause.note or {}):  # whoever is at it is done by then; else the sweeper goes on
                writes.append(
                    Put(self._delivery, open_record_item(self._keys.workspace, cause.record_id, now + MINUTE_MS))
                )
        if len(writes) + len(waiting) <= TRANSACTION_LIMIT:
            writes += [Put(self._delivery, due_item(self._keys.workspace, pid, now)) for pid in waiting]
        bumped = [one for pid in change.touched for one in change.after[pid]]
        writes += [self._forget(one) for one in sorted(change.forgotten.difference(bumped))]
        moves = self._identifiers(component, change.moved)
        moves += [self._bump(one, change.pids[one], forget=one in change.forgotten) for one in bumped]
        if len(writes) + len(moves) <= TRANSACTION_LIMIT:
            transact(self._client, [*writes, *moves])
        else:
            transact(self._client, self._with_steps_open(writes, change))
            self.finish(change.touched[0])

    def finish(self, pid: str) -> None:
        """Finish the moves that a decision on a large person left open, step by step (R27).

        May be called at any time and by anybody; raises ``Refused`` when somebody else is at it.
        """
        person = self._person(pid)
        for one in person.get("st", ()):
            self._move(one)
        people = [self._person(one) for one in person.get("st", ())]
        writes = self._closed(read_identifier(text) for item in people for text in item.get("op", ()))
        writes += [self._put_person(item, ("mv", "op", "st"), {}) for item in people]
        if writes:
            transact(self._client, writes)

    def _move(self, pid: str) -> None:
        """Point identifiers and hot items to their new person, as many in a transaction as fit."""
        while True:
            person = self._person(pid)
            waiting: list[str] = person.get("mv", [])
            if not waiting:
                return
            held = self._read(map(read_identifier, waiting[:MOVES_PER_STEP]))
            writes: list[Write] = [self._bump(one, pid, forget=True) for one in held]
            writes += [
                Put(self._table, self._identifier(one, item or {}, {"p": pid}), at_version((item or {}).get("v", 0)))
                for one, item in held.items()
                if (item or {}).get("p", self._keys.profile(one)) != pid
            ]
            writes.append(self._put_person(person, ("mv",), {"mv": waiting[MOVES_PER_STEP:]}))
            transact(self._client, writes)

    def _person(self, pid: str) -> Item:
        return self._table.get(self._keys.person_key(pid), consistent=True) or {}

    def _put_person(self, item: Item, without: Iterable[str], more: Item) -> Write:
        kept = {name: value for name, value in item.items() if name not in without}
        return Put(self._table, kept | more | {"v": item["v"] + 1}, at_version(item["v"]))

    def _closed(self, opened: Iterable[Identifier]) -> list[Write]:
        """Items whose evidence was held open until all moves were done."""
        return [
            Put(
                self._table,
                {name: value for name, value in item.items() if name != "pend"} | {"v": item["v"] + 1},
                at_version(item["v"]),
            )
            for item in self._read(opened).values()
            if item is not None and "pend" in item
        ]

    def _with_steps_open(self, writes: list[Write], change: Change) -> list[Write]:
        """The same writes, with the moves noted on the people, and the learnt identifiers marked so that the next
        worker that meets them finishes what a killed one left."""
        extras: dict[Key, Item] = {self._keys.identifier_key(one): {"pend": True} for one in change.learnt}
        for pid in change.touched:
            members = change.after[pid]
            extras[self._keys.person_key(pid)] = {
                "mv": sorted(map(str, members)),
                "op": sorted(str(one) for one in change.learnt if one in members),
                "st": change.touched,
            }
        if len(writes) > TRANSACTION_LIMIT:
            raise TooLarge
        return [
            replace(write, item=write.item | extras.get((write.item["pk"], write.item["sk"]), {}))
            if isinstance(write, Put)
            else write
            for write in writes
        ]

    def _bases(self, component: Component, change: Change) -> dict[str, Item | None]:
        """The person items as they are, those of profiles that only now come (back) to life included."""
        unread = [pid for pid in change.people if pid not in component.people]
        items = self._table.batch_get(map(self._keys.person_key, unread), consistent=True)
        return component.people | {pid: items.get(self._keys.person_key(pid)) for pid in unread}

    def _people(self, change: Change, bases: dict[str, Item | None]) -> list[Write]:
        writes: list[Write] = []
        for pid, base in bases.items():
            version = (base or {}).get("v", 0)
            key = self._keys.person_key(pid)
            if pid in change.people:
                kept = {} if base is None or "to" in base else base
                gone = (*_MAY_BE_EMPTY, "rl") if pid in change.touched else _MAY_BE_EMPTY
                kept = {name: value for name, value in kept.items() if name not in gone}
                item = kept | _filled(change.people[pid])
            elif pid in change.tombstones:
                item = change.tombstones[pid]
            else:
                writes.append(Check(self._table, key, at_version(version)))
                continue
            writes.append(Put(self._table, item | _item(key, v=version + 1), at_version(version)))
        return writes

    def _identifiers(self, component: Component, contents: dict[Identifier, dict[str, Any]]) -> list[Write]:
        return [
            Put(
                self._table,
                self._identifier(one, {"v": component.known[one].version}, content),
                at_version(component.known[one].version),
            )
            for one, content in contents.items()
        ]

    def _identifier(self, one: Identifier, base: Item, content: dict[str, Any]) -> Item:
        key = self._keys.identifier_key(one)
        return base | content | _item(key, v=base.get("v", 0) + 1, val=one.value)

    def _bump(self, one: Identifier, pid: str, *, forget: bool) -> Write:
        """Raise the version of a fragment's hot item and note its owner, so that a worker with an older picture of
        the person fails and decides again. ``forget``: it may not go on saying which evidence is known."""
        put: Item = {"o": pid, "k": b""} if forget else {"o": pid}
        return Update(self._table, self._keys.hot_key(one), put=put, add={"v": 1}, default={"hub": list(one)})

    def _forget(self, one: Identifier) -> Write:
        """Have a fragment forget which evidence was known, and workers that believe so fail, whoever it belongs to."""
        return Update(self._table, self._keys.hot_key(one), put={"k": b""}, add={"v": 1}, default={"hub": list(one)})

    def _history(
        self, component: Component, change: Change, bases: dict[str, Item | None], cause: Cause
    ) -> list[Write]:
        """Merge records (R29) and announcements of people that were known as such before."""
        writes: list[Write] = []
        for pid in change.touched:
            members = change.after[pid]
            if members <= change.erased:
                continue  # nobody is told of, and no log names, what is left of whoever was erased
            before = {
                other: held if change.erased.isdisjoint(held) else held & members
                for other, held in change.before.items()
                if held & members
            }
            if len(before) > 1 or any(held != members for held in before.values()):
                writes.append(self._merge_record(pid, before, members, change, cause))
            ended = sorted(other for other in before if other != pid and component.people[other] is not None)
            gone = [other for other in ended if other not in change.after]
            stays = [other for other in ended if other in change.after]
            version = (bases[pid] or {}).get("v", 0) + 1
            if gone:
                writes.append(self._announce("profile.merged", pid, gone, version, cause))
            if stays and pid not in component.people:
                writes.append(self._announce("profile.unmerged", pid, stays, version, cause))
        return writes

    def _merge_record(
        self,
        pid: str,
        before: dict[str, frozenset[Identifier]],
        members: frozenset[Identifier],
        change: Change,
        cause: Cause,
    ) -> Write:
        images = {other: sorted(map(str, held)) for other, held in sorted(before.items())}
        after = sorted(map(str, members))
        joins = [list(map(str, link)) for link in change.joins if set(link) <= members and _crosses(link, before)]
        digest = content_id(cause.id, pid, orjson.dumps(images, option=orjson.OPT_SORT_KEYS).decode(), *after)
        key = (self._keys.person_key(pid)[0], f"M#{cause.ts:015d}#{digest}")
        told: Item = {"rule": cause.rule, "event": cause.id, "links": joins, "before": images, "after": {pid: after}}
        if cause.source:
            told["source"] = cause.source
        by = (cause.note or {}).get("by")
        return Put(self._table, _item(key, **told, at=self._clock()) | ({"by": by} if by else {}))

    def _announce(self, kind: str, pid: str, others: list[str], version: int, cause: Cause) -> Write:
        at = self._clock()
        workspace = self._keys.workspace
        event_id = content_id(workspace, pid, kind, *others, str(version))
        detail = {
            "version": 1,
            "event_id": event_id,
            "workspace": workspace,
            "type": kind,
            "at": at,
            "profile_id": pid,
            "others": others,
            "cause": {"id": cause.id, "rule": cause.rule},
        }
        if cause.silent:
            detail["silent"] = True
        item = _item(
            (f"{workspace}#{pid}", event_id),
            type=kind,
            detail=orjson.dumps(detail).decode(),
            at=at,
            ttl=(at + _OUTBOX_TTL_MS) // SECOND_MS,
        )
        return Put(self._outbox, item)

    def _read(self, wanted: Iterable[Identifier]) -> dict[Identifier, Item | None]:
        names = {one: self._keys.identifier_key(one) for one in wanted}
        items = self._table.batch_get(names.values(), consistent=True) if names else {}
        return {one: items.get(name) for one, name in names.items()}


def _item(key: tuple[str, str], **attributes: Any) -> Item:
    return {"pk": key[0], "sk": key[1], **attributes}


def _filled(attributes: Item) -> Item:
    """Without empty lists of neighbours and shared values: most people have none."""
    return {name: value for name, value in attributes.items() if name not in _MAY_BE_EMPTY or value}


def _crosses(link: Iterable[Identifier], before: dict[str, frozenset[Identifier]]) -> bool:
    """Whether a link connects two of the profiles that there were before."""
    ends = set(link)
    return not any(ends <= held for held in before.values())
