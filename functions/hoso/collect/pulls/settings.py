"""Settings of pulls, which stand with those of a webhook source under ``pull`` (pure)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hoso.model.time import parse_instant

_FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,120}$")]
_ObjectName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,80}$")]
_LEAD_FIELDS = (
    *("id", "email", "firstName", "lastName", "phone", "mobilePhone", "company", "title", "city", "country"),
    *("dateOfBirth", "unsubscribed", "createdAt", "updatedAt"),
)
_CONTACT_FIELDS = (
    *("Email", "Phone", "MobilePhone", "FirstName", "LastName", "Title", "Birthdate", "MailingCity", "MailingCountry"),
    "HasOptedOutOfEmail",
)


def is_instant(text: str) -> str:
    """The text, if it is an instant. Raises ``ValueError``."""
    if parse_instant(text) is None:
        raise ValueError("write such as 2026-11-28T04:00:00Z")
    return text


class PullSettings(BaseModel):
    """What all pulls have: ``api`` is the sender's address for this customer, ``client_id`` the app whose secret is
    kept for ``api_token``, ``since`` where the first window begins, ``every_minutes`` how often one is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api: str = Field(pattern=r"^https?://[^\s?#]{1,200}[^/\s?#]$")
    client_id: str = Field(min_length=1, max_length=200)
    since: Annotated[str, AfterValidator(is_instant)]
    every_minutes: int = Field(default=60, ge=15, le=1_440)


class MarketoPull(PullSettings):
    """``fields`` are those of leads; ``activity_types`` are numbers, none: all that Marketo gives."""

    objects: tuple[Literal["leads", "activities"], ...] = ("leads", "activities")
    fields: tuple[_FieldName, ...] = _LEAD_FIELDS
    activity_types: tuple[int, ...] = ()


class SalesforcePull(PullSettings):
    """``objects``: fields by name of an object. ``version`` is that of the API."""

    version: str = Field(default="v62.0", pattern=r"^v[0-9]{2,3}\.0$")
    objects: dict[_ObjectName, tuple[_FieldName, ...]] = {"Contact": _CONTACT_FIELDS}
