"""A moto server that CloudFormation can deploy to; ``serve(port)`` runs it.

Repairs before it starts: a bus answers ``Ref`` with its name, a managed policy that goes lets go of its roles (as
CloudFormation does), and types that moto does not make get a stand-in.
Stock moto drops such a resource, and with it everything that refers to it; with the stand-in every reference, output
and import of the templates is resolved, so that a wrong one fails the deployment.
"""

from __future__ import annotations

from typing import Any

from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.events.models import EventBus
from moto.iam.models import ManagedPolicy
from moto.server import main


class StandIn(CloudFormationModel):
    """A resource that only has a name and attributes."""

    def __init__(self, name: str, region: str, account: str) -> None:
        self.name = name
        self._arn = f"arn:aws:standin:{region}:{account}:{name}"

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return self._arn if "Arn" in attribute_name else f"{self.name}.{attribute_name}"

    @classmethod
    def create_from_cloudformation_json(  # type: ignore[override]
        cls, resource_name: str, _json: dict[str, Any], account_id: str, region_name: str, **_more: Any
    ) -> StandIn:
        return cls(resource_name, region_name, account_id)

    def delete(self, _account: str, _region: str) -> None:
        """There is nothing behind it."""

    def is_created(self) -> bool:
        return True


def delete_policy(policy: ManagedPolicy, _account: str, _region: str) -> None:
    for role in policy.backend.roles.values():
        if policy.arn in role.managed_policies:
            policy.detach_from(role)
    policy.backend.delete_policy(policy.arn)


def repair() -> None:
    """Make moto's CloudFormation fit for the templates of this app."""
    stock = parsing.resource_class_from_type
    known = parsing.get_model_map()
    EventBus.physical_resource_id = property(lambda bus: bus.name)  # type: ignore[assignment,method-assign]
    ManagedPolicy.delete = delete_policy  # type: ignore[attr-defined]
    parsing.resource_class_from_type = lambda kind: stock(kind) if kind in known else StandIn  # type: ignore[assignment]


def serve(port: int) -> None:
    """Serve until the process ends."""
    repair()
    main(["-p", str(port)])
