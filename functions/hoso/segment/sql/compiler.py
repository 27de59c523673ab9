"""Segments to one SQL statement: a row per person, a boolean column per segment.

Source relations (names are given to ``compile_batch``)

``events``      ``profile_id, message_id, event, ts, received_at, body`` (JSON text of the event as it was sent)
``profiles``    ``profile_id, split_id, deleted`` and JSON text ``traits, trait_since`` (name → ms)``, identifiers``
                (type → list)``, lists, consent, suppressed, scores`` (name → {value, at in ms})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from hoso.segment.check import check_references
from hoso.segment.language import (
    AllOf,
    AnyOf,
    EventMeasure,
    InSegment,
    Not,
    Rule,
    Segment,
)
from hoso.segment.language import Sequence as Steps
from hoso.segment.sql.build import (
    Sql,
    alias,
    both,
    call,
    column,
    compare,
    either,
    integer,
    no,
    ordered,
    over,
    sure,
)
from hoso.segment.sql.dialect import Dialect
from hoso.segment.sql.measures import BODY, INSTANT, MESSAGE, NAME, PERSON, EventScan
from hoso.segment.sql.people import PeopleScan
from hoso.segment.sql.sequences import SequenceScan
from hoso.segment.zones import Zone, zone

RECEIVED = "received_at"
MOST_SCANS_IN_PLACE = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """A compiled statement. ``columns`` name the answer's column of each segment; the first column is the person."""

    statement: exp.Select
    columns: Mapping[str, str]
    dialect: str

    def sql(self, *, pretty: bool = False) -> str:
        """The statement's text in its dialect."""
        return self.statement.sql(dialect=self.dialect, pretty=pretty)


def compile_batch(
    segments: Sequence[Segment],
    as_of: int,
    dialect: Dialect,
    *,
    keys: Sequence[str] | None = None,
    events: str = "events",
    profiles: str = "profiles",
    distinct_events: bool = False,
) -> Batch:
    """The statement that answers for these segments at ``as_of``.

    ``keys`` limit the answer (the others are only referred to); ``distinct_events`` says that the source holds every
    message once, so that the duplicates need not be looked for.

    Raises:
        InvalidSegment: a reference leads nowhere.
    """
    known = {segment.key: segment for segment in segments}
    for segment in segments:
        check_references(segment, known)
    compiler = _Compiler(known, as_of, dialect)
    wanted = list(keys) if keys is not None else sorted(known)
    columns = {key: f"in_{place}" for place, key in enumerate(wanted)}
    answers = [alias(compiler.member(key), columns[key]) for key in wanted]
    return Batch(compiler.statement(answers, events, profiles, distinct_events=distinct_events), columns, dialect.name)


@dataclass
class _Compiler:
    known: Mapping[str, Segment]
    as_of: int
    dialect: Dialect
    scans: dict[tuple[str, ...], EventScan] = field(default_factory=dict[tuple[str, ...], EventScan])
    sequences: dict[str, SequenceScan] = field(default_factory=dict[str, SequenceScan])
    people: PeopleScan = field(init=False)

    def __post_init__(self) -> None:
        self.people = PeopleScan(self.dialect, self.as_of)

    def member(self, key: str) -> Sql:
        """Membership of a segment: nobody who is deleted is in any."""
        return both([no(sure(column("deleted", "p"))), self._segment(key)])

    def statement(self, answers: Sequence[Sql], events: str, profiles: str, *, distinct_events: bool) -> exp.Select:
        tables: list[tuple[str, exp.Select]] = [("happened", self._happened(events, distinct=distinct_events))]
        joins: list[str] = []
        for scan in self.scans.values():
            tables += scan.tables("happened")
            joins += scan.joins()
        for sequence in self.sequences.values():
            sequence.build("happened")
            tables += sequence.tables
            joins.append(sequence.name)
        final = exp.select(column(PERSON, "p"), *answers).from_(self.people.query(profiles).subquery("p"))
        for name in joins:
            same = compare("is", column(PERSON, name), column(PERSON, "p"))
            final = final.join(exp.to_table(name), on=same, join_type="left")
        for name, query in tables:
            # a plain filter over a file is cheaper to run again for each scan than to keep with all its bodies
            again = distinct_events and name == "happened" and len(self.scans) <= MOST_SCANS_IN_PLACE
            inline = False if again and self.dialect.inlines else None
            final = final.with_(name, as_=query, copy=False, materialized=inline)
        return final

    def _happened(self, events: str, *, distinct: bool) -> exp.Select:
        """Events that count at ``as_of``: received, not in the future, of each message the copy received first."""
        names = [column(name) for name in (PERSON, MESSAGE, NAME, INSTANT, BODY)]
        received = compare("lte", column(RECEIVED), integer(self.as_of))
        happened = compare("lte", column(INSTANT), integer(self.as_of))
        if distinct:
            return exp.select(*names).from_(events).where(both([received, happened]))
        copy = over(call("ROW_NUMBER"), [column(PERSON), column(MESSAGE)], ordered((column(RECEIVED), False)))
        copies = exp.select(*names, alias(copy, "copy")).from_(events).where(received)
        first = both([compare("is", column("copy"), integer(1)), happened])
        return exp.select(*names).from_(copies.subquery("copies")).where(first)

    def _segment(self, key: str) -> Sql:
        segment = self.known[key]
        return self._rule(segment.rule, zone(segment.timezone))

    def _rule(self, rule: Rule, zone: Zone) -> Sql:
        if isinstance(rule, AllOf):
            return both([self._rule(part, zone) for part in rule.of])
        if isinstance(rule, AnyOf):
            return either([self._rule(part, zone) for part in rule.of])
        if isinstance(rule, Not):
            return no(self._rule(rule.of, zone))
        if isinstance(rule, InSegment):
            return self._segment(rule.key)
        if isinstance(rule, EventMeasure):
            names = ("*",) if "*" in rule.event else tuple(sorted(set(rule.event)))
            scan = self.scans.get(names)
            if scan is None:
                wanted = None if names == ("*",) else names
                scan = self.scans[names] = EventScan(self.dialect, f"e{len(self.scans)}", wanted, self.as_of)
            return scan.condition(rule, zone)
        if isinstance(rule, Steps):
            what = f"{zone.name} {rule.model_dump_json()}"
            if what not in self.sequences:
                name = f"q{len(self.sequences)}"
                self.sequences[what] = SequenceScan(self.dialect, name, rule, zone, self.as_of)
            return self.sequences[what].condition
        return self.people.condition(rule, zone)
