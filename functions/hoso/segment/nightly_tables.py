"""People as Parquet, and what the batch engine reads of them: pure work on files, no AWS."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from hoso.segment.batch import PROFILE_COLUMNS, connect, profile_row
from hoso.segment.language import Segment
from hoso.segment.person import PersonState
from hoso.segment.sql.compiler import compile_batch
from hoso.segment.sql.duckdb import DuckDb
from hoso.segment.traits.batch import Fresh, patched

if TYPE_CHECKING:
    import duckdb

_CHUNK = 5_000
_PEOPLE = f"{PROFILE_COLUMNS}, memberships VARCHAR, live VARCHAR, spilled VARCHAR, known BIGINT, computed VARCHAR"
_FRAGMENTS = "hub_type VARCHAR, hub_value VARCHAR, profile_id VARCHAR, erased BIGINT"
_NO_EVENTS = "profile_id VARCHAR, message_id VARCHAR, event VARCHAR, ts BIGINT, received_at BIGINT, body VARCHAR"


@dataclass(frozen=True, slots=True)
class Snapped:
    """A person as the snapshot keeps it.

    ``memberships`` map segments to the revision they were made by. ``live`` are the segments that the live engine says
    (None: its state is of older rules), ``spilled`` those it cannot tell. ``known`` is how many events it has seen.
    """

    state: PersonState
    hubs: Sequence[tuple[str, str, int | None]]
    """Type and value of each fragment's identifier, and up to when (UTC ms) whoever had it before was erased."""
    memberships: Mapping[str, int]
    live: Sequence[str] | None
    spilled: Sequence[str]
    known: int
    computed: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, "Sequence[Any]"])
    """Stored computed values: name → [kind, value, at, revision]."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The batch engine's answer for a person, beside what was known of it."""

    profile_id: str
    members: frozenset[str]
    memberships: Mapping[str, int]
    live: frozenset[str] | None
    spilled: frozenset[str]
    complete: bool
    """Whether the archive holds all events that the live engine has seen."""
    known: int

    @property
    def lags(self) -> bool:
        """Whether neither answer counts: the live state was of older rules, and the archive lacks the last events. What
        the timeline says, with which whoever applies the answers makes the state anew, is the answer then."""
        return self.live is None and not self.complete

    @property
    def differences(self) -> frozenset[str]:
        """Segments on which both engines are sure and do not agree, though both have seen the same events."""
        if self.live is None or not self.complete:
            return frozenset()
        return (self.live ^ self.members) - self.spilled


@dataclass(slots=True)
class Totals:
    """Numbers of a run."""

    people: int = 0
    members: dict[str, int] = field(default_factory=dict[str, int])
    differences: int = 0
    spilled: int = 0
    lagging: int = 0


def write_people(people: Iterable[Snapped], people_file: Path, fragments_file: Path) -> int:
    """Write the snapshot's two files. Answers how many people there are."""
    count = 0
    with connect() as connection:
        connection.execute(f"CREATE TABLE people ({_PEOPLE})")
        connection.execute(f"CREATE TABLE fragments ({_FRAGMENTS})")
        rows: list[tuple[Any, ...]] = []
        hubs: list[tuple[Any, ...]] = []
        for person in people:
            count += 1
            rows.append(
                (
                    *profile_row(person.state),
                    orjson.dumps(person.memberships).decode(),
                    None if person.live is None else orjson.dumps(person.live).decode(),
                    orjson.dumps(person.spilled).decode(),
                    person.known,
                    orjson.dumps(person.computed).decode(),
                )
            )
            hubs += [(kind, value, person.state.id, erased) for kind, value, erased in person.hubs]
            if len(rows) >= _CHUNK:
                _insert(connection, "people", rows)
                _insert(connection, "fragments", hubs)
        _insert(connection, "people", rows)
        _insert(connection, "fragments", hubs)
        for table, file in (("people", people_file), ("fragments", fragments_file)):
            connection.execute(f"COPY {table} TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
    return count


def answers(
    segments: Sequence[Segment],
    as_of: int,
    events: Sequence[Path],
    people: Path,
    fragments: Path,
    told: Collection[str] | None = None,
    fresh: Iterable[Fresh] = (),
) -> Iterator[Answer]:
    """What the batch engine says of everybody at ``as_of``, of the segments ``told`` (all when None).

    ``fresh`` are computed values that the snapshot does not hold yet.
    """
    with connect() as connection:
        connection.execute(f"SET temp_directory = '{people.parent}'")
        make_views(connection, events, people, fragments)
        patched(connection, fresh, as_of)
        make_distinct(connection, "events")
        known = "SELECT profile_id, count(*) AS n FROM events_distinct WHERE received_at <= ? GROUP BY 1"
        connection.execute(f"CREATE TABLE seen AS {known}", [as_of])
        columns: Mapping[str, str] = {}
        if segments and (told is None or told):
            keys = None if told is None else sorted(told)
            batch = compile_batch(segments, as_of, DuckDb(), keys=keys, events="events_distinct", distinct_events=True)
            columns = batch.columns
            connection.execute(f"CREATE TABLE answers AS {batch.sql()}")
        else:
            connection.execute("CREATE TABLE answers AS SELECT profile_id FROM profiles")
        found = connection.execute(
            # the live answers of a person whose values changed are of the values before
            "SELECT a.*, p.memberships, CASE WHEN n.profile_id IS NULL THEN p.live END, p.spilled, "
            "p.known = coalesce(s.n, 0), p.known FROM answers a "
            "JOIN profiles p USING (profile_id) LEFT JOIN seen s USING (profile_id) "
            "LEFT JOIN patches n USING (profile_id) ORDER BY profile_id"
        )
        keys = list(columns)
        while rows := found.fetchmany(_CHUNK):
            for profile_id, *flags, memberships, live, spilled, complete, known in rows:
                yield Answer(
                    profile_id,
                    frozenset(key for key, flag in zip(keys, flags, strict=True) if flag),
                    orjson.loads(memberships),
                    None if live is None else frozenset(orjson.loads(live)) & columns.keys(),
                    frozenset(orjson.loads(spilled)) & columns.keys(),
                    complete,
                    known,
                )


def count(totals: Totals, answer: Answer) -> None:
    """Add a person to the numbers of the run.

    A difference is a segment on which both engines are sure and do not agree, for a person all of whose events are in
    the archive (segmentation reference, section 8: this number must be 0).
    """
    totals.people += 1
    for key in answer.members:
        totals.members[key] = totals.members.get(key, 0) + 1
    totals.spilled += bool(answer.spilled)
    totals.lagging += not answer.complete
    totals.differences += len(answer.differences)


def working(found: Iterable[Answer], totals: Totals, needed: Callable[[Answer], bool]) -> Iterator[Answer]:
    """The people who need work; everybody is counted on the way."""
    for answer in found:
        count(totals, answer)
        if needed(answer):
            yield answer


def needs_work(answer: Answer, revisions: Mapping[str, int], looks_at: Callable[[str], bool]) -> bool:
    """Whether the stored memberships that the run looks at differ from the answer, or are of other revisions, or would
    differ at the next event; or the answer is not known yet."""
    if answer.lags:
        return True
    held = {key: revision for key, revision in answer.memberships.items() if looks_at(key)}
    return held != {key: revisions[key] for key in answer.members} or any(map(looks_at, answer.differences))


def needs_backfill(answer: Answer, revisions: Mapping[str, int], told: Collection[str]) -> bool:
    """The same for a backfill of the segments ``told``. Whose last events are not in the archive yet is looked at in
    any case: they can have been folded under rules that did not know the segments, and nobody else would look."""
    return not answer.complete or needs_work(answer, revisions, lambda key: key in told)


def make_views(connection: duckdb.DuckDBPyConnection, events: Sequence[Path], people: Path, fragments: Path) -> None:
    """Views ``profiles`` and ``events`` (with their person) over a snapshot and the archive's files."""
    # the names of the files are made by this run; the statements hold no outside text
    connection.execute(f"CREATE VIEW profiles AS FROM read_parquet('{people}')")
    connection.execute(f"CREATE TABLE fragments AS FROM read_parquet('{fragments}')")
    connection.execute("ALTER TABLE fragments ADD COLUMN IF NOT EXISTS erased BIGINT")  # snapshots of before have none
    if not events:
        connection.execute(f"CREATE TABLE events ({_NO_EVENTS})")
        return
    files = ", ".join(f"'{file}'" for file in events)
    connection.execute(f"CREATE VIEW archive AS FROM read_parquet([{files}])")
    connection.execute(
        "CREATE VIEW events AS SELECT f.profile_id, e.message_id, e.event, e.ts, e.received_at, e.body "
        "FROM archive e JOIN fragments f USING (hub_type, hub_value) "
        "WHERE f.erased IS NULL OR (e.ts > f.erased AND e.received_at > f.erased)"
    )


def make_distinct(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """View ``<source>_distinct``: of each message of a person the copy received first.

    Copies are rare (the compaction leaves them only where a message came under two identifiers): the people who have
    any are found by two counts, so that all other events need no window function over their bodies.
    """
    # ``source`` is a name of this package
    connection.execute(
        f"CREATE TABLE {source}_copied AS SELECT profile_id FROM {source} GROUP BY 1 "  # noqa: S608
        "HAVING count(*) > count(DISTINCT message_id)"
    )
    connection.execute(
        f"CREATE TABLE {source}_first AS SELECT * FROM {source} SEMI JOIN {source}_copied USING (profile_id) "  # noqa: S608
        "QUALIFY row_number() OVER (PARTITION BY profile_id, message_id ORDER BY received_at) = 1"
    )
    copied = connection.execute(f"SELECT count(*) FROM {source}_copied").fetchone()  # noqa: S608
    rest = f"SELECT * FROM {source} ANTI JOIN {source}_copied USING (profile_id)"  # noqa: S608
    whole = f"{rest} UNION ALL FROM {source}_first" if copied and copied[0] else f"FROM {source}"
    connection.execute(f"CREATE VIEW {source}_distinct AS {whole}")


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Add rows to a table of this module and forget them."""
    if not rows:
        return
    columns = [list(column) for column in zip(*rows, strict=True)]
    holders = ", ".join("unnest(?)" for _ in columns)
    connection.execute(f"INSERT INTO {table} SELECT {holders}", columns)
    rows.clear()
