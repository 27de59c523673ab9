"""Operations: the admin API over all capabilities, alarms, dashboard, budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk.aws_apigatewayv2_authorizers import HttpJwtAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from infra.constructs.api import stage
from infra.parameters import Parameters
from infra.stacks.capability import CapabilityStack
from infra.stacks.data import DataStack

RUNBOOK = "docs/runbook.md"
MINUTES = cdk.Duration.minutes
DASHBOARD_WIDTH = 12


class OperationsStack(cdk.Stack):
    """What people use to steer and watch."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        data: DataStack,
        capabilities: Sequence[CapabilityStack],
        parameters: Parameters,
        **more: Any,
    ) -> None:
        super().__init__(scope, id, description="Hoso: operations", **more)
        self._data = data
        self._capabilities = capabilities
        self._parameters = parameters
        self.topic = sns.Topic(self, "Alarms", enforce_ssl=True, display_name="Hoso alarms")
        if parameters.alarm_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(parameters.alarm_email))
        self._admin_api()
        self._alarms()
        self._dashboard()
        self._budget()

    def _admin_api(self) -> None:
        data = self._data
        authorizer = HttpJwtAuthorizer(
            "Users",
            f"https://cognito-idp.{self.region}.{self.url_suffix}/{data.users.user_pool_id}",
            jwt_audience=[data.client.user_pool_client_id],
        )
        http = api.HttpApi(
            self,
            "AdminApi",
            description="Hoso admin API",
            create_default_stage=False,
            default_authorizer=authorizer,
            cors_preflight=api.CorsPreflightOptions(
                allow_origins=[self._parameters.console_origin],
                allow_methods=[
                    *(api.CorsHttpMethod.GET, api.CorsHttpMethod.PUT),
                    *(api.CorsHttpMethod.POST, api.CorsHttpMethod.DELETE),
                ],
                allow_headers=["authorization", "content-type"],
                max_age=cdk.Duration.hours(1),
            ),
        )
        for capability in self._capabilities:
            integrations: dict[str, HttpLambdaIntegration] = {}
            for route, function in capability.routes.items():
                name = function.node.id
                if name not in integrations:
                    integrations[name] = HttpLambdaIntegration(name, function.function)
                method, path = route.split(" ")
                http.add_routes(
                    path=path, methods=[api.HttpMethod(method)], integration=integrations[name], authorizer=authorizer
                )
        stage(self, http, self._parameters, rate=50, burst=100)
        cdk.CfnOutput(self, "AdminUrl", value=http.api_endpoint, description="Host of the admin API")

    def _alarms(self) -> None:
        consumer = next(c.functions["ConsumeFunction"] for c in self._capabilities if "ConsumeFunction" in c.functions)
        ingest = next(c.functions["CollectFunction"] for c in self._capabilities if "CollectFunction" in c.functions)
        age = consumer.function.metric("IteratorAge", statistic="Maximum", period=MINUTES(1))
        half_retention_ms = self._parameters.stream_retention_hours * 3_600_000 // 2
        self._alarm("consumer-behind", age, 60_000, periods=3)
        self._alarm("consumer-near-loss", age, half_retention_ms)
        self._alarm("ingest-errors", ingest.error_rate, 1)
        self._alarm("ingest-slow", ingest.function.metric_duration(statistic="p99", period=MINUTES(5)), 3_000)
        self._alarm("ingest-throttled", ingest.function.metric_throttles(period=MINUTES(5)), 0)
        self._alarm("functions-failing", self._all_errors(), 0, periods=3)
        self._alarm("dead-letters", self._all_dead_letters(), 0)
        nightly = next(c for c in self._capabilities if hasattr(c, "nightly"))
        machine = nightly.nightly.machine  # type: ignore[attr-defined]
        self._alarm("nightly-failed", machine.metric_failed(period=cdk.Duration.hours(1)), 0)
        self._alarm(
            "nightly-missing",
            machine.metric_succeeded(period=cdk.Duration.days(1), statistic="Sum"),
            1,
            below=True,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        *,
        periods: int = 1,
        below: bool = False,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        operators = cloudwatch.ComparisonOperator
        alarm = cloudwatch.Alarm(
            self,
            "".join(part.capitalize() for part in name.split("-")),
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=operators.LESS_THAN_THRESHOLD if below else operators.GREATER_THAN_THRESHOLD,
            treat_missing_data=missing,
            alarm_description=f"See {RUNBOOK}#{name}",
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))

    def _all_errors(self) -> cloudwatch.MathExpression:
        using = {
            f"e{number}": function.errors
            for number, function in enumerate(f for c in self._capabilities for f in c.functions.values())
        }
        # A metric expression of an alarm takes ten metrics; SUM over a search is not allowed there.
        return cloudwatch.MathExpression(
            expression="SUM(METRICS())", using_metrics=dict(list(using.items())[:10]), period=MINUTES(5), label="errors"
        )

    def _all_dead_letters(self) -> cloudwatch.MathExpression:
        using = {
            f"q{number}": capability.failed.metric_approximate_number_of_messages_visible(period=MINUTES(5))
            for number, capability in enumerate(self._capabilities)
        }
        return cloudwatch.MathExpression(
            expression="SUM(METRICS())", using_metrics=using, period=MINUTES(5), label="dead letters"
        )

    def _dashboard(self) -> None:
        board = cloudwatch.Dashboard(self, "Dashboard")
        for capability in self._capabilities:
            functions = capability.functions.values()
            board.add_widgets(
                cloudwatch.GraphWidget(
                    title=f"{capability.node.id}: invocations and errors",
                    left=[f.function.metric_invocations(period=MINUTES(5)) for f in functions],
                    right=[f.errors for f in functions],
                    width=DASHBOARD_WIDTH,
                ),
                cloudwatch.GraphWidget(
                    title=f"{capability.node.id}: p95 duration, dead letters",
                    left=[f.function.metric_duration(statistic="p95", period=MINUTES(5)) for f in functions],
                    right=[capability.failed.metric_approximate_number_of_messages_visible(period=MINUTES(5))],
                    width=DASHBOARD_WIDTH,
                ),
            )

    def _budget(self) -> None:
        email = self._parameters.alarm_email
        subscribers = (
            [budgets.CfnBudget.SubscriberProperty(address=email, subscription_type="EMAIL")]
            if email
            else [budgets.CfnBudget.SubscriberProperty(address=self.topic.topic_arn, subscription_type="SNS")]
        )
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=self._parameters.budget_usd, unit="USD"),
                cost_filters={"TagKeyValue": ["user:application$hoso"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN", notification_type=kind, threshold=threshold
                    ),
                    subscribers=subscribers,
                )
                for kind, threshold in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        )
