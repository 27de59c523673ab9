"""The identity rules in force, by workspace: read with the control documents, compiled once per revision."""

from __future__ import annotations

from hoso.model.errors import InvalidInput, Transient
from hoso.model.identity_config import DEFAULT, IdentityConfig
from hoso.platform.control import ControlStore
from hoso.platform.log import logger

_KIND, _KEY = "identity", "rules"


class RulesInForce:
    """What the door and the consumer share, so that both choose the same hub. As fresh as the control store."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._kept: dict[str, tuple[int, IdentityConfig]] = {}

    def of(self, workspace: str) -> IdentityConfig:
        """The rules of a workspace now. A document that this code cannot read must not stop the stream: the rules
        before it hold on, and the log says so. They hold on too while the table does not answer.

        Raises:
            Transient: the table does not answer and nothing is known yet.
        """
        kept = self._kept.get(workspace)
        try:
            document = self._control.all(workspace, _KIND).get(_KEY)
        except Transient:
            if kept is None:
                raise
            return kept[1]
        if document is None:
            self._kept[workspace] = (0, DEFAULT)
            return DEFAULT
        if kept is None or kept[0] != document.revision:
            from hoso.model.identity_rules import config_in  # pydantic, only where a workspace has rules of its own

            try:
                config = config_in(document.body)
            except InvalidInput as error:
                logger("identity").error("identity rules left out", extra={"code": error.code})
                config = kept[1] if kept is not None else DEFAULT
            kept = self._kept[workspace] = (document.revision, config)
        return kept[1]

    def revision_of(self, workspace: str) -> int:
        """The revision of the rules that ``of`` answered with last; 0 for the default ones."""
        return self._kept[workspace][0] if workspace in self._kept else 0
