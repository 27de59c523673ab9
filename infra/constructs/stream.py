"""A function that reads the event stream: every setting of the mapping that decides over loss and order."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk.aws_lambda_event_sources import S3OnFailureDestination
from constructs import Construct

from infra.constructs.function import HosoFunction
from infra.parameters import Parameters

RETRIES = 100


class StreamConsumer(Construct):
    """The mapping of a stream to a function (reliability R10). What fails after all tries goes to S3, with payload."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        function: HosoFunction,
        stream: kinesis.IStream,
        failures: s3.IBucket,
        parameters: Parameters,
        batch: int,
        window_s: int,
        parallel: int = 1,
    ) -> None:
        super().__init__(scope, id)
        lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=function.target,
            event_source_arn=stream.stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=batch,
            max_batching_window=cdk.Duration.seconds(window_s),
            parallelization_factor=parallel,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=RETRIES,
            max_record_age=cdk.Duration.hours(parameters.stream_retention_hours * 3 // 4),
            on_failure=S3OnFailureDestination(failures),  # pyright: ignore[reportArgumentType]
            support_s3_on_failure_destination=True,
        ).node.add_dependency(function.policy)
