"""Sequences as SQL: one window function per gap, linear in the events (segmentation reference, section 6).

As in ``hoso.segment.sequences``, each event of a step carries the latest possible start of a chain that ends in it.
The best previous event lies in an interval before the event; absent events between are told by counting them, because
two events see the same count exactly when no absent event lies between.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from hoso.segment.language import Sequence
from hoso.segment.sequence_leaf import sequence_plan
from hoso.segment.sequences import Gap
from hoso.segment.sql.build import (
    Sql,
    alias,
    both,
    call,
    case,
    cast,
    column,
    compare,
    integer,
    minus,
    one_of,
    ordered,
    over,
    plus,
    present,
    text,
)
from hoso.segment.sql.comparisons import where_sql
from hoso.segment.sql.dialect import Dialect
from hoso.segment.sql.measures import BODY, INSTANT, NAME, PERSON
from hoso.segment.sql.scopes import Columns
from hoso.segment.timing import event_window
from hoso.segment.zones import ALWAYS, Zone

KEY, START = "k", "s"
UNBOUNDED = "UNBOUNDED"
_BETWEEN = "\x1f"
"""Between the parts of a key: a separator that texts do not hold."""
_CHAIN, _EVENT, _BARRED = 0, 1, 2
_NOBODY = "BIGINT"


@dataclass
class SequenceScan:
    """One sequence: its common table expressions end in ``<name>``, which lists the people with a fitting choice."""

    dialect: Dialect
    name: str
    rule: Sequence
    zone: Zone
    as_of: int
    tables: list[tuple[str, exp.Select]] = field(default_factory=list[tuple[str, exp.Select]])

    def build(self, source: str) -> None:
        """Fill ``tables``."""
        plan = sequence_plan(self.rule)
        low, high = event_window(self.rule.window, self.zone).bounds(self.as_of)
        self._steps(source, low)
        first = self._step(0).where(compare("lte", column(INSTANT), integer(high)))
        chain = self._add("c0", first.select(alias(column(INSTANT), START)))
        for place, gap in enumerate(plan.gaps, 1):
            chain = self._gap(chain, gap, f"c{place}")
        if plan.last_absent is not None:
            chain = self._without(chain, plan.last_absent, plan.waiting)
        found = exp.select(column(PERSON)).distinct().from_(chain)
        if plan.total is not None:
            found = found.where(compare("lte", minus(column(INSTANT), column(START)), integer(plan.total)))
        self.tables.append((self.name, found))

    @property
    def condition(self) -> Sql:
        """The condition on the joined row of a person."""
        return present(column(PERSON, self.name))

    def _steps(self, source: str, low: int) -> None:
        """All events that some step looks at, with a column per step."""
        columns = Columns(self.dialect, "doc")
        matches: list[Sql] = []
        for place, step in enumerate(self.rule.steps):
            parts: list[Sql] = []
            if "*" not in step.event:
                parts.append(one_of(column(NAME), [text(name) for name in step.event]))
            if step.where is not None:
                parts.append(where_sql(step.where, columns, self.zone, self.as_of))
            matches.append(alias(both(parts) if parts else exp.true(), f"step{place}"))
        keys = [columns.form(path, "text") for path in self.rule.same or ()]
        names = {name for step in self.rule.steps for name in step.event}
        plain = [column(name) for name in (PERSON, INSTANT, NAME)]
        inner = exp.select(*plain, alias(self.dialect.document(column(BODY)), "doc")).from_(source)
        if "*" not in names:
            inner = inner.where(one_of(column(NAME), [text(name) for name in sorted(names)]))
        if low > ALWAYS:
            inner = inner.where(compare("gt", column(INSTANT), integer(low)))
        values = [alias(value, name) for name, value in columns.values().items()]
        middle = exp.select(*plain, *values).from_(inner.subquery("documents"))
        forms = [alias(form, name) for name, form in columns.forms().items()]
        outer = exp.select(exp.Star(), *forms).from_(middle.subquery("found"))
        key = call("CONCAT_WS", text(_BETWEEN), *keys) if keys else text("")
        rows = exp.select(column(PERSON), column(INSTANT), alias(key, KEY), *matches).from_(outer.subquery("forms"))
        if keys:
            rows = rows.where(both([present(key) for key in keys]))
        self._add("rows", rows)

    def _step(self, step: int) -> exp.Select:
        own = [column(PERSON), column(KEY), column(INSTANT)]
        return exp.select(*own).from_(f"{self.name}_rows").where(column(f"step{step}"))

    def _gap(self, chain: str, gap: Gap, name: str) -> str:
        parts = [self._role(_CHAIN, chain), self._role(_EVENT, step=gap.step)]
        people = [column(PERSON), column(KEY)]
        by_time = ordered((column(INSTANT), False))
        source: exp.Select
        if gap.absent is None:
            source = exp.select(exp.Star(), alias(integer(0), "g")).from_(_union(parts).subquery("events"))
        else:
            parts.append(self._role(_BARRED, step=gap.absent))
            barred = exp.Sum(this=case([(compare("is", column("role"), integer(_BARRED)), integer(1))], integer(0)))
            so_far = over(barred, people, by_time, (UNBOUNDED, "PRECEDING", "CURRENT ROW", ""))
            before = over(barred, people, by_time, (UNBOUNDED, "PRECEDING", integer(1), "PRECEDING"))
            seen = case(
                [(compare("is", column("role"), integer(_CHAIN)), so_far)], call("COALESCE", before, integer(0))
            )
            source = exp.select(exp.Star(), alias(seen, "g")).from_(_union(parts).subquery("events"))
        reach: Sql | str = UNBOUNDED if gap.within is None else integer(gap.within)
        # a chain at the event's own instant is not before it
        frame = (reach, "PRECEDING", integer(1), "PRECEDING")
        best = over(exp.Max(this=column(START)), [*people, column("g")], by_time, frame)
        reached = exp.select(*people, column(INSTANT), column("role"), alias(best, "best")).from_(
            source.subquery("counted")
        )
        kept = both([compare("is", column("role"), integer(_EVENT)), present(column("best"))])
        longer = exp.select(*people, column(INSTANT), alias(exp.Max(this=column("best")), START))
        return self._add(name, longer.from_(reached.subquery("reached")).where(kept).group_by(*people, column(INSTANT)))

    def _without(self, chain: str, step: int, waiting: int | None) -> str:
        """Chains after which no event of the step came, and whose waiting is over."""
        parts = [self._role(_CHAIN, chain), self._role(_BARRED, step=step)]
        people = [column(PERSON), column(KEY)]
        barred = exp.Sum(this=case([(compare("is", column("role"), integer(_BARRED)), integer(1))], integer(0)))
        reach: Sql | str = UNBOUNDED if waiting is None else integer(waiting)
        frame = (integer(1), "FOLLOWING", reach, "FOLLOWING")
        later = over(barred, people, ordered((column(INSTANT), False)), frame)
        counted = exp.select(exp.Star(), alias(later, "later")).from_(_union(parts).subquery("events"))
        kept = [
            compare("is", column("role"), integer(_CHAIN)),
            compare("is", call("COALESCE", column("later"), integer(0)), integer(0)),
        ]
        if waiting is not None:
            kept.append(compare("lte", plus(column(INSTANT), integer(waiting)), integer(self.as_of)))
        rows = exp.select(*people, column(INSTANT), column(START)).from_(counted.subquery("counted"))
        return self._add("left", rows.where(both(kept)))

    def _role(self, role: int, chain: str | None = None, step: int = 0) -> exp.Select:
        if chain is not None:
            own = exp.select(column(PERSON), column(KEY), column(INSTANT), column(START)).from_(chain)
        else:
            own = self._step(step).select(alias(cast(exp.null(), _NOBODY), START))
        return own.select(alias(integer(role), "role"))

    def _add(self, part: str, query: exp.Select) -> str:
        name = f"{self.name}_{part}"
        self.tables.append((name, query))
        return name


def _union(parts: list[exp.Select]) -> exp.Query:
    made: exp.Query = parts[0]
    for part in parts[1:]:
        made = exp.union(made, part, distinct=False)
    return made
