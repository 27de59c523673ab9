"""What a fragment tells beyond the present values: history of traits, verified identifiers, visits, blocks (pure).

It rides in the attribute ``y`` of the cold item, apart from the document ``b`` of the traits themselves: a release that
does not know it keeps it as it is (reliability R50). Every part is a fold that does not depend on order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hoso.model.record import Event
from hoso.unify import trait_history, unreachable, verification, visits
from hoso.unify.codec import pack_json, unpack_json
from hoso.unify.marks import address_mark, visit_marks
from hoso.unify.trait_history import History, Write
from hoso.unify.traits import written
from hoso.unify.unreachable import Block, Blocks
from hoso.unify.verification import Verification, Verifications
from hoso.unify.visits import Visit, Visits

EVENTS = verification.EVENTS | visits.EVENTS | unreachable.EVENTS
"""Track events that a story takes something from (beside identify calls)."""
_KEYS = frozenset({"w", "i", "p", "x", "u"})

Json = dict[str, Any]


@dataclass(slots=True)
class Story:
    """``traits``: notable writes per trait. ``verified``: statements per identifier. ``visits``: the newest ones.
    ``blocks``: channels on which nothing may reach the person any more. ``rest``: members of a newer release."""

    traits: History = field(default_factory=History)
    verified: Verifications = field(default_factory=Verifications)
    visits: Visits = field(default_factory=Visits)
    overflow: Json = field(default_factory=dict[str, Any])
    blocks: Blocks = field(default_factory=Blocks)
    rest: Json = field(default_factory=dict[str, Any])

    def __bool__(self) -> bool:
        return bool(self.traits or self.verified or self.visits or self.overflow or self.blocks or self.rest)


def fold(story: Story, event: Event, source: str) -> bool:
    """Fold one event in, in place. Answers whether anything changed."""
    changed = False
    for name, value in (written(event) or {}).items():
        write = Write(event.ts, event.message_id, source, value)
        changed |= trait_history.put(story.traits, story.overflow, name, write)
    for key, statement in verification.told(event, source):
        changed |= verification.put(story.verified, key, statement)
    for channel, block in unreachable.told(event):
        changed |= unreachable.put(story.blocks, channel, block)
    return visits.put(story.visits, event) or changed


def marks_of(event: Event) -> Iterator[str]:
    """The marks under which others find the person of this event (``marks``)."""
    if event.name in visits.EVENTS:
        found: Visits = {}
        visits.put(found, event)
        for visit in found.values():
            yield from visit_marks(visit)
    address = address_mark((written(event) or {}).get("address"))
    if address is not None:
        yield address


def packed(story: Story) -> bytes:
    """The bytes of the attribute."""
    state = {
        **story.rest,
        "w": trait_history.wire(story.traits),
        "i": story.verified,
        "p": story.visits,
        "x": story.overflow,
    }
    if story.blocks:
        state["u"] = story.blocks
    return pack_json(state)


def unpacked(blob: bytes | None) -> Story:
    """The story in such bytes; an empty one for a fragment that has none."""
    if blob is None:
        return Story()
    state: Json = unpack_json(blob)
    return Story(
        traits=trait_history.of_wire(state.get("w", {})),
        verified={key: Verification(*entry[:5]) for key, entry in state.get("i", {}).items()},
        visits={key: Visit(*entry[:8]) for key, entry in state.get("p", {}).items()},
        overflow=state.get("x", {}),
        blocks={channel: Block(*entry[:3]) for channel, entry in state.get("u", {}).items()},
        rest={key: value for key, value in state.items() if key not in _KEYS},
    )
