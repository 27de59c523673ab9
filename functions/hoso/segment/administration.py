"""What an operator does with segments: read, check, store, switch, list members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.platform.audit import audited
from hoso.platform.clock import Clock
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import Table
from hoso.segment import states
from hoso.segment.check import InvalidSegment, check_references, read_segment
from hoso.segment.describe import sentence
from hoso.segment.language import Segment
from hoso.segment.members import Member, MemberPage, Place, members
from hoso.segment.preview import Difference

KIND = "segment"
GUARDED_SHARE = 0.3
"""A new revision that moves more people than this share of the segment's size has to be confirmed."""
GUARDED_PEOPLE = 20
"""Fewer moved people than this never need it."""

Json = dict[str, Any]
Compare = Callable[[Segment, Segment, Mapping[str, Segment]], Difference | None]


class ConfirmationNeeded(Conflict):
    """The new revision moves many people at once."""

    code = "confirmation_needed"


class Segments:
    """The segments of a workspace."""

    def __init__(self, control: ControlStore, table: Table, profiles: Table, clock: Clock, workspace: str) -> None:
        self._control = control
        self._profiles = profiles
        self._audited = audited(table, workspace, clock)
        self._workspace = workspace

    def all(self, state: str | None = None) -> list[Json]:
        """Segments by key: all that are not archived, or those of one state, or ``all``.

        Raises:
            InvalidInput: there is no such state.
        """
        if state not in (None, "all", *states.STATES):
            raise InvalidInput("state is active, paused, archived or all")
        documents = self._control.all(self._workspace, KIND)
        held = states.segment_states(self._control, self._workspace)
        found = [self._shown(documents[key], held.get(key, "active")) for key in sorted(documents)]
        if state is None:
            return [segment for segment in found if segment["state"] != "archived"]
        return [segment for segment in found if state in ("all", segment["state"])]

    def get(self, key: str) -> Json:
        """One segment. Raises ``NotFound``."""
        return self._shown(self._control.get(self._workspace, KIND, key), self._state(key))

    def revisions(self, key: str) -> list[Json]:
        """Every revision of a segment, the newest first. Raises ``NotFound``."""
        found = self._control.revisions(self._workspace, KIND, key)
        if not found:
            raise NotFound(f"no segment has the key {key}")
        return [shown(document) for document in found]

    def known(self, without: str = "") -> dict[str, Segment]:
        """The segments that can be read, by key."""
        return {
            key: read_segment(document.body)
            for key, document in self._control.all(self._workspace, KIND).items()
            if key != without and _readable(document)
        }

    def document(self, key: str, revision: int | None = None) -> Segment:
        """The segment in a stored document, present or of one revision. Raises ``NotFound``, ``InvalidSegment``."""
        if revision is None:
            return read_segment(self._control.get(self._workspace, KIND, key).body)
        return read_segment(self._control.revision(self._workspace, KIND, key, revision).body)

    def put(self, key: str, body: Mapping[str, Any], actor: str, compare: Compare, *, confirmed: bool = False) -> Json:
        """Check a document and store it as the next revision.

        ``compare`` tells what the new rule changes (None: nobody can tell yet, there was no nightly run).

        Raises:
            InvalidInput: the document is not of this key, or breaks the language; the message names the path.
            ConfirmationNeeded: it moves many people and was not ``confirmed``.
        """
        segment = read_segment(body)
        if segment.key != key:
            raise InvalidInput(f"key: the document is of {segment.key}", hint="use the key of the path")
        others = self.known(without=key)
        check_references(segment, others)
        changes = None if confirmed else self._changes(segment, others, compare)
        if changes is not None and changes.share > GUARDED_SHARE and changes.enter + changes.leave >= GUARDED_PEOPLE:
            raise ConfirmationNeeded(
                f"{changes.enter} people would enter and {changes.leave} leave a segment of {changes.before}",
                hint="look at the difference, then store it with confirm=true",
            )
        document = self._control.put(self._workspace, KIND, key, body, self._audited(actor, "segment.put", key))
        return self._shown(document, self._state(key))

    def switch(self, key: str, state: str, actor: str) -> Json:
        """Pause, archive or take up a segment again.

        Raises:
            NotFound: there is no such segment.
            InvalidInput: there is no such state.
            Conflict: another segment refers to the one that is to be archived.
        """
        if state not in states.STATES:
            raise InvalidInput("state is active, paused or archived")
        document = self._control.get(self._workspace, KIND, key)
        if state == "archived":
            for other in self.known(without=key).values():
                if self._state(other.key) != "archived":
                    self._check_reference(other, key)
        audited = self._audited(actor, f"segment.{state}", key)
        self._control.put(self._workspace, states.KIND, key, {"state": state}, audited)
        return self._shown(document, state)

    def members(self, key: str, limit: int, start: Place | None) -> MemberPage:
        """A page of the members of a segment. Raises ``NotFound``."""
        self._control.get(self._workspace, KIND, key)
        return members(self._profiles, self._workspace, key, limit, start)

    def _changes(self, segment: Segment, others: Mapping[str, Segment], compare: Compare) -> Difference | None:
        try:
            former = self.document(segment.key)
        except (NotFound, InvalidSegment):
            return None
        return (
            None
            if former.rule == segment.rule and former.timezone == segment.timezone
            else compare(former, segment, others)
        )

    def _check_reference(self, other: Segment, key: str) -> None:
        try:
            check_references(other, {name: held for name, held in self.known(without=key).items() if name != other.key})
        except InvalidSegment as error:
            raise Conflict(
                f"segment {other.key} refers to {key}", code="in_use", hint="change or archive that one first"
            ) from error

    def _state(self, key: str) -> str:
        try:
            return str(self._control.get(self._workspace, states.KIND, key).body["state"])
        except NotFound:
            return "active"

    @staticmethod
    def _shown(document: Document, state: str) -> Json:
        return {**shown(document), "state": state}


def shown(document: Document) -> Json:
    """A segment as the API shows it: its document, and what that says in words (empty where it cannot be read)."""
    try:
        segment = read_segment(document.body)
        name, words = segment.name, {"sentence": sentence(segment), "sentence_vi": sentence(segment, "vi")}
    except InvalidSegment:
        name, words = "", {"sentence": "", "sentence_vi": ""}
    return {
        "key": document.key,
        "name": name,
        "revision": document.revision,
        "at": document.at,
        **words,
        "document": document.body,
    }


def shown_member(member: Member) -> Json:
    """A member as the API shows it; times are UTC ms."""
    return {"profile_id": member.pid, "since": member.since, "until": member.until, "revision": member.revision}


def shown_difference(found: Difference) -> Json:
    """A difference as the API shows it."""
    return {
        "before": found.before,
        "after": found.after,
        "enter": found.enter,
        "leave": found.leave,
        "share": round(found.share, 4),
        "entering": list(found.entering),
        "leaving": list(found.leaving),
    }


def _readable(document: Document) -> bool:
    try:
        read_segment(document.body)
    except InvalidSegment:
        return False
    return True
