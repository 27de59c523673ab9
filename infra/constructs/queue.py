"""Queues, all alike: TLS only, encrypted, 14 days for dead letters."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# Functions give up by their own rules (time and tries, hoso.platform.retry) and say why; this is only the last resort
# against a message that never reaches them.
RECEIVES = 1_000


def dead_letters(scope: Construct, id: str) -> sqs.Queue:  # noqa: A002
    """A queue for what could not be done; kept when its stack goes."""
    return sqs.Queue(
        scope,
        id,
        enforce_ssl=True,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        retention_period=cdk.Duration.days(14),
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )


def work_queue(scope: Construct, id: str, *, failed: sqs.IQueue, visibility_s: int) -> sqs.Queue:  # noqa: A002
    """A queue whose messages go to ``failed`` after ``RECEIVES`` tries."""
    return sqs.Queue(
        scope,
        id,
        enforce_ssl=True,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        visibility_timeout=cdk.Duration.seconds(visibility_s),
        retention_period=cdk.Duration.days(4),
        dead_letter_queue=sqs.DeadLetterQueue(queue=failed, max_receive_count=RECEIVES),
    )
