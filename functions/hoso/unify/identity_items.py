"""Identity items of the ``profiles`` table and the facts in them (layout: docs/data-model.md).

A link, alias, cut or probable match between two identifiers is kept on the item of the *weaker* one. Identifiers stand
in items as ``type:value``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.dynamo import Item, Key
from hoso.platform.ids import Hasher
from hoso.unify.evidence import Pair
from hoso.unify.facts import Proof

TOGETHER, APART = 0, 1
"""Whether the two ends of a link are in one profile: the third figure of an entry in ``l``."""

SHARED, SHARED_WHOLE, DISPUTED = 1, 2, 3
"""What ``sh`` says: shared for good; shared with all links kept, so that a cut or an erasure can end it; used by
people of contradicting names, which what they are called can end."""


Passed = tuple[Identifier, tuple[Identifier, ...]]
"""A stronger identifier, and those that must be shared for the link with it to stand."""
_UNIT = "\x1f"


def passed_text(strong: Identifier, passed: Iterable[Identifier]) -> str:
    """How the name of such a link is written."""
    return _UNIT.join(map(str, (strong, *passed)))


def read_passed(text: str) -> Passed:
    """The name of such a link, read."""
    strong, *passed = map(read_identifier, text.split(_UNIT))
    return strong, tuple(passed)


def read_identifier(text: str) -> Identifier:
    """The identifier that is written ``type:value``."""
    kind, _, value = text.partition(":")
    return Identifier(kind, value)


@dataclass(slots=True)
class Known:
    """What the item of one identifier holds. ``pid`` is None where the identifier is its own singleton profile.

    ``whole``: of this shared value all links are kept, so that it can be told when it is shared no more;
    ``disputed``: it is shared only because of names. ``proofs``: the first
    event behind each link, alias or match.
    """

    version: int = 0
    pid: str | None = None
    links: dict[Identifier, tuple[int, int]] = field(default_factory=dict[Identifier, tuple[int, int]])
    apart: set[Identifier] = field(default_factory=set[Identifier])
    aliases: set[Identifier] = field(default_factory=set[Identifier])
    probable: dict[Identifier, float] = field(default_factory=dict[Identifier, float])
    cuts: set[Identifier] = field(default_factory=set[Identifier])
    aparts: set[Identifier] = field(default_factory=set[Identifier])
    names: dict[str, int] = field(default_factory=dict[str, int])
    beside: dict[Passed, tuple[int, int]] = field(default_factory=dict["Passed", "tuple[int, int]"])
    proofs: dict[Identifier, Proof] = field(default_factory=dict["Identifier", "Proof"])
    blocked: bool = False
    shared: bool = False
    whole: bool = False
    disputed: bool = False
    together: int | None = None
    erased: int | None = None
    pending: bool = False

    @classmethod
    def of(cls, item: Item | None) -> Known:
        """The content of an item; of none, nothing is known."""
        if item is None:
            return cls()
        links: dict[str, list[int]] = item.get("l", {})
        return cls(
            version=item["v"],
            pid=item.get("p"),
            links={read_identifier(text): (entry[0], entry[1]) for text, entry in links.items()},
            apart={read_identifier(text) for text, entry in links.items() if entry[2] == APART},
            aliases=_read(item.get("al", ())),
            probable={read_identifier(text): float(score) for text, score in item.get("pr", {}).items()},
            cuts=_read(item.get("ct", ())),
            aparts=_read(item.get("ap", ())),
            names=item.get("nm", {}),
            beside={read_passed(text): (times[0], times[1]) for text, times in item.get("bs", {}).items()},
            proofs={read_identifier(text): Proof(*entry) for text, entry in item.get("pf", {}).items()},
            blocked=bool(item.get("bl")),
            shared=bool(item.get("sh")),
            whole=item.get("sh") in (SHARED_WHOLE, DISPUTED),
            disputed=item.get("sh") == DISPUTED,
            together=item.get("w"),
            erased=item.get("er"),
            pending=bool(item.get("pend")),
        )

    def content(self) -> dict[str, Any]:
        """The attributes of the item, without key, version, value and profile."""
        found: dict[str, Any] = {
            "l": {str(hub): [*times, APART if hub in self.apart else TOGETHER] for hub, times in self.links.items()},
            "al": sorted(map(str, self.aliases)),
            "pr": {str(other): score for other, score in self.probable.items()},
            "ct": sorted(map(str, self.cuts)),
            "ap": sorted(map(str, self.aparts)),
            "nm": self.names,
            "bs": {passed_text(*key): list(times) for key, times in self.beside.items()},
            "pf": {str(other): list(proof) for other, proof in self.proofs.items()},
            "bl": self.blocked or None,
            "sh": self._sharing if self.shared else None,
            "w": self.together,
            "er": self.erased,
        }
        return {name: value for name, value in found.items() if value is not None and value not in ({}, [])}

    @property
    def _sharing(self) -> int:
        if not self.whole:
            return SHARED
        return DISPUTED if self.disputed else SHARED_WHOLE

    def neighbours(self, *, cut: bool = False) -> set[Identifier]:
        """The stronger identifiers that this one has a link of any kind with; ``cut``: those of cut links too."""
        passed = {end for strong, others in self.beside for end in (strong, *others)}
        linked = {*self.links, *self.aliases, *self.probable}
        return (linked if cut else linked - self.cuts) | passed


def identifier_key(workspace: str, kind: str, fid: str) -> Key:
    """Key of the item of the identifier of this type and hash."""
    return f"{workspace}#I#{kind}#{fid}", "I"


class IdentityKeys:
    """Names of the identity items of a workspace; every name is a keyed hash."""

    __slots__ = ("_cache", "_hasher", "workspace")

    def __init__(self, workspace: str, hasher: Hasher) -> None:
        self.workspace = workspace
        self._hasher = hasher
        self._cache: dict[Identifier, str] = {}

    def fragment(self, found: Identifier) -> str:
        """The fragment id of a hub, which is also the hash in all other names."""
        fid = self._cache.get(found)
        if fid is None:
            if len(self._cache) > 50_000:
                self._cache.clear()
            fid = self._cache[found] = self._hasher.identifier(found.type, found.value)
        return fid

    def profile(self, anchor: Identifier) -> str:
        """The profile id of the person whose best identifier this is."""
        return "p_" + self.fragment(anchor)

    def identifier_key(self, found: Identifier) -> Key:
        """Key of an identifier item."""
        return identifier_key(self.workspace, found.type, self.fragment(found))

    def person_key(self, pid: str) -> Key:
        """Key of a person item."""
        return (f"{self.workspace}#P#{pid}", "P")

    def hot_key(self, found: Identifier) -> Key:
        """Key of the hot item of an identifier's fragment."""
        return (f"{self.workspace}#F#{self.fragment(found)}", "H")

    def record_key(self, record_id: str) -> Key:
        """Key of the mark that an operator's record was applied."""
        return (f"{self.workspace}#O#{self._hasher.text(record_id)}", "O")


def weaker_last(link: Iterable[Identifier], config: IdentityConfig) -> Pair:
    """The two ends of a link, the better-ranked first."""
    types = config.types
    strong, weak = sorted(link, key=lambda found: (types[found.type].rank, found.type, found.value))
    return strong, weak


def _read(texts: Iterable[str]) -> set[Identifier]:
    return {read_identifier(text) for text in texts}
