"""The dashboard (reliability O5): the way of the events first, then the machinery, then what costs money."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.stacks.capabilities import Capabilities
from infra.stacks.counters import counter

WIDTH = 12
PERIOD = Duration.minutes(5)
# Log lines of the consumer carry these counts per batch (hoso.unify.consumer.Tally).
CONSUMER = ["filter ispresent(fresh)", "stats sum(retries) as retried, sum(failed) as failed by bin(5m)"]
STAGES = ("collect", "archive", "consume", "duplicate")
STATUSES = ["stats count(*) as requests by status, bin(5m)"]


class Dashboard(Construct):
    """One page."""

    def __init__(self, scope: Construct, id: str, *, parts: Capabilities, admin: api.HttpApi, stage: str) -> None:  # noqa: A002
        super().__init__(scope, id)
        self._parts = parts
        self._stage = stage
        self._board = cloudwatch.Dashboard(self, "Board", default_interval=Duration.hours(12))
        self._events()
        self._deliveries()
        self._nightly(admin)
        self._functions()
        self._costs()

    def _events(self) -> None:
        collect, unify = self._parts.collect, self._parts.unify
        self._graph(
            "Requests: all, refused, failed",
            [
                collect.api.metric_count(period=PERIOD),
                collect.api.metric_client_error(period=PERIOD),
                collect.api.metric_server_error(period=PERIOD),
            ],
            [collect.api.metric_latency(statistic="p99", period=PERIOD)],
        )
        self._query("Requests by status", collect.stage.logs.log_group_name, STATUSES)
        self._graph("Events: accepted, refused", self._counters("accepted"), self._counters("refused", "rate_limited"))
        self._graph(
            "Events: consumed, duplicates, memberships changed",
            self._counters("consumed", "transitions"),
            self._counters("duplicates"),
        )
        self._graph(
            "Quarantined by stage",
            [counter("quarantined", self._stage, period=PERIOD, stage=stage) for stage in STAGES],
            self._counters("verification_failed"),
        )
        self._graph(
            "Lag: age of the oldest unread record (ms)",
            [
                unify.consume.function.metric("IteratorAge", statistic="Maximum", period=PERIOD, label="consume"),
                collect.archive.function.metric("IteratorAge", statistic="Maximum", period=PERIOD, label="archive"),
            ],
        )
        self._query("Consumer: retried, failed", unify.consume.logs.log_group_name, CONSUMER)

    def _deliveries(self) -> None:
        work = self._parts.activate.work
        self._graph(
            "Channels: waiting, age of the oldest (s)",
            [
                queue.metric_approximate_number_of_messages_visible(period=PERIOD, label=name)
                for name, queue in work.items()
            ],
            [
                queue.metric_approximate_age_of_oldest_message(period=PERIOD, label=f"{name}, oldest")
                for name, queue in work.items()
            ],
        )
        self._graph(
            "Given up: dead letters",
            [
                queue.metric_approximate_number_of_messages_visible(period=PERIOD, label=name)
                for name, queue in self._parts.dead_letters().items()
            ],
        )

    def _nightly(self, admin: api.HttpApi) -> None:
        machine = self._parts.segment.nightly.machine
        self._graph(
            "Nightly: ended well, failed, duration",
            [machine.metric_succeeded(period=PERIOD), machine.metric_failed(period=PERIOD)],
            [machine.metric_time(statistic="Maximum", period=PERIOD)],
        )
        self._graph(
            "Admin API: calls, refused, failed",
            [
                admin.metric_count(period=PERIOD),
                admin.metric_client_error(period=PERIOD),
                admin.metric_server_error(period=PERIOD),
            ],
        )

    def _functions(self) -> None:
        for name, capability in self._parts.named():
            functions = {key: function.function for key, function in capability.functions.items()}
            self._graph(
                f"{name}: errors, throttles",
                [function.metric_errors(period=PERIOD, label=key) for key, function in functions.items()],
                [
                    function.metric_throttles(period=PERIOD, label=f"{key}, throttled")
                    for key, function in functions.items()
                ],
            )
            self._graph(
                f"{name}: duration p95 (ms)",
                [
                    function.metric_duration(statistic="p95", period=PERIOD, label=key)
                    for key, function in functions.items()
                ],
            )

    def _costs(self) -> None:
        data = self._parts.data
        tables = {"profiles": data.profiles, "control": data.control, "delivery": data.delivery, "outbox": data.outbox}
        self._graph(
            "Cost: write units, read units of tables",
            [
                table.metric_consumed_write_capacity_units(period=PERIOD, label=f"{name}, written")
                for name, table in tables.items()
            ],
            [
                table.metric_consumed_read_capacity_units(period=PERIOD, label=f"{name}, read")
                for name, table in tables.items()
            ],
        )
        self._graph(
            "Cost: stream records and bytes in",
            [data.stream.metric_incoming_records(period=PERIOD)],
            [data.stream.metric_incoming_bytes(statistic="Sum", period=PERIOD)],
        )

    def _counters(self, *names: str) -> list[cloudwatch.IMetric]:
        return [counter(name, self._stage, period=PERIOD) for name in names]

    def _graph(self, title: str, left: Sequence[cloudwatch.IMetric], right: Sequence[cloudwatch.IMetric] = ()) -> None:
        self._board.add_widgets(cloudwatch.GraphWidget(title=title, left=list(left), right=list(right), width=WIDTH))

    def _query(self, title: str, log_group: str, lines: Sequence[str]) -> None:
        self._board.add_widgets(
            cloudwatch.LogQueryWidget(
                title=title,
                log_group_names=[log_group],
                query_lines=list(lines),
                view=cloudwatch.LogQueryVisualizationType.LINE,
                width=WIDTH,
            )
        )
