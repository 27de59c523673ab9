"""Signatures of webhooks over raw bytes, in constant time, two secrets newest first (connectors, 0.1 and 0.3)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence

from hoso.collect.sources.contract import Delivery, Replayed, Unverified
from hoso.model.time import SECOND_MS

WINDOW_S = 300
"""How old a signed time may be."""
SKEW_S = 60
"""How far ahead a signed time may be: clocks differ."""


def hmac_hex(secret: str | bytes, message: bytes, algorithm: str = "sha256") -> str:
    """The HMAC as lower-case hexadecimal digits."""
    return hmac.digest(_bytes(secret), message, algorithm).hex()


def hmac_base64(secret: str | bytes, message: bytes, algorithm: str = "sha256") -> str:
    """The HMAC in base64."""
    return b64encode(hmac.digest(_bytes(secret), message, algorithm)).decode()


def sha256_hex(message: bytes) -> str:
    """The plain SHA-256 as lower-case hexadecimal digits."""
    return hashlib.sha256(message).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(_bytes(one), _bytes(other))


def check(delivery: Delivery, given: str, expected: Callable[[str], str | Iterable[str]]) -> None:
    """Raise ``Unverified`` unless a live secret makes the given signature.

    ``expected`` answers the right signature, or its possible forms, under one secret.
    """
    if not given:
        raise Unverified("the delivery carries no signature", code="missing_signature")
    for secret in delivery.source.signing:
        forms = expected(secret)
        for form in [forms] if isinstance(forms, str) else forms:
            if same(given, form):
                return
    raise Unverified("the signature does not fit", hint="compare the secret at the sender with the source's")


def check_key(delivery: Delivery, given: str) -> None:
    """Raise ``Unverified`` unless a live secret is what the delivery carries itself."""
    if not given:
        raise Unverified("the delivery carries no key", code="missing_signature")
    check(delivery, given, lambda secret: secret)


def check_time(now: int, signed_ms: int | None, window_s: int = WINDOW_S) -> None:
    """Raise ``Replayed`` when a signed time (UTC ms) is older than the window, or ahead of it by more than the skew."""
    if signed_ms is None:
        raise Unverified("the delivery carries no time", code="missing_signature")
    if not -SKEW_S * SECOND_MS <= now - signed_ms <= window_s * SECOND_MS:
        raise Replayed("the signed time is outside the window", hint="check the clocks of both sides")


def whole_number(digits: str) -> int | None:
    """The number, if these are 1 to 15 ASCII digits."""
    return int(digits) if 0 < len(digits) <= 15 and digits.isascii() and digits.isdigit() else None


def header_pairs(header: str) -> Sequence[tuple[str, str]]:
    """The parts of ``t=…,v1=…``."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    return [(name, value) for name, separator, value in parts if separator]


def _bytes(given: str | bytes) -> bytes:
    return given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")
