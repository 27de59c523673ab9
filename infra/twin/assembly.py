"""Reads a cloud assembly (``cdk.out``) and resolves CloudFormation's intrinsic functions.

``Assembly`` knows the stacks in the order of their dependencies and the folder of every file asset. ``Resolver``
evaluates the values of one stack's template; it asks for a resource when a value refers to it, so that resources are
made in the order of their references.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

ACCOUNT = "123456789012"
DEFAULT_REGION = "eu-west-1"
NO_VALUE = object()
_SUB = re.compile(r"\$\{(!?)([^}]*)\}")


class AssemblyError(Exception):
    """The assembly holds something that the twin does not understand; it does not start then."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a template, as written (unresolved)."""

    stack: str
    logical_id: str
    type: str
    properties: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    condition: str | None = None

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"{self.stack}/{self.logical_id} ({self.type})"


@dataclass(frozen=True, slots=True)
class Made:
    """What a created resource answers to ``Ref`` and ``Fn::GetAtt``."""

    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack: its name and its template."""

    name: str
    template: Mapping[str, Any]

    def resources(self) -> dict[str, Resource]:
        """The resources by logical id."""
        found: dict[str, Resource] = {}
        for logical_id, raw in self.template.get("Resources", {}).items():
            after = raw.get("DependsOn", ())
            found[logical_id] = Resource(
                stack=self.name,
                logical_id=logical_id,
                type=raw["Type"],
                properties=raw.get("Properties", {}),
                depends_on=(after,) if isinstance(after, str) else tuple(after),
                condition=raw.get("Condition"),
            )
        return found


@dataclass(frozen=True, slots=True)
class Assembly:
    """A cloud assembly. ``assets`` maps the object key under which a file asset is published to its local path."""

    region: str
    stacks: list[Stack]
    assets: Mapping[str, Path]

    @classmethod
    def read(cls, folder: Path) -> Assembly:
        """The assembly in a ``cdk.out`` folder.

        Raises:
            AssemblyError: there is none, or it has stages or stacks that depend on each other in a circle.
        """
        try:
            artifacts: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["artifacts"]
        except (OSError, ValueError, KeyError) as error:
            raise AssemblyError(f"no cloud assembly in {folder}: {error}") from error
        stacks: dict[str, Stack] = {}
        region = DEFAULT_REGION
        for name in _in_order(artifacts):
            artifact = artifacts[name]
            template = json.loads((folder / artifact["properties"]["templateFile"]).read_text())
            stacks[name] = Stack(artifact["properties"].get("stackName", name), template)
            named = artifact.get("environment", "").rsplit("/", 1)[-1]
            region = named if named and named != "unknown-region" else region
        assets: dict[str, Path] = {}
        for manifest in folder.glob("*.assets.json"):
            for entry in json.loads(manifest.read_text()).get("files", {}).values():
                for destination in entry["destinations"].values():
                    assets[destination["objectKey"]] = folder / entry["source"]["path"]
        return cls(region, list(stacks.values()), assets)


def _in_order(artifacts: Mapping[str, Any]) -> list[str]:
    stacks = {name for name, artifact in artifacts.items() if artifact["type"] == "aws:cloudformation:stack"}
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise AssemblyError(f"stacks depend on each other: {' → '.join((*path, name))}")
        if name in ordered:
            return
        for before in sorted(set(artifacts[name].get("dependencies", ())) & stacks):
            visit(before, (*path, name))
        ordered.append(name)

    for name in sorted(stacks):
        visit(name, ())
    return ordered


class Resolver:
    """Evaluates the values of one stack. ``made`` answers a resource by its logical id, creating it if need be."""

    def __init__(
        self, stack: Stack, region: str, exports: Mapping[str, Any], made: Callable[[str], tuple[Resource, Made]]
    ) -> None:
        self._stack = stack
        self._exports = exports
        self._made = made
        self._pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": stack.name,
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{stack.name}/twin",
            "AWS::NoValue": NO_VALUE,
        }
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": lambda value: self(value[1])[int(self(value[0]))],
            "Fn::Split": lambda value: self(value[1]).split(value[0]),
            "Fn::ImportValue": self._import,
            "Fn::If": lambda value: self(value[1] if self.condition(value[0]) else value[2]),
            "Fn::Base64": lambda value: base64.b64encode(self(value).encode()).decode(),
            "Fn::FindInMap": self._find_in_map,
            "Fn::GetAZs": lambda _value: [f"{region}{zone}" for zone in "abc"],
            "Fn::Equals": lambda value: self(value[0]) == self(value[1]),
            "Fn::And": lambda value: all(self._truth(part) for part in value),
            "Fn::Or": lambda value: any(self._truth(part) for part in value),
            "Fn::Not": lambda value: not self._truth(value[0]),
        }

    def __call__(self, value: Any) -> Any:
        """The value with every intrinsic function evaluated; ``AWS::NoValue`` entries are left out."""
        if isinstance(value, dict):
            mapping = cast("dict[str, Any]", value)
            if len(mapping) == 1:
                ((name, argument),) = mapping.items()
                if name in self._functions:
                    return self._functions[name](argument)
                if name.startswith("Fn::"):
                    raise AssemblyError(f"{self._stack.name}: {name} is not imitated")
            resolved = {key: self(entry) for key, entry in mapping.items()}
            return {key: entry for key, entry in resolved.items() if entry is not NO_VALUE}
        if isinstance(value, list):
            entries = [self(entry) for entry in cast("list[Any]", value)]
            return [entry for entry in entries if entry is not NO_VALUE]
        return value

    def condition(self, name: str) -> bool:
        """The value of a condition of the template."""
        return bool(self(self._stack.template["Conditions"][name]))

    def outputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The stack's outputs by logical id, and what it exports by name."""
        values: dict[str, Any] = {}
        exports: dict[str, Any] = {}
        for name, output in self._stack.template.get("Outputs", {}).items():
            if "Condition" in output and not self.condition(output["Condition"]):
                continue
            values[name] = self(output["Value"])
            if "Export" in output:
                exports[self(output["Export"]["Name"])] = values[name]
        return values, exports

    def _truth(self, part: Any) -> bool:
        return self.condition(part["Condition"]) if "Condition" in part else bool(self(part))

    def _ref(self, name: str) -> Any:
        if name in self._pseudo:
            return self._pseudo[name]
        parameters = self._stack.template.get("Parameters", {})
        if name in parameters:
            if "Default" not in parameters[name]:
                raise AssemblyError(f"{self._stack.name}: parameter {name} has no default")
            return parameters[name]["Default"]
        return self._made(name)[1].ref

    def _get_att(self, value: str | list[str]) -> str:
        name, attribute = value.split(".", 1) if isinstance(value, str) else (value[0], self(value[1]))
        resource, made = self._made(name)
        if attribute not in made.attributes:
            raise AssemblyError(f"{resource.where} has no attribute {attribute} in the twin")
        return made.attributes[attribute]

    def _sub(self, value: str | list[Any]) -> str:
        text: str = value if isinstance(value, str) else value[0]
        names: dict[str, Any] = {} if isinstance(value, str) else value[1]

        def replace(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return "${" + name + "}"
            if name in names:
                return str(self(names[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return _SUB.sub(replace, text)

    def _join(self, value: list[Any]) -> str:
        parts = self(value[1])
        if not all(isinstance(part, (str, int, float)) for part in parts):
            raise AssemblyError(f"{self._stack.name}: Fn::Join of something that is not text")
        return str(value[0]).join(map(str, parts))

    def _import(self, value: Any) -> Any:
        name = self(value)
        if name not in self._exports:
            raise AssemblyError(f"{self._stack.name}: nothing exports {name}")
        return self._exports[name]

    def _find_in_map(self, value: list[Any]) -> Any:
        table, first, second = (self(part) for part in value)
        return self._stack.template["Mappings"][table][first][second]
