"""One id scheme: names derived from content by a keyed hash, so that every replay makes the same names."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

_LENGTH = 22


class Hasher:
    """Keyed hash of a workspace. Keys of tables hold its answers, never a raw e-mail or phone."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def identifier(self, kind: str, value: str) -> str:
        """22 characters (132 bits) that stand for an identifier."""
        return self.text(kind + "\0" + value)

    def text(self, content: str) -> str:
        """22 characters that stand for any text."""
        return urlsafe_b64encode(self._mac(content))[:_LENGTH].decode()

    def short(self, content: str) -> bytes:
        """8 bytes that stand for any text, where few are compared with each other."""
        return self._mac(content)[:8]

    def _mac(self, content: str) -> bytes:
        return hmac.digest(self._key, content.encode("utf-8", "surrogatepass"), hashlib.sha256)


def content_id(*parts: str) -> str:
    """22 characters that are a function of the parts alone (for ids that carry no secret)."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return urlsafe_b64encode(digest)[:_LENGTH].decode()
