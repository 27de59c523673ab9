"""What verdicts change for a person: memberships, the lists of members, the timer, the announcements (pure).

All of it is written in one transaction with the versions it rests on (docs/data-model.md, invariants 1 and 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from hoso.model.time import DAY_MS, SECOND_MS
from hoso.platform.dynamo import Item, Key
from hoso.platform.ids import content_id
from hoso.segment.person import Verdict
from hoso.unify.profiles import Membership, Person

MEMBER_SHARDS = 16
DUE_SHARDS = 8
SLOT_MS = 300_000
MOST_TRANSITIONS = 25
"""Changes in one transaction; a person with more gets them in further rounds."""
MOST_ITEMS = 75
"""Items of changes and of new times to look again in one transaction: the rest of it is the person's fragments."""
_AFTER_MERGE = frozenset({"ab", "qm", "rl"})
"""Attributes of a person that a merge or a parting leaves until everything was evaluated and listed anew."""
MOST_FORMER = 60
"""Profile ids whose entries go with one that ends: as many people as one decision of identity joins."""
OPEN_RECORD = "record:"
"""Begins what a timer entry of an operator's record names; profile ids begin with ``p_``."""
_OUTBOX_TTL_MS = 7 * DAY_MS
_DUE_TTL_MS = 7 * DAY_MS


class Reason(NamedTuple):
    """Why a membership changed. ``kind``: event, time, merge, nightly, rule or list; ``silent``: a replay changed it,
    and nobody is told."""

    kind: str
    message_id: str | None = None
    event: str | None = None
    silent: bool = False


@dataclass(slots=True)
class Settlement:
    """A person after the verdicts, with the items that belong to the change.

    ``puts`` and ``drops`` are member items, ``due`` the timer to arm, ``outbox`` the announcements. ``complete`` is
    false when there was more to change than one transaction takes.
    """

    person: Person
    puts: list[Item] = field(default_factory=list[Item])
    drops: list[Key] = field(default_factory=list[Key])
    outbox: list[Item] = field(default_factory=list[Item])
    due: Item | None = None
    complete: bool = True

    @property
    def room(self) -> int:
        """How many more items the transaction takes."""
        return MOST_ITEMS - len(self.puts) - len(self.drops) - len(self.outbox)


def settle(
    workspace: str,
    person: Person,
    verdicts: Mapping[str, Verdict],
    revisions: Mapping[str, int],
    *,
    at: int,
    reason: Callable[[str], Reason],
    every: bool = False,
) -> Settlement | None:
    """What these verdicts, given at the instant ``at``, change; None when nothing has to be written.

    ``every`` says that all segments were evaluated: then the person is clean afterwards, and memberships of segments
    that no longer exist end. A verdict that is *spilled* leaves the last answer as it is.
    """
    memberships, reasons = person.memberships, person.reasons
    answer = Settlement(person)
    found = _with_vanished(verdicts, person, revisions, every=every)
    changed = False
    if moving := _moving(memberships, found, revisions, at):
        memberships, reasons = dict(memberships), dict(reasons)
        changed = _bring(workspace, answer, memberships, reasons, found, revisions, at, reason, sorted(moving))
    rest = dict(person.rest)
    unclean = person.dirty or bool(_AFTER_MERGE & rest.keys())
    if every and unclean and answer.complete:
        changed = True
        reached = _relist(workspace, answer, memberships)
        if reached is None:
            rest = {name: value for name, value in rest.items() if name not in _AFTER_MERGE}
        else:
            rest["rl"], answer.complete = reached, False
    cleaned = every and unclean and answer.complete
    # who evaluates all segments and cannot write all changes at once has to evaluate all of them again: now, or, if
    # this process dies, when the sweeper comes
    due = _due(person, verdicts, at, every=every) if answer.complete or not every else at
    if not (changed or due != person.due):
        return None
    if due is not None and due != person.due:
        answer.due = due_item(workspace, person.pid, due)
    answer.person = replace(
        person,
        version=person.version + 1,
        memberships=memberships,
        reasons=reasons,
        due=due,
        dirty=person.dirty and not cleaned,
        split_id=person.split_id or person.pid,
        rest=rest,
    )
    return answer


def _bring(
    workspace: str,
    answer: Settlement,
    memberships: dict[str, Membership],
    reasons: dict[str, Sequence[str | None]],
    verdicts: Mapping[str, Verdict],
    revisions: Mapping[str, int],
    at: int,
    reason: Callable[[str], Reason],
    moving: Sequence[str],
) -> bool:
    """Bring memberships and reasons of the ``moving`` segments to the verdicts and note the items of it, as far as one
    transaction goes.

    Answers whether anything changed.
    """
    pid, version = answer.person.pid, answer.person.version + 1
    quiet: frozenset[str] = frozenset(answer.person.rest.get("qm", ()))
    former: list[str] = answer.person.rest.get("ab", [])[:MOST_FORMER]
    changed = False
    for key in moving:
        held, verdict = memberships.get(key), verdicts[key]
        full = answer.room < (3 if verdict.member else 2 + len(former)) and answer.room < MOST_ITEMS
        if held is not None and verdict.member:
            if full:
                answer.complete = False
                break
            memberships[key] = held._replace(until=verdict.until, revision=revisions[key])
            answer.puts.append(member_item(workspace, pid, key, memberships[key]))
            changed = True
            continue
        if full or len(answer.outbox) >= MOST_TRANSITIONS:
            answer.complete = False
            break
        cause = reason(key)
        revision = revisions.get(key, held.revision if held else 0)
        if verdict.member:
            memberships[key] = Membership(revision, at, verdict.until, cause.message_id)
            reasons[key] = (cause.kind, cause.event)
            answer.puts.append(member_item(workspace, pid, key, memberships[key]))
        else:
            del memberships[key]
            reasons.pop(key, None)
            answer.drops += [member_key(workspace, one, key) for one in (pid, *former)]
        changed = True
        if not verdict.member and key in quiet:
            continue  # it was a member only as part of the person from whom it parted: nobody was told that it entered
        kind = "segment.entered" if verdict.member else "segment.exited"
        answer.outbox.append(_announcement(workspace, pid, kind, key, revision, version, cause, at))
    return changed


def _relist(workspace: str, answer: Settlement, memberships: Mapping[str, Membership]) -> list[str] | None:
    """List memberships after a merge or a parting: under the person's id, and no more under the former ones, as far as
    the transaction goes. Answers the place that was reached, for the next round; None at the end.

    It is done in the transaction of the person, as what a slower worker lists could be over by then.
    """
    rest, pid = answer.person.rest, answer.person.pid
    former: list[str] = rest.get("ab", [])
    if not former and not rest.get("qm"):
        return None
    done = {(item["pk"], item["sk"]) for item in answer.puts} | {*answer.drops}
    reached: list[str] = rest.get("rl", ["", ""])
    places = sorted((key, one) for key in memberships for one in ("", *former))
    for key, one in places:
        if [key, one] <= reached:
            continue
        if answer.room <= 0:
            return reached
        if not one and member_key(workspace, pid, key) not in done:
            answer.puts.append(member_item(workspace, pid, key, memberships[key]))
        elif one and member_key(workspace, one, key) not in done:
            answer.drops.append(member_key(workspace, one, key))
        reached = [key, one]
    return None


def member_key(workspace: str, pid: str, segment: str) -> Key:
    """Key of a person's entry in a segment's list of members."""
    return f"{workspace}#S#{segment}#{_shard(pid, MEMBER_SHARDS)}", pid


def member_item(workspace: str, pid: str, segment: str, membership: Membership) -> Item:
    """A person's entry in a segment's list of members."""
    pk, sk = member_key(workspace, pid, segment)
    item: Item = {"pk": pk, "sk": sk, "since": membership.since, "rev": membership.revision}
    return item if membership.until is None else {**item, "until": membership.until}


def due_item(workspace: str, pid: str, due: int) -> Item:
    """The timer entry of a person."""
    return {
        "pk": f"{workspace}#D#{due // SLOT_MS}#{_shard(pid, DUE_SHARDS)}",
        "sk": pid,
        "due": due,
        "ttl": (due + _DUE_TTL_MS) // SECOND_MS,
    }


def open_record_item(workspace: str, record_id: str, due: int) -> Item:
    """The timer entry of an operator's record of which rounds are left; stands among those of people."""
    return due_item(workspace, OPEN_RECORD + record_id, due)


def _with_vanished(
    verdicts: Mapping[str, Verdict], person: Person, revisions: Mapping[str, int], *, every: bool
) -> Mapping[str, Verdict]:
    """The verdicts, and an end to memberships in segments that are gone when everything was evaluated."""
    gone = person.memberships.keys() - revisions.keys() if every else ()
    if not gone and verdicts.keys() <= revisions.keys():
        return verdicts
    known = {key: verdict for key, verdict in verdicts.items() if key in revisions}
    return {**known, **dict.fromkeys(gone, Verdict(member=False, until=None))}


def _moving(
    memberships: Mapping[str, Membership], verdicts: Mapping[str, Verdict], revisions: Mapping[str, int], at: int
) -> list[str]:
    """The segments of which a verdict changes what is stored: most do not, so that this is asked first.

    A membership that stays is written anew where it would lead a reader wrong: the stored time to look again is over
    or too late, or the segment has a new revision. A time that merely moved on is left as it is: looking early does no
    harm.
    """
    moving: list[str] = []
    for key, (member, until, spilled) in verdicts.items():
        held = memberships.get(key)
        if spilled:
            continue
        if held is None:
            if member:
                moving.append(key)
            continue
        revision, _, held_until, _ = held
        if not member or revision != revisions.get(key):
            moving.append(key)
        elif held_until is None:
            if until is not None:
                moving.append(key)
        elif held_until <= at or (until is not None and until < held_until):
            moving.append(key)
    return moving


def _due(person: Person, verdicts: Mapping[str, Verdict], at: int, *, every: bool) -> int | None:
    """When the sweeper has to look. It is armed lazily: an entry that fires too early arms itself again."""
    soonest = min({until for _, until, _ in verdicts.values() if until is not None}, default=None)
    if soonest is not None:
        soonest = max(soonest, at + 1)
    held = person.due
    if held is None or held <= at:
        return soonest if soonest is not None or every else held
    return held if soonest is None else min(held, soonest)


def _announcement(
    workspace: str, pid: str, kind: str, segment: str, revision: int, version: int, cause: Reason, at: int
) -> Item:
    event_id = content_id(workspace, pid, kind, segment, str(revision), str(version))
    detail: dict[str, Any] = {
        "version": 1,
        "event_id": event_id,
        "workspace": workspace,
        "type": kind,
        "at": at,
        "profile_id": pid,
        "segment": segment,
        "revision": revision,
        "reason": {"message_id": cause.message_id, "event": cause.event, "kind": cause.kind},
    }
    if cause.silent:
        detail["silent"] = True
    return {
        "pk": f"{workspace}#{pid}",
        "sk": event_id,
        "type": kind,
        "detail": orjson.dumps(detail).decode(),
        "at": at,
        "ttl": (at + _OUTBOX_TTL_MS) // SECOND_MS,
    }


def _shard(pid: str, shards: int) -> int:
    return blake2b(pid.encode(), digest_size=1).digest()[0] % shards
