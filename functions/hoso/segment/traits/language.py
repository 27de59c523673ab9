"""The documents of computed traits and scores, ``trait/1``: one frozen model per kind, unknown keys refused.

``measure`` is the rule language's own measure with a name: a condition on such a trait *is* a condition on events
(``hoso.segment.traits.inline``), so it is live and the same in both engines. All other kinds are made by night.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hoso.model.errors import InvalidInput
from hoso.segment.event_language import (
    DurationText,
    ElapsedText,
    EventNames,
    Key,
    Measure,
    Model,
    Path,
    Where,
    Window,
    ZoneName,
)
from hoso.segment.zones import parse_duration

KIND = "computed_trait"
MOST_DEFINITIONS = 60
"""Per workspace; a person holds at most 100 computed values, and some definitions make several."""


class MeasureTrait(Model):
    """A measure of the matching events."""

    kind: Literal["measure"]
    event: EventNames
    where: Where | None = None
    window: Window | None = None
    measure: Measure


class UniqueList(Model):
    """The different text forms at a path, the newest first, at most ``most`` of them."""

    kind: Literal["unique_list"]
    event: EventNames
    of: Path
    where: Where | None = None
    window: Window | None = None
    most: Annotated[int, Field(ge=1, le=100)] = 20


class DaysSince(Model):
    """Whole local days since the first or the last matching event."""

    kind: Literal["days_since"]
    event: EventNames
    where: Where | None = None
    which: Literal["first", "last"] = "last"


class Trend(Model):
    """Whether values rise or fall from one event to the next: the slope of their line, as a share of their mean.

    0.1 means: each is about a tenth of the mean above the one before. Missing with fewer than ``least`` values.
    """

    kind: Literal["trend"]
    event: EventNames
    of: Path
    where: Where | None = None
    window: Window | None = None
    least: Annotated[int, Field(ge=3, le=1_000)] = 3


class Rfm(Model):
    """Recency, frequency, money as bands 1 to 5 by rank; makes ``<key>`` (a band's name), ``_r _f _m``.

    Money is the sum at ``of`` over orders less the sum at ``of`` over ``refund`` events.
    """

    kind: Literal["rfm"]
    event: EventNames = ("Order Completed",)
    refund: EventNames = ("Order Refunded",)
    of: Path = "properties.total"
    lookback: DurationText = "365d"


class Lifetime(Model):
    """BG/NBD and Gamma-Gamma; scores ``<key>`` (value over ``months``), ``_churn``, ``_next_order`` (in ``next``)."""

    kind: Literal["lifetime"]
    event: EventNames = ("Order Completed",)
    of: Path = "properties.total"
    months: Annotated[int, Field(ge=1, le=60)] = 12
    discount: Annotated[float, Field(ge=0, le=0.2)] = 0.01
    next: ElapsedText = "30d"


class Propensity(Model):
    """The chance of a target event within ``horizon``, by logistic regression on what people did before."""

    kind: Literal["propensity"]
    target: EventNames
    horizon: ElapsedText = "30d"
    names: Annotated[tuple[str, ...], Field(max_length=20, strict=False)] = ()
    """Events that are counted as features; empty: the most frequent names."""


class Lookalike(Model):
    """How much somebody resembles the members of a segment, -1 to 1, by what both do; members have no score."""

    kind: Literal["lookalike"]
    seed: Key
    names: Annotated[tuple[str, ...], Field(max_length=20, strict=False)] = ()
    """Events that are counted as features; empty: the most frequent names."""


class Affinity(Model):
    """The value at a path that a person's events favour: weight by name, halved every ``half_life``.

    Makes ``<key>`` (the value) and ``<key>_share`` (its part of all, 0 to 1).
    """

    kind: Literal["affinity"]
    of: Path
    weights: dict[str, Annotated[float, Field(gt=0, le=1_000)]] = Field(
        default={"Product Viewed": 1.0, "Product Added": 3.0, "Order Completed": 5.0}
    )
    half_life: ElapsedText = "30d"
    window: DurationText = "365d"

    @model_validator(mode="after")
    def _check_weights(self) -> Affinity:
        if not 1 <= len(self.weights) <= 20:
            raise PydanticCustomError("weights", "1 to 20 names of events have weights")
        if not (parse_duration(self.half_life) or parse_duration("1d")):
            raise PydanticCustomError("half_life", "a duration longer than nothing")
        return self


class Rank(Model):
    """The place of a person by another computed value among all who have one, 0 to 100; equal values share it."""

    kind: Literal["rank"]
    of: Key


Recipe = Annotated[
    MeasureTrait | UniqueList | DaysSince | Trend | Rfm | Lifetime | Propensity | Lookalike | Affinity | Rank,
    Field(discriminator="kind"),
]
SCORES = (Lifetime, Propensity, Lookalike)
"""Kinds whose values are scores (``score`` conditions); the others make traits."""


class ComputedTrait(Model):
    """One document defines one computed trait or score."""

    language: Literal["trait/1"] = Field(alias="schema")
    key: Key
    name: Annotated[str, Field(max_length=200)] = ""
    description: Annotated[str, Field(max_length=2_000)] = ""
    timezone: ZoneName = "UTC"
    of: Recipe

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the values that the definition makes."""
        suffixes: dict[str, tuple[str, ...]] = {
            "rfm": ("", "_r", "_f", "_m"),
            "lifetime": ("", "_churn", "_next_order"),
            "affinity": ("", "_share"),
        }
        return tuple(self.key + suffix for suffix in suffixes.get(self.of.kind, ("",)))


class InvalidTrait(InvalidInput):
    """The document is refused; the message names the path of the fault."""

    code = "invalid_trait"


def read_trait(document: object) -> ComputedTrait:
    """The definition in a document. Raises ``InvalidTrait``."""
    try:
        return ComputedTrait.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"])) or "document"
        raise InvalidTrait(f"{path}: {first['msg']}", hint="see docs/segments.md for computed traits") from error


def check_traits(fresh: ComputedTrait, others: dict[str, ComputedTrait]) -> None:
    """Refuse a name that another definition makes, a rank of nothing, and too many definitions.

    Raises:
        InvalidTrait: with what is wrong.
    """
    rest = {key: other for key, other in others.items() if key != fresh.key}
    if len(rest) >= MOST_DEFINITIONS:
        raise InvalidTrait(f"at most {MOST_DEFINITIONS} computed traits", hint="delete one that nobody uses")
    made = {output: key for key, other in rest.items() for output in other.outputs}
    for output in fresh.outputs:
        if output in made:
            raise InvalidTrait(f"key: {made[output]} makes {output} already")
    if isinstance(fresh.of, Rank) and (fresh.of.of not in made or isinstance(rest[made[fresh.of.of]].of, Rank)):
        raise InvalidTrait(f"of.of: no definition but a rank makes {fresh.of.of}", hint="define that one first")
