"""A role with one customer managed policy: explicit actions on explicit ARNs, nothing granted later (security S30)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct


def allow(
    actions: Sequence[str], *resources: str, conditions: Mapping[str, Mapping[str, object]] | None = None
) -> iam.PolicyStatement:
    """A statement with explicit actions on explicit ARNs."""
    return iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)


def role(
    scope: Construct, service: str, statements: Sequence[iam.PolicyStatement], *, description: str | None = None
) -> tuple[iam.Role, iam.ManagedPolicy]:
    """The role of ``scope`` with its policy. ``service`` is who takes it on."""
    made = iam.Role(scope, "Role", assumed_by=_principal(scope, service), description=description)  # pyright: ignore[reportArgumentType]
    policy = iam.ManagedPolicy(scope, "Policy", roles=[made], statements=statements)  # pyright: ignore[reportArgumentType]
    return made, policy


def _principal(scope: Construct, service: str) -> iam.ServicePrincipal:
    if service == "lambda.amazonaws.com":
        # Lambda sends no source account when it takes on the role of a function.
        return iam.ServicePrincipal(service)
    own = {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(scope).account}}
    return iam.ServicePrincipal(service, conditions=own)
