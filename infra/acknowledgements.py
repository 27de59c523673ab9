"""Every finding of cdk-nag that stays, by its exact id on its exact construct, with its reason. A test counts them.

The two packs run as validation plugins: a synthesis with an open finding fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks, ServerlessChecks
from constructs import IConstruct

from infra.constructs.channel import QueueConsumer
from infra.constructs.machine import MapMachine
from infra.stacks.capabilities import Capabilities
from infra.stacks.capability import CapabilityStack

Finding = tuple[IConstruct, str, str]

ANY_RESOURCE = "AwsSolutions-IAM5[Resource::*]"
XRAY = "X-Ray's PutTraceSegments and PutTelemetryRecords know no resources."
MACHINE = "Log delivery and X-Ray know no resources; the other actions of this policy name theirs."
PREFIX = "Object names are made at run time; the statement names the bucket and the one prefix that this job works on."
EXECUTIONS = "Executions are named by workspace and date at run time; the statement names the one machine."
NO_AUTHORIZER = (
    "SDKs carry the write key in body, query or header; the function checks it on every route (security S1)."
)
CHECKED_INSIDE = "Segment's clients carry an access token as user name of Basic authentication; the function checks it."
PLUS_TIER = "Threat protection of Cognito is a paid plan; sign-in needs a second factor and nobody signs up alone."
LAST_QUEUE = "This is the queue of last resort; the runbook says how its messages are redriven."
NO_HOOK_AUTHORIZER = (
    "Senders of webhooks sign what they send, or prove themselves by an address nobody guesses; the function checks it."
)
BUS_QUEUE = "This is the dead-letter queue of the bus, which the rule does not look for."
QUEUE_REDRIVE = "What fails stays in the queue and goes to its dead letters by the queue's own redrive policy."

# Which prefixes of the bucket a function works on; the statements are in the stacks.
IMPORTS = ("quarantine/", "importing/", "imports/")
WORK = ("archive/", "archive-compact/", "nightly/")
PREFIXES: dict[str, Sequence[str]] = {
    "CollectFunction": ("quarantine/",),
    "HookFunction": ("quarantine/",),
    "LookupFunction": ("quarantine/",),
    "PullFunction": ("imports/",),
    "ArchiveFunction": ("archive/", "catalogue/", "quarantine/", "aws/lambda/"),
    "CollectAdminFunction": ("quarantine/",),
    "SeenFunction": ("catalogue/", "catalogue-days/", "quarantine/"),
    "ConsumeFunction": ("quarantine/", "aws/lambda/"),
    "ReplayFunction": (*WORK, "quarantine/"),
    "ReplayAdminFunction": WORK,
    "PastFunction": WORK,
    "CopiesFunction": (*WORK, "quarantine/"),
    "CopiesNightlyFunction": (*WORK, "quarantine/"),
    "FailedBatchesFunction": ("archive/", "catalogue/", "quarantine/", "aws/lambda/"),
    "ImportPlanFunction": IMPORTS,
    "ImportPiecesFunction": ("quarantine/", "importing/"),
    "ImportFinishFunction": IMPORTS,
    "ImportDroppedFunction": IMPORTS,
    "ImportAdminFunction": ("quarantine/", "importing/"),
    "OutboxFunction": ("aws/lambda/",),
    "SqlFunction": WORK,
    "SegmentAdminFunction": WORK,
    "NightlyCompactFunction": (*WORK, "catalogue/", "catalogue-days/"),
    "NightlyCandidatesFunction": ("nightly/", "matching/"),
    "NightlyWeightsFunction": ("nightly/", "matching/"),
    "NightlyDecisionsFunction": ("nightly/", "matching/"),
    "NightlyLinkFunction": ("nightly/",),
    "NightlySnapshotFunction": ("nightly/",),
    "NightlyTraitsFunction": WORK,
    "NightlyStoreFunction": ("nightly/",),
    "NightlyEvaluateFunction": WORK,
    "NightlyApplyFunction": ("nightly/",),
    "NightlyReportFunction": ("nightly/", "matching/"),
}


def check(app: cdk.App, parts: Capabilities) -> int:
    """Let both packs check the app, less the acknowledged findings. Answers how many those are."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    count = 0
    for construct, finding, reason in findings(parts):
        cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=finding, reason=reason))
        count += 1
    return count


def findings(parts: Capabilities) -> Iterator[Finding]:
    """The acknowledged findings."""
    files = parts.data.stack_name + ":ExportsOutputFnGetAttFiles8E6940B8ArnD8EE6C03"
    yield parts.data.users, "AwsSolutions-COG8", PLUS_TIER
    yield parts.data.bus_failed, "AwsSolutions-SQS3", BUS_QUEUE
    yield parts.data.bus_failed, "Serverless-SQSRedrivePolicy", LAST_QUEUE
    yield parts.collect.route, "AwsSolutions-APIG4", NO_AUTHORIZER
    for route in parts.collect.hook_routes:
        yield route, "AwsSolutions-APIG4", NO_HOOK_AUTHORIZER
    yield parts.unify.replays.policy, ANY_RESOURCE, MACHINE
    yield from _machine(parts.segment, parts.segment.nightly, f"{files}/nightly/*")
    yield from _machine(parts.collect, parts.collect.imports, f"{files}/importing/*")
    admin = parts.segment.functions["SegmentAdminFunction"].policy
    yield admin, f"AwsSolutions-IAM5[Resource::{_executions(parts.segment, parts.segment.nightly)}]", EXECUTIONS
    for _, capability in parts.named():
        for route in capability.opened:
            yield route, "AwsSolutions-APIG4", CHECKED_INSIDE
        yield capability.failed, "Serverless-SQSRedrivePolicy", LAST_QUEUE
        for name, function in capability.functions.items():
            if capability.parameters.tracing:
                yield function.policy, ANY_RESOURCE, XRAY
            for prefix in PREFIXES.get(name, ()):
                yield function.policy, f"AwsSolutions-IAM5[Resource::{files}/{prefix}*]", PREFIX
        for child in capability.node.children:
            if isinstance(child, QueueConsumer):
                yield child.failed, "Serverless-SQSRedrivePolicy", LAST_QUEUE
                yield child.mapping, "Serverless-LambdaEventSourceMappingDestination", QUEUE_REDRIVE


def _machine(capability: CapabilityStack, machine: MapMachine, items: str) -> Iterator[Finding]:
    yield machine.policy, ANY_RESOURCE, MACHINE
    yield machine.policy, f"AwsSolutions-IAM5[Resource::{items}]", PREFIX
    yield machine.children_policy, f"AwsSolutions-IAM5[Resource::{_executions(capability, machine)}]", EXECUTIONS


def _executions(capability: CapabilityStack, machine: MapMachine) -> str:
    name = capability.get_logical_id(machine.machine.node.default_child)  # type: ignore[arg-type]
    return f"arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<{name}.Name>:*"
