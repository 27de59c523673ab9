"""The audit trail: who did what and when, append-only, without customer data (security S41)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from hoso.platform.clock import Clock
from hoso.platform.dynamo import ABSENT, Put, Table, Write


def audit_entry(table: Table, workspace: str, at: int, actor: str, action: str, subject: str) -> Put:
    """The write that records an action in the control table; put it into the transaction of the action.

    Key: ``<workspace>#audit`` / ``<at:015d>#<random>``. ``actor`` is the token's subject, ``subject`` names what was
    acted on (a key's prefix, a document's key): never a secret, never a customer.
    """
    item: dict[str, Any] = {
        "pk": f"{workspace}#audit",
        "sk": f"{at:015d}#{secrets.token_hex(6)}",
        "actor": actor,
        "action": action,
        "subject": subject,
        "at": at,
    }
    return Put(table, item, ABSENT)


def audited(
    table: Table, workspace: str, clock: Clock
) -> Callable[[str, str, str], Callable[[object, object], list[Write]]]:
    """Its answer to (actor, action, subject) is what ``ControlStore.put`` is to write beside a change."""

    def beside(actor: str, action: str, subject: str) -> Callable[[object, object], list[Write]]:
        return lambda _before, _after: [audit_entry(table, workspace, clock(), actor, action, subject)]

    return beside
