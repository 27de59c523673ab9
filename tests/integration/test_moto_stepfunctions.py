"""The repaired Step Functions of the twin: JSONata, batches, tolerated failures, names."""

import json
import time
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.twin import moto_fixes

ROLE = "arn:aws:iam::123456789012:role/r"


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    moto_fixes.apply()
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        yield client("stepfunctions")
    moto_fixes.undo()


def client(service: str) -> Any:
    return botocore.session.get_session().create_client(service, region_name="eu-west-1")


def machine(states: Any, **named: Any) -> str:
    document = {"QueryLanguage": "JSONata", "StartAt": next(iter(named)), "States": named}
    made = states.create_state_machine(name="m", definition=json.dumps(document), roleArn=ROLE)
    return made["stateMachineArn"]


def run(states: Any, arn: str, given: Any = None) -> dict[str, Any]:
    started = states.start_execution(stateMachineArn=arn, input=json.dumps(given or {}))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        execution = states.describe_execution(executionArn=started["executionArn"])
        if execution["status"] != "RUNNING":
            return execution
        time.sleep(0.02)
    raise AssertionError("the execution does not end")


def output(execution: dict[str, Any]) -> Any:
    assert execution["status"] == "SUCCEEDED", execution
    return json.loads(execution["output"])


def each(process: dict[str, Any], **more: Any) -> dict[str, Any]:
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "One",
        "States": {"One": process},
    }
    items = {"Items": "{% $states.input.items %}"} if "ItemReader" not in more else {}
    return {"Type": "Map", **items, "ItemProcessor": processor, "Label": "Each", "End": True, **more}


ECHO = {"Type": "Pass", "Output": "{% $states.input %}", "End": True}
FAIL_ON_BAD = {
    "Type": "Choice",
    "Choices": [{"Condition": '{% "bad" in $states.input.Items %}', "Next": "Bad"}],
    "Default": "Good",
}


def picky(**more: Any) -> dict[str, Any]:
    """A Map over batches of one item whose child fails for the item ``bad``."""
    state = each(ECHO, ItemBatcher={"MaxItemsPerBatch": 1}, **more)
    state["ItemProcessor"]["States"] = {"One": FAIL_ON_BAD, "Good": ECHO, "Bad": {"Type": "Fail", "Error": "Bad"}}
    return state


def test_jsonata_works_on_input_variables_and_texts_with_quotes(states: Any) -> None:
    arn = machine(
        states,
        Keep={"Type": "Pass", "Assign": {"said": "{% $states.input.text %}"}, "Next": "Tell"},
        Tell={"Type": "Pass", "Output": {"said": "{% $said %}", "sum": "{% $sum([1, 2, 3]) %}"}, "End": True},
    )
    said = 'Nguyễn said "no" \\ yes'
    assert output(run(states, arn, {"text": said})) == {"said": said, "sum": 6}


def test_a_wrong_jsonata_expression_fails_the_execution(states: Any) -> None:
    arn = machine(states, Wrong={"Type": "Pass", "Output": '{% 1 + "a" %}', "End": True})
    assert run(states, arn)["status"] == "FAILED"


def test_a_distributed_map_over_an_object_gives_children_batches_with_common_input(states: Any) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="files", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="files", Key="batches.json", Body=json.dumps([{"n": n} for n in range(5)]))
    arn = machine(
        states,
        Apply=each(
            ECHO,
            ItemReader={
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.key %}"},
            },
            ItemBatcher={"MaxItemsPerBatch": 2, "BatchInput": {"run": "{% $states.input.run %}", "fixed": 1}},
            MaxConcurrency=2,
            ToleratedFailurePercentage=10,
        ),
    )
    common = {"BatchInput": {"run": "r-1", "fixed": 1}}
    assert output(run(states, arn, {"bucket": "files", "key": "batches.json", "run": "r-1"})) == [
        {"Items": [{"n": 0}, {"n": 1}], **common},
        {"Items": [{"n": 2}, {"n": 3}], **common},
        {"Items": [{"n": 4}], **common},
    ]


def test_failures_within_the_tolerance_leave_the_other_results(states: Any) -> None:
    arn = machine(states, Each=picky(ToleratedFailurePercentage=25))
    assert output(run(states, arn, {"items": ["a", "bad", "c", "d"]})) == [{"Items": [name]} for name in "acd"]


@pytest.mark.parametrize("limit", [{}, {"ToleratedFailurePercentage": 24.5}, {"ToleratedFailureCount": 1}])
def test_failures_over_the_tolerance_fail_the_map(states: Any, limit: dict[str, Any]) -> None:
    arn = machine(states, Each=picky(**limit))
    failed = run(states, arn, {"items": ["a", "bad", "bad", *"cdef"]})
    assert failed["status"] == "FAILED"


def test_a_map_that_failed_too_often_is_caught_by_its_error_name(states: Any) -> None:
    each_item = picky(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Tell"}])
    told = {"Type": "Pass", "Output": "{% $states.input %}", "End": True}
    caught = output(run(states, machine(states, Each=each_item, Tell=told), {"items": ["bad", "a"]}))
    assert caught["Error"] == "States.ExceedToleratedFailureThreshold" and "1 items failed" in caught["Cause"]


def test_a_map_over_nothing_succeeds(states: Any) -> None:
    assert output(run(states, machine(states, Each=picky()), {"items": []})) == []


def test_more_jobs_than_a_stack_has_frames_all_run(states: Any) -> None:
    arn = machine(states, Each=each(ECHO, MaxConcurrency=1))
    assert output(run(states, arn, {"items": list(range(400))})) == list(range(400))


def test_two_executions_without_a_name_both_run(states: Any) -> None:
    arn = machine(states, Only=ECHO)
    assert [output(run(states, arn, {"n": n})) for n in (1, 2)] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "extra",
    [
        {"ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": "b", "Prefix": "p"}}},
        {"ItemBatcher": {"MaxItemsPerBatch": 2}, "ItemSelector": {"a": 1}},
    ],
    ids=["ResultWriter", "ItemSelector"],
)
def test_what_is_not_imitated_is_refused(states: Any, extra: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="not imitated"):
        machine(states, Each=each(ECHO, **extra))


def test_r31_state_of_300_kb_fails_an_execution(states: Any) -> None:
    """What the nightly steps hand on is references for this reason."""
    arn = machine(states, On={"Type": "Pass", "Output": {"people": "{% $pad('x', 300000) %}"}, "End": True})

    execution = run(states, arn)

    assert (execution["status"], execution["error"]) == ("FAILED", "States.DataLimitExceeded")
