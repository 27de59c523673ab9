"""Deployment of a function in two steps (reliability O10): a tenth for five minutes, then all, or back on errors."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.role import allow, role


class Canary(Construct):
    """The alias ``live`` of a function, which CodeDeploy moves; one error of the new version moves it back."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        function: lambda_.Function,
        errors: cloudwatch.Metric,
    ) -> None:
        super().__init__(scope, id)
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=function.current_version)  # pyright: ignore[reportArgumentType]
        alarm = cloudwatch.Alarm(
            self,
            "Errors",
            metric=errors,
            threshold=0,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description="Rolls a new version back while it gets its first work. See docs/runbook.md#canary",
        )
        aliases = [function.function_arn, self.alias.function_arn]
        deployer, _ = role(
            self,
            "codedeploy.amazonaws.com",
            [
                allow(["lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig"], *aliases),
                allow(["cloudwatch:DescribeAlarms"], alarm.alarm_arn),
            ],
        )
        codedeploy.LambdaDeploymentGroup(
            self,
            "Deployments",
            alias=self.alias,
            role=deployer.without_policy_updates(),
            deployment_config=codedeploy.LambdaDeploymentConfig.CANARY_10_PERCENT_5_MINUTES,
            alarms=[alarm],
        )
