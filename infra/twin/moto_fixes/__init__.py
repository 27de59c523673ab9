"""Repairs of moto 5.2.5: what is slow or wrong in it for the twin, one file per service.

Every replacement is made with ``replace`` in a file's ``patch``; nothing else in the tree patches moto.
``apply()`` is idempotent and refuses any other version: a patch of private functions fits one version only.
"""

from __future__ import annotations

from typing import Any

import moto

VERSION = "5.2.5"
_stock: list[tuple[Any, str, Any]] = []


class WrongMoto(RuntimeError):
    """The installed moto is not the version that the repairs were written for."""


def replace(owner: Any, name: str, value: Any) -> Any:
    """Put ``value`` in the place of ``owner.name`` until ``undo``; answers what stood there."""
    stock = getattr(owner, name)
    own: dict[str, Any] = owner.__dict__
    _stock.append((owner, name, own.get(name, stock)))
    setattr(owner, name, value)
    return stock


def apply() -> None:
    """Repair moto in this process. A second call does nothing.

    Raises:
        WrongMoto: moto is not version 5.2.5.
    """
    if moto.__version__ != VERSION:
        raise WrongMoto(f"the repairs fit moto {VERSION}, not {moto.__version__}: review infra/twin/moto_fixes")
    if _stock:
        return
    from moto.core.common_models import BaseModel

    from infra.twin.moto_fixes import direct, dynamodb, events, kinesis, sqs, stepfunctions

    # moto keeps every record and message that it ever made in a list for its dashboard: a leak in a process that lives.
    replace(BaseModel, "__new__", staticmethod(_untracked))
    for service in (dynamodb, kinesis, sqs, events, stepfunctions, direct):
        service.patch()


def undo() -> None:
    """Make moto as it was; for tests that compare the two."""
    from infra.twin import calls

    calls.drop("engine")
    while _stock:
        owner, name, stock = _stock.pop()
        setattr(owner, name, stock)


def _untracked(cls: type[object], *_args: Any, **_kwargs: Any) -> object:
    return object.__new__(cls)
