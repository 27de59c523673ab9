"""Statements that several functions need, each with explicit actions on explicit ARNs."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from infra.constructs.function import Environment
from infra.constructs.role import allow
from infra.stacks.data import DataStack

FAILED_BATCHES = "aws/lambda/"
"""Where Lambda itself puts what a stream consumer could not do."""


def read_items(table: dynamodb.ITable) -> iam.PolicyStatement:
    """Read by key and by partition."""
    return allow(["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"], table.table_arn)


def items(table: dynamodb.ITable, *verbs: str) -> iam.PolicyStatement:
    """These verbs (``Put``, ``Update``, ``Delete``, ``BatchWrite``, …) on the items of a table."""
    names = {"Scan": "Scan", "ConditionCheck": "ConditionCheckItem"}
    return allow([f"dynamodb:{names.get(verb, f'{verb}Item')}" for verb in verbs], table.table_arn)


def read_control(data: DataStack) -> list[iam.PolicyStatement]:
    """Read control documents; the first reader of a workspace's identity key also makes it."""
    return [
        allow(["dynamodb:GetItem", "dynamodb:Query"], data.control.table_arn),
        allow(
            ["dynamodb:PutItem"],
            data.control.table_arn,
            conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["*#secret"]}},
        ),
    ]


def budgets(data: DataStack) -> iam.PolicyStatement:
    """Lease slices of budgets, and touch nothing else of the table."""
    return allow(
        ["dynamodb:UpdateItem"],
        data.delivery.table_arn,
        conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["*#R#*"]}},
    )


def write_documents(data: DataStack, *kinds: str) -> list[iam.PolicyStatement]:
    """Store control documents of these kinds, with their revisions."""
    patterns = [pattern for kind in kinds for pattern in (f"*#{kind}", f"*#{kind}#revisions")]
    return [
        allow(
            ["dynamodb:PutItem"],
            data.control.table_arn,
            conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": patterns}},
        )
    ]


def access_tokens(data: DataStack) -> iam.PolicyStatement:
    """Make and revoke access tokens, audited."""
    return allow(
        ["dynamodb:PutItem"],
        data.control.table_arn,
        conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["accesstoken", "*#tokens", "*#audit"]}},
    )


def write_people(data: DataStack) -> list[iam.PolicyStatement]:
    """The one write path of people: all their items, with outbox rows and due entries."""
    return [
        read_items(data.profiles),
        items(data.profiles, "Put", "Update", "Delete", "BatchWrite", "ConditionCheck"),
        items(data.outbox, "Put"),
        items(data.delivery, "Put"),
    ]


def erase_people(data: DataStack) -> list[iam.PolicyStatement]:
    """What erasing people asks beyond writing them: its documents, and what went out, or waits to."""
    return [
        *write_documents(data, "erasure"),
        read_items(data.outbox),
        items(data.outbox, "BatchWrite"),
        read_items(data.delivery),
        items(data.delivery, "BatchWrite"),
    ]


def objects(bucket: s3.IBucket, actions: list[str], *prefixes: str) -> iam.PolicyStatement:
    """Actions on the objects under prefixes of a bucket."""
    return allow(actions, *[bucket.arn_for_objects(f"{prefix}*") for prefix in prefixes])


def list_objects(bucket: s3.IBucket) -> iam.PolicyStatement:
    """List a bucket; without it a missing object answers 403, not 404."""
    return allow(["s3:ListBucket"], bucket.bucket_arn)


def read_stream(data: DataStack) -> list[iam.PolicyStatement]:
    """What the mapping of the stream asks of a function's role, with the store for what it gives up."""
    actions = ["GetRecords", "GetShardIterator", "DescribeStream", "DescribeStreamSummary", "ListShards"]
    return [
        allow([f"kinesis:{action}" for action in actions], data.stream.stream_arn),
        objects(data.bucket, ["s3:PutObject"], FAILED_BATCHES),
        list_objects(data.bucket),
    ]


def quarantine(data: DataStack) -> iam.PolicyStatement:
    """Store what was refused."""
    return objects(data.bucket, ["s3:PutObject"], "quarantine/")


def every_table(data: DataStack) -> Environment:
    """Environment entries of all tables."""
    return {
        "profiles_table": data.profiles.table_name,
        "control_table": data.control.table_name,
        "delivery_table": data.delivery.table_name,
        "outbox_table": data.outbox.table_name,
    }
