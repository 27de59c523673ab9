"""From what a sender told to records on the stream, through the same door as all other events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hoso.collect.events import Frame
from hoso.collect.intake import Hash, Sender, Taken, take
from hoso.collect.parse import parse_batch
from hoso.collect.plans import Plan
from hoso.collect.sources.calls import stamp
from hoso.collect.sources.contract import Fact, HookSource
from hoso.model.errors import InvalidInput
from hoso.model.identifiers import DEFAULT, IdentityConfig
from hoso.platform.stream import Stream


@dataclass(frozen=True, slots=True)
class FactStore:
    """Puts facts on the stream. ``hasher`` gives the keyed hash of a workspace, ``plan_of`` the tracking plan that a
    workspace's source follows, ``identity_of`` its rules of identity."""

    stream: Stream
    hasher: Callable[[str], Hash]
    plan_of: Callable[[str, str], Plan | None] = lambda _workspace, _source: None
    identity_of: Callable[[str], IdentityConfig] = lambda _workspace: DEFAULT

    def put(self, source: HookSource, facts: Sequence[Fact], now: int) -> Taken:
        """Store facts that were told at ``now`` (UTC ms); the answer tells what the door refused.

        Raises:
            InvalidInput: ``unreadable``, a value that JSON cannot hold.
            Transient: the stream did not take them.
        """
        calls: list[dict[str, Any]] = [stamp(fact, source.kind, source.key) for fact in facts]
        try:
            raw = orjson.dumps({"batch": calls})
        except TypeError as error:
            raise InvalidInput("the delivery cannot be written as events", code="unreadable") from error
        frame = Frame(now, lambda: "")  # every call has its message id
        plan = self.plan_of(source.workspace, source.key)
        sender = Sender(source.workspace, source.key, plan=plan, identity=self.identity_of(source.workspace))
        taken = take(raw, parse_batch(raw), frame, sender, self.hasher(source.workspace))
        if taken.records:
            self.stream.put(taken.records)
        return taken
