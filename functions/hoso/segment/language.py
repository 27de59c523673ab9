"""The rule language ``segment/1``: one frozen model per kind of condition (segmentation reference, sections 1–6).

Unknown keys are errors. A document that these models and ``hoso.segment.check`` accept never fails at run time.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hoso.segment.event_language import (
    VALUE_MEASURES,
    Compared,
    Count,
    DurationText,
    ElapsedText,
    EventNames,
    Key,
    Measure,
    Model,
    Name,
    Number,
    Path,
    Where,
    Window,
    ZoneName,
)
from hoso.segment.operands import (
    MAX_ENTRIES,
    NUMBER_OPERATORS,
    UNSET,
    Operand,
    Operator,
    ScoreOperator,
    Unset,
    check_number_operand,
    check_operand,
)

MAX_STEPS = 8


class Everyone(Model):
    """Always."""

    kind: Literal["everyone"]


class AllOf(Model):
    """Every part is true."""

    kind: Literal["all"]
    of: Annotated[tuple[Rule, ...], Field(min_length=1, strict=False)]


class AnyOf(Model):
    """At least one part is true."""

    kind: Literal["any"]
    of: Annotated[tuple[Rule, ...], Field(min_length=1, strict=False)]


class Not(Model):
    """The part is false."""

    kind: Literal["not"]
    of: Rule


class Trait(Compared):
    """A trait compares so, perhaps since a while."""

    kind: Literal["trait"]
    name: Path
    held_for: DurationText | None = Field(default=None, alias="for")


class EventMeasure(Model):
    """A measure of the matching events compares so; without ``op``: there is at least one."""

    kind: Literal["event"]
    event: EventNames
    where: Where | None = None
    window: Window | None = None
    measure: Measure = Count(agg="count")
    op: Operator | None = None
    value: Operand = UNSET
    ignore_case: bool = False

    @model_validator(mode="after")
    def _check_value(self) -> EventMeasure:
        if self.op is None:
            if not isinstance(self.value, Unset):
                raise PydanticCustomError("value", "a value needs an operator")
        elif self.measure.agg in VALUE_MEASURES:
            check_operand(self.op, self.value)
        elif self.op not in NUMBER_OPERATORS:
            raise PydanticCustomError("op", "this operator does not compare a number")
        else:
            check_number_operand(self.op, self.value)
        return self


class Step(Model):
    """One step of a sequence."""

    event: EventNames
    where: Where | None = None
    within: ElapsedText | None = None
    absent: bool = False


class Sequence(Model):
    """Some choice of events fits the steps, in strictly rising time."""

    kind: Literal["sequence"]
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_STEPS, strict=False)]
    window: Window | None = None
    within: ElapsedText | None = None
    same: Annotated[tuple[Path, ...], Field(min_length=1, max_length=MAX_ENTRIES, strict=False)] | None = None

    @model_validator(mode="after")
    def _check_steps(self) -> Sequence:
        for place, step in enumerate(self.steps):
            if place == 0 and (step.absent or step.within is not None):
                raise PydanticCustomError("steps", "the first step is an event, and has nothing before it")
            if step.absent and self.steps[place - 1].absent:
                raise PydanticCustomError("steps", "two absent steps in a row have no meaning")
            if step.absent and step.within is not None and place < len(self.steps) - 1:
                raise PydanticCustomError("steps", "only the last absent step takes within")
        return self


class InSegment(Model):
    """Member of another segment at the same instant."""

    kind: Literal["segment"]
    key: Key


class OnList(Model):
    """On an uploaded or hand-kept list."""

    kind: Literal["list"]
    key: Name


class Consent(Model):
    """The consent to a purpose (on a channel) is in one of these states."""

    kind: Literal["consent"]
    purpose: Name
    channel: Name | None = None
    state: Annotated[tuple[Literal["granted", "denied", "unset"], ...], Field(min_length=1, strict=False)]


class Suppressed(Model):
    """The channel, or every channel, is suppressed for the person."""

    kind: Literal["suppressed"]
    channel: Name


class HasId(Model):
    """Has an identifier of one of these types."""

    kind: Literal["has_id"]
    types: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_ENTRIES, strict=False)]


class ScoreTest(Model):
    """A model score compares so and is fresh."""

    kind: Literal["score"]
    name: Name
    op: ScoreOperator
    value: Operand = UNSET
    max_age: DurationText | None = None

    @model_validator(mode="after")
    def _check_value(self) -> ScoreTest:
        check_number_operand(self.op, self.value)
        return self


class Geo(Model):
    """The place in a trait lies within a distance of a point."""

    kind: Literal["geo"]
    trait: Path
    lat: Annotated[Number, Field(ge=-90, le=90)]
    lon: Annotated[Number, Field(ge=-180, le=180)]
    within_km: Annotated[Number, Field(ge=0)]


class Split(Model):
    """The person's bucket lies in ``[from, to)`` percent, two decimals."""

    kind: Literal["split"]
    salt: Name
    start: Number = Field(alias="from")
    end: Number = Field(alias="to")

    @model_validator(mode="after")
    def _check_range(self) -> Split:
        first, last = self.start * 100, self.end * 100
        if not (0 <= first < last <= 10_000) or any(abs(edge - round(edge)) > 1e-6 for edge in (first, last)):
            raise PydanticCustomError("value", "a split is a range of 0 to 100 percent with at most two decimals")
        return self

    @property
    def buckets(self) -> tuple[int, int]:
        """First bucket, and the first one after the range, of 10,000."""
        return round(self.start * 100), round(self.end * 100)


Rule = Annotated[
    Everyone
    | AllOf
    | AnyOf
    | Not
    | Trait
    | EventMeasure
    | Sequence
    | InSegment
    | OnList
    | Consent
    | Suppressed
    | HasId
    | ScoreTest
    | Geo
    | Split,
    Field(discriminator="kind"),
]


class Segment(Model):
    """One document describes one segment."""

    language: Literal["segment/1"] = Field(alias="schema")
    key: Key
    name: Annotated[str, Field(max_length=200)] = ""
    description: Annotated[str, Field(max_length=2_000)] = ""
    timezone: ZoneName = "UTC"
    rule: Rule


for _model in (AllOf, AnyOf, Not, Segment):
    _model.model_rebuild()
