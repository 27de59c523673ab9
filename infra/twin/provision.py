"""Creates the resources of an assembly in moto, strictly: what is not understood stops the start.

An unknown type, an unknown attribute and a property that no handler read are errors. ``UNNEEDED`` is the short list of
types that need nothing on a laptop, each with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from infra.twin import iam
from infra.twin.assembly import ACCOUNT, NO_VALUE, Assembly, AssemblyError, Made, Resolver, Resource, Stack
from infra.twin.registry import Deployment, logical_name

_REQUIRED = object()
_NAME_LIMIT = 60


class Props:
    """The resolved properties of a resource; it knows which of them were read."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self._where = where
        self._read: set[str] = set()
        self._parts: list[Props] = []

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def take(self, name: str, default: Any = None) -> Any:
        """The whole value of a property; the caller uses all of it."""
        self._read.add(name)
        return self._values.get(name, default)

    def need(self, name: str) -> Any:
        """As ``take``, of a property that must be there."""
        value = self.take(name, _REQUIRED)
        if value is _REQUIRED:
            raise AssemblyError(f"{self._where} has no {name}")
        return value

    def part(self, name: str) -> Props:
        """A property that is a map, whose own entries are tracked; empty if it is absent."""
        self._read.add(name)
        part = Props(self._values.get(name) or {}, f"{self._where}.{name}")
        self._parts.append(part)
        return part

    def parts(self, name: str) -> list[Props]:
        """A property that is a list of maps, whose entries are tracked."""
        self._read.add(name)
        entries = cast("list[dict[str, Any]]", self._values.get(name) or [])
        parts = [Props(entry, f"{self._where}.{name}[{place}]") for place, entry in enumerate(entries)]
        self._parts += parts
        return parts

    def skip(self, *names: str) -> None:
        """Properties that are known and change nothing on a laptop."""
        self._read.update(names)

    def close(self) -> None:
        """Raise ``AssemblyError`` if a property was not read."""
        unread = sorted(set(self._values) - self._read)
        if unread:
            raise AssemblyError(f"{self._where}: nothing in the twin reads {', '.join(unread)}")
        for part in self._parts:
            part.close()


class Site:
    """Where resources are made: clients of moto, the registry, and stable physical names."""

    def __init__(self, assembly: Assembly, client: Callable[[str], Any]) -> None:
        self.assembly = assembly
        self.client = client
        self.region = assembly.region
        self.deployment = Deployment(assembly.region)
        self.injected: dict[str, str] = {}
        """What the twin adds to the environment of every function."""

    def name(self, resource: Resource, limit: int = _NAME_LIMIT) -> str:
        """A name that is a function of stack and logical id, so that data survives a restart."""
        name = f"{resource.stack}-{resource.logical_id}"
        if len(name) <= limit:
            return name
        return f"{name[: limit - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    def arn(self, service: str, rest: str) -> str:
        """An ARN in the twin's account and region."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{rest}"


Maker = Callable[[Props, Resource, Site], Made]
MAKERS: dict[str, Maker] = {}
UNNEEDED: dict[str, tuple[str, str]] = {
    # type: (reason, ARN with {name}, or "" where nothing may refer to one)
    "AWS::ApiGatewayV2::Stage": ("throttling and access logs are not imitated; both APIs live at the root", ""),
    "AWS::Budgets::Budget": ("nothing costs money here", ""),
    "AWS::CDK::Metadata": ("no resource", ""),
    "AWS::CloudWatch::Alarm": ("/_twin/status shows the figures", "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"),
    "AWS::CloudWatch::CompositeAlarm": ("as alarms", "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"),
    "AWS::CloudWatch::Dashboard": ("/_twin/status shows the figures", ""),
    "AWS::Cognito::UserPoolGroup": ("the local issuer puts roles into tokens", ""),
    "AWS::Events::EventBusPolicy": ("one account", ""),
    "AWS::IAM::ManagedPolicy": ("replayed over recorded calls in tests", "arn:aws:iam::{account}:policy/{name}"),
    "AWS::IAM::Policy": ("replayed over recorded calls in tests", ""),
    "AWS::IAM::Role": ("replayed over recorded calls in tests", "arn:aws:iam::{account}:role/{name}"),
    "AWS::Lambda::LayerVersion": ("the same locks are installed", "arn:aws:lambda:{region}:{account}:layer:{name}:1"),
    "AWS::Lambda::Permission": ("invocations are not authorized here", ""),
    "AWS::Logs::LogGroup": ("logs go to the data folder", "arn:aws:logs:{region}:{account}:log-group:{name}:*"),
    "AWS::S3::BucketPolicy": ("bucket policies are not enforced", ""),
    "AWS::SES::ConfigurationSet": ("mail goes to the outbox folder", ""),
    "AWS::SES::ConfigurationSetEventDestination": ("mail to SES's simulator bounces here too", ""),
    "AWS::SES::EmailIdentity": ("mail goes to the outbox folder", ""),
    "AWS::SNS::Subscription": ("alarms tell nobody here", ""),
    "AWS::SNS::Topic": ("alarms tell nobody here", "arn:aws:sns:{region}:{account}:{name}"),
    "AWS::SNS::TopicPolicy": ("alarms tell nobody here", ""),
    "AWS::SQS::QueuePolicy": ("queue policies are not enforced", ""),
}  # fmt: skip
_ARN_AS_REF = {"AWS::IAM::ManagedPolicy", "AWS::Lambda::LayerVersion", "AWS::SNS::Topic"}


def maker(type_name: str) -> Callable[[Maker], Maker]:
    """Declare the function that makes resources of this type."""

    def declare(function: Maker) -> Maker:
        MAKERS[type_name] = function
        return function

    return declare


def provision(site: Site) -> Deployment:
    """Make every resource of the assembly, each after what it refers to.

    Raises:
        AssemblyError: something is not understood; the text names resource and property.
    """
    exports: dict[str, Any] = {}
    for stack in site.assembly.stacks:
        run = _StackRun(stack, site, exports)
        outputs, exported = run.run()
        exports |= exported
        granted = iam.permissions(stack.template, run.resolve)
        site.deployment.policies |= {logical_name(name): statements for name, statements in granted.items()}
        site.deployment.outputs |= {f"{stack.name}/{name}": value for name, value in outputs.items()}
    return site.deployment


class _StackRun:
    def __init__(self, stack: Stack, site: Site, exports: Mapping[str, Any]) -> None:
        self._resources = stack.resources()
        self._site = site
        self._made: dict[str, Made | None] = {}
        self.resolve = Resolver(stack, site.region, exports, self._get)

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        for logical_id, resource in self._resources.items():
            if resource.condition is None or self.resolve.condition(resource.condition):
                self._get(logical_id)
        return self.resolve.outputs()

    def _get(self, logical_id: str) -> tuple[Resource, Made]:
        if logical_id not in self._resources:
            raise AssemblyError(f"nothing is called {logical_id}")
        resource = self._resources[logical_id]
        if logical_id in self._made:
            made = self._made[logical_id]
            if made is None:
                raise AssemblyError(f"{resource.where} refers to itself")
            return resource, made
        self._made[logical_id] = None
        for before in resource.depends_on:
            # A dependency only orders; what stands in a circle through policies needs no order here.
            if self._made.get(before, NO_VALUE) is NO_VALUE:
                self._get(before)
        self._made[logical_id] = made = self._make(resource)
        return resource, made

    def _make(self, resource: Resource) -> Made:
        if resource.type in UNNEEDED:
            return _placeholder(resource, self._site)
        make = MAKERS.get(resource.type)
        if make is None:
            raise AssemblyError(f"{resource.where}: the twin does not know this type")
        props = Props(self.resolve(resource.properties), resource.where)
        props.skip("Tags", "UserPoolTags")
        made = make(props, resource, self._site)
        props.close()
        return made


def _placeholder(resource: Resource, site: Site) -> Made:
    name = site.name(resource)
    arn = UNNEEDED[resource.type][1].format(region=site.region, account=ACCOUNT, name=name)
    if not arn:
        return Made(name)
    attributes = {"Arn": arn, "TopicArn": arn, "TopicName": name, "PolicyArn": arn, "RoleId": name}
    return Made(arn if resource.type in _ARN_AS_REF else name, attributes)
