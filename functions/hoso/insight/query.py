"""What a query may be: one SELECT over the five tables, read as a tree before anything runs (security S13)."""

from __future__ import annotations

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError

from hoso.model.errors import InvalidInput

TABLES = ("events", "profiles", "identities", "memberships", "deliveries")
MAX_LENGTH = 50_000
# The tree of a query that only reads holds none of these, whatever its dialect of SELECT.
_WRITES = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.Alter,
    exp.Command,
    exp.Copy,
    exp.Into,
)


class BadQuery(InvalidInput):
    """A query that is not one SELECT over the known tables."""

    code = "bad_query"


def tables_of(query: str) -> frozenset[str]:
    """The known tables that a query reads.

    Raises:
        BadQuery: not one SELECT, or it names something that is no table here.
    """
    if len(query) > MAX_LENGTH:
        raise BadQuery(f"a query has at most {MAX_LENGTH} characters")
    try:
        statements = [statement for statement in parse(query, dialect="duckdb") if statement is not None]
    except SqlglotError as error:
        raise BadQuery(f"not valid SQL: {str(error).splitlines()[0]}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise BadQuery("a query is one SELECT", hint="the tables are " + ", ".join(TABLES))
    tree = statements[0]
    if any(tree.find(kind) is not None for kind in _WRITES):
        raise BadQuery("a query only reads")
    named = {table.name.lower() for table in tree.find_all(exp.Table) if table.name}
    own = {entry.alias_or_name.lower() for entry in tree.find_all(exp.CTE)}
    unknown = named - own - set(TABLES)
    if unknown:
        raise BadQuery(f"no such table: {', '.join(sorted(unknown))}", hint="the tables are " + ", ".join(TABLES))
    return frozenset(named & set(TABLES))
