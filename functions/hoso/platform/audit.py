"""The audit trail: who did what and when, append-only, without customer data (security S41)."""

from __future__ import annotations

import secrets
from typing import Any

from hoso.platform.dynamo import ABSENT, Put, Table


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
