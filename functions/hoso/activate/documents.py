"""Destinations, templates, activations and products: the documents an operator writes (stored in ``control``).

Each is a frozen model that refuses unknown fields. Secrets never stand in a document: see ``destinations.py``.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from hoso.activate import render
from hoso.activate.money import HOME_ZONE, amount
from hoso.activate.signing import is_secret
from hoso.model.errors import InvalidInput
from hoso.model.time import DAY_MS
from hoso.platform.mail import is_address
from hoso.segment.zones import parse_duration, zone

ENTERED = "segment.entered"
EXITED = "segment.exited"
PRICE_CHANGED = "product.price_changed"
REQUESTED = "activation.requested"
SUBSCRIBABLE = frozenset(
    {ENTERED, EXITED, "profile.merged", "profile.unmerged", "trait.changed", "consent.changed", PRICE_CHANGED}
)
MAX_HEADERS = 10
LONGEST_CAP_MS = 60 * DAY_MS
"""As far back as sends are counted."""
_PRODUCT_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HEADER_NAME = re.compile(r"authorization|api-key|x-[a-z0-9-]{1,60}")
_HEADER_VALUE = re.compile(r"[ -~]{1,1000}")
_NOT_OURS_TO_SET = ("x-forwarded-", "x-amz", "x-real-ip")
_UNSUBSCRIBE = re.compile(r"(?:(?:https|mailto):[!-;=?-~]+)?")
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_NAME = re.compile(r"[^\x00-\x1f\x7f\x85\u2028\u2029]*")


def _checked(good: Any, message: str) -> AfterValidator:
    def validate(value: Any) -> Any:
        if not good(value):
            raise ValueError(message)
        return value

    return AfterValidator(validate)


def _is_counted(text: str) -> bool:
    return duration_ms(text) <= LONGEST_CAP_MS


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _is_template(text: str) -> bool:
    try:
        render.check(text)
    except InvalidInput as error:
        raise ValueError(error.message) from error
    return True


def _is_address_or_empty(text: str) -> bool:
    return text == "" or is_address(text)


def _is_header(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None and not name.startswith(_NOT_OURS_TO_SET)


def _to_amount(value: object) -> Decimal:
    found = amount(value)
    if found is None or found < 0:
        raise ValueError("not an amount: a number from 0, with at most six decimals")
    return found


def duration_ms(text: str) -> int:
    """Milliseconds of ``30min``, ``12h``, ``7d`` or ``2w``. Raises ``ValueError``."""
    found = parse_duration(text)
    if found is None or found.months or not found.ms:
        raise ValueError("not a length of time: write such as 30min, 12h, 7d, 2w")
    return found.ms


Key = Annotated[str, _checked(_KEY.fullmatch, "a key is 1 to 64 of a-z 0-9 _ - and begins with a letter or digit")]
Name = Annotated[str, Field(max_length=200), _checked(_NAME.fullmatch, "no control characters")]
Duration = Annotated[str, Field(max_length=8), _checked(duration_ms, "not a length of time")]
ZoneName = Annotated[str, Field(max_length=64), _checked(_is_zone, "not an IANA time zone")]
Address = Annotated[str, _checked(_is_address_or_empty, "not exactly one e-mail address")]
UnsubscribeAddress = Annotated[str, Field(max_length=500), _checked(_UNSUBSCRIBE.fullmatch, "https: or mailto:")]
TemplateText = Annotated[str, Field(max_length=render.MAX_TEMPLATE), _checked(_is_template, "not a template")]
Secret = Annotated[str, _checked(is_secret, "a secret is whsec_ and 24 to 64 bytes in base64")]
HeaderName = Annotated[str, _checked(_is_header, "allowed are authorization, api-key and x-…")]
HeaderValue = Annotated[str, _checked(_HEADER_VALUE.fullmatch, "visible ASCII characters only")]
ClockTime = Annotated[str, _checked(_CLOCK.fullmatch, "write HH:MM")]
Amount = Annotated[Decimal, BeforeValidator(_to_amount)]
Currency = Annotated[str, _checked(re.compile(r"[A-Z]{3}").fullmatch, "three letters of ISO 4217")]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EmailDestination(_Document):
    """A sender of e-mail. ``sender`` must be verified in SES; empty: the deployment's own."""

    kind: Literal["email"]
    name: Name = ""
    enabled: bool = True
    sender: Address = ""
    sender_name: Name = ""
    reply_to: Address = ""
    unsubscribe: UnsubscribeAddress = ""
    """What ``List-Unsubscribe`` names: an https or mailto address."""


class Payload(_Document):
    """What a webhook is told about a person besides the profile id: nothing unless named here (security S60)."""

    identifiers: list[Key] = Field(default_factory=list[str], max_length=10)
    traits: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list[str], max_length=50)
    hashed: bool = False
    """Give identifiers as SHA-256 in lower-case hex, as ads destinations want them."""


class WebhookDestination(_Document):
    """A signed webhook (Standard Webhooks). ``types``: bus events that it gets as they are, without an activation."""

    kind: Literal["webhook"]
    name: Name = ""
    enabled: bool = True
    url: Annotated[str, Field(max_length=2_000)]
    types: list[str] = Field(default_factory=list[str], max_length=20)
    payload: Payload = Payload()
    headers: dict[HeaderName, str] = Field(default_factory=dict[str, str], max_length=MAX_HEADERS)
    """Names of further headers; the values are kept apart, like the secrets."""

    @model_validator(mode="after")
    def _known_types(self) -> WebhookDestination:
        unknown = set(self.types) - SUBSCRIBABLE
        if unknown:
            raise ValueError(f"types can be: {', '.join(sorted(SUBSCRIBABLE))}")
        return self


Destination = Annotated[EmailDestination | WebhookDestination, Field(discriminator="kind")]


class Template(_Document):
    """The words of an e-mail; ``render.py`` says what a placeholder can be."""

    channel: Literal["email"] = "email"
    name: Name = ""
    subject: Annotated[str, Field(min_length=1, max_length=300), _checked(_is_template, "not a template")]
    html: TemplateText = ""
    text: TemplateText = ""

    @model_validator(mode="after")
    def _has_body(self) -> Template:
        if not (self.html or self.text):
            raise ValueError("html or text is needed")
        return self


class SegmentTrigger(_Document):
    """People enter or leave a segment; ``segment.changed`` is both and keeps a list at the destination in step."""

    kind: Literal["segment.entered", "segment.exited", "segment.changed"]
    segment: Key


class Match(_Document):
    """An event of the person that names the product: its name, where the product's key stands, how long ago at most."""

    event: Annotated[str, Field(min_length=1, max_length=200)] = "Product Viewed"
    path: Annotated[str, Field(min_length=1, max_length=200)] = "properties.product_id"
    within: Duration = "30d"


class PriceTrigger(_Document):
    """A product's price fell by at least ``drop_percent``; it concerns the people who have the event of ``match``."""

    kind: Literal["product.price_changed"]
    drop_percent: Annotated[float, Field(gt=0, le=100)] = 1
    match: Match = Match()


class Cap(_Document):
    """At most ``count`` sends to a person in ``per``: of this activation, or of everything on the channel."""

    count: Annotated[int, Field(ge=1, le=100)]
    per: Annotated[Duration, _checked(_is_counted, "at most 60d")]
    scope: Literal["activation", "channel"] = "activation"


class QuietHours(_Document):
    """No send between these clock times where the person is; ``zone`` is used when the person's is not known."""

    start: ClockTime = "21:00"
    end: ClockTime = "08:00"
    zone: ZoneName = HOME_ZONE


class Activation(_Document):
    """Who is told what, when, where: the words ``decide`` goes by.

    ``audience``: the segment a person must be in at the send; left out: the one that was entered. ``channel`` is the
    channel of the consent record, left out: the destination's kind. ``holdout_percent`` of the people get nothing, and
    they are always the same ones. ``max_age``: how long after its cause a message still makes sense; left out: a day
    for e-mail, as long as it is tried for webhooks.
    """

    name: Name = ""
    enabled: bool = True
    trigger: Annotated[SegmentTrigger | PriceTrigger, Field(discriminator="kind")]
    audience: Key | None = None
    destination: Key
    template: Key | None = None
    purpose: Key
    channel: Key | None = None
    max_age: Duration | None = None
    cap: Cap | None = None
    quiet_hours: QuietHours | None = None
    holdout_percent: Annotated[float, Field(ge=0, le=50)] = 0

    @model_validator(mode="after")
    def _audience_of_products(self) -> Activation:
        if isinstance(self.trigger, PriceTrigger) and self.audience is None:
            raise ValueError("an activation on prices needs an audience")
        return self

    @property
    def segment(self) -> str | None:
        """The segment that a person must be in at the send."""
        if self.audience is None and isinstance(self.trigger, SegmentTrigger) and self.trigger.kind != EXITED:
            return self.trigger.segment
        return self.audience


class Product(BaseModel):
    """A product as the shop tells it; further fields (url, image, …) are for templates."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Name
    price: Amount
    currency: Currency = "VND"


class DestinationInput(_Document):
    """What a caller may send beside the document: live secrets (newest first) and values of headers."""

    secrets: list[Secret] | None = Field(default=None, min_length=1, max_length=2)
    headers: dict[HeaderName, HeaderValue] | None = Field(default=None, max_length=MAX_HEADERS)


_DESTINATION: TypeAdapter[EmailDestination | WebhookDestination] = TypeAdapter(Destination)


def read_destination(body: dict[str, Any]) -> EmailDestination | WebhookDestination:
    """The destination in a document. Raises pydantic's ``ValidationError``."""
    return _DESTINATION.validate_python(body)


def is_key(text: str) -> bool:
    """Whether this can be a document's key."""
    return _KEY.fullmatch(text) is not None


def is_product_key(text: str) -> bool:
    """Whether this can be a product's key: the shop's own article number."""
    return _PRODUCT_KEY.fullmatch(text) is not None
