"""The live rules of each workspace, compiled once per set of segment revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hoso.model.errors import InvalidInput
from hoso.platform.control import ControlStore, Document
from hoso.platform.log import logger
from hoso.segment.check import check_references, leaves, read_segment
from hoso.segment.language import EventMeasure, Everyone, HasId, InSegment, Segment, Sequence, Split
from hoso.segment.live import LISTS, SUPPRESSED, LiveRules, compile_live
from hoso.segment.states import segment_states
from hoso.segment.traits.inline import inlined
from hoso.segment.traits.language import ComputedTrait
from hoso.segment.traits.store import definitions_in, trait_documents
from hoso.unify.trait_policies import KEY, KIND, NO_POLICIES, PolicyOf, policies_in

_IMPERSONAL = (EventMeasure, Sequence, Everyone, Split, HasId)


class Book(NamedTuple):
    """The compiled rules of a workspace, the revision of each segment, and the segments that look at more than events
    (traits, consent): only for these the cold items have to be read. ``policies`` say how traits are merged,
    ``definitions`` which are computed; conditions on named measures are written out in the rules."""

    rules: LiveRules
    revisions: Mapping[str, int]
    personal: frozenset[str]
    policies: PolicyOf
    definitions: Mapping[str, ComputedTrait]
    trait_revisions: Mapping[str, int]
    listed: frozenset[str] = frozenset()
    """Segments that ask for lists or suppression: what is listed may be there before the person's first event."""

    def reads_profile(self, keys: frozenset[str] | None) -> bool:
        """Whether the evaluation of these segments (None: all) looks at traits or consent."""
        return bool(self.personal if keys is None else self.personal & keys)


class Rulebook:
    """Compiled rules by workspace; as fresh as the control store keeps its documents."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._books: dict[str, tuple[tuple[tuple[str, int] | str | int, ...], Book]] = {}

    def book(self, workspace: str) -> Book:
        """The rules of a workspace now."""
        states = segment_states(self._control, workspace)
        documents = {
            key: document
            for key, document in self._control.all(workspace, "segment").items()
            if states.get(key) != "archived"
        }
        paused = {key for key in documents if states.get(key) == "paused"}
        ruled = self._control.all(workspace, KIND).get(KEY)
        defined = trait_documents(self._control, workspace)
        version = (
            ruled.revision if ruled else 0,
            *sorted((key, document.revision) for key, document in documents.items()),
            *sorted(paused),
            *sorted((key, document.revision) for key, document in defined.items()),
        )
        held = self._books.get(workspace)
        if held is None or held[0] != version:
            sound = _sound({key: found for key, document in documents.items() if (found := _segment(document))})
            definitions = definitions_in(defined)
            segments = {key: inlined(segment, definitions) for key, segment in sound.items()}
            rules = compile_live(list(segments.values()), paused & segments.keys())
            book = Book(
                rules,
                {key: documents[key].revision for key in segments},
                frozenset(key for key in segments if _is_personal(key, segments)),
                _policies(ruled),
                definitions,
                {key: defined[key].revision for key in definitions},
                rules.affected((), (LISTS, SUPPRESSED)),
            )
            held = self._books[workspace] = (version, book)
        return held[1]


def _segment(document: Document) -> Segment | None:
    """The segment in a document. One that this code cannot read must not stop the stream: it is left out and logged."""
    try:
        return read_segment(document.body)
    except InvalidInput as error:
        logger("unify").error("segment left out", extra={"segment": document.key, "code": error.code})
        return None


def _policies(document: Document | None) -> PolicyOf:
    """The trait policies in a document; as for segments, one that cannot be read must not stop the stream."""
    try:
        return policies_in(document.body if document else None)
    except InvalidInput as error:
        logger("unify").error("trait policies left out", extra={"code": error.code})
        return NO_POLICIES


def _sound(segments: dict[str, Segment]) -> dict[str, Segment]:
    """The segments whose references all lead to segments that can be read too."""
    broken: set[str] = set()
    for key, segment in segments.items():
        try:
            check_references(segment, segments)
        except InvalidInput as error:
            logger("unify").error("segment left out", extra={"segment": key, "code": error.code})
            broken.add(key)
    kept = {key: segment for key, segment in segments.items() if key not in broken}
    return _sound(kept) if broken else kept


def _is_personal(key: str, segments: Mapping[str, Segment]) -> bool:
    return any(
        _is_personal(leaf.key, segments) if isinstance(leaf, InSegment) else not isinstance(leaf, _IMPERSONAL)
        for leaf in leaves(segments[key].rule)
    )
