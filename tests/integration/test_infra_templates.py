"""The synthesized templates: what nobody may change by accident, and what the scanners do not see."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.constructs.layers import install
from infra.parameters import Parameters
from infra.synth import ROOT, assembly, synthesize

Template = dict[str, Any]
STATEFUL = {
    "AWS::DynamoDB::Table",
    "AWS::Kinesis::Stream",
    "AWS::S3::Bucket",
    "AWS::Cognito::UserPool",
    "AWS::SQS::Queue",
}
# A changed logical id makes CloudFormation create a new, empty resource: these names are for ever.
LOGICAL_IDS = {
    "Profiles4FC22479": "AWS::DynamoDB::Table",
    "Control42E771B2": "AWS::DynamoDB::Table",
    "Delivery5F6C039D": "AWS::DynamoDB::Table",
    "Outbox27BBF20A": "AWS::DynamoDB::Table",
    "EventsD32975C2": "AWS::Kinesis::Stream",
    "AccessLogs8B620ECA": "AWS::S3::Bucket",
    "Files8E6940B8": "AWS::S3::Bucket",
    "Users0A0EEA89": "AWS::Cognito::UserPool",
}
ALLOWED_STAR = re.compile(r"^(logs|xray):")
ACKNOWLEDGED = 62


def load(folder: Path) -> dict[str, Template]:
    return {path.name.split(".")[0]: json.loads(path.read_text()) for path in folder.glob("*.template.json")}


@pytest.fixture(scope="module")
def dev() -> dict[str, Template]:
    return load(assembly("dev"))


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    folder = tmp_path_factory.mktemp("prod")
    synthesize(folder, {"stage": "prod", "checks": False, "aws:cdk:bundling-stacks": []})
    return load(folder)


def resources(templates: dict[str, Template], kind: str) -> dict[str, Template]:
    return {
        name: resource
        for template in templates.values()
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def test_two_syntheses_and_the_cli_context_give_the_same_bytes(tmp_path: Path) -> None:
    plain = assembly("dev")
    own = json.loads((ROOT / "cdk.json").read_text())["context"]
    # The CLI passes the context of cdk.json along with the command line's.
    synthesize(tmp_path, {**own, "stage": "dev", "checks": False, "aws:cdk:bundling-stacks": []})

    for template in plain.glob("*.template.json"):
        assert template.read_bytes() == (tmp_path / template.name).read_bytes()


def test_o1_unknown_or_wrong_parameters_are_refused_by_name() -> None:
    with pytest.raises(SystemExit, match=r"-c shards"):
        Parameters.from_context({"stage": "dev", "shards": 3})
    with pytest.raises(SystemExit, match=r"-c stage"):
        Parameters.from_context({"stage": "test"})


def test_r51_logical_ids_of_stateful_resources_are_pinned(dev: dict[str, Template]) -> None:
    data = dev["Hoso-dev-data"]["Resources"]
    found = {name: resource["Type"] for name, resource in data.items() if resource["Type"] in STATEFUL}

    assert found == LOGICAL_IDS


def test_r51_stateful_resources_are_retained_and_have_no_physical_name(prod: dict[str, Template]) -> None:
    for resource in prod["Hoso-data"]["Resources"].values():
        if resource["Type"] in STATEFUL:
            assert resource["DeletionPolicy"] == "Retain"
            assert resource["UpdateReplacePolicy"] == "Retain"
            assert not {"TableName", "Name", "BucketName", "UserPoolName"} & resource["Properties"].keys()


def test_s32_every_table_has_recovery_protection_encryption_and_ttl(dev: dict[str, Template]) -> None:
    tables = resources(dev, "AWS::DynamoDB::Table")

    assert len(tables) == 4
    for table in tables.values():
        properties = table["Properties"]
        assert properties["PointInTimeRecoverySpecification"] == {
            "PointInTimeRecoveryEnabled": True,
            "RecoveryPeriodInDays": 14,
        }
        assert properties["DeletionProtectionEnabled"] is True
        assert properties.get("SSESpecification", {"SSEEnabled": False}) == {"SSEEnabled": False}  # the key AWS owns
        assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
        assert properties["BillingMode"] == "PAY_PER_REQUEST"


def test_s34_buckets_are_closed_versioned_logged_and_tls_only(dev: dict[str, Template]) -> None:
    for name, bucket in resources(dev, "AWS::S3::Bucket").items():
        properties = bucket["Properties"]
        assert all(properties["PublicAccessBlockConfiguration"].values())
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
        assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        assert name.startswith("AccessLogs") or "LoggingConfiguration" in properties
        days = [
            rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
            for rule in properties["LifecycleConfiguration"]["Rules"]
        ]
        assert 7 in days
    policies = json.dumps(list(resources(dev, "AWS::S3::BucketPolicy").values()))
    assert policies.count("aws:SecureTransport") == 2
    assert policies.count("s3:TlsVersion") == 2


def test_stream_is_one_shard_in_dev_and_on_demand_in_prod(dev: dict[str, Template], prod: dict[str, Template]) -> None:
    (small,) = resources(dev, "AWS::Kinesis::Stream").values()
    (large,) = resources(prod, "AWS::Kinesis::Stream").values()

    assert small["Properties"]["ShardCount"] == 1
    assert small["Properties"]["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    assert large["Properties"]["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert small["Properties"]["StreamEncryption"]["EncryptionType"] == "KMS"


def test_r10_stream_mappings_lose_nothing_and_keep_order(dev: dict[str, Template]) -> None:
    mappings = [
        mapping["Properties"]
        for mapping in resources(dev, "AWS::Lambda::EventSourceMapping").values()
        if "StartingPosition" in mapping["Properties"]
    ]

    assert len(mappings) == 3
    for mapping in mappings:
        assert mapping["StartingPosition"] == "TRIM_HORIZON"
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert 1 <= mapping["MaximumRetryAttempts"] <= 100
        assert mapping.get("MaximumRecordAgeInSeconds", 0) < 48 * 3600
        # S3 keeps the payload; queues and topics would only get the position.
        assert "Files" in json.dumps(mapping["DestinationConfig"]["OnFailure"])


def test_r39_rules_schedules_and_async_functions_have_bounds_and_dead_letters(dev: dict[str, Template]) -> None:
    for rule in resources(dev, "AWS::Events::Rule").values():
        for target in rule["Properties"]["Targets"]:
            assert target["DeadLetterConfig"]["Arn"]
            assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 24 * 3600
    for schedule in resources(dev, "AWS::Scheduler::Schedule").values():
        assert schedule["Properties"]["Target"]["DeadLetterConfig"]["Arn"]
        assert schedule["Properties"]["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 10
    for function in resources(dev, "AWS::Lambda::Function").values():
        assert function["Properties"]["DeadLetterConfig"]["TargetArn"]
    assert len(resources(dev, "AWS::Lambda::EventInvokeConfig")) == 2


def test_r54_no_function_reserves_concurrency(prod: dict[str, Template]) -> None:
    for function in resources(prod, "AWS::Lambda::Function").values():
        assert "ReservedConcurrentExecutions" not in function["Properties"]


def test_s30_one_role_per_function_with_explicit_actions(dev: dict[str, Template]) -> None:
    functions = resources(dev, "AWS::Lambda::Function")
    roles = [json.dumps(function["Properties"]["Role"]) for function in functions.values()]

    assert len(set(roles)) == len(functions)
    for policy in resources(dev, "AWS::IAM::ManagedPolicy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not [action for action in actions if "*" in action]
            if statement["Resource"] == "*":
                assert all(ALLOWED_STAR.match(action) for action in actions)
    assert resources(dev, "AWS::IAM::Policy") == {}


def test_s36_environments_hold_no_secret_and_no_unknown_setting(dev: dict[str, Template]) -> None:
    from hoso.platform.settings import Settings

    known = {f"HOSO_{name.upper()}" for name in Settings.model_fields} | {
        "POWERTOOLS_SERVICE_NAME",
        "POWERTOOLS_LOG_LEVEL",
    }
    for function in resources(dev, "AWS::Lambda::Function").values():
        names = function["Properties"]["Environment"]["Variables"].keys()
        assert names <= known
        assert not {"HOSO_CLOCK_FILE", "HOSO_OUTBOUND_HTTP"} & names


def test_s37_invoke_permissions_name_their_source(dev: dict[str, Template]) -> None:
    for permission in resources(dev, "AWS::Lambda::Permission").values():
        assert permission["Properties"]["SourceArn"]


def test_functions_run_python_3_14_on_arm64_with_handlers_that_exist(dev: dict[str, Template]) -> None:
    for function in resources(dev, "AWS::Lambda::Function").values():
        properties = function["Properties"]
        assert properties["Runtime"] == "python3.14"
        assert properties["Architectures"] == ["arm64"]
        module, _, name = properties["Handler"].rpartition(".")
        source = ROOT / "functions" / (module.replace(".", "/") + ".py")
        assert re.search(rf"^(def {name}\(|{name}\b.* = )", source.read_text(), re.MULTILINE), properties["Handler"]


def test_admin_routes_all_demand_a_token(dev: dict[str, Template]) -> None:
    routes = resources(dev, "AWS::ApiGatewayV2::Route")
    open_routes = [
        r["Properties"]["RouteKey"] for r in routes.values() if r["Properties"].get("AuthorizationType") != "JWT"
    ]

    assert open_routes == ["$default"]
    assert len(routes) > 20


def test_s5_admin_cors_names_one_origin(dev: dict[str, Template]) -> None:
    origins = sorted(
        a["Properties"]["CorsConfiguration"]["AllowOrigins"] for a in resources(dev, "AWS::ApiGatewayV2::Api").values()
    )

    assert origins == [["*"], ["http://localhost:8787"]]


def test_o4_every_alarm_names_a_section_of_the_runbook(dev: dict[str, Template]) -> None:
    alarms = resources(dev, "AWS::CloudWatch::Alarm")
    sections = set(re.findall(r"^## (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE))

    assert 5 <= len(alarms) <= 10
    for alarm in alarms.values():
        assert alarm["Properties"]["AlarmDescription"].partition("#")[2] in sections
        assert alarm["Properties"]["AlarmActions"]


def test_o3_production_stacks_are_protected_from_deletion(tmp_path: Path) -> None:
    synthesize(tmp_path, {"stage": "prod", "checks": False, "aws:cdk:bundling-stacks": []})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    stacks = [a for a in manifest["artifacts"].values() if a["type"] == "aws:cloudformation:stack"]

    assert len(stacks) == 6
    assert all(stack["properties"]["terminationProtection"] for stack in stacks)


def test_acknowledged_findings_are_counted() -> None:
    script = (
        "import aws_cdk, infra.acknowledgements as a; n = []; real = a.findings\n"
        "a.findings = lambda *x: [n.append(f) or f for f in real(*x)]\n"
        "from pathlib import Path; from infra.application import build\n"
        "import tempfile; build(Path('.'), tempfile.mkdtemp()); print(len(n), len({(c.node.path, i) for c, i, _ in n}))"
    )
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps({"aws:cdk:bundling-stacks": []}),
        "PYTHONPATH": f"{ROOT}:{ROOT}/functions",
    }
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert said.stdout.split() == [str(ACKNOWLEDGED)] * 2


def test_layers_are_arm64_only_and_fit_the_limit_with_the_code() -> None:
    folders = [install("core"), install("analytics")]
    size = sum(
        file.stat().st_size for folder in [*folders, ROOT / "functions"] for file in folder.rglob("*") if file.is_file()
    )

    assert size < 250_000_000
    for folder in folders:
        libraries = [file.name for file in folder.rglob("*.so") if "cpython-" in file.name]
        assert libraries
        assert all("cpython-314-aarch64" in name for name in libraries)
