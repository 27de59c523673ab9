"""Any other sender: how it signs, and what its bodies mean, are settings (a mapping in JMESPath)."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from hoso.collect.sources.contract import Delivery, Fact, HookKind, Settings, Unverified
from hoso.collect.sources.mapping import Mapping, mapped
from hoso.collect.sources.reading import form, instant, json_value, text_of
from hoso.collect.sources.signatures import check, check_time, hmac_base64, hmac_hex, whole_number
from hoso.collect.sources.standard import checked_secret, new_secret, verify_key, verify_standard
from hoso.model.errors import HosoError

HEADER = r"^[a-z0-9-]{1,60}$"
_PART = re.compile(r"\{(id|timestamp|method|url|body)\}")


class Hmac(Settings):
    """A signature by HMAC: ``signed`` is what is signed, with ``{id} {timestamp} {method} {url} {body}`` filled in."""

    header: str = Field(pattern=HEADER)
    algorithm: Literal["sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field(default="", max_length=20)
    signed: str = Field(default="{body}", max_length=200)
    id_header: str = Field(default="webhook-id", pattern=HEADER)
    timestamp_header: str = Field(default="", pattern=r"^[a-z0-9-]{0,60}$")
    timestamp_unit: Literal["s", "ms", "iso"] = "s"
    tolerance_s: int = Field(default=300, ge=10, le=3_600)

    @model_validator(mode="after")
    def _signs_the_body(self) -> Hmac:
        if "{body}" not in self.signed:
            raise ValueError("signed must hold {body}")
        if ("{timestamp}" in self.signed) is not bool(self.timestamp_header):
            raise ValueError("{timestamp} in signed and timestamp_header belong together")
        return self


class WebhookSettings(Settings):
    """``scheme``: ``standard`` (Standard Webhooks), ``hmac`` (as ``hmac`` says) or ``key`` (a secret in a header)."""

    scheme: Literal["standard", "hmac", "key"] = "standard"
    hmac: Hmac | None = None
    key_header: str = Field(default="x-cdp-key", pattern=HEADER)
    called_url: str = Field(default="", max_length=500)
    mapping: Mapping

    @model_validator(mode="after")
    def _has_its_scheme(self) -> WebhookSettings:
        if (self.scheme == "hmac") is not (self.hmac is not None):
            raise ValueError("hmac goes with the scheme hmac")
        return self


def verify(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless the delivery is signed as the settings say."""
    settings = delivery.source.settings
    scheme = settings.get("scheme", "standard")
    if scheme == "standard":
        verify_standard(delivery)
    elif scheme == "key":
        verify_key(delivery, settings.get("key_header", "x-cdp-key"))
    else:
        _verify_hmac(delivery, Hmac.model_validate(settings["hmac"]))


def facts(delivery: Delivery) -> list[Fact | HosoError]:
    """What the mapping makes of the body."""
    kind = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
    value = form(delivery.body) if kind == "application/x-www-form-urlencoded" else json_value(delivery.body)
    delivery_id = delivery.headers.get("webhook-id", "")
    return mapped(value, delivery.source.settings["mapping"], delivery_id)


def _verify_hmac(delivery: Delivery, how: Hmac) -> None:
    headers = delivery.headers
    claimed = headers.get(how.header, "").strip()
    if how.prefix and not claimed.startswith(how.prefix):
        raise Unverified("the signature lacks its prefix", code="missing_signature")
    claimed = claimed.removeprefix(how.prefix)
    stamp = headers.get(how.timestamp_header, "") if how.timestamp_header else ""
    parts = {
        "id": headers.get(how.id_header, "").encode(),
        "timestamp": stamp.encode(),
        "method": delivery.method.encode(),
        "url": delivery.address.encode(),
        "body": delivery.body,
    }
    pieces = _PART.split(how.signed)
    message = b"".join(parts[piece] if place % 2 else piece.encode() for place, piece in enumerate(pieces))
    if how.encoding == "hex":
        check(delivery, claimed.lower(), lambda secret: hmac_hex(secret, message, how.algorithm))
    else:
        check(delivery, claimed, lambda secret: hmac_base64(secret, message, how.algorithm))
    if how.timestamp_header:
        check_time(delivery.now, _signed_ms(stamp, how.timestamp_unit), how.tolerance_s)


def _signed_ms(stamp: str, unit: str) -> int | None:
    if unit == "iso":
        return instant(text_of(stamp))
    count = whole_number(stamp)
    return count if count is None or unit == "ms" else count * 1_000


SOURCES = (
    HookKind(
        name="webhook",
        verify=verify,
        facts=facts,
        settings=WebhookSettings,
        # the other schemes have secrets of any form; a standard one that is malformed verifies nothing
        check_secret=lambda secret: checked_secret(secret) if secret.startswith("whsec_") else secret,
        new_secret=new_secret,
    ),
)
