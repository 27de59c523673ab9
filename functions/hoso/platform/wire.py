"""The wire form of DynamoDB's values: ``{"S": …}``, ``{"N": …}`` and so on, to plain values and back."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, cast

from typing_extensions import override


def marshal(value: Any) -> dict[str, Any]:
    """The wire form of a value (``{"S": …}``). Raises ``TypeError`` for what DynamoDB cannot hold."""
    kind = cast("type[object]", type(value))
    if kind is str:
        return {"S": value}
    if kind is bool:
        return {"BOOL": value}
    if kind is int or kind is float:
        return {"N": repr(value)}
    if value is None:
        return {"NULL": True}
    if kind is bytes:
        return {"B": value}
    if kind is dict:
        return {"M": {key: marshal(entry) for key, entry in value.items()}}
    if kind is list or kind is tuple:
        return {"L": [marshal(entry) for entry in value]}
    if kind is set or kind is frozenset:
        return {"SS": sorted(cast("set[str]", value))}
    raise TypeError(f"DynamoDB cannot hold a {kind.__name__}")


def unmarshal(wire: Mapping[str, Any]) -> Any:
    """The plain value of a wire form. Entries of lists are read in place: they are texts and numbers as a rule."""
    ((kind, value),) = wire.items()
    if kind == "S":
        return value
    if kind == "L":
        try:
            return [e["S"] if "S" in e else int(e["N"]) if "N" in e else unmarshal(e) for e in value]
        except ValueError:  # a number with a fraction or an exponent
            return [unmarshal(e) for e in value]
    if kind == "N":
        return _number(value)
    if kind == "BOOL":
        return value
    if kind == "M":
        return {key: unmarshal(entry) for key, entry in value.items()}
    if kind == "NULL":
        return None
    if kind == "B":
        return bytes(value)
    if kind == "SS":
        return set(value)
    raise TypeError(f"unexpected wire type {kind}")


def _number(spelt: str) -> int | float:
    try:
        return int(spelt)
    except ValueError:
        return float(spelt)


def to_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item in wire form."""
    return {key: marshal(value) for key, value in item.items()}


def from_wire(wire: Mapping[str, Any], late: Container[str] = ()) -> dict[str, Any]:
    """An item from wire form; the maps in the attributes ``late`` stay in it until somebody looks into them."""
    if not late:
        return {key: unmarshal(value) for key, value in wire.items()}
    return {key: Late(value["M"]) if key in late and "M" in value else unmarshal(value) for key, value in wire.items()}


class Late(Mapping[str, Any]):
    """A map in wire form, of which an entry is read when it is asked for."""

    __slots__ = ("_wire",)

    def __init__(self, wire: Mapping[str, Any]) -> None:
        self._wire = wire

    @override
    def __getitem__(self, key: str) -> Any:
        return unmarshal(self._wire[key])

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._wire)

    @override
    def __len__(self) -> int:
        return len(self._wire)
