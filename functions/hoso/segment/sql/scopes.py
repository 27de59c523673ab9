"""Where a condition finds the forms of a value: columns that are computed once, or an expression in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from hoso.segment.sql.build import Sql, call, cast, column
from hoso.segment.sql.dialect import Dialect
from hoso.segment.values import split_path


class Scope(ABC):
    """Knows the values that paths lead to."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    @abstractmethod
    def form(self, path: str, form: str) -> Sql:
        """A form (``json text folded number boolean day instant``) of the value at a path; NULL without it."""


class Columns(Scope):
    """Forms as columns: each is extracted once for all conditions that look at it."""

    def __init__(self, dialect: Dialect, document: str, prefix: str = "") -> None:
        super().__init__(dialect)
        self._document = document
        self._prefix = prefix
        self._values: dict[tuple[str, ...], str] = {}
        self._forms: dict[tuple[tuple[str, ...], str], str] = {}

    def form(self, path: str, form: str) -> Sql:
        """A column of the outer select."""
        return self.at(split_path(path), form)

    def at(self, names: tuple[str, ...], form: str) -> Sql:
        """A column for the value under these names."""
        value = self._values.setdefault(names, f"{self._prefix}j{len(self._values)}")
        if form == "json":
            return column(value)
        return column(self._forms.setdefault((names, form), f"{form}_{value}"))

    def values(self) -> dict[str, Sql]:
        """The inner select: JSON values by column name."""
        paths = list(self._values)
        found = self.dialect.paths(column(self._document), paths)
        return {self._values[path]: value for path, value in zip(paths, found, strict=True)}

    def forms(self) -> dict[str, Sql]:
        """The outer select: forms by column name."""
        return {
            name: in_place(self.dialect, column(self._values[at]), form) for (at, form), name in self._forms.items()
        }


@dataclass
class InPlace(Scope):
    """Forms written out where they are used: entries of lists, results of aggregates."""

    dialect: Dialect
    value: Sql
    paths: dict[str, Sql] = field(default_factory=dict[str, Sql])

    def form(self, path: str, form: str) -> Sql:
        """The form of the value itself (empty path) or of a value inside it."""
        if not path:
            return in_place(self.dialect, self.value, form)
        if path not in self.paths:
            self.paths[path] = self.dialect.paths(self.value, [split_path(path)])[0]
        return in_place(self.dialect, self.paths[path], form)


@dataclass
class Moment(Scope):
    """The forms of a timestamp that is a whole number of milliseconds."""

    dialect: Dialect
    value: Sql

    def form(self, path: str, form: str) -> Sql:  # noqa: ARG002  there is only one value
        """The form of the timestamp."""
        if form in ("text", "folded"):
            return cast(self.value, "VARCHAR")
        if form == "number":
            return cast(self.value, "DOUBLE")
        if form == "instant":
            return self.value  # milliseconds even where a number of an event would be seconds
        if form == "json":
            return self.value
        return cast(call("NULLIF", self.value, self.value), "BOOLEAN" if form == "boolean" else "BIGINT")


def in_place(dialect: Dialect, value: Sql, form: str) -> Sql:
    """A form of a JSON value."""
    if form == "json":
        return value
    if form == "folded":
        return call("LOWER", dialect.let(value, dialect.text_form))
    forms = {
        "text": dialect.text_form,
        "number": dialect.number_form,
        "boolean": dialect.boolean_form,
        "day": dialect.day_form,
        "instant": dialect.instant_form,
    }
    return dialect.let(value, forms[form])
