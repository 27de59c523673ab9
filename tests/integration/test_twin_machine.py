"""State machines on the twin: Lambda tasks in process, a Distributed Map over a file, retries, failures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.twin import Twin, recorder
from tests.twin_world import ROLE, attribute, function, resource, write_assembly

CODE = {
    "handlers": """
        import json, os
        import botocore.session

        tried = []

        def prepare(event, context):
            tried.append(1)
            if len(tried) == 1:
                raise ConnectionError("the first try fails")
            client = botocore.session.get_session().create_client("s3")
            items = [{"n": n} for n in range(event["count"])]
            client.put_object(Bucket=os.environ["FILES"], Key="batches.json", Body=json.dumps(items).encode())
            return {"bucket": os.environ["FILES"], "key": "batches.json", "factor": event["factor"]}

        def apply(event, context):
            if event["BatchInput"]["factor"] == 0:
                raise ZeroDivisionError("nothing to multiply")
            return sum(item["n"] for item in event["Items"]) * event["BatchInput"]["factor"]

        def launch(event, context):
            client = botocore.session.get_session().create_client("stepfunctions")
            asked = {"name": event["name"], "input": json.dumps(event)}
            return client.start_execution(stateMachineArn=os.environ["MACHINE"], **asked)["executionArn"]
    """
}


def task(name: str, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": "${" + name + "}", "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "Retry": [
            {"ErrorEquals": ["ConnectionError"], "IntervalSeconds": 1, "MaxAttempts": 2, "JitterStrategy": "FULL"}
        ],
        **more,
    }


DEFINITION = {
    "QueryLanguage": "JSONata",
    "StartAt": "Prepare",
    "States": {
        "Prepare": task("Prepare", Next="Each"),
        "Each": {
            "Type": "Map",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.key %}"},
            },
            "ItemBatcher": {"MaxItemsPerBatch": 4, "BatchInput": {"factor": "{% $states.input.factor %}"}},
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                "StartAt": "Apply",
                "States": {"Apply": task("Apply", End=True)},
            },
            "MaxConcurrency": 3,
            "Output": {"total": "{% $sum($states.result) %}", "parts": "{% $count($states.result) %}"},
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}],
            "End": True,
        },
        "Failed": {"Type": "Fail", "Error": "MapFailed"},
    },
}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    substitutions = {"Prepare": attribute("PrepareFunction"), "Apply": attribute("ApplyFunction")}
    resources = {
        "Files": resource("AWS::S3::Bucket"),
        "PrepareFunction": function("handlers.prepare", environment={"FILES": {"Ref": "Files"}}),
        "ApplyFunction": function("handlers.apply"),
        "LaunchFunction": function("handlers.launch", environment={"MACHINE": {"Ref": "Machine"}}),
        "Machine": resource(
            "AWS::StepFunctions::StateMachine",
            RoleArn=ROLE,
            DefinitionString=json.dumps(DEFINITION),
            DefinitionSubstitutions=substitutions,
        ),
    }
    folder = tmp_path_factory.mktemp("machine")
    with Twin(data=folder / "data", assembly=write_assembly(folder / "cdk.out", resources, CODE)) as twin:
        yield twin


def run(twin: Twin, name: str, **given: Any) -> dict[str, Any]:
    arn = twin.invoke("LaunchFunction", {"name": name, **given})
    deadline = time.monotonic() + 30
    while (state := twin.client("stepfunctions").describe_execution(executionArn=arn))["status"] == "RUNNING":
        assert any(name in text for text in twin.stuck()) or time.monotonic() < deadline
        time.sleep(0.05)
    return state


def test_a_map_over_a_file_runs_its_batches_and_a_failed_task_is_tried_again(twin: Twin) -> None:
    state = run(twin, "good", count=10, factor=2)

    assert state["status"] == "SUCCEEDED", state
    assert json.loads(state["output"]) == {"total": 90, "parts": 3}
    assert twin.runtime.figures()["PrepareFunction"].errors == 1
    assert twin.drain(5) == []


def test_a_failing_batch_fails_the_execution_with_its_error(twin: Twin) -> None:
    state = run(twin, "bad", count=5, factor=0)

    assert (state["status"], state["error"]) == ("FAILED", "MapFailed")


def test_calls_of_the_machine_are_not_taken_for_those_of_the_function_that_started_it(twin: Twin) -> None:
    recorder.reset()

    run(twin, "whose", count=1, factor=1)

    calls = {(row["function"], row["operation"]) for row in recorder.summary()["calls"]}
    assert ("LaunchFunction", "StartExecution") in calls
    assert ("PrepareFunction", "PutObject") in calls
    assert ("LaunchFunction", "GetObject") not in calls
