"""Short names for the SQL expressions that every dialect shares. Functions are written as named, never translated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

Sql = exp.Expr


def call(name: str, *arguments: Sql) -> Sql:
    """A function call by the name that the target engine knows."""
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def text(value: str) -> Sql:
    """A text literal; quoting is the generator's."""
    return exp.Literal.string(value)


def integer(value: int) -> Sql:
    """A whole number."""
    return exp.Literal.number(str(value)) if value >= 0 else exp.Neg(this=exp.Literal.number(str(-value)))


def double(value: float) -> Sql:
    """A floating point number, exactly."""
    return exp.Cast(this=text(repr(float(value))), to=exp.DataType.build("DOUBLE"))


def column(name: str, table: str | None = None) -> Sql:
    """A column, quoted."""
    return exp.column(exp.to_identifier(name, quoted=True), table=exp.to_identifier(table, quoted=True))


def cast(value: Sql, kind: str, *, safe: bool = False) -> Sql:
    """A cast; ``safe`` gives NULL where the value does not fit."""
    made = exp.TryCast if safe else exp.Cast
    return made(this=value.copy(), to=exp.DataType.build(kind))


def both(parts: Iterable[Sql]) -> Sql:
    """All of these."""
    return exp.and_(*(exp.paren(part, copy=True) for part in parts))


def either(parts: Iterable[Sql]) -> Sql:
    """Any of these."""
    return exp.or_(*(exp.paren(part, copy=True) for part in parts))


def no(part: Sql) -> Sql:
    """Not this."""
    return exp.Not(this=exp.paren(part, copy=True))


def sure(part: Sql) -> Sql:
    """The condition, false where SQL says unknown."""
    return exp.Coalesce(this=part.copy(), expressions=[exp.false()])


def present(value: Sql) -> Sql:
    """``IS NOT NULL``."""
    return no(exp.Is(this=value.copy(), expression=exp.null()))


def absent(value: Sql) -> Sql:
    """``IS NULL``."""
    return exp.Is(this=value.copy(), expression=exp.null())


def case(branches: Sequence[tuple[Sql, Sql]], default: Sql | None = None) -> Sql:
    """``CASE WHEN … THEN … ELSE … END``."""
    ifs = [exp.If(this=condition.copy(), true=value.copy()) for condition, value in branches]
    return exp.Case(ifs=ifs, default=None if default is None else default.copy())


def one_of(value: Sql, entries: Sequence[Sql]) -> Sql:
    """``IN``."""
    return exp.In(this=value.copy(), expressions=list(entries))


def compare(op: str, left: Sql, right: Sql) -> Sql:
    """A comparison by the operator's name in the rule language."""
    kinds: dict[str, type[exp.Binary]] = {
        "is": exp.EQ,
        "is_not": exp.NEQ,
        "lt": exp.LT,
        "lte": exp.LTE,
        "gt": exp.GT,
        "gte": exp.GTE,
    }
    return kinds[op](this=left.copy(), expression=right.copy())


def plus(left: Sql, right: Sql) -> Sql:
    """Sum, in parentheses."""
    return exp.paren(exp.Add(this=left.copy(), expression=right.copy()))


def minus(left: Sql, right: Sql) -> Sql:
    """Difference, in parentheses."""
    return exp.paren(exp.Sub(this=left.copy(), expression=right.copy()))


def times(left: Sql, right: Sql) -> Sql:
    """Product, in parentheses."""
    return exp.paren(exp.Mul(this=left.copy(), expression=right.copy()))


def filtered(aggregate: Sql, condition: Sql) -> Sql:
    """``aggregate FILTER (WHERE condition)``."""
    return exp.Filter(this=aggregate.copy(), expression=exp.Where(this=condition.copy()))


def ordered(*keys: tuple[Sql, bool]) -> exp.Order:
    """``ORDER BY``; each key with whether it falls."""
    return exp.Order(expressions=[exp.Ordered(this=key.copy(), desc=falls, nulls_first=False) for key, falls in keys])


def over(
    function: Sql,
    partition: Sequence[Sql],
    order: exp.Order,
    frame: tuple[Sql | str, str, Sql | str, str] | None = None,
) -> Sql:
    """A window function; ``frame`` is (start, its side, end, its side) of a RANGE."""
    spec = None
    if frame is not None:
        start, start_side, end, end_side = frame
        spec = exp.WindowSpec(kind="RANGE", start=start, start_side=start_side, end=end, end_side=end_side)
    return exp.Window(
        this=function.copy(), partition_by=[part.copy() for part in partition], order=order.copy(), spec=spec
    )


def alias(value: Sql, name: str) -> Sql:
    """``value AS "name"``."""
    return exp.alias_(value.copy(), name, quoted=True)
