"""The one construct of every Lambda function: runtime, role, logs, tracing, dead letters, alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.canary import Canary
from infra.constructs.logs import log_group
from infra.constructs.role import allow, role
from infra.parameters import Parameters

RUNTIME = lambda_.Runtime.PYTHON_3_14
CODE = Path(__file__).resolve().parents[2] / "functions"
EXCLUDE = ["layers", "**/__pycache__", "**/*.pyc", "**/.*"]


class Environment(TypedDict, total=False):
    """Settings of a function (``hoso.platform.settings``), each as text; stage and workspace are added for all."""

    profiles_table: str
    control_table: str
    delivery_table: str
    outbox_table: str
    shadow_table: str
    stream: str
    bucket: str
    bus: str
    machine: str
    mail_from: str
    mail_configuration_set: str
    lookups: str
    dead_letters: str
    public_url: str
    workspace_events_per_minute: str
    new_profiles_per_hour: str
    dedupe_days: str


@dataclass(frozen=True, slots=True)
class Job:
    """What a function is: its handler, what it may do, and what it needs.

    Memory in MB; a full core is 1,769.
    """

    handler: str
    description: str
    environment: Environment
    permissions: Sequence[iam.PolicyStatement]
    analytics: bool = False
    """Whether it needs the second layer (DuckDB, numpy, sqlglot)."""
    timeout_s: int = 30
    memory_mb: int = 512
    scratch_mb: int = 512
    asynchronous: bool = False
    """Whether somebody starts it without waiting for its answer (a schedule)."""
    canary: bool = False
    """Whether production sends a new version a tenth of the work first."""


class HosoFunction(Construct):
    """A function with a role of its own (customer managed policy, no wildcards), its log group and its error metric."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        job: Job,
        layers: Sequence[lambda_.ILayerVersion],
        parameters: Parameters,
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, id)
        self.logs = log_group(self, "Logs", parameters)
        statements = [
            allow(["logs:CreateLogStream", "logs:PutLogEvents"], self.logs.log_group_arn),
            allow(["sqs:SendMessage"], dead_letters.queue_arn),
            *job.permissions,
        ]
        if parameters.tracing:
            # X-Ray has no resources to name; acknowledged once per policy in infra/acknowledgements.py.
            statements.append(allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*"))
        self.role, self.policy = role(self, "lambda.amazonaws.com", statements, description=f"Role of {id}")
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            handler=job.handler,
            description=job.description,
            code=lambda_.Code.from_asset(str(CODE), exclude=EXCLUDE),
            layers=list(layers),
            role=self.role.without_policy_updates(),
            timeout=cdk.Duration.seconds(job.timeout_s),
            memory_size=job.memory_mb,
            ephemeral_storage_size=cdk.Size.mebibytes(job.scratch_mb),
            log_group=self.logs,
            logging_format=lambda_.LoggingFormat.JSON,
            # Powertools filters by itself; Lambda's own START and REPORT lines would be two lines a request.
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            tracing=lambda_.Tracing.ACTIVE if parameters.tracing else lambda_.Tracing.DISABLED,
            dead_letter_queue=dead_letters,
            environment=_environment(job, parameters),
        )
        self.function.node.add_dependency(self.policy)
        if job.asynchronous:
            self.function.configure_async_invoke(
                retry_attempts=2,
                max_event_age=cdk.Duration.hours(1),
                on_failure=destinations.SqsDestination(dead_letters),  # pyright: ignore[reportArgumentType]
            )
        self.errors = self.function.metric_errors(period=cdk.Duration.minutes(5))
        self.target = cast("lambda_.IFunction", self.function)
        """What invokes the function invokes this: the function, or its alias where new versions come as canaries."""
        if job.canary and parameters.production:
            canary = Canary(self, "Canary", function=self.function, errors=self.errors)
            self.target = cast("lambda_.IFunction", canary.alias)


def _environment(job: Job, parameters: Parameters) -> dict[str, str]:
    settings: dict[str, object] = {"stage": parameters.stage, "workspace": parameters.workspace, **job.environment}
    return {
        "POWERTOOLS_SERVICE_NAME": "hoso",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        **{f"HOSO_{name.upper()}": str(value) for name, value in settings.items() if value != ""},
    }
