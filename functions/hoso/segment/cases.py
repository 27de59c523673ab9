"""Cases of rules (format ``segment-vectors/1``) run through the production engines: marketers' tests in git."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hoso.model.errors import InvalidInput
from hoso.model.time import DAY_MS
from hoso.segment.case_format import check_form, double, long_numbers
from hoso.segment.check import InvalidSegment, check_references, read_segment
from hoso.segment.language import Segment
from hoso.segment.live import LiveRules, compile_live
from hoso.segment.person import PersonState, RuleEvent, Score
from hoso.segment.values import parse_moment

HORIZON_MS = 400 * DAY_MS
"""How far ahead the next change is looked for."""


@dataclass(frozen=True, slots=True)
class Case:
    """A segment with those it refers to, one person, events in order of receipt, the instant of the question."""

    id: str
    segment: Segment
    others: tuple[Segment, ...]
    person: PersonState
    events: tuple[RuleEvent, ...]
    as_of: int

    @property
    def segments(self) -> list[Segment]:
        """All documents of the case."""
        return [self.segment, *(other for other in self.others if other.key != self.segment.key)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an engine said: ``error`` for a refused document, else the membership and (live) the next change."""

    id: str
    member: bool | None = None
    next_change: int | None = None
    error: str | None = None
    spilled: bool = False


def read_case(vector: Mapping[str, Any]) -> Case:
    """The case in a vector.

    Raises:
        InvalidSegment: the document is refused.
        InvalidInput: the rest of the vector is not a case.
    """
    check_form(vector)
    segment = read_segment(long_numbers(vector["segment"], double))
    documents = _part(vector, "segments")
    others = {key: read_segment(long_numbers(document, double)) for key, document in documents.items()}
    check_references(segment, others)
    return Case(
        vector["id"],
        segment,
        tuple(others.values()),
        read_person(long_numbers(vector["profile"], str)),
        read_events(long_numbers(vector.get("events") or [], str)),
        _instant(vector["as_of"]),
    )


def read_person(profile: Mapping[str, Any]) -> PersonState:
    """The person that a vector's ``profile`` describes."""
    return PersonState(
        id=profile["id"],
        split_id=profile.get("split_id"),
        traits=_part(profile, "traits"),
        trait_since={name: _instant(since) for name, since in _part(profile, "trait_since").items()},
        identifiers=_part(profile, "identifiers"),
        lists=profile.get("lists") or (),
        consent=_part(profile, "consent"),
        suppressed=profile.get("suppressed") or (),
        scores={
            name: Score(score.get("value"), _instant(score["at"])) for name, score in _part(profile, "scores").items()
        },
        deleted=profile.get("deleted") or False,
    )


def read_events(events: Sequence[Mapping[str, Any]]) -> tuple[RuleEvent, ...]:
    """Events in order of receipt, of each message id the copy received first."""
    rows: list[RuleEvent] = []
    for event in events:
        instant = _instant(event["timestamp"])
        received = instant if event.get("received_at") is None else _instant(event["received_at"])
        rows.append(RuleEvent(event["message_id"], event["event"], instant, received, dict(event)))
    kept: dict[str, RuleEvent] = {}
    for row in sorted(rows, key=lambda row: row.received_at):
        kept.setdefault(row.message_id, row)
    return tuple(kept.values())


def run_live(vector: Mapping[str, Any]) -> Outcome:
    """A vector through the live engine: events one at a time in order of receipt, asked at ``as_of``."""
    try:
        case = read_case(vector)
    except InvalidSegment as error:
        return Outcome(vector["id"], error=error.code)
    rules = compile_live(case.segments)
    verdict = _ask(rules, case, case.as_of)
    return Outcome(case.id, verdict[0], _next_change(rules, case, verdict[0]), spilled=verdict[2])


def live_member(rules: LiveRules, case: Case, as_of: int) -> bool:
    """Membership at an instant, from the events received by then."""
    return _ask(rules, case, as_of)[0]


def _ask(rules: LiveRules, case: Case, as_of: int) -> tuple[bool, int | None, bool]:
    """Membership, the moment to look again, and whether the state was too full to tell."""
    meters: dict[str, Any] = {}
    coming: int | None = None
    for event in case.events:
        if event.received_at <= as_of:
            rules.fold(meters, event)
        elif coming is None or event.received_at < coming:
            coming = event.received_at
    verdict = rules.evaluate(replace(case.person, meters=meters), as_of, [case.segment.key])[case.segment.key]
    moments = [moment for moment in (verdict.until, coming) if moment is not None]
    return verdict.member, min(moments, default=None), verdict.spilled


def _next_change(rules: LiveRules, case: Case, member: bool) -> int | None:
    """The first moment at which the answer differs: looks again whenever the engine says it may."""
    moment = case.as_of
    while True:
        _, following, _ = _ask(rules, case, moment)
        if following is None or following > case.as_of + HORIZON_MS:
            return None
        moment = following
        if live_member(rules, case, moment) != member:
            return moment


def _part(owner: Mapping[str, Any], name: str) -> dict[str, Any]:
    return owner.get(name) or {}


def _instant(text: Any) -> int:
    found = parse_moment(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidInput("an instant in the file is not a date-time", code="bad_case")
    return found


def run_sql(vector: Mapping[str, Any], connection: Any = None) -> Outcome:
    """A vector through the batch engine on DuckDB. The next change is the live engine's business."""
    from hoso.segment import batch

    try:
        case = read_case(vector)
    except InvalidSegment as error:
        return Outcome(vector["id"], error=error.code)
    connection = connection or batch.connect()
    batch.create_tables(connection)
    try:
        batch.fill_tables(connection, [case.person], ((case.person.id, event) for event in case.events))
    except TypeError as error:  # halves of characters, which JSON can spell and no file or table can hold
        raise InvalidInput("a text of the case is not Unicode", code="bad_case") from error
    found = batch.members(connection, case.segments, case.as_of, [case.segment.key])
    return Outcome(case.id, case.person.id in found[case.segment.key])
