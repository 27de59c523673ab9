"""Standard Webhooks, the scheme of senders that follow our own contract (connectors, 3.16), and a key in a header.

``id.timestamp.body`` is signed by HMAC-SHA256; ``webhook-signature`` is a list while the sender exchanges secrets.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from hoso.collect.sources.contract import Delivery, Unverified
from hoso.collect.sources.signatures import check_key, check_time, hmac_base64, same, whole_number

PREFIX = "whsec_"
KEY_HEADER = "x-cdp-key"
_MIN_BYTES, _MAX_BYTES = 24, 64


def verify_standard(delivery: Delivery) -> None:
    """Raise ``Unverified`` unless one of the signatures is by a live secret, and fresh."""
    headers = delivery.headers
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    # over HTTP API a header that comes twice is joined by commas; in the list blanks divide
    listed = headers.get("webhook-signature", "").split()[:20]
    if not name or not stamp or not listed:
        raise Unverified("webhook-id, webhook-timestamp or webhook-signature is missing", code="missing_signature")
    signed = f"{name}.{stamp}.".encode("utf-8", "surrogatepass") + delivery.body
    offered = [part.removeprefix("v1,") for part in listed if part.startswith("v1,")]
    _check_any(delivery, offered, signed)
    seconds = whole_number(stamp)
    check_time(delivery.now, None if seconds is None else seconds * 1_000)


def verify_key(delivery: Delivery, header: str = KEY_HEADER) -> None:
    """Raise ``Unverified`` unless the header holds a live secret; ``Bearer`` before it is passed over."""
    check_key(delivery, delivery.headers.get(header, "").removeprefix("Bearer ").strip())


def verify_either(delivery: Delivery) -> None:
    """By signature where there is one, else by key."""
    if KEY_HEADER in delivery.headers and "webhook-signature" not in delivery.headers:
        verify_key(delivery)
    else:
        verify_standard(delivery)


def secret_bytes(secret: str) -> bytes:
    """The key that a ``whsec_`` secret stands for. Raises ``ValueError``."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except Base64Error as error:
        raise ValueError("base64 after whsec_") from error
    if not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ValueError(f"{_MIN_BYTES} to {_MAX_BYTES} bytes in base64 after whsec_")
    return key


def checked_secret(secret: str) -> str:
    """The secret, if it has the form ``whsec_…``. Raises ``ValueError``."""
    secret_bytes(secret)
    return secret


def new_secret() -> str:
    """A secret of 32 random bytes."""
    return PREFIX + b64encode(secrets.token_bytes(32)).decode()


def _check_any(delivery: Delivery, offered: list[str], signed: bytes) -> None:
    for secret in delivery.source.signing:
        try:
            expected = hmac_base64(secret_bytes(secret), signed)
        except ValueError:  # a secret of another scheme, from before the settings changed
            continue
        # every offered signature is compared: which one fits shows in no time
        if sum(same(one, expected) for one in offered):
            return
    raise Unverified("no signature fits", hint="compare the secret at the sender with the source's")
