"""The one construct of every Lambda function: runtime, role, logs, tracing, dead letters, alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.parameters import Parameters

RUNTIME = lambda_.Runtime.PYTHON_3_14
CODE = Path(__file__).resolve().parents[2] / "functions"
EXCLUDE = ["layers", "**/__pycache__", "**/*.pyc", "**/.*"]


def allow(actions: Sequence[str], *resources: str) -> iam.PolicyStatement:
    """A statement with explicit actions on explicit ARNs."""
    return iam.PolicyStatement(actions=list(actions), resources=list(resources))


@dataclass(frozen=True, slots=True)
class Job:
    """What a function is: its handler, what it may do, and what it needs.

    ``environment`` holds names without the prefix ``HOSO_``. Memory in MB; a full core is 1,769.
    """

    handler: str
    description: str
    environment: dict[str, str]
    permissions: Sequence[iam.PolicyStatement]
    layers: Sequence[lambda_.ILayerVersion]
    timeout_s: int = 30
    memory_mb: int = 512
    scratch_mb: int = 512
    asynchronous: bool = False
    """Whether somebody starts it without waiting for its answer (a schedule)."""


class HosoFunction(Construct):
    """A function with a role of its own (customer managed policy, no wildcards), its log group and its error alarm."""

    def __init__(
        self, scope: Construct, id: str, *, job: Job, parameters: Parameters, dead_letters: sqs.IQueue
    ) -> None:  # noqa: A002
        super().__init__(scope, id)
        log_group = logs.LogGroup(
            self,
            "Logs",
            retention=logs.RetentionDays(f"{_RETENTION[parameters.log_retention_days]}"),
            removal_policy=cdk.RemovalPolicy.RETAIN if parameters.production else cdk.RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Role of {id}",
        )
        statements = [
            allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
            allow(["sqs:SendMessage"], dead_letters.queue_arn),
            *job.permissions,
        ]
        if parameters.tracing:
            # X-Ray has no resources to name; acknowledged once per policy in infra/acknowledgements.py.
            statements.append(allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*"))
        self.policy = iam.ManagedPolicy(self, "Policy", roles=[self.role], statements=statements)
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            handler=job.handler,
            description=job.description,
            code=lambda_.Code.from_asset(str(CODE), exclude=EXCLUDE),
            layers=list(job.layers),
            role=self.role.without_policy_updates(),
            timeout=cdk.Duration.seconds(job.timeout_s),
            memory_size=job.memory_mb,
            ephemeral_storage_size=cdk.Size.mebibytes(job.scratch_mb),
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE if parameters.tracing else lambda_.Tracing.DISABLED,
            dead_letter_queue=dead_letters,
            environment={
                "POWERTOOLS_SERVICE_NAME": "hoso",
                "POWERTOOLS_LOG_LEVEL": "INFO",
                **{f"HOSO_{name}": value for name, value in _environment(job, parameters).items()},
            },
        )
        self.function.node.add_dependency(self.policy)
        if job.asynchronous:
            self.function.configure_async_invoke(
                retry_attempts=2,
                max_event_age=cdk.Duration.hours(1),
                on_failure=destinations.SqsDestination(dead_letters),
            )
        self.errors = self.function.metric_errors(period=cdk.Duration.minutes(5))

    @property
    def error_rate(self) -> cloudwatch.MathExpression:
        """Failed invocations in percent of all."""
        return cloudwatch.MathExpression(
            expression="100 * errors / MAX([invocations, 1])",
            using_metrics={
                "errors": self.errors,
                "invocations": self.function.metric_invocations(period=cdk.Duration.minutes(5)),
            },
            label=f"{self.node.id} failed %",
            period=cdk.Duration.minutes(5),
        )


_RETENTION = {7: "ONE_WEEK", 14: "TWO_WEEKS", 30: "ONE_MONTH", 90: "THREE_MONTHS"}


def _environment(job: Job, parameters: Parameters) -> dict[str, str]:
    return {"STAGE": parameters.stage, "WORKSPACE": parameters.workspace, **job.environment}
