"""Athena's (Trino's) way to say the primitives: where the data has outgrown one Lambda."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sqlglot import exp
from typing_extensions import override

from hoso.segment.sql.build import Sql, both, call, case, cast, compare, either, integer, no, ordered, present, text
from hoso.segment.sql.dialect import Dialect


class Athena(Dialect):
    """Trino's JSON type prints a value as it is written; what a value is, its first character tells."""

    name = "athena"
    wide = "DECIMAL(38, 0)"

    @override
    def document(self, column: Sql) -> Sql:
        return call("JSON_PARSE", column)

    @override
    def paths(self, document: Sql, paths: Sequence[tuple[str, ...]]) -> list[Sql]:
        return [self.let(self._path(document, path), self._known) for path in paths]

    def _path(self, document: Sql, names: tuple[str, ...]) -> Sql:
        # step by step, each through an object only: a quoted number would also count entries of a list
        found = document
        for name in names:
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            found = self.let(found, partial(self._member, f'$["{quoted}"]'))
        return found

    def _member(self, path: str, value: Sql) -> Sql:
        return case([(self.is_kind(value, "object"), call("JSON_EXTRACT", value, text(path)))])

    def _known(self, value: Sql) -> Sql:
        return case([(compare("is_not", self.kind(value), text("n")), value)])

    @override
    def kind(self, value: Sql) -> Sql:
        return call("SUBSTR", call("JSON_FORMAT", value), integer(1), integer(1))

    @override
    def is_kind(self, value: Sql, kind: str) -> Sql:
        first = self.kind(value)
        if kind in ("text", "list", "object"):
            return compare("is", first, text({"text": '"', "list": "[", "object": "{"}[kind]))
        if kind == "boolean":
            return either([compare("is", first, text("t")), compare("is", first, text("f"))])
        numeric = compare("gt", call("STRPOS", text("-0123456789"), first), integer(0))
        if kind == "number":
            return numeric
        return both([numeric, self.fits(call("JSON_FORMAT", value), "-?[0-9]+")])

    @override
    def raw(self, value: Sql) -> Sql:
        return call("JSON_EXTRACT_SCALAR", value, text("$"))

    @override
    def json_text(self, value: Sql) -> Sql:
        return case([(present(value), cast(value, "JSON"))])

    @override
    def any_entry(self, value: Sql, test: Callable[[Sql], Sql]) -> Sql:
        entry = self.fresh_name()
        entries = cast(value, "ARRAY(JSON)", safe=True)
        inner = exp.Lambda(this=test(exp.column(entry.copy())), expressions=[entry])
        return case([(self.is_kind(value, "list"), call("ANY_MATCH", entries, inner))])

    @override
    def size(self, value: Sql) -> Sql:
        return case([(self.is_kind(value, "list"), call("JSON_ARRAY_LENGTH", value))])

    @override
    def let(self, value: Sql, use: Callable[[Sql], Sql]) -> Sql:
        if isinstance(value, exp.Column):
            return use(value)
        name = self.fresh_name()
        inner = exp.Lambda(this=use(exp.column(name.copy())), expressions=[name])
        return call("ELEMENT_AT", call("TRANSFORM", exp.Array(expressions=[value.copy()]), inner), integer(1))

    @override
    def normal(self, value: Sql) -> Sql:
        return call("NORMALIZE", value)

    @override
    def fits(self, value: Sql, pattern: str) -> Sql:
        return call("REGEXP_LIKE", value, text(f"^({pattern})$"))

    @override
    def extract(self, value: Sql, pattern: str, group: int) -> Sql:
        return call("REGEXP_EXTRACT", value, text(pattern), integer(group))

    @override
    def contains(self, value: Sql, part: Sql) -> Sql:
        return compare("gt", call("STRPOS", value, part), integer(0))

    @override
    def ends_with(self, value: Sql, part: str) -> Sql:
        # an empty tail of a shorter text is not the part: compare lengths through the tail itself
        tail = call("SUBSTR", value, integer(-len(part)))
        return compare("is", tail, text(part))

    @override
    def finite(self, value: Sql) -> Sql:
        return both([call("IS_FINITE", value), no(call("IS_NAN", value))])

    @override
    def days(self, spelt: Sql) -> Sql:
        since = call("DATE_DIFF", text("day"), cast(text("1970-01-01"), "DATE"), cast(spelt, "DATE", safe=True))
        return case([(compare("gte", spelt, text("0001-01-01")), since)])

    @override
    def date(self, days: Sql) -> Sql:
        return call("DATE_ADD", text("day"), days, cast(text("1970-01-01"), "DATE"))

    @override
    def bucket(self, salted: Sql) -> Sql:
        head = call("SUBSTR", call("TO_HEX", call("SHA256", call("TO_UTF8", salted))), integer(1), integer(8))
        return exp.paren(exp.Mod(this=call("FROM_BASE", head, integer(16)), expression=integer(10_000)))

    @override
    def value_at_end(self, value: Sql, keys: Sequence[Sql], *, last: bool) -> Sql:
        return call("MAX_BY" if last else "MIN_BY", value, call("ROW", *keys))

    @override
    def sorted_list(self, value: Sql) -> Sql:
        made = ordered((value, False))
        made.set("this", value.copy())
        return exp.Anonymous(this="ARRAY_AGG", expressions=[made])

    @override
    def entry(self, values: Sql, place: Sql) -> Sql:
        return call("ELEMENT_AT", values, place)

    @override
    def length(self, values: Sql) -> Sql:
        return call("CARDINALITY", values)

    @override
    def trunc(self, value: Sql) -> Sql:
        return cast(call("FLOOR", value), self.wide)
