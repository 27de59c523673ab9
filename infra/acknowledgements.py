"""Every finding of cdk-nag that stays, exactly, with its reason. A test counts them."""

from __future__ import annotations

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks, ServerlessChecks


def acknowledge(app: cdk.App) -> None:
    """Check the app with both packs."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
