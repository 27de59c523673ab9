"""Operations: the admin API over all capabilities, alarms, dashboard, budget."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk.aws_apigatewayv2_authorizers import HttpJwtAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from infra.constructs.api import ApiStage
from infra.parameters import Parameters
from infra.stacks.alarms import Alarms
from infra.stacks.capabilities import Capabilities
from infra.stacks.dashboard import Dashboard


class OperationsStack(cdk.Stack):
    """What people use to steer and watch."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        parts: Capabilities,
        parameters: Parameters,
        **more: Any,
    ) -> None:
        super().__init__(scope, id, description="Hoso: operations", **more)
        self._parts = parts
        self._parameters = parameters
        self.topic = self._topic()
        self.admin = self._admin_api()
        Alarms(self, "Alarm", topic=self.topic, parts=parts, admin=self.admin, parameters=parameters)
        Dashboard(self, "Dashboard", parts=parts, admin=self.admin, stage=parameters.stage)
        self._budget()

    def _topic(self) -> sns.Topic:
        topic = sns.Topic(self, "Alarms", enforce_ssl=True, display_name="Hoso alarms")
        if self._parameters.alarm_email:
            subscription = subscriptions.EmailSubscription(self._parameters.alarm_email)
            topic.add_subscription(subscription)  # pyright: ignore[reportArgumentType]
        # A topic policy (here: TLS only) takes the place of the default one, which let alarms publish.
        publishers = [iam.ServicePrincipal(f"{name}.amazonaws.com") for name in ("cloudwatch", "budgets")]
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                principals=publishers,  # pyright: ignore[reportArgumentType]
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return topic

    def _admin_api(self) -> api.HttpApi:
        users, client = self._parts.data.users, self._parts.data.client
        authorizer = HttpJwtAuthorizer(
            "Users",
            f"https://cognito-idp.{self.region}.{self.url_suffix}/{users.user_pool_id}",
            jwt_audience=[client.user_pool_client_id],
        )
        http = api.HttpApi(
            self,
            "AdminApi",
            description="Hoso admin API",
            create_default_stage=False,
            default_authorizer=authorizer,
            cors_preflight=api.CorsPreflightOptions(
                allow_origins=self._parameters.console_origins.split(","),
                allow_methods=[
                    *(api.CorsHttpMethod.GET, api.CorsHttpMethod.PUT),
                    *(api.CorsHttpMethod.POST, api.CorsHttpMethod.DELETE),
                ],
                allow_headers=["authorization", "content-type"],
                max_age=cdk.Duration.hours(1),
            ),
        )
        integrations: dict[str, HttpLambdaIntegration] = {}
        for _, capability in self._parts.named():
            for route, function in capability.routes.items():
                name = function.node.id
                if name not in integrations:
                    integrations[name] = HttpLambdaIntegration(name, function.target)
                method, path = route.split(" ")
                http.add_routes(
                    path=path, methods=[api.HttpMethod(method)], integration=integrations[name], authorizer=authorizer
                )
            for route, function in capability.open_routes.items():
                name = function.node.id
                if name not in integrations:
                    integrations[name] = HttpLambdaIntegration(name, function.target)
                method, path = route.split(" ")
                capability.opened += http.add_routes(
                    path=path,
                    methods=[api.HttpMethod(method)],
                    integration=integrations[name],
                    authorizer=api.HttpNoneAuthorizer(),
                )
        ApiStage(self, "Admin", http=http, parameters=self._parameters, rate=50, burst=100)
        cdk.CfnOutput(self, "AdminUrl", value=http.api_endpoint, description="Host of the admin API")
        return http

    def _budget(self) -> None:
        subscriber = budgets.CfnBudget.SubscriberProperty(address=self.topic.topic_arn, subscription_type="SNS")
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
                    subscribers=[subscriber],
                )
                for kind, threshold in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        )
