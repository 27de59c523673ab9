"""Whether a segment is live: ``active``, ``paused`` (memberships stay as they are) or ``archived`` (they end).

A state is a control document of its own (kind ``segment_state``): a rule's revision says what a segment means, its
state only whether it is told. Segments without one are active.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Literal, cast, get_args

from hoso.model.errors import NotFound
from hoso.platform.control import ControlStore

KIND = "segment_state"
State = Literal["active", "paused", "archived"]
STATES: tuple[State, ...] = get_args(State)


def segment_states(control: ControlStore, workspace: str) -> Mapping[str, State]:
    """The states of the segments that have one, by key; as fresh as the control store keeps its documents."""
    return {key: cast("State", document.body["state"]) for key, document in control.all(workspace, KIND).items()}


def changed_at(control: ControlStore, workspace: str, keys: Iterable[str]) -> int:
    """When one of these segments, or its state, was changed last (UTC ms); 0 when none of them is known."""
    newest = 0
    for key in keys:
        for kind in ("segment", KIND):
            with suppress(NotFound):
                newest = max(newest, control.get(workspace, kind, key).at)
    return newest
