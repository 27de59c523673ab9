"""Templates of a cloud assembly: intrinsic functions, order of stacks, strictness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.twin.assembly import Assembly, AssemblyError, Made, Resolver, Resource, Stack
from infra.twin.provision import Props

TEMPLATE: dict[str, Any] = {
    "Parameters": {"Bootstrap": {"Type": "String", "Default": "21"}},
    "Conditions": {
        "Prod": {"Fn::Equals": [{"Ref": "Bootstrap"}, "22"]},
        "Dev": {"Fn::Not": [{"Condition": "Prod"}]},
        "Both": {"Fn::And": [{"Condition": "Prod"}, {"Condition": "Dev"}]},
        "Any": {"Fn::Or": [{"Condition": "Prod"}, {"Condition": "Dev"}]},
    },
    "Mappings": {"Sizes": {"dev": {"memory": 128}}},
    "Outputs": {
        "Table": {"Value": {"Ref": "Table"}, "Export": {"Name": "stack:Table"}},
        "Never": {"Condition": "Prod", "Value": "x"},
    },
}


@pytest.fixture
def resolve() -> Resolver:
    made = {"Table": Made("table-1", {"Arn": "arn:aws:dynamodb:::table/table-1"})}
    stack = Stack("data", TEMPLATE)
    return Resolver(
        stack,
        "ap-southeast-1",
        {"other:Stream": "stream-1"},
        lambda name: (Resource("data", name, "AWS::DynamoDB::Table", {}), made[name]),
    )


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"Ref": "Table"}, "table-1"),
        ({"Ref": "Bootstrap"}, "21"),
        ({"Ref": "AWS::Region"}, "ap-southeast-1"),
        ({"Fn::GetAtt": ["Table", "Arn"]}, "arn:aws:dynamodb:::table/table-1"),
        ({"Fn::GetAtt": "Table.Arn"}, "arn:aws:dynamodb:::table/table-1"),
        (
            {"Fn::Sub": "${Table}/${Table.Arn}/${!kept}/${AWS::AccountId}"},
            "table-1/arn:aws:dynamodb:::table/table-1/${kept}/123456789012",
        ),
        ({"Fn::Sub": ["${a}-${Table}", {"a": {"Ref": "Bootstrap"}}]}, "21-table-1"),
        ({"Fn::Join": ["", ["x:", {"Ref": "Table"}, ":", 3]]}, "x:table-1:3"),
        ({"Fn::Select": [1, {"Fn::Split": ["/", {"Fn::GetAtt": ["Table", "Arn"]}]}]}, "table-1"),
        ({"Fn::ImportValue": "other:Stream"}, "stream-1"),
        ({"Fn::If": ["Prod", "big", "small"]}, "small"),
        ({"Fn::If": ["Any", {"Fn::If": ["Both", 1, 2]}, 3]}, 2),
        ({"Fn::FindInMap": ["Sizes", "dev", "memory"]}, 128),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [1, {"Ref": "AWS::NoValue"}]}, {"b": [1]}),
        ({"Fn::Base64": "hi"}, "aGk="),
    ],
)
def test_intrinsic_function_is_evaluated(resolve: Resolver, value: Any, wanted: Any) -> None:
    assert resolve(value) == wanted


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"Fn::Cidr": ["10.0.0.0/8", 2]}, "Fn::Cidr"),
        ({"Fn::GetAtt": ["Table", "StreamArn"]}, "StreamArn"),
        ({"Fn::ImportValue": "missing"}, "missing"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(resolve: Resolver, value: Any, named: str) -> None:
    with pytest.raises(AssemblyError, match=named):
        resolve(value)


def test_outputs_and_exports_obey_their_condition(resolve: Resolver) -> None:
    assert resolve.outputs() == ({"Table": "table-1"}, {"stack:Table": "table-1"})


def test_an_unread_property_is_an_error_at_every_depth() -> None:
    props = Props({"Known": 1, "Nested": {"Read": 1, "New": 2}}, "stack/Thing")
    props.take("Known")
    props.part("Nested").take("Read")

    with pytest.raises(AssemblyError, match=r"stack/Thing\.Nested: nothing in the twin reads New"):
        props.close()


def test_stacks_are_read_in_the_order_of_their_dependencies(tmp_path: Path) -> None:
    def artifact(*after: str) -> dict[str, Any]:
        properties = {"templateFile": "t.json"}
        environment = "aws://unknown-account/unknown-region"
        return {
            "type": "aws:cloudformation:stack",
            "properties": properties,
            "dependencies": list(after),
            "environment": environment,
        }

    (tmp_path / "t.json").write_text("{}")
    manifest = {
        "artifacts": {
            "a": artifact("c", "assets"),
            "b": artifact("a"),
            "c": artifact(),
            "assets": {"type": "cdk:asset-manifest"},
        }
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    assert [stack.name for stack in Assembly.read(tmp_path).stacks] == ["c", "a", "b"]


def test_a_folder_without_an_assembly_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="no cloud assembly"):
        Assembly.read(tmp_path)
