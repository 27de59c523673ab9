"""What an operator does with segments: read, check, store, list members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hoso.model.errors import InvalidInput
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import Table
from hoso.segment.check import InvalidSegment, check_references, read_segment
from hoso.segment.describe import sentence
from hoso.segment.members import Member, MemberPage, Place, members

KIND = "segment"
Json = dict[str, Any]


class Segments:
    """The segments of a workspace."""

    def __init__(self, control: ControlStore, profiles: Table, workspace: str) -> None:
        self._control = control
        self._profiles = profiles
        self._workspace = workspace

    def all(self) -> list[Json]:
        """Every segment, by key."""
        documents = self._control.all(self._workspace, KIND)
        return [shown(documents[key]) for key in sorted(documents)]

    def get(self, key: str) -> Json:
        """One segment. Raises ``NotFound``."""
        return shown(self._control.get(self._workspace, KIND, key))

    def put(self, key: str, body: Mapping[str, Any]) -> Json:
        """Check a document and store it as the next revision.

        Raises:
            InvalidInput: the document is not of this key, or breaks the language; the message names the path.
        """
        segment = read_segment(body)
        if segment.key != key:
            raise InvalidInput(f"key: the document is of {segment.key}", hint="use the key of the path")
        others = {
            other: read_segment(document.body)
            for other, document in self._control.all(self._workspace, KIND).items()
            if other != key and _readable(document)
        }
        check_references(segment, others)
        return shown(self._control.put(self._workspace, KIND, key, body))

    def members(self, key: str, limit: int, start: Place | None) -> MemberPage:
        """A page of the members of a segment. Raises ``NotFound``."""
        self._control.get(self._workspace, KIND, key)
        return members(self._profiles, self._workspace, key, limit, start)


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


def _readable(document: Document) -> bool:
    try:
        read_segment(document.body)
    except InvalidSegment:
        return False
    return True
