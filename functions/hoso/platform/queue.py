"""Queues: when a message comes back, and where it goes when it is given up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from hoso.model.errors import Transient

_MAX_REASON = 500
_MOST_AT_ONCE = 10


class Queue:
    """The queue that a function reads from."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def hide(self, arn: str, receipt: str, seconds: int) -> None:
        """Let a message come back after so many seconds, counted from now.

        If that fails it comes back by the queue's own time, which is as good.
        """
        with suppress(ClientError, BotoCoreError):
            self._client.change_message_visibility(
                QueueUrl=url_of(arn), ReceiptHandle=receipt, VisibilityTimeout=seconds
            )


class WorkQueue:
    """A queue that is given work."""

    def __init__(self, url: str, client: Any) -> None:
        self._url = url
        self._client = client

    def put(self, bodies: Sequence[str]) -> None:
        """Add messages. Raises ``Transient`` when the queue did not take them all; those that it took stay."""
        for start in range(0, len(bodies), _MOST_AT_ONCE):
            some = bodies[start : start + _MOST_AT_ONCE]
            entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(some)]
            try:
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            except (ClientError, BotoCoreError) as error:
                raise Transient("the queue does not answer") from error
            if answer.get("Failed"):
                raise Transient("the queue did not take all messages")


class DeadLetters:
    """The queue for what was given up."""

    def __init__(self, url: str, client: Any) -> None:
        self._url = url
        self._client = client

    def put(self, body: str, reason: str, delivery_id: str = "") -> None:
        """Bury a message with its reason. Raises ``Transient`` when the queue does not take it."""
        given = {"reason": reason[:_MAX_REASON], "delivery": delivery_id}
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in given.items() if value}
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=body, MessageAttributes=attributes)
        except (ClientError, BotoCoreError) as error:
            raise Transient("the dead-letter queue does not answer") from error


def url_of(arn: str) -> str:
    """The address of a queue (``arn:aws:sqs:<region>:<account>:<name>``).

    >>> url_of("arn:aws:sqs:ap-southeast-1:123456789012:work")
    'https://sqs.ap-southeast-1.amazonaws.com/123456789012/work'
    """
    _, partition, _, region, account, name = arn.split(":")
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return f"https://sqs.{region}.{suffix}/{account}/{name}"
