"""The form of a case in a file of cases (``segment-vectors/1``): checked before an engine sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hoso.model.errors import InvalidInput
from hoso.segment.check import in_words

FORMAT = "segment-vectors/1"


class _Part(BaseModel):
    """Strict; ``null`` is the same as left out; keys that no engine reads are nobody's business."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: held for key, held in cast("dict[str, Any]", value).items() if held is not None}


class CaseScore(_Part):
    """A model score."""

    value: Any = None
    at: str


class CaseProfile(_Part):
    """The person of a case."""

    id: str
    split_id: str | None = None
    traits: dict[str, Any] = Field(default_factory=dict[str, Any])
    trait_since: dict[str, str] = Field(default_factory=dict[str, str])
    identifiers: dict[str, list[Any]] = Field(default_factory=dict[str, list[Any]])
    lists: list[str] = Field(default_factory=list[str])
    consent: dict[str, str] = Field(default_factory=dict[str, str])
    suppressed: list[str] = Field(default_factory=list[str])
    scores: dict[str, CaseScore] = Field(default_factory=dict[str, CaseScore])
    deleted: bool = False


class CaseEvent(_Part):
    """What both engines need of an event; filters see it as it stands in the file."""

    message_id: str
    event: str
    timestamp: str
    received_at: str | None = None


class CaseExpectation(_Part):
    """What the case expects, as far as it says so."""

    member: bool | None = None
    error: str | None = None
    next_change: str | None = None


class CaseVector(_Part):
    """One case."""

    id: str
    segment: Any
    segments: dict[str, Any] = Field(default_factory=dict[str, Any])
    profile: CaseProfile
    events: list[CaseEvent] = Field(default_factory=list[CaseEvent])
    as_of: str
    expect: CaseExpectation = Field(default_factory=CaseExpectation)


def long_numbers(value: Any, become: Callable[[int], Any]) -> Any:
    """The value with whole numbers of more than 64 bits as what the doors and parsers of the product make of them."""
    if type(value) is int:
        return value if -(1 << 63) <= value < 1 << 64 else become(value)
    if isinstance(value, dict):
        return {key: long_numbers(held, become) for key, held in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [long_numbers(held, become) for held in cast("list[Any]", value)]
    return value


def double(number: int) -> float:
    """A long number of a document, which the parser of documents reads as a double."""
    try:
        return float(number)
    except OverflowError:
        return inf if number > 0 else -inf


def check_form(vector: Mapping[str, Any]) -> None:
    """Refuse what is no case.

    Raises:
        InvalidInput: ``bad_case``, with the path and the reason.
    """
    try:
        CaseVector.model_validate(vector)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"])) or "case"
        raise InvalidInput(f"{path}: {in_words(first)}", code="bad_case") from error
