"""A small cloud assembly for tests of the twin: own templates, own handlers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

ASSET = "asset.zip"
ROLE = "arn:aws:iam::123456789012:role/r"


def write_assembly(folder: Path, resources: Mapping[str, Any], code: Mapping[str, str], **stack: Any) -> Path:
    """A ``cdk.out`` with one stack of these resources; ``code`` are the modules of its one asset."""
    asset = folder / "asset"
    asset.mkdir(parents=True, exist_ok=True)
    for name, text in code.items():
        file = asset / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
    (folder / "Small.template.json").write_text(json.dumps({"Resources": resources, **stack}))
    destinations = {"here": {"bucketName": "assets", "objectKey": ASSET}}
    files = {"a": {"source": {"path": "asset", "packaging": "zip"}, "destinations": destinations}}
    (folder / "Small.assets.json").write_text(json.dumps({"files": files}))
    stack_artifact = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/unknown-region",
        "properties": {"templateFile": "Small.template.json"},
    }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": {"Small": stack_artifact}}))
    return folder


def function(handler: str, timeout_s: int = 10, **more: Any) -> dict[str, Any]:
    """A function whose handler is in the asset."""
    environment = more.pop("environment", {})
    properties = {
        "Code": {"S3Bucket": "assets", "S3Key": ASSET},
        "Handler": handler,
        "Role": ROLE,
        "Timeout": timeout_s,
        "Environment": {"Variables": environment},
    }
    return {"Type": "AWS::Lambda::Function", "Properties": {**properties, **more}}


def table(**more: Any) -> dict[str, Any]:
    """A table with ``pk`` and ``sk``."""
    properties = {
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        "BillingMode": "PAY_PER_REQUEST",
    }
    return {"Type": "AWS::DynamoDB::Table", "Properties": {**properties, **more}}


def attribute(name: str, of: str = "Arn") -> dict[str, Any]:
    """``Fn::GetAtt``."""
    return {"Fn::GetAtt": [name, of]}


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    """Any resource."""
    return {"Type": kind, "Properties": properties}
