"""Who calls the admin API and what their roles allow (security S1, S11).

API Gateway has checked the token before a function runs; roles are in the claim ``cognito:groups``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from hoso.model.errors import Forbidden, Unauthorized

ROLES = frozenset({"viewer", "marketer", "analyst", "engineer", "privacy", "admin"})
SEES_PERSONS = frozenset({"engineer", "privacy", "admin"})
"""Roles that see who somebody is: identifiers, traits, contents of events (decision 0070). Others see shapes."""
_GROUPS_CLAIM = "cognito:groups"


@dataclass(frozen=True, slots=True)
class Actor:
    """The person or program that calls: the token's subject and its known roles."""

    subject: str
    roles: frozenset[str]

    @property
    def sees_persons(self) -> bool:
        """Whether personal data is shown to this caller as it is."""
        return not self.roles.isdisjoint(SEES_PERSONS)


def actor_of(event: Mapping[str, Any]) -> Actor:
    """The caller of an HTTP API request (payload 2.0) behind a JWT authorizer.

    Raises:
        Unauthorized: the request did not pass an authorizer.
    """
    context: Mapping[str, Any] = event.get("requestContext") or {}
    authorizer: Mapping[str, Any] = context.get("authorizer") or {}
    token: Mapping[str, Any] = authorizer.get("jwt") or {}
    claims: object = token.get("claims")
    if not isinstance(claims, dict):
        raise Unauthorized("no token", hint="send a token in the Authorization header")
    claim = cast("dict[str, object]", claims)
    return Actor(str(claim.get("sub") or ""), _groups(claim.get(_GROUPS_CLAIM)) & ROLES)


def require(event: Mapping[str, Any], *roles: str) -> Actor:
    """The caller, if it has one of these roles (none named: any role at all); ``admin`` may do everything.

    Raises:
        Forbidden: none of its roles allows this.
        Unauthorized: see ``actor_of``.
    """
    actor = actor_of(event)
    allowed = ROLES if not roles else frozenset((*roles, "admin"))
    if not actor.roles & allowed:
        wanted = ", ".join(sorted(allowed))
        raise Forbidden("your roles do not allow this", hint=f"ask an admin for one of: {wanted}")
    return actor


def _groups(claim: object) -> frozenset[str]:
    """Group names of a claim. HTTP APIs hand a list claim over as text: ``[admin viewer]``."""
    if isinstance(claim, list):
        return frozenset(str(name) for name in cast("list[object]", claim))
    if isinstance(claim, str):
        return frozenset(claim.strip("[]").replace(",", " ").split())
    return frozenset()
