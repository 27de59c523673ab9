"""What the twin knows after provisioning: functions, event sources, rules, schedules, APIs, by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.twin.iam import Statement

_HASH = re.compile(r"[0-9A-F]{8}$")


def logical_name(logical_id: str) -> str:
    """The name of a construct: its logical id without the hash that CDK appends."""
    return _HASH.sub("", logical_id)


@dataclass(frozen=True, slots=True)
class Target:
    """Where something is delivered, and how long it is tried. ``key`` names it across restarts."""

    key: str
    arn: str
    retries: int
    max_age_s: float
    dead_letter: str | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function. ``folder`` is its unpacked asset, ``asynchronous`` how queued invocations are treated."""

    name: str
    logical: str
    arn: str
    handler: str
    folder: Path
    environment: Mapping[str, str]
    timeout_s: int
    memory_mb: int
    role: str
    dead_letter: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One event source mapping with the settings of the template."""

    key: str
    arn: str
    function: str
    batch_size: int
    window_s: float = 0
    retries: int = -1
    max_age_s: float = -1
    bisect: bool = False
    partial: bool = False
    on_failure: str | None = None
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleTarget:
    """A target of a bus rule: a template over paths of the event, fixed text, a path, or the event as it is."""

    target: Target
    template: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A bus rule: pattern (JSON) and targets."""

    name: str
    arn: str
    bus: str
    pattern: str
    targets: tuple[RuleTarget, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Something that happens at times: ``rate(…)`` or ``cron(…)`` in a time zone."""

    name: str
    arn: str
    expression: str
    zone: str
    target: Target
    payload: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route of an HTTP API; ``authorizer`` is the id of its JWT authorizer."""

    api: str
    key: str
    integration: str
    authorizer: str | None


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A JWT authorizer."""

    name: str
    issuer: str
    audience: tuple[str, ...]


@dataclass(slots=True)
class Deployment:
    """Everything that was made, by physical name, id or ARN."""

    region: str
    functions: dict[str, Function] = field(default_factory=dict[str, Function])
    """By ARN."""
    invoke_settings: dict[str, Target] = field(default_factory=dict[str, Target])
    """How queued invocations of a function (by ARN) are tried."""
    sources: list[Source] = field(default_factory=list[Source])
    rules: list[Rule] = field(default_factory=list[Rule])
    schedules: list[Schedule] = field(default_factory=list[Schedule])
    cors: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """By API id."""
    routes: list[Route] = field(default_factory=list[Route])
    integrations: dict[str, str] = field(default_factory=dict[str, str])
    """Function ARN by integration id."""
    authorizers: dict[str, Authorizer] = field(default_factory=dict[str, Authorizer])
    tables: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """TTL attribute by table name."""
    streams: list[str] = field(default_factory=list[str])
    buckets: list[str] = field(default_factory=list[str])
    notifying: set[str] = field(default_factory=set[str])
    """Buckets whose new objects are told to the default bus."""
    queues: dict[str, str] = field(default_factory=dict[str, str])
    """Queue URL by ARN."""
    machines: list[str] = field(default_factory=list[str])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    policies: dict[str, list[Statement]] = field(default_factory=dict[str, "list[Statement]"])
    """What each function's role is allowed, by logical name."""
    names: dict[str, str] = field(default_factory=dict[str, str])
    """Physical name by ``<stack>/<logical name>``."""

    def function(self, name: str) -> Function:
        """A function by its ARN, physical name or logical name. Raises ``KeyError``."""
        if name in self.functions:
            return self.functions[name]
        for function in self.functions.values():
            if name in (function.name, function.logical):
                return function
        raise KeyError(name)
