"""Rules of identity as a document: which identifier types there are, how they rank, and what bounds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

import orjson

from hoso.model.contact_forms import contact_forms
from hoso.model.errors import InvalidInput
from hoso.model.time import DAY_MS

Order = Literal["first", "last"]


class TypeRule(NamedTuple):
    """What holds for one identifier type.

    ``rank``: 1 is best. ``limit``: most distinct values of the type per person, within ``window_days`` when given (R8).
    ``fanout``: most values of one limit-1 type that a value of this type is linked to before it counts as shared (R9).
    ``device``: a value stands for a machine: names that were seen beside it are not its names.
    """

    rank: float
    limit: int | None = None
    window_days: float | None = None
    fanout: int | None = None
    device: bool = False

    @property
    def window_ms(self) -> int | None:
        """The window of the limit in milliseconds."""
        return None if self.window_days is None else int(self.window_days * DAY_MS)


class _Types(dict[str, TypeRule]):
    """Rules by type. What stored items still say of a type that was taken out ranks last; it joins nobody (``retired``
    tells)."""

    def __missing__(self, _: str) -> TypeRule:
        return _RETIRED


_RETIRED = TypeRule(1e9)


@dataclass(frozen=True)
class IdentityConfig:
    """One revision of the identity rules (issue: the README of the identity scenarios, rules R1-R17).

    ``order``: who keeps a contested identifier, the ``first`` or the ``last`` claim (R7).
    ``max_ids``: most identifiers per person (R16). ``blocked``: the workspace's own blocked values (R2).
    ``names``: refuse a link between people whose names contradict, where the link's weaker end is of a type without
    a limit of one (shared family devices, one e-mail or phone for a household).
    """

    types: Mapping[str, TypeRule]
    order: Order = "first"
    max_ids: int = 1_000
    blocked: frozenset[str] = field(default_factory=frozenset[str])
    names: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", _Types(self.types))

    def retired(self, kind: str, value: str) -> bool:
        """Whether a stored identifier is none under these rules: its type was taken out, or its value blocked (R2)."""
        return kind not in self.types or value in self.blocked_forms

    @cached_property
    def unique_types(self) -> frozenset[str]:
        """Types of limit 1, with or without a window (R4, R9)."""
        return frozenset(name for name, rule in self.types.items() if rule.limit == 1)

    @cached_property
    def blocked_forms(self) -> frozenset[str]:
        """The workspace's blocked values, and what those that are an address or a number are normalised to: they are
        blocked in every spelling and notation (R1, R2)."""
        return self.blocked.union(*map(contact_forms, self.blocked))

    @cached_property
    def keeps_anonymous_ids(self) -> bool:
        """Whether an anonymous id needs no look at the workspace's own rules."""
        return "anonymous_id" in self.types and not self.blocked

    @cached_property
    def contact_types(self) -> frozenset[str]:
        """Types of which several people may use one value, and know it: addresses, numbers, cards. Empty where names
        are not checked."""
        if not self.names:
            return frozenset()
        return frozenset(name for name, rule in self.types.items() if rule.limit != 1 and not rule.device)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that are a function of the rules: state made under other rules is told apart by it."""
        rules = {
            "types": {name: tuple(rule) for name, rule in self.types.items()},
            "order": self.order,
            "max_ids": self.max_ids,
            "blocked": sorted(self.blocked),
            "names": self.names,
        }
        return hashlib.sha256(orjson.dumps(rules, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    @classmethod
    def parse(cls, document: str | Mapping[str, Any]) -> IdentityConfig:
        """The rules that a document means: a preset's name, or ``{"base": preset, ...overrides}``.

        A type listed under ``types`` replaces the preset's entry; null takes the type out.

        Raises:
            InvalidInput: ``invalid_identity_rules``, with the member that is wrong.
        """
        if isinstance(document, str):
            return _preset(document)
        unknown = set(document) - {"base", "types", "order", "max_ids", "blocked", "names"}
        if unknown:
            raise _invalid(f"unknown members {sorted(unknown)}")
        base = _preset(document.get("base", "retail"))
        return cls(
            types=_types(base.types, document.get("types", {})),
            order=_order(document.get("order", base.order)),
            max_ids=_count("max_ids", document.get("max_ids", base.max_ids)),
            blocked=_blocked(document.get("blocked", base.blocked)),
            names=bool(document.get("names", base.names)),
        )


STANDARD = IdentityConfig(
    {
        "user_id": TypeRule(1, limit=1),
        "crm_id": TypeRule(2, limit=1),
        "loyalty_id": TypeRule(3, limit=5),
        "email": TypeRule(4, limit=5, fanout=5),
        "phone": TypeRule(5, limit=5, fanout=5),
        "device_id": TypeRule(6, limit=5, fanout=10),
        "ga_client_id": TypeRule(7, limit=5, fanout=10),
        "anonymous_id": TypeRule(8, limit=5, window_days=7, fanout=10),
    }
)
"""The documented standard rules (preset ``default``)."""

GRAPH_LINKING = IdentityConfig(
    {
        "crm_id": TypeRule(1, limit=1),
        "email": TypeRule(2),
        "phone": TypeRule(3),
        "login_id": TypeRule(4),
        "device_id": TypeRule(5),
        "anonymous_id": TypeRule(6),
    },
    order="last",
    max_ids=50,
)
"""The newest sign-in owns a shared device (preset ``graph-linking``)."""

DEFAULT = IdentityConfig(
    {
        **STANDARD.types,
        **{name: STANDARD.types[name]._replace(device=True) for name in ("device_id", "ga_client_id", "anonymous_id")},
        "customer_id": TypeRule(3.3, limit=5),
        "payment_customer_id": TypeRule(3.6, limit=20),
        "zalo_id": TypeRule(5.5, limit=5, fanout=5),
        "presence_token": TypeRule(5.7, limit=5, fanout=3),
        # click ids of ads, taken only from external ids: an address that is passed on carries its click id along
        **{name: TypeRule(9, limit=20, fanout=1, device=True) for name in ("gclid", "fbclid", "ttclid")},
    },
    names=True,
)
"""What a workspace has that set no rules of its own (preset ``retail``): the standard, types that Vietnamese shops
use beside it, and the check of names."""

PRESETS: Mapping[str, IdentityConfig] = {"default": STANDARD, "graph-linking": GRAPH_LINKING, "retail": DEFAULT}


def _preset(name: object) -> IdentityConfig:
    if not isinstance(name, str) or name not in PRESETS:
        raise _invalid(f"base is one of {sorted(PRESETS)}")
    return PRESETS[name]


def _types(base: Mapping[str, TypeRule], overrides: object) -> dict[str, TypeRule]:
    if not isinstance(overrides, Mapping):
        raise _invalid("types is an object")
    types = dict(base)
    for name, given in cast("Mapping[str, Any]", overrides).items():
        if given is None:
            types.pop(name, None)
        else:
            types[name] = _type_rule(name, given)
    return types


def _type_rule(name: str, given: Any) -> TypeRule:
    if not isinstance(given, Mapping) or "rank" not in given or set(cast("Any", given)) - set(TypeRule._fields):
        raise _invalid(f"types.{name} is an object with rank and, at will, limit, window_days, fanout, device")
    members = cast("Mapping[str, Any]", given)
    if not isinstance(members.get("device", False), bool):
        raise _invalid(f"types.{name}.device is true or false")
    for key, value in members.items():
        if key == "device":
            continue
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise _invalid(f"types.{name}.{key} is a number of zero or more")
    return TypeRule(**members)


def _order(given: object) -> Order:
    if given == "first":
        return "first"
    if given == "last":
        return "last"
    raise _invalid("order is first or last")


def _count(member: str, given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise _invalid(f"{member} is a whole number above zero")
    return given


def _blocked(given: Any) -> frozenset[str]:
    if not isinstance(given, list | tuple | frozenset) or not all(
        isinstance(value, str) for value in cast("list[object]", given)
    ):
        raise _invalid("blocked is a list of texts")
    return frozenset(value.strip() for value in cast("list[str]", given))


def _invalid(what: str) -> InvalidInput:
    return InvalidInput(f"identity rules: {what}", code="invalid_identity_rules")
