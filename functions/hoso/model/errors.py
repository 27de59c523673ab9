"""The tree of typed errors.

Every error carries a stable ``code`` (for programs), a ``message`` (for people, never with a customer's data in it)
and a ``hint`` that says what to do next.
"""

from __future__ import annotations


class HosoError(Exception):
    """Root of all errors that Hoso raises on purpose."""

    code: str = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class InvalidInput(HosoError):
    """What was sent breaks the contract; sending it again unchanged cannot help (answers 400)."""

    code = "invalid_input"


class UnsupportedMediaType(HosoError):
    """A body of a kind or in an encoding that is not read here (answers 415)."""

    code = "unsupported_media_type"


class Unauthorized(HosoError):
    """No usable credential (answers 401)."""

    code = "unauthorized"


class Forbidden(HosoError):
    """The credential is good but does not allow this (answers 403)."""

    code = "forbidden"


class NotFound(HosoError):
    """Nothing is stored under that name (answers 404)."""

    code = "not_found"


class Conflict(HosoError):
    """Somebody else changed the same thing first: read again and decide again (answers 409)."""

    code = "conflict"


class Transient(HosoError):
    """A dependency is down or throttled: the same call may succeed later (answers 503)."""

    code = "unavailable"


class Misconfigured(HosoError):
    """The deployment lacks a setting or resource; an operator has to act."""

    code = "misconfigured"
