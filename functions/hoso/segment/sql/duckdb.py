"""DuckDB's way to say the primitives: on the laptop and in Lambda."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sqlglot import exp
from typing_extensions import override

from hoso.segment.sql.build import Sql, call, case, cast, compare, integer, minus, one_of, ordered, present, text
from hoso.segment.sql.dialect import Dialect

_KINDS = {
    "text": ("VARCHAR",),
    "whole": ("BIGINT", "UBIGINT"),
    "number": ("BIGINT", "UBIGINT", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "list": ("ARRAY",),
    "object": ("OBJECT",),
}
_SPECIAL = frozenset('*"\\')


class DuckDb(Dialect):
    """DuckDB 2: lambdas are ``lambda x: …``, instants are BIGINT."""

    name = "duckdb"
    wide = "HUGEINT"
    inlines = True

    @override
    def document(self, column: Sql) -> Sql:
        return cast(column, "JSON")

    @override
    def paths(self, document: Sql, paths: Sequence[tuple[str, ...]]) -> list[Sql]:
        return [self._value(self._path(document, path)) for path in paths]

    def _path(self, document: Sql, names: tuple[str, ...]) -> Sql:
        if not any(_SPECIAL & set(name) for name in names):
            quoted = "".join(f'."{name}"' for name in names)
            return call("JSON_EXTRACT", document, text("$" + quoted))
        # names that a path cannot spell are looked up one by one; a pointer must not count entries of a list
        found = document
        for name in names:
            pointer = "/" + name.replace("~", "~0").replace("/", "~1")
            found = self.let(found, partial(self._member, pointer))
        return found

    def _value(self, found: Sql) -> Sql:
        # a plain extraction is cheap to repeat: the engine computes equal expressions once
        plain = isinstance(found, exp.Anonymous) and found.name == "JSON_EXTRACT"
        return self._known(found) if plain else self.let(found, self._known)

    def _member(self, pointer: str, value: Sql) -> Sql:
        return case([(self.is_kind(value, "object"), call("JSON_EXTRACT", value, text(pointer)))])

    def _known(self, value: Sql) -> Sql:
        return case([(compare("is_not", self.kind(value), text("NULL")), value)])

    @override
    def kind(self, value: Sql) -> Sql:
        return call("JSON_TYPE", value)

    @override
    def is_kind(self, value: Sql, kind: str) -> Sql:
        return one_of(self.kind(value), [text(word) for word in _KINDS[kind]])

    @override
    def raw(self, value: Sql) -> Sql:
        return call("JSON_EXTRACT_STRING", value, text("$"))

    @override
    def json_text(self, value: Sql) -> Sql:
        return case([(present(value), call("TO_JSON", value))])

    @override
    def any_entry(self, value: Sql, test: Callable[[Sql], Sql]) -> Sql:
        entry = self.fresh_name()
        entries = cast(value, "JSON[]", safe=True)
        inner = exp.Lambda(this=test(exp.column(entry.copy())), expressions=[entry])
        found = compare("gt", call("LEN", call("LIST_FILTER", entries, inner)), integer(0))
        return case([(self.is_kind(value, "list"), found)])

    @override
    def size(self, value: Sql) -> Sql:
        return case([(self.is_kind(value, "list"), call("JSON_ARRAY_LENGTH", value))])

    @override
    def let(self, value: Sql, use: Callable[[Sql], Sql]) -> Sql:
        if isinstance(value, exp.Column):
            return use(value)
        name = self.fresh_name()
        inner = exp.Lambda(this=use(exp.column(name.copy())), expressions=[name])
        return call("LIST_EXTRACT", call("LIST_TRANSFORM", exp.Array(expressions=[value.copy()]), inner), integer(1))

    @override
    def normal(self, value: Sql) -> Sql:
        return call("NFC_NORMALIZE", value)

    @override
    def fits(self, value: Sql, pattern: str) -> Sql:
        return call("REGEXP_FULL_MATCH", value, text(pattern))

    @override
    def extract(self, value: Sql, pattern: str, group: int) -> Sql:
        return call("REGEXP_EXTRACT", value, text(pattern), integer(group))

    @override
    def contains(self, value: Sql, part: Sql) -> Sql:
        return call("CONTAINS", value, part)

    @override
    def ends_with(self, value: Sql, part: str) -> Sql:
        return call("ENDS_WITH", value, text(part))

    @override
    def finite(self, value: Sql) -> Sql:
        return call("ISFINITE", value)

    @override
    def days(self, spelt: Sql) -> Sql:
        first = cast(text("1970-01-01"), "DATE")
        since = minus(cast(spelt, "DATE", safe=True), first)
        return case([(compare("gte", spelt, text("0001-01-01")), since)])

    @override
    def date(self, days: Sql) -> Sql:
        return exp.paren(exp.Add(this=cast(text("1970-01-01"), "DATE"), expression=cast(days, "INT")))

    @override
    def bucket(self, salted: Sql) -> Sql:
        head = call("CONCAT", text("0x"), call("SUBSTR", call("SHA256", salted), integer(1), integer(8)))
        return exp.paren(exp.Mod(this=cast(head, "BIGINT"), expression=integer(10_000)))

    @override
    def value_at_end(self, value: Sql, keys: Sequence[Sql], *, last: bool) -> Sql:
        return call("ARG_MAX" if last else "ARG_MIN", value, call("ROW", *keys))

    @override
    def sorted_list(self, value: Sql) -> Sql:
        made = ordered((value, False))
        made.set("this", value.copy())
        return exp.Anonymous(this="LIST", expressions=[made])

    @override
    def entry(self, values: Sql, place: Sql) -> Sql:
        return call("LIST_EXTRACT", values, place)

    @override
    def length(self, values: Sql) -> Sql:
        return call("LEN", values)

    @override
    def trunc(self, value: Sql) -> Sql:
        return cast(call("FLOOR", value), self.wide)
