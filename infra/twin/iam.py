"""IAM replay: would AWS have allowed each recorded call to the role that the template gives the function?

``needed`` says which permissions a call needs, ``permissions`` reads what the synthesized templates grant, ``replay``
compares. Deny wins, ``*`` and ``?`` match; conditions, boundaries and resource policies are not imitated (a statement
with a condition counts as if it held).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from functools import lru_cache
from typing import Any, cast

from infra.twin.calls import Call
from infra.twin.moto_fixes.dynamodb import account

Resolver = Callable[[Any], Any]
"""Turns a template value (``Ref``, ``Fn::GetAtt``, ``Fn::ImportValue``, ``Fn::Join`` …) into what it stands for."""


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """A permission that a function's call needed. ``function`` is the logical name, empty for the twin itself."""

    function: str
    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Denied:
    """A call that AWS would have refused, and why."""

    need: Need
    reason: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy, resolved."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    negated: tuple[bool, bool] = (False, False)
    """Whether the lists are ``NotAction`` and ``NotResource``."""

    def covers(self, action: str, resource: str) -> bool:
        """Whether the statement speaks of this action on this resource."""
        acts = any(_pattern(entry.lower()).match(action.lower()) for entry in self.actions)
        stands = any(_pattern(entry).match(resource) for entry in self.resources)
        return acts is not self.negated[0] and stands is not self.negated[1]


Policies = Mapping[str, Sequence[Statement]]
"""The statements of each function's role, by the function's logical name."""


def replay(needs: Iterable[Need], policies: Policies) -> list[Denied]:
    """The needs that the policies do not allow. The twin's own calls (no function) are left out."""
    denied: list[Denied] = []
    for need in needs:
        if not need.function:
            continue
        if need.function not in policies:
            denied.append(Denied(need, "no role of this function in the templates"))
            continue
        matching = [s for s in policies[need.function] if s.covers(need.action, need.resource)]
        if any(statement.effect == "Deny" for statement in matching):
            denied.append(Denied(need, "denied by a statement"))
        elif not matching:
            denied.append(Denied(need, "allowed by no statement"))
    return denied


def permissions(template: Mapping[str, Any], resolve: Resolver) -> dict[str, list[Statement]]:
    """What the roles of a template's functions are allowed, by the functions' logical ids.

    Read are inline policies of the role, policies and managed policies of the template that name the role or that the
    role names. A managed policy of AWS is outside the template and allows nothing here.
    """
    resources: Mapping[str, Any] = template.get("Resources", {})
    granted: dict[str, list[Statement]] = {}
    for logical_id, function in resources.items():
        if function["Type"] == "AWS::Lambda::Function":
            role_id = _logical_id(function["Properties"]["Role"])
            granted[logical_id] = _of_role(role_id, resources, resolve) if role_id in resources else []
    return granted


def _of_role(role_id: str, resources: Mapping[str, Any], resolve: Resolver) -> list[Statement]:
    role = resources[role_id].get("Properties", {})
    documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
    attached = {_logical_id(value) for value in role.get("ManagedPolicyArns", [])}
    for logical_id, resource in resources.items():
        if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            roles = {_logical_id(value) for value in resource["Properties"].get("Roles", [])}
            if role_id in roles or logical_id in attached:
                documents.append(resource["Properties"]["PolicyDocument"])
    return [_statement(entry, resolve) for document in documents for entry in _listed(document["Statement"])]


def _statement(entry: Mapping[str, Any], resolve: Resolver) -> Statement:
    acts, stands = ("NotAction" in entry, "NotResource" in entry)
    actions = _listed(resolve(entry["NotAction" if acts else "Action"]))
    resources = _listed(resolve(entry["NotResource" if stands else "Resource"]))
    return Statement(entry["Effect"], tuple(map(str, actions)), tuple(map(str, resources)), (acts, stands))


def _logical_id(value: Any) -> str:
    """The resource that a ``Ref`` or ``Fn::GetAtt`` names; empty for anything else."""
    if not isinstance(value, dict):
        return ""
    reference = cast("dict[str, Any]", value)
    target: Any = reference.get("Ref") or reference.get("Fn::GetAtt") or ""
    return str(_listed(target)[0]).partition(".")[0]


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


@lru_cache(maxsize=10_000)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", ".") + r"\Z", re.DOTALL)


# ── what a call needs ────────────────────────────────────────────────────────────────────────────────────────────────

_ITEM_ACTIONS = {
    "Put": "PutItem",
    "Delete": "DeleteItem",
    "Update": "UpdateItem",
    "ConditionCheck": "ConditionCheckItem",
}
_RENAMED = {
    ("sqs", "SendMessageBatch"): "SendMessage",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
    ("s3", "HeadObject"): "GetObject",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
    ("s3", "HeadBucket"): "ListBucket",
    ("s3", "CreateMultipartUpload"): "PutObject",
    ("s3", "UploadPart"): "PutObject",
    ("s3", "CompleteMultipartUpload"): "PutObject",
    ("s3", "CopyObject"): "PutObject",
    ("s3", "DeleteObjects"): "DeleteObject",
    ("lambda", "Invoke"): "InvokeFunction",
}
_PREFIX = {"sesv2": "ses", "stepfunctions": "states", "dynamodbstreams": "dynamodb"}


def needed(call: Call) -> list[tuple[str, str]]:
    """The permissions of a call, as (action, resource ARN); at least one."""
    prefix = _PREFIX.get(call.service, call.service)
    action = f"{prefix}:{_RENAMED.get((call.service, call.operation), call.operation)}"
    if call.operation in ("TransactWriteItems", "TransactGetItems"):
        return list(dict.fromkeys(_of_transaction(call)))
    pairs = [(action, resource) for resource in dict.fromkeys(_resources(call))]
    if call.operation == "CopyObject":
        source: Any = call.params["CopySource"]
        path = f"{source['Bucket']}/{source['Key']}" if isinstance(source, dict) else str(source).lstrip("/")
        pairs.append(("s3:GetObject", f"arn:aws:s3:::{path}"))
    return pairs or [(action, "*")]


def arn(call: Call, service: str, rest: str) -> str:
    """An ARN in the account and region of a call."""
    if service == "s3":
        return f"arn:aws:s3:::{rest}"
    return f"arn:aws:{service}:{call.client.meta.region_name}:{account()}:{rest}"


def _of_transaction(call: Call) -> Iterable[tuple[str, str]]:
    for entry in call.params.get("TransactItems", []):
        for kind, body in entry.items():
            action = "GetItem" if kind == "Get" else _ITEM_ACTIONS.get(kind, kind)
            yield f"dynamodb:{action}", _table(call, body.get("TableName", "*"))


def _resources(call: Call) -> list[str]:
    params = call.params
    if call.service == "dynamodb":
        tables = params.get("RequestItems") or [params.get("TableName", "*")]
        index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
        return [_table(call, table) + index for table in tables]
    if call.service == "s3":
        keys = [entry["Key"] for entry in params.get("Delete", {}).get("Objects", [])] or [params.get("Key")]
        return [arn(call, "s3", params.get("Bucket", "*") + (f"/{key}" if key is not None else "")) for key in keys]
    return [_single(call, params)]


def _table(call: Call, name: str) -> str:
    return name if name.startswith("arn:") else arn(call, "dynamodb", f"table/{name}")


def _single(call: Call, params: Mapping[str, Any]) -> str:
    """The one resource of a call of a service whose parameters name it."""
    if call.service == "kinesis":
        return params.get("StreamARN") or arn(call, "kinesis", f"stream/{params.get('StreamName', '*')}")
    if call.service == "sqs":
        return arn(call, "sqs", str(params.get("QueueUrl") or params.get("QueueName") or "*").rpartition("/")[2])
    if call.service == "events":
        buses = {entry.get("EventBusName", "default") for entry in params.get("Entries", [])} or {"*"}
        bus = sorted(buses)[0]
        return bus if bus.startswith("arn:") else arn(call, "events", f"event-bus/{bus}")
    if call.service == "sesv2":
        return arn(call, "ses", f"identity/{parseaddr(str(params.get('FromEmailAddress')))[1] or '*'}")
    if call.service == "stepfunctions":
        return str(params.get("stateMachineArn") or params.get("executionArn") or "*")
    if call.service == "lambda":
        name = str(params.get("FunctionName", "*"))
        return name if name.startswith("arn:") else arn(call, "lambda", f"function:{name}")
    return "*"
