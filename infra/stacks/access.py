"""Statements that several functions need, each with explicit actions on explicit ARNs."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from infra.constructs.function import allow
from infra.stacks.data import DataStack


def read_items(table: dynamodb.ITable) -> iam.PolicyStatement:
    """Read by key and by partition."""
    return allow(["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"], table.table_arn)


def read_control(data: DataStack) -> iam.PolicyStatement:
    """Read control documents; the first one of a workspace also makes its identity key."""
    return allow(["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem"], data.control.table_arn)


def write_people(data: DataStack) -> list[iam.PolicyStatement]:
    """The one write path of people: all their items, with outbox rows and due entries."""
    return [
        read_items(data.profiles),
        allow(
            [
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
                "dynamodb:DeleteItem",
                "dynamodb:BatchWriteItem",
                "dynamodb:ConditionCheckItem",
            ],
            data.profiles.table_arn,
        ),
        allow(["dynamodb:PutItem"], data.outbox.table_arn),
        allow(["dynamodb:PutItem", "dynamodb:DeleteItem"], data.delivery.table_arn),
    ]


def objects(bucket: s3.IBucket, actions: list[str], *prefixes: str) -> iam.PolicyStatement:
    """Actions on the objects under prefixes of a bucket."""
    return allow(actions, *[bucket.arn_for_objects(f"{prefix}*") for prefix in prefixes])


def read_stream(data: DataStack) -> iam.PolicyStatement:
    """What the mapping of a stream asks of a function's role."""
    actions = ["GetRecords", "GetShardIterator", "DescribeStream", "DescribeStreamSummary", "ListShards"]
    return allow([f"kinesis:{action}" for action in actions], data.stream.stream_arn)


def quarantine(data: DataStack) -> iam.PolicyStatement:
    """Store what was refused."""
    return objects(data.bucket, ["s3:PutObject"], "quarantine/")


def tables(data: DataStack, *names: str) -> dict[str, str]:
    """Environment entries of these tables."""
    return {f"{name.upper()}_TABLE": getattr(data, name).table_name for name in names}
