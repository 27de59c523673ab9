"""EmailFunction and WebhookFunction: messages of a channel's queue (bodies: EventBridge envelopes).

Needs: read on ``profiles`` and ``control``; ``GetItem BatchGetItem PutItem DeleteItem BatchWriteItem`` on
``delivery``; ``sqs:ChangeMessageVisibility`` on its queue, ``sqs:SendMessage`` on its dead-letter queue
(``HOSO_DEAD_LETTERS``: its URL); ``ses:SendEmail`` for e-mail. The queue's receive count must not give up before the
courier does: a delivery is tried for three and a half days.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hoso.activate.build import Parts
from hoso.activate.inbox import Inbox
from hoso.platform.settings import Settings

STOP_MS = 15_000
"""With less time than this left no message is begun: one takes at most the outbound deadline (reliability R15)."""


@cache
def _inbox(kind: str) -> Inbox:
    return Parts(Settings.from_env(os.environ)).inbox(kind)


def email(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Send e-mails."""
    return _work("email", event, context)


def webhook(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Call webhooks."""
    return _work("webhook", event, context)


def _work(kind: str, event: dict[str, Any], context: Any) -> dict[str, Any]:
    again = _inbox(kind).work(event["Records"], lambda: context.get_remaining_time_in_millis() > STOP_MS)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}
