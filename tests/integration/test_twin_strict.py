"""The twin refuses what it does not understand, instead of skipping it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.twin import Twin
from infra.twin.assembly import AssemblyError
from tests.twin_world import attribute, function, resource, table, write_assembly


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"New": resource("AWS::MediaLive::Channel")}, "Small/New .*does not know this type"),
        ({"T": table(ImportSourceSpecification={})}, "nothing in the twin reads ImportSourceSpecification"),
        (
            {"T": table(TimeToLiveSpecification={"AttributeName": "t", "Enabled": True, "New": 1})},
            "TimeToLiveSpecification: .*New",
        ),
        ({"T": table(), "F": function("h.h", environment={"A": attribute("T", "Unknown")})}, "no attribute Unknown"),
        ({"F": function("h.h", VpcConfig={})}, "nothing in the twin reads VpcConfig"),
        (
            {
                "A": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "B"}}},
                "B": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "A"}}},
            },
            "refers to itself",
        ),
        ({"A": resource("AWS::ApiGatewayV2::Api", ProtocolType="WEBSOCKET")}, "only HTTP APIs"),
        (
            {
                "S": resource(
                    "AWS::Scheduler::Schedule", ScheduleExpression="sometimes", Target={"Arn": "a", "RoleArn": "r"}
                )
            },
            "not understood",
        ),
    ],
)
def test_what_is_not_understood_stops_the_start(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(AssemblyError, match=named), Twin(assembly=write_assembly(tmp_path, change, {"h": ""})):
        pass
