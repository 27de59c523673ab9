"""Expressions of DynamoDB: each text is parsed once, and only like is compared with like.

Moto parses a condition two or three times per call, fails on a text compared with a number, and finds 1 equal to true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from moto.dynamodb.exceptions import MockValidationException

from infra.twin.moto_fixes import replace
from infra.twin.moto_fixes.values import value

TEMPLATES_KEPT = 2_000
_moto: Any = import_module("moto.dynamodb.comparisons")
_executors: Any = import_module("moto.dynamodb.parsing.executors")
_updates: Any = import_module("moto.dynamodb.parsing.expressions")
_validators: Any = import_module("moto.dynamodb.parsing.validators")


def patch() -> None:
    """Put the repairs in place."""
    parser = _moto.ConditionExpressionParser
    replace(parser, "parse", _parse_once(parser, parser.parse))
    replace(parser, "_make_operand", _named(parser._make_operand))
    for operator in _moto.COMPARATOR_CLASS.values():
        replace(operator, "expr", _alike(operator.expr, unlike=operator is _moto.OpNotEqual))
    replace(_moto.FuncBetween, "expr", _between)


def holds(item: Any, expression: str, names: Mapping[str, str] | None, values: Mapping[str, Any] | None) -> bool:
    """Whether a condition holds for a snapshot (None: there is no item)."""
    return bool(_moto.get_filter_expression(expression, names, values).expr(item))


def execute(expression: str, item: Any, table: Any, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Apply an update expression to a moto item, by moto's validator and executor."""
    checked = {name: value(attribute)[0] for name, attribute in values.items()}
    tree = _validators.UpdateExpressionValidator(
        _updates.UpdateExpressionParser.make(expression),
        expression_attribute_names=names,
        expression_attribute_values=checked,
        item=item,
        table=table,
    ).validate()
    tree.normalize()
    _executors.UpdateExpressionExecutor(tree, item, names).execute()


def _parse_once(parser: Any, stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @lru_cache(maxsize=TEMPLATES_KEPT)
    def template(expression: str, names: tuple[tuple[str, str], ...], values: frozenset[str]) -> tuple[Any, Any, Any]:
        fresh = parser(expression, dict(names), {name: {"S": name} for name in values})
        try:
            return stock(fresh), fresh.expr_attr_names_found, fresh.expr_attr_values_found
        except (ValueError, KeyError) as error:
            raise MockValidationException(f"Invalid expression: {error}") from error

    def parse(self: Any) -> Any:
        if not self.condition_expression:
            return stock(self)
        names: dict[str, str] = self.expression_attribute_names or {}
        values: dict[str, Any] = self.expression_attribute_values or {}
        tree, names_found, values_found = template(self.condition_expression, tuple(names.items()), frozenset(values))
        self.expr_attr_names_found.extend(names_found)
        self.expr_attr_values_found.extend(values_found)
        return _bind(tree, values)

    return parse


def _named(stock: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """``_make_operand`` that leaves the placeholder's name on a value, for ``_bind``."""

    def make_operand(self: Any, node: Any) -> Any:
        operand = stock(self, node)
        if isinstance(operand, _moto.AttributeValue):
            operand.name = node.text
        return operand

    return make_operand


def _bind(node: Any, values: Mapping[str, Any]) -> Any:
    """A parsed condition with the values of one call."""
    if isinstance(node, _moto.AttributeValue):
        return _moto.AttributeValue(value(values[node.name])[0])
    if isinstance(node, _moto.Func):
        return type(node)(*[_bind(argument, values) for argument in node.arguments])
    if isinstance(node, _moto.OpNot):
        return _moto.OpNot(_bind(node.lhs, values))
    if isinstance(node, _moto.OpDefault) or not isinstance(node, _moto.Op):
        return node
    return type(node)(_bind(node.lhs, values), _bind(node.rhs, values))


def _alike(stock: Callable[[Any, Any], Any], unlike: bool) -> Callable[[Any, Any], bool]:
    """A comparison that answers ``unlike`` for operands of different types or without a value."""

    def compare(self: Any, item: Any) -> bool:
        kind = _kind(self.lhs, item)
        return bool(stock(self, item)) if kind is not None and kind == _kind(self.rhs, item) else unlike

    return compare


def _between(self: Any, item: Any) -> bool:
    kind = _kind(self.attr, item)
    if kind is None or kind != _kind(self.start, item) or kind != _kind(self.end, item):
        return False
    return self.start.expr(item) <= self.attr.expr(item) <= self.end.expr(item)


def _kind(operand: Any, item: Any) -> str | None:
    """The type of an operand's value; a size is a number, if what it measures is there."""
    if isinstance(operand, _moto.FuncSize):
        return "N" if operand.attr.get_type(item) in ("S", "SS", "NS", "B", "BS", "L", "M") else None
    return operand.get_type(item)
