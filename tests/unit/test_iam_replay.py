"""IAM replay: what a template grants, what a call needs, and that a removed grant is reported."""

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest

from infra.twin.calls import Call
from infra.twin.iam import Denied, Need, needed, permissions, replay

ACCOUNT = "123456789012"
TABLE = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/profiles"
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "ConsumeFunction": {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
        "LonelyFunction": {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Bare", "Arn"]}}},
        "Bare": {"Type": "AWS::IAM::Role", "Properties": {}},
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "ManagedPolicyArns": [{"Ref": "Attached"}],
                "Policies": [
                    {
                        "PolicyName": "inline",
                        "PolicyDocument": {
                            "Statement": {"Effect": "Allow", "Action": "sqs:Send*", "Resource": {"Ref": "Queue"}}
                        },
                    }
                ],
            },
        },
        "Managed": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "Roles": [{"Ref": "Role"}],
                "PolicyDocument": {
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": ["dynamodb:PutItem", "dynamodb:Query"],
                            "Resource": [{"Fn::ImportValue": "table"}, {"Fn::Join": ["", ["table", "/index/*"]]}],
                        }
                    ]
                },
            },
        },
        "Attached": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "PolicyDocument": {
                    "Statement": [
                        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::files/quarantine/*"},
                        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::files/quarantine/secret*"},
                    ]
                }
            },
        },
    }
}


def resolve(value: Any) -> Any:
    """What the twin's resolver would say."""
    if isinstance(value, list):
        return [resolve(entry) for entry in value]
    if value == {"Fn::ImportValue": "table"}:
        return TABLE
    if value == {"Ref": "Queue"}:
        return f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q"
    if isinstance(value, dict) and "Fn::Join" in value:
        return TABLE + value["Fn::Join"][1][1]
    return value


def denied(action: str, resource: str, function: str = "ConsumeFunction", template: Any = TEMPLATE) -> list[Denied]:
    return replay([Need(function, action, resource)], permissions(template, resolve))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("dynamodb:PutItem", TABLE),
        ("DynamoDB:putitem", TABLE),
        ("dynamodb:Query", TABLE + "/index/by_g"),
        ("sqs:SendMessage", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q"),
        ("s3:PutObject", "arn:aws:s3:::files/quarantine/2026/a.json"),
    ],
)
def test_a_granted_action_is_allowed(action: str, resource: str) -> None:
    assert denied(action, resource) == []


@pytest.mark.parametrize(
    ("action", "resource", "reason"),
    [
        ("dynamodb:DeleteItem", TABLE, "no statement"),
        ("dynamodb:PutItem", TABLE + "-other", "no statement"),
        ("sqs:ReceiveMessage", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q", "no statement"),
        ("s3:PutObject", "arn:aws:s3:::files/archive/a", "no statement"),
        ("s3:PutObject", "arn:aws:s3:::files/quarantine/secret/a", "denied by"),
    ],
)
def test_what_is_not_granted_or_denied_is_reported(action: str, resource: str, reason: str) -> None:
    (report,) = denied(action, resource)
    assert report.need == Need("ConsumeFunction", action, resource) and reason in report.reason


def test_an_action_removed_from_the_template_is_reported() -> None:
    smaller = deepcopy(TEMPLATE)
    smaller["Resources"]["Managed"]["Properties"]["PolicyDocument"]["Statement"][0]["Action"].remove("dynamodb:PutItem")
    assert [report.need.action for report in denied("dynamodb:PutItem", TABLE, template=smaller)] == [
        "dynamodb:PutItem"
    ]


def test_a_role_without_policies_and_a_function_without_role_allow_nothing() -> None:
    assert denied("dynamodb:PutItem", TABLE, "LonelyFunction") and denied("dynamodb:PutItem", TABLE, "UnknownFunction")


def test_calls_of_the_twin_itself_are_left_out() -> None:
    assert denied("dynamodb:CreateTable", TABLE, "") == []


def test_not_action_covers_all_but_what_it_names() -> None:
    template = deepcopy(TEMPLATE)
    statement = template["Resources"]["Managed"]["Properties"]["PolicyDocument"]["Statement"][0]
    statement["NotAction"] = statement.pop("Action")
    assert denied("dynamodb:PutItem", TABLE, template=template)
    assert not denied("dynamodb:GetItem", TABLE, template=template)


def call(service: str, operation: str, **params: Any) -> Call:
    client = SimpleNamespace(meta=SimpleNamespace(region_name="eu-west-1"))
    return Call(client, service, operation, params)


def regional(service: str, rest: str) -> str:
    return f"arn:aws:{service}:eu-west-1:{ACCOUNT}:{rest}"


@pytest.mark.parametrize(
    ("made", "needs"),
    [
        (call("dynamodb", "GetItem", TableName="profiles"), [("dynamodb:GetItem", TABLE)]),
        (call("dynamodb", "Query", TableName="profiles", IndexName="i"), [("dynamodb:Query", TABLE + "/index/i")]),
        (
            call("dynamodb", "BatchGetItem", RequestItems={"profiles": {}, "control": {}}),
            [("dynamodb:BatchGetItem", TABLE), ("dynamodb:BatchGetItem", regional("dynamodb", "table/control"))],
        ),
        (
            call(
                "dynamodb",
                "TransactWriteItems",
                TransactItems=[
                    {"Put": {"TableName": "profiles"}},
                    {"Put": {"TableName": "profiles"}},
                    {"ConditionCheck": {"TableName": "profiles"}},
                    {"Delete": {"TableName": "profiles"}},
                    {"Update": {"TableName": "profiles"}},
                ],
            ),
            [(f"dynamodb:{name}", TABLE) for name in ("PutItem", "ConditionCheckItem", "DeleteItem", "UpdateItem")],
        ),
        (
            call("dynamodb", "TransactGetItems", TransactItems=[{"Get": {"TableName": "profiles"}}]),
            [("dynamodb:GetItem", TABLE)],
        ),
        (call("kinesis", "PutRecords", StreamName="s"), [("kinesis:PutRecords", regional("kinesis", "stream/s"))]),
        (
            call("sqs", "SendMessageBatch", QueueUrl="https://sqs.eu-west-1.amazonaws.com/123456789012/q"),
            [("sqs:SendMessage", regional("sqs", "q"))],
        ),
        (
            call("events", "PutEvents", Entries=[{"EventBusName": "b"}]),
            [("events:PutEvents", regional("events", "event-bus/b"))],
        ),
        (call("s3", "PutObject", Bucket="files", Key="a/b"), [("s3:PutObject", "arn:aws:s3:::files/a/b")]),
        (call("s3", "ListObjectsV2", Bucket="files", Prefix="a/"), [("s3:ListBucket", "arn:aws:s3:::files")]),
        (call("s3", "HeadObject", Bucket="files", Key="a"), [("s3:GetObject", "arn:aws:s3:::files/a")]),
        (
            call("s3", "CopyObject", Bucket="files", Key="b", CopySource={"Bucket": "files", "Key": "a"}),
            [("s3:PutObject", "arn:aws:s3:::files/b"), ("s3:GetObject", "arn:aws:s3:::files/a")],
        ),
        (
            call("s3", "DeleteObjects", Bucket="files", Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]}),
            [("s3:DeleteObject", "arn:aws:s3:::files/a"), ("s3:DeleteObject", "arn:aws:s3:::files/b")],
        ),
        (
            call("sesv2", "SendEmail", FromEmailAddress="Hoso <a@b.vn>"),
            [("ses:SendEmail", regional("ses", "identity/a@b.vn"))],
        ),
        (call("stepfunctions", "StartExecution", stateMachineArn="arn:m"), [("states:StartExecution", "arn:m")]),
        (call("lambda", "Invoke", FunctionName="f"), [("lambda:InvokeFunction", regional("lambda", "function:f"))]),
        (call("sts", "GetCallerIdentity"), [("sts:GetCallerIdentity", "*")]),
    ],
    ids=lambda case: case.operation if isinstance(case, Call) else "",
)
def test_a_call_needs_these_permissions(made: Call, needs: list[tuple[str, str]]) -> None:
    assert needed(made) == needs
