"""Everything that holds state: tables, stream, bucket, bus, user pool. Retained, whatever happens to the rest."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.queue import dead_letters
from infra.parameters import Parameters

ROLES = ("viewer", "marketer", "analyst", "engineer", "privacy", "admin")
# Prefix → days after which objects expire; archives have no entry and stay.
EXPIRY_DAYS = {
    "quarantine/": 90,
    "imports/": 14,
    "importing/": 14,
    "exports/": 7,
    "matching/": 14,
    "nightly/": 14,
    "failed/": 14,
    "aws/": 14,
}
NONCURRENT_DAYS = 7


class DataStack(cdk.Stack):
    """The stateful resources."""

    def __init__(self, scope: Construct, id: str, *, parameters: Parameters, **more: Any) -> None:  # noqa: A002
        super().__init__(scope, id, description="Hoso: state", **more)
        self._parameters = parameters
        self.profiles = self._table("Profiles")
        self.control = self._table("Control")
        self.delivery = self._table("Delivery")
        self.outbox = self._table("Outbox", stream=dynamodb.StreamViewType.NEW_IMAGE)
        self.shadow = self._table("Shadow")
        self.stream = self._stream()
        self.logs_bucket = self._bucket("AccessLogs", logs=None, expiry={"": 90})
        self.bucket = self._bucket("Files", logs=self.logs_bucket, expiry=EXPIRY_DAYS)
        # the bus of the account learns of new objects: files to import
        files: s3.CfnBucket = self.bucket.node.default_child  # pyright: ignore[reportAssignmentType]
        files.add_property_override(
            "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled",  # pure CloudFormation, no helper
            True,
        )
        self.bus_failed = dead_letters(self, "BusFailed")
        self.bus = events.EventBus(self, "Bus", description="Hoso events", dead_letter_queue=self.bus_failed)
        self.bus_failed.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[self.bus_failed.queue_arn],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],  # pyright: ignore[reportArgumentType]
                conditions={"ArnEquals": {"aws:SourceArn": self.bus.event_bus_arn}},
            )
        )
        self.users = self._users()
        self.client = self.users.add_client(
            "Console",
            auth_flows=cognito.AuthFlow(user_srp=True),
            generate_secret=False,
            prevent_user_existence_errors=True,
            disable_o_auth=True,
            access_token_validity=cdk.Duration.hours(1),
            id_token_validity=cdk.Duration.hours(1),
        )

    def _table(self, name: str, stream: dynamodb.StreamViewType | None = None) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            name,
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True, recovery_period_in_days=self._parameters.pitr_days
            ),
            deletion_protection=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
            encryption=dynamodb.TableEncryption.DEFAULT,
            time_to_live_attribute="ttl",
            stream=stream,
        )

    def _stream(self) -> kinesis.Stream:
        mode = kinesis.StreamMode.ON_DEMAND if self._parameters.on_demand else kinesis.StreamMode.PROVISIONED
        return kinesis.Stream(
            self,
            "Events",
            stream_mode=mode,
            shard_count=None if self._parameters.on_demand else self._parameters.stream_shards,
            retention_period=cdk.Duration.hours(self._parameters.stream_retention_hours),
            encryption=kinesis.StreamEncryption.MANAGED,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )

    def _bucket(self, name: str, logs: s3.IBucket | None, expiry: dict[str, int]) -> s3.Bucket:
        rules = [
            s3.LifecycleRule(prefix=prefix or None, expiration=cdk.Duration.days(days))
            for prefix, days in expiry.items()
        ]
        rules.append(
            s3.LifecycleRule(
                noncurrent_version_expiration=cdk.Duration.days(NONCURRENT_DAYS),
                abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
            )
        )
        return s3.Bucket(
            self,
            name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
            server_access_logs_bucket=logs,
            server_access_logs_prefix="files/" if logs else None,
            lifecycle_rules=rules,
        )

    def _users(self) -> cognito.UserPool:
        pool = cognito.UserPool(
            self,
            "Users",
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            password_policy=cognito.PasswordPolicy(
                min_length=12, require_digits=True, require_lowercase=True, require_symbols=True, require_uppercase=True
            ),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            deletion_protection=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        for role in ROLES:
            cognito.CfnUserPoolGroup(self, f"Role{role.capitalize()}", user_pool_id=pool.user_pool_id, group_name=role)
        return pool
