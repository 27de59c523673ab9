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

from infra.constructs import loop
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
    "ShadowD9F9F544": "AWS::DynamoDB::Table",
    "EventsD32975C2": "AWS::Kinesis::Stream",
    "AccessLogs8B620ECA": "AWS::S3::Bucket",
    "Files8E6940B8": "AWS::S3::Bucket",
    "Users0A0EEA89": "AWS::Cognito::UserPool",
    "BusFailedC74E5D2E": "AWS::SQS::Queue",
}
SPACES = ("collections/{collection}/profiles/{id}/{part}", "host/{store}/greeting")
"""Routes of the admin API without its authorizer: their function checks an access token itself."""
ACKNOWLEDGED = 158
ALLOWED_STAR = re.compile(r"^(logs|xray):")


def load(folder: Path) -> dict[str, Template]:
    return {path.name.split(".")[0]: json.loads(path.read_text()) for path in folder.glob("*.template.json")}


@pytest.fixture(scope="module")
def dev() -> dict[str, Template]:
    return load(assembly("dev"))


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assembly of production, with an own domain."""
    folder = tmp_path_factory.mktemp("prod")
    domain = {
        "ingest_domain": "t.example.com",
        "ingest_certificate_arn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
    }
    synthesize(folder, {"stage": "prod", "checks": False, "aws:cdk:bundling-stacks": [], **domain})
    return folder


@pytest.fixture(scope="module")
def prod(production: Path) -> dict[str, Template]:
    return load(production)


def resources(templates: dict[str, Template], kind: str) -> dict[str, Template]:
    return {
        name: resource
        for template in templates.values()
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


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

    assert len(tables) == list(LOGICAL_IDS.values()).count("AWS::DynamoDB::Table")
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
        # Less than the 48 hours of the stream, the 24 of a table's: what they drop by themselves leaves no trace.
        kept_h = 24 if "Outbox" in json.dumps(mapping["EventSourceArn"]) else 48
        assert 0 < mapping["MaximumRecordAgeInSeconds"] < kept_h * 3600
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
    assert len(resources(dev, "AWS::Lambda::EventInvokeConfig")) == 5


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


def test_o10_production_sends_new_versions_a_tenth_of_the_work_first(
    dev: dict[str, Template], prod: dict[str, Template]
) -> None:
    groups = resources(prod, "AWS::CodeDeploy::DeploymentGroup")
    aliases = resources(prod, "AWS::Lambda::Alias")
    mapping = next(m for n, m in resources(prod, "AWS::Lambda::EventSourceMapping").items() if n.startswith("Consume"))

    assert len(groups) == len(aliases) == 2
    for group in groups.values():
        assert group["Properties"]["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        assert group["Properties"]["AlarmConfiguration"]["Enabled"] is True
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["Properties"]["AutoRollbackConfiguration"]["Events"]
    assert "ConsumeFunctionCanaryLive" in json.dumps(mapping["Properties"]["FunctionName"])
    assert resources(dev, "AWS::Lambda::Alias") == {}


def test_s39_own_domain_switches_the_default_address_off(dev: dict[str, Template], prod: dict[str, Template]) -> None:
    (domain,) = resources(prod, "AWS::ApiGatewayV2::DomainName").values()
    (ingest,) = (a for n, a in resources(prod, "AWS::ApiGatewayV2::Api").items() if n.startswith("Ingest"))

    assert domain["Properties"]["DomainNameConfigurations"][0]["SecurityPolicy"] == "TLS_1_2"
    assert ingest["Properties"]["DisableExecuteApiEndpoint"] is True
    for stage in resources(dev, "AWS::ApiGatewayV2::Stage").values():
        settings = stage["Properties"]["AccessLogSettings"]["Format"]
        assert "identity" not in settings
        assert "authorizer" not in settings
        assert stage["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0
        # Metrics per route would cost more than all else that stands still.
        assert "DetailedMetricsEnabled" not in stage["Properties"]["DefaultRouteSettings"]


def test_s35_no_key_stands_in_the_way_of_alarms_and_rules(dev: dict[str, Template]) -> None:
    """alias/aws/sns stops alarms; the key AWS manages for SQS stops rules that write to the queue."""
    (topic,) = resources(dev, "AWS::SNS::Topic").values()
    policy = json.dumps(list(resources(dev, "AWS::SNS::TopicPolicy").values()))

    assert "KmsMasterKeyId" not in topic["Properties"]
    assert "cloudwatch.amazonaws.com" in policy
    for queue in resources(dev, "AWS::SQS::Queue").values():
        assert "KmsMasterKeyId" not in queue["Properties"]
        assert queue["Properties"]["SqsManagedSseEnabled"] is True


def test_r30_nightly_map_is_distributed_and_every_task_retries_and_catches(dev: dict[str, Template]) -> None:
    from infra.constructs.nightly import LONGEST_BATCH_S, STEPS, definition

    machine = definition({step: step for step in STEPS})
    tasks = [state for state in machine["States"].values() if state["Type"] == "Task"]
    for name in ("Link", "Store", "Apply"):
        mapped = machine["States"][name]
        tasks.append(mapped["ItemProcessor"]["States"][f"{name}Batch"])
        assert mapped["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
        assert mapped["ToleratedFailurePercentage"] == 0.1
        assert mapped["Catch"]

    assert len(tasks) == len(STEPS)
    for task in tasks:
        assert task["Retry"][0]["JitterStrategy"] == "FULL"
        assert task["Catch"][0]["Next"] == "Failed"
    (worker,) = (f for n, f in resources(dev, "AWS::Lambda::Function").items() if n.startswith("NightlyApply"))
    assert worker["Properties"]["Timeout"] == LONGEST_BATCH_S < 300


def test_machine_is_made_after_its_role_may_deliver_logs(dev: dict[str, Template]) -> None:
    machines = resources(dev, "AWS::StepFunctions::StateMachine").values()
    policies = resources(dev, "AWS::IAM::ManagedPolicy")
    may_deliver = {name for name, policy in policies.items() if "logs:CreateLogDelivery" in json.dumps(policy)}

    assert len(machines) == 3
    for machine in machines:
        assert may_deliver & set(machine["DependsOn"])


def test_large_files_go_through_a_distributed_map_with_retries_and_a_limit_of_failures(
    dev: dict[str, Template],
) -> None:
    from infra.constructs.imports import STEPS, definition

    states = definition({step: step for step in STEPS}, "bucket")["States"]
    child = states["Pieces"]["ItemProcessor"]["States"]["DoPieces"]

    assert states["Pieces"]["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert 0 < states["Pieces"]["ToleratedFailurePercentage"] <= 5
    assert states["Pieces"]["Catch"]
    for task in (states["Plan"], states["Finish"], child):
        assert task["Retry"][0]["MaxAttempts"] == 4
        assert task["Catch"][0]["Next"] == "Failed"
    (worker,) = (f for n, f in resources(dev, "AWS::Lambda::Function").items() if n.startswith("ImportPieces"))
    assert worker["Properties"]["Timeout"] < 300


def test_o6_functions_log_json_with_retention(dev: dict[str, Template]) -> None:
    for function in resources(dev, "AWS::Lambda::Function").values():
        assert function["Properties"]["LoggingConfig"]["LogFormat"] == "JSON"
        assert function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
    for group in resources(dev, "AWS::Logs::LogGroup").values():
        assert group["Properties"]["RetentionInDays"] == 30


def test_o8_everything_that_takes_tags_is_tagged_and_there_is_a_budget(dev: dict[str, Template]) -> None:
    wanted = [{"Key": "application", "Value": "hoso"}, {"Key": "stage", "Value": "dev"}]
    (budget,) = resources(dev, "AWS::Budgets::Budget").values()

    for kind in ("AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::S3::Bucket", "AWS::Kinesis::Stream"):
        for resource in resources(dev, kind).values():
            assert [tag for tag in resource["Properties"]["Tags"] if tag in wanted] == wanted
    assert len(budget["Properties"]["NotificationsWithSubscribers"]) == 2


def test_o12_cost_page_states_what_the_templates_cost(dev: dict[str, Template], prod: dict[str, Template]) -> None:
    prices = json.loads((ROOT / "tests/benchmarks/unit-prices.json").read_text())["prices"]
    page = (ROOT / "docs/cost.md").read_text()

    assert f"**{prices['kinesis_shard_hour']['usd'] * 730:.2f}**" in page
    assert f"**{prices['kinesis_od_stream_hour']['usd'] * 730:.2f}**" in page
    for templates in (dev, prod):
        alarms = [alarm["Properties"] for alarm in resources(templates, "AWS::CloudWatch::Alarm").values()]
        metrics = sum(len([m for m in alarm.get("Metrics", [1]) if m == 1 or "MetricStat" in m]) for alarm in alarms)
        assert f"{len(alarms)} alarms, {metrics} metrics: {metrics / 10:.2f}" in page
    assert "Quotas to raise" in page


def test_a_machine_whose_step_fails_for_good_says_so_to_its_function() -> None:
    states = loop.definition("step", "x")["States"]

    (caught,) = states["Step"]["Catch"]
    note = states[caught["Next"]]
    assert caught["ErrorEquals"] == ["States.ALL"]
    assert note["Parameters"]["Payload"]["error.$"] == f"{caught['ResultPath']}.Error"
    assert {note["Next"], *(one["Next"] for one in note["Catch"])} == {"Failed"}


def test_admin_routes_all_demand_a_token(dev: dict[str, Template]) -> None:
    routes = resources(dev, "AWS::ApiGatewayV2::Route")
    open_routes = [
        r["Properties"]["RouteKey"] for r in routes.values() if r["Properties"].get("AuthorizationType") != "JWT"
    ]

    hooks = [f"{method} /v1/hooks/{{token}}" for method in ("GET", "HEAD", "POST")]
    spaces = [f"GET /v1/spaces/{{space}}/{rest}" for rest in SPACES]
    assert sorted(open_routes) == sorted(["$default", *hooks, *spaces])
    assert len(routes) > 20


def test_s5_admin_cors_names_one_origin(dev: dict[str, Template]) -> None:
    origins = sorted(
        a["Properties"]["CorsConfiguration"]["AllowOrigins"] for a in resources(dev, "AWS::ApiGatewayV2::Api").values()
    )

    assert origins == [["*"], ["http://localhost:8787"]]


def test_o4_every_alarm_names_a_section_of_the_runbook(dev: dict[str, Template], prod: dict[str, Template]) -> None:
    kind = "AWS::CloudWatch::Alarm"
    alarms = resources(dev, kind)
    sections = set(re.findall(r"^## (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE))

    assert 5 <= len(alarms) <= 10
    every = [*alarms.values(), *resources(prod, kind).values()]
    assert {alarm["Properties"]["AlarmDescription"].partition("#")[2] for alarm in every} == sections
    for alarm in every:
        # The one of a canary tells CodeDeploy.
        assert "AlarmActions" in alarm["Properties"] or "#canary" in alarm["Properties"]["AlarmDescription"]
        # CloudWatch takes ten metrics in the expression of an alarm.
        assert len([m for m in alarm["Properties"].get("Metrics", []) if "MetricStat" in m]) <= 10


def test_o3_production_stacks_are_protected_from_deletion(production: Path) -> None:
    manifest = json.loads((production / "manifest.json").read_text())
    stacks = [a for a in manifest["artifacts"].values() if a["type"] == "aws:cloudformation:stack"]

    assert len(stacks) == 6
    assert all(stack["properties"]["terminationProtection"] for stack in stacks)


def test_s31_acknowledgements_are_exactly_the_findings_and_counted(tmp_path: Path) -> None:
    """Without them both packs find just these: none is stale, none covers more than its finding."""
    script = (
        "import json, sys; from pathlib import Path; import infra.acknowledgements as a\n"
        "given = []; real = a.findings\n"
        "a.findings = lambda parts: given.extend([c.node.path, i, why] for c, i, why in real(parts)) or []\n"
        "from infra.application import build\n"
        "out = Path(sys.argv[1])\n"
        "try: build(Path('.'), str(out)).synth()\n"
        "except RuntimeError: pass\n"
        "(out / 'given.json').write_text(json.dumps(given))"
    )
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps({"aws:cdk:bundling-stacks": []}),
        "PYTHONPATH": f"{ROOT}:{ROOT}/functions",
    }
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

    given = json.loads((tmp_path / "given.json").read_text())
    report = json.loads((tmp_path / "validation-report.json").read_text())
    found = {
        (construct["constructPath"].removesuffix("/Resource"), violation["ruleName"])
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    }
    assert {(path, finding) for path, finding, _ in given} == found
    assert len(given) == ACKNOWLEDGED
    assert all(len(reason) > 40 for _, _, reason in given)


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
