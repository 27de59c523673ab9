"""The deployment's parameters: ``-c name=value`` on the CDK command line, typed, validated, with safe defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PREFIXES_OF_CDK = ("@aws-cdk/", "aws:", "cdk-", "availability-zones:")


class Parameters(BaseModel):
    """What a deployment can choose. Everything else is decided in the constructs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["dev", "prod"] = "dev"
    """``dev``: one provisioned shard, stacks can be deleted. ``prod``: on-demand stream, termination protection."""
    workspace: str = Field(default="main", pattern=r"^[a-z0-9-]{1,32}$")
    """The workspace of the nightly work; further brands are workspaces of their own write keys."""
    stream_mode: Literal["provisioned", "on_demand"] | None = None
    """Left out: ``provisioned`` in dev, ``on_demand`` in prod."""
    stream_shards: int = Field(default=1, ge=1, le=500)
    """Shards of a provisioned stream."""
    stream_retention_hours: int = Field(default=48, ge=24, le=8760)
    """How long the stream keeps records; consumers give up on a record at three quarters of it."""
    log_retention_days: Literal[7, 14, 30, 90] = 30
    alarm_email: str = Field(default="", pattern=r"^$|^[^@\s]+@[^@\s]+$")
    """Who is told of alarms and of the budget; empty: only the topic exists."""
    budget_usd: float = Field(default=50, gt=0)
    """Monthly budget that raises an alert at 80 and 100 percent."""
    tracing: bool = True
    """X-Ray traces of functions and state machine."""
    ingest_domain: str = Field(default="", pattern=r"^$|^[a-z0-9.-]+\.[a-z]{2,}$")
    """Own (first-party) host name of the ingest API; API Gateway's address is switched off then."""
    ingest_certificate_arn: str = Field(default="", pattern=r"^$|^arn:[a-z-]+:acm:")
    """Certificate of ``ingest_domain`` in the stack's region."""
    public_url: str = Field(default="", pattern=r"^$|^https://[^/]+$")
    """Address that SDKs are told, where a proxy or CDN stands before the API; empty: as the request says."""
    console_origins: str = Field(default="http://localhost:8787", pattern=r"^https?://[^/*,]+(,https?://[^/*,]+)*$")
    """The origins that may call the admin API from a browser, with commas between them."""
    mail_from: str = Field(default="hello@example.com", pattern=r"^[^@\s]+@[^@\s]+$")
    """Sender address, verified in SES."""
    pitr_days: int = Field(default=14, ge=1, le=35)
    """Point-in-time recovery window of the tables."""
    nightly_hour_utc: int = Field(default=19, ge=0, le=23)
    """Hour at which the nightly work starts (19 UTC is 2 in the morning in Vietnam)."""
    workspace_events_per_minute: int = Field(default=6_000_000, ge=1_000)
    """Budget of all sources of a workspace together; what is over it gets 429. Each source has its own besides."""
    new_profiles_per_hour: int = Field(default=1_000_000, ge=100)
    """New people a workspace may get in an hour; events of further ones wait in quarantine, stage ``flood``."""
    checks: bool = True
    """Run cdk-nag during the synthesis; the twin switches it off, the gates keep it on."""

    @model_validator(mode="after")
    def _domain_has_certificate(self) -> Self:
        if bool(self.ingest_domain) != bool(self.ingest_certificate_arn):
            raise ValueError("ingest_domain and ingest_certificate_arn go together")
        return self

    @property
    def ingest_url(self) -> str:
        """Address of the ingest API as SDKs are told; empty: as the request says."""
        return self.public_url or (f"https://{self.ingest_domain}" if self.ingest_domain else "")

    @property
    def on_demand(self) -> bool:
        """Whether the stream scales by itself."""
        return (self.stream_mode or ("on_demand" if self.stage == "prod" else "provisioned")) == "on_demand"

    @property
    def production(self) -> bool:
        """Whether this is the production stage."""
        return self.stage == "prod"

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> Parameters:
        """Parameters from the CDK context; its own entries are passed over, anything else unknown is refused.

        Raises:
            SystemExit: a name is unknown or a value is not allowed; the text names each.
        """
        given = {key: value for key, value in context.items() if not key.startswith(PREFIXES_OF_CDK)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = [f"  -c {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            known = ", ".join(cls.model_fields)
            raise SystemExit("bad parameters:\n" + "\n".join(faults) + f"\nknown: {known}") from error
