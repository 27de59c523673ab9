"""The document of a workspace's identity rules: what an engineer writes, and what can be wrong in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hoso.model.errors import InvalidInput
from hoso.model.identity_config import DEFAULT, PRESETS, IdentityConfig, TypeRule

KIND, KEY = "identity", "rules"
"""Where the document stands among the control documents."""
MAX_TYPES = 40

_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class TypeRules(BaseModel):
    """What holds for one identifier type; see ``hoso.model.identity_config.TypeRule``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: float = Field(ge=0, le=1_000)
    limit: int | None = Field(None, ge=1, le=1_000)
    window_days: float | None = Field(None, gt=0, le=3_650)
    fanout: int | None = Field(None, ge=1, le=1_000)
    device: bool = False

    @model_validator(mode="after")
    def _window_needs_limit(self) -> Self:
        if self.window_days is not None and self.limit is None:
            raise ValueError("window_days needs a limit")
        return self


class IdentityRules(BaseModel):
    """The rules of a workspace: a preset with overrides.

    A type listed under ``types`` replaces the preset's entry; null takes the type out. ``protected`` types are those of
    which a person has one value, ever: two values of one never come together, whatever links them. ``order``,
    ``max_ids``, ``blocked`` and ``names`` as in ``hoso.model.identity_config.IdentityConfig``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["identity/1"] = Field(default="identity/1", alias="schema")
    base: Literal["retail", "default", "graph-linking"] = "retail"
    types: dict[_Name, TypeRules | None] = Field(default_factory=dict[str, "TypeRules | None"], max_length=MAX_TYPES)
    protected: list[_Name] = Field(default_factory=list[str], max_length=MAX_TYPES)
    order: Literal["first", "last"] | None = None
    max_ids: int | None = Field(None, ge=2, le=10_000)
    blocked: list[Annotated[str, Field(min_length=1, max_length=1_024)]] = Field(
        default_factory=list[str], max_length=1_000
    )
    names: bool | None = None

    def config(self) -> IdentityConfig:
        """The rules as the resolver takes them. Raises ``InvalidInput``."""
        base = PRESETS[self.base]
        types = dict(base.types)
        for name, given in self.types.items():
            if given is None:
                types.pop(name, None)
            else:
                types[name] = TypeRule(given.rank, given.limit, given.window_days, given.fanout, given.device)
        for name in self.protected:
            if name not in types:
                raise _invalid(f"protected: {name} is no type of these rules")
            types[name] = types[name]._replace(limit=1, window_days=None)
        if not types:
            raise _invalid("types: at least one type must identify")
        return IdentityConfig(
            types,
            order=self.order or base.order,
            max_ids=self.max_ids or base.max_ids,
            blocked=base.blocked | {value.strip() for value in self.blocked},
            names=base.names if self.names is None else self.names,
        )


def read_rules(document: object) -> IdentityRules:
    """The document, checked.

    Raises:
        InvalidInput: ``invalid_identity_rules``; the text names each wrong member, never its value.
    """
    try:
        found = IdentityRules.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg']}" for fault in error.errors()]
        raise _invalid("; ".join(faults[:20])) from error
    found.config()
    return found


def config_in(body: Mapping[str, Any] | None) -> IdentityConfig:
    """The rules that a stored document means; without one the retail rules. Raises ``InvalidInput``."""
    return DEFAULT if body is None else read_rules(body).config()


def shown_config(config: IdentityConfig) -> dict[str, Any]:
    """Rules in full, for people: every type with all that holds for it, best first."""
    ranked = sorted(config.types.items(), key=lambda entry: (entry[1].rank, entry[0]))
    return {
        "types": {name: dict(rule._asdict()) for name, rule in ranked},
        "protected": sorted(config.unique_types),
        "order": config.order,
        "max_ids": config.max_ids,
        "blocked": sorted(config.blocked),
        "names": config.names,
        "fingerprint": config.fingerprint,
    }


def _invalid(what: str) -> InvalidInput:
    return InvalidInput(f"identity rules: {what}", code="invalid_identity_rules")
