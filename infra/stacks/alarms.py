"""The alarms: each names its section of ``docs/runbook.md``.

An alarm costs by the metrics in its expression, so a dev stage has few (``docs/cost.md``) and production the rest.
"""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.parameters import Parameters
from infra.stacks.capabilities import Capabilities
from infra.stacks.counters import counter

RUNBOOK = "docs/runbook.md"
MINUTE = Duration.minutes(1)
FIVE_MINUTES = Duration.minutes(5)
BEHIND_MS = 60_000
SLOW_MS = 3_000
REFUSED_ADMIN_CALLS = 100
MOST_METRICS = 10
BAD_EVENTS = 100


class Alarms(Construct):
    """What somebody is told of, on one topic."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        topic: sns.Topic,
        parts: Capabilities,
        admin: api.HttpApi,
        parameters: Parameters,
    ) -> None:
        super().__init__(scope, id)
        self._topic = topic
        self._parts = parts
        self._admin = admin
        self._ingest()
        self._stream(parameters)
        self._dead_letters()
        self._nightly()
        if parameters.production:
            self._production(parameters)
        else:
            # One metric: the errors of all functions in the account, which in dev are those of Hoso.
            errors = lambda_.Function.metric_all_errors(statistic="Sum", period=FIVE_MINUTES)
            self._alarm("functions-failing", errors, 0, periods=3)

    def _ingest(self) -> None:
        ingest = self._parts.collect.api
        share = _ratio(ingest.metric_server_error(period=FIVE_MINUTES), ingest.metric_count(period=FIVE_MINUTES))
        self._alarm("ingest-errors", share, 1)
        self._alarm("ingest-slow", ingest.metric_latency(statistic="p99", period=FIVE_MINUTES), SLOW_MS, periods=3)

    def _stream(self, parameters: Parameters) -> None:
        consume, archive = self._parts.unify.consume, self._parts.collect.archive
        ages = {
            name: function.function.metric("IteratorAge", statistic="Maximum", period=MINUTE)
            for name, function in (("consume", consume), ("archive", archive))
        }
        oldest = cloudwatch.MathExpression(
            expression="MAX([consume, archive])", using_metrics=ages, period=MINUTE, label="oldest unread record"
        )
        self._alarm("consumer-behind", ages["consume"], BEHIND_MS, periods=3)
        self._alarm("consumer-near-loss", oldest, parameters.stream_retention_hours * 3_600_000 // 2)

    def _dead_letters(self) -> None:
        waiting = {
            f"q{n}": queue.metric_approximate_number_of_messages_visible(period=FIVE_MINUTES)
            for n, queue in enumerate(self._parts.dead_letters().values())
        }
        self._alarm("dead-letters", _sum(waiting, "dead letters"), 0)

    def _nightly(self) -> None:
        ended_well = self._parts.segment.nightly.machine.metric_succeeded(period=Duration.days(1), statistic="Sum")
        self._alarm("nightly-missing", ended_well, 1, below=True, missing=cloudwatch.TreatMissingData.BREACHING)

    def _production(self, parameters: Parameters) -> None:
        parts = self._parts
        for name, capability in parts.named():
            # An alarm takes ten metrics at most: one per ten functions of a capability.
            errors = [(f"e{n}", function.errors) for n, function in enumerate(capability.functions.values())]
            for first in range(0, len(errors), MOST_METRICS):
                some = dict(errors[first : first + MOST_METRICS])
                more = f"-{first // MOST_METRICS + 1}" if first else ""
                self._alarm(f"{name}-failing{more}", _sum(some, "errors"), 0, periods=3, runbook=f"{name}-failing")
        failed = parts.segment.nightly.machine.metric_failed(period=Duration.hours(1))
        self._alarm("nightly-failed", failed, 0)
        replays = parts.unify.replays.machine.metric_failed(period=Duration.hours(1))
        self._alarm("replay-failed", replays, 0)
        differences = counter("nightly_differences", parameters.stage, period=Duration.hours(1))
        self._alarm("engines-differ", differences, 0)
        self._alarm("ingest-throttled", parts.collect.ingest.function.metric_throttles(period=FIVE_MINUTES), 0)
        refused = self._admin.metric_client_error(period=FIVE_MINUTES)
        self._alarm("admin-refused", refused, REFUSED_ADMIN_CALLS)
        aside = counter("quarantined", parameters.stage, period=FIVE_MINUTES, stage="consume")
        self._alarm("bad-events", aside, BAD_EVENTS, periods=3)
        uncounted = counter("limit_unavailable", parameters.stage, period=FIVE_MINUTES)
        self._alarm("limits-open", uncounted, 0, periods=3)

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        *,
        periods: int = 1,
        below: bool = False,
        runbook: str = "",
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
            alarm_description=f"See {RUNBOOK}#{runbook or name}",
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))  # pyright: ignore[reportArgumentType]


def _sum(metrics: dict[str, cloudwatch.Metric], label: str) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        expression="SUM(METRICS())", using_metrics=dict(metrics), period=FIVE_MINUTES, label=label
    )


def _ratio(part: cloudwatch.Metric, whole: cloudwatch.Metric) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        expression="100 * part / MAX([whole, 1])",
        using_metrics={"part": part, "whole": whole},
        period=FIVE_MINUTES,
        label="percent",
    )
