"""The deploy proof: the real CDK CLI bootstraps, deploys, deploys again and destroys on a moto server.

Green says: assets are published, stacks come in the right order, every reference, output and import of the templates
is resolved, a second deployment changes nothing, and a destroy leaves what holds state.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.synth import assembly

ROOT = Path(__file__).resolve().parents[2]
CDK = ROOT / "node_modules" / ".bin" / "cdk"
ENVIRONMENT = "aws://123456789012/eu-west-1"
STACKS = ("data", "collect", "unify", "segment", "activate", "operations")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@dataclass(frozen=True, slots=True)
class Account:
    """A moto server as an AWS account, and the CLI on an assembly."""

    url: str
    assembly: Path
    workdir: Path

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.url, region_name="eu-west-1", **KEYS)

    def cdk(self, *arguments: str) -> str:
        """What the CLI prints; its failure is the test's."""
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-west-1",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
        done = subprocess.run(
            [str(CDK), *arguments, "--no-notices"],
            cwd=self.workdir,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-4000:]
        return said

    def deploy(self) -> str:
        return self.cdk(
            *("deploy", "--all", "--app", str(self.assembly), "--method", "direct"),
            *("--require-approval", "never", "--concurrency", "1"),
        )


KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    if not CDK.exists():
        pytest.skip("the CDK CLI is not installed: make setup")
    folder = tmp_path_factory.mktemp("deploy")
    # A copy, since the CLI writes into the assembly; its working folder is empty, or it would synthesize first.
    shutil.copytree(assembly("dev"), folder / "assembly")
    (folder / "empty").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-c", f"from tests.deploy_server import serve; serve({port})"],
        cwd=ROOT,
        stdout=log,
        stderr=log,
    )
    try:
        _wait_for(port, server)
        # "localhost" as text: with an address the CLI's bucket names become host names that nothing answers to.
        yield Account(f"http://localhost:{port}", folder / "assembly", folder / "empty")
    finally:
        server.terminate()
        server.wait(10)
        log.close()


@pytest.fixture(scope="module")
def deployed(account: Account) -> Account:
    account.cdk("bootstrap", ENVIRONMENT)
    account.deploy()
    return account


def test_o2_two_syntheses_by_the_cli_and_by_plain_python_are_byte_equal(tmp_path: Path) -> None:
    if not CDK.exists():
        pytest.skip("the CDK CLI is not installed: make setup")
    command = ["synth", "--quiet", "--no-notices", "--output", str(tmp_path / "cli"), "-c", "stage=dev"]
    subprocess.run(
        # The app of cdk.json names the virtual environment's python; this one may be another.
        [str(CDK), *command, "-c", "checks=false", "--app", f"{sys.executable} app.py"],
        cwd=ROOT,
        env={**os.environ, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    plain = assembly("dev")
    templates = sorted(path.name for path in plain.glob("*.template.json"))
    assert len(templates) == len(STACKS)
    for name in templates:
        assert (tmp_path / "cli" / name).read_bytes() == (plain / name).read_bytes(), name


def test_deploy_makes_every_stack(deployed: Account) -> None:
    stacks = deployed.client("cloudformation").describe_stacks()["Stacks"]
    made = {stack["StackName"]: stack["StackStatus"] for stack in stacks}
    assert {f"Hoso-dev-{name}": "CREATE_COMPLETE" for name in STACKS}.items() <= made.items()


def test_deploy_gives_functions_the_names_of_what_was_made(deployed: Account) -> None:
    functions = deployed.client("lambda").list_functions()["Functions"]
    tables = set(deployed.client("dynamodb").list_tables()["TableNames"])
    streams = set(deployed.client("kinesis").list_streams()["StreamNames"])
    machines = deployed.client("stepfunctions").list_state_machines()["stateMachines"]
    templates = [json.loads(file.read_text()) for file in deployed.assembly.glob("*.template.json")]
    planned = [r for held in templates for r in held["Resources"].values() if r["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == len(planned)
    for function in functions:
        environment = function["Environment"]["Variables"]
        assert {value for name, value in environment.items() if name.endswith("_TABLE")} <= tables
        assert environment.get("HOSO_STREAM") in {None, *streams}
        assert environment.get("HOSO_MACHINE") in {None, *(one["stateMachineArn"] for one in machines)}


def test_deploy_publishes_the_code_of_the_handlers(deployed: Account) -> None:
    """Every handler's file is in the published zip, and no layer, cache or lock is."""
    import io
    import zipfile

    cloud = deployed.client("s3")
    (bucket,) = [b["Name"] for b in cloud.list_buckets()["Buckets"] if b["Name"].startswith("cdk-")]
    codes = {
        entry["destinations"][target]["objectKey"]
        for manifest in deployed.assembly.glob("*.assets.json")
        for entry in json.loads(manifest.read_text())["files"].values()
        for target in entry["destinations"]
        if entry["source"]["packaging"] == "zip" and "hoso" in _names(deployed.assembly / entry["source"]["path"])
    }
    (key,) = codes
    names = zipfile.ZipFile(io.BytesIO(cloud.get_object(Bucket=bucket, Key=key)["Body"].read())).namelist()
    assert "hoso/model/record.py" in names
    assert not [name for name in names if name.startswith("layers") or "__pycache__" in name]


def test_deploy_again_changes_nothing_o2(deployed: Account) -> None:
    said = deployed.deploy()
    unchanged = [line for line in said.splitlines() if "(no changes)" in line]
    assert len(unchanged) == len(STACKS), said[-4000:]


def test_resolved_machine_definition_is_valid(deployed: Account, tmp_path: Path) -> None:
    """cfn-lint sees the definition only once the references in its text are resolved (E3601)."""
    states = deployed.client("stepfunctions")
    machine = _nightly(states)
    described = states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])
    assert _lint(json.loads(described["definition"]), tmp_path) == []


def test_lint_of_the_machine_sees_a_wrong_definition(deployed: Account, tmp_path: Path) -> None:
    states = deployed.client("stepfunctions")
    machine = _nightly(states)
    definition = json.loads(states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])["definition"])
    definition["States"]["Compact"]["Next"] = {"not": "a state"}
    assert _lint(definition, tmp_path)


def test_destroy_leaves_what_holds_state_o13(deployed: Account) -> None:
    """Last of the module: it takes the stacks away."""
    dynamodb, files = deployed.client("dynamodb"), deployed.client("s3")
    tables = dynamodb.list_tables()["TableNames"]
    buckets = [bucket["Name"] for bucket in files.list_buckets()["Buckets"] if "-data-" in bucket["Name"]]
    streams = deployed.client("kinesis").list_streams()["StreamNames"]
    mark = {"pk": {"S": "main#mark"}, "sk": {"S": "H"}}
    for table in tables:
        dynamodb.put_item(TableName=table, Item=mark)
    for bucket in buckets:
        files.put_object(Bucket=bucket, Key="archive/mark", Body=b"kept")

    deployed.cdk("destroy", "--all", "--force", "--app", str(deployed.assembly))

    stacks = deployed.client("cloudformation").describe_stacks()["Stacks"]
    assert [stack["StackName"] for stack in stacks] == ["CDKToolkit"]
    assert (len(tables), len(buckets), len(streams)) == (5, 2, 1)
    for table in tables:
        assert dynamodb.get_item(TableName=table, Key=mark)["Item"] == mark
    for bucket in buckets:
        assert files.get_object(Bucket=bucket, Key="archive/mark")["Body"].read() == b"kept"
    assert deployed.client("kinesis").list_streams()["StreamNames"] == streams


def _nightly(states: Any) -> dict[str, Any]:
    """The nightly machine among those that were made."""
    (machine,) = [one for one in states.list_state_machines()["stateMachines"] if "Nightly" in one["name"]]
    return machine


def _lint(definition: dict[str, Any], folder: Path) -> list[str]:
    file = folder / "machine.json"
    resource = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"RoleArn": "arn:aws:iam::123456789012:role/x", "DefinitionString": json.dumps(definition)},
    }
    file.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Machine": resource}}))
    linter = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([str(linter), str(file)], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _wait_for(port: int, server: subprocess.Popen[bytes], patience_s: float = 60) -> None:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        assert server.poll() is None, "the moto server did not start"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the moto server does not answer")
