"""Signatures of Standard Webhooks (security S25; https://www.standardwebhooks.com).

The receiver checks the signature over ``id.timestamp.body`` and refuses a timestamp more than five minutes off.
``id`` is the same at every try, the timestamp is new.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
_BYTES = range(24, 65)


def new_secret() -> str:
    """A fresh secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_secret(text: str) -> bool:
    """Whether this is ``whsec_`` and 24 to 64 bytes in base64."""
    try:
        return text.startswith(PREFIX) and len(_key(text)) in _BYTES
    except (binascii.Error, ValueError):
        return False


def headers(message_id: str, at_ms: int, body: bytes, signing_secrets: Sequence[str]) -> dict[str, str]:
    """The three headers; one signature per live secret, so that a rotation fails no delivery (reliability R53).

    >>> secret = "whsec_Y2RwLXRlc3Qtc2lnbmluZy1rZXktMDEyMzQ1Njc4OSE="
    >>> headers("msg_2test", 1767596400000, b"{}", [secret])["webhook-timestamp"]
    '1767596400'
    """
    timestamp = str(at_ms // 1_000)
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (hmac.digest(_key(secret), signed, hashlib.sha256) for secret in signing_secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join("v1," + base64.b64encode(signature).decode() for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
