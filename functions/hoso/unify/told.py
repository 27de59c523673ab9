"""What the events of one identifier told identity already: attribute ``k`` of its fragment's hot item (pure).

An event whose identifiers, former identifier and name stand there, at a time that was covered, teaches nothing:
identity is not asked, and the owner ``o`` beside it answers. That is safe because the hot item's version guards both:
whoever changes whose a fragment is raises it, and so does whoever takes evidence away (an erasure), who also empties
the list (decision 0062). Nothing else makes known evidence unknown: links, aliases and names only ever grow, and cuts,
blocks and pairs that are kept apart are evidence beside it.

Layout: 4 bytes that stand for the identity rules in force, then per kind of evidence 8 bytes of keyed hash, and 6 bytes
of the earliest covered time (UTC ms); where the newest claim wins (``order: last``), 6 more bytes of the latest. The
least recently used entries come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hoso.model.identifiers import IdentityConfig
from hoso.platform.ids import Hasher
from hoso.unify.evidence import Evidence

MOST_TOLD = 12
"""Kinds of evidence remembered per identifier; with more, the least recently used are looked up again."""
_RULES = 4
_HASH = 8
_TIME = 6
_ENDLESS = 2 ** (8 * _TIME) - 1

Span = tuple[int, int]


def is_bare(told: Evidence) -> bool:
    """Whether an event names its hub and says nothing about identity."""
    return not told.ids and told.previous is None and told.name is None


class ToldReader:
    """Reads and writes the list, under one revision of the identity rules."""

    def __init__(self, hasher: Hasher, config: IdentityConfig, revision: int) -> None:
        self._hasher = hasher
        self._rules = hasher.short(f"identity rules {revision} {config.fingerprint}")[:_RULES]
        self._keeps_last = config.order == "last"
        self._width = _HASH + _TIME * (2 if self._keeps_last else 1)

    def digest(self, told: Evidence) -> bytes:
        """What stands for all that identity looks at in an event, beside its hub and its time."""
        said: list[str] = [str(len(told.ids)), "" if told.name is None else "n", "" if told.previous is None else "p"]
        for found in told.ids if told.previous is None else (*told.ids, told.previous):
            said += found
        if told.name is not None:
            said.append(told.name)
        return self._hasher.short("".join([f"{len(part)}:{part}" for part in said]))

    def spans(self, packed: bytes) -> dict[bytes, Span]:
        """The covered times by digest, the least recently used first; nothing of what other rules left."""
        if packed[:_RULES] != self._rules:
            return {}
        width, found = self._width, dict[bytes, Span]()
        for start in range(_RULES, len(packed) - width + 1, width):
            entry = packed[start : start + width]
            first = int.from_bytes(entry[_HASH : _HASH + _TIME])
            found[entry[:_HASH]] = (first, int.from_bytes(entry[_HASH + _TIME :]) if self._keeps_last else _ENDLESS)
        return found

    def renewed(self, spans: Mapping[bytes, Span], used: Iterable[tuple[bytes, int]]) -> bytes | None:
        """The list with these sightings (digest and time) in it, as the most recently used; None where it need not be
        written anew, as it covers them and has room."""
        renewed, stays = dict(spans), len(spans) < MOST_TOLD
        for digest, ts in used:
            held = renewed.pop(digest, None)
            first, last = renewed[digest] = (ts, ts) if held is None else (min(held[0], ts), max(held[1], ts))
            stays = stays and (first, last) == held
        if stays:
            return None
        parts = [self._rules]
        for digest, (first, last) in list(renewed.items())[-MOST_TOLD:]:
            parts += [digest, first.to_bytes(_TIME), last.to_bytes(_TIME) if self._keeps_last else b""]
        return b"".join(parts)
