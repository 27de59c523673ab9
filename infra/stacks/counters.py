"""The counters that functions print (``hoso.platform.metrics``), as CloudWatch metrics."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch


def counter(name: str, of_stage: str, *, period: Duration, **dimension: str) -> cloudwatch.Metric:
    """The sum of a counter of a deployment's stage, over all values or for one of its dimension."""
    return cloudwatch.Metric(
        namespace=f"Hoso/{of_stage}",
        metric_name=name,
        dimensions_map=dimension or None,
        statistic="Sum",
        period=period,
        label=" ".join([name, *dimension.values()]),
    )
