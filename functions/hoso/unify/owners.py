"""Whose the hubs of a batch are: their hot items say so, and remember which evidence identity knows already.

The hot item of a hub is read for every event anyway. Where it remembers all that the batch tells, nothing of identity
is read (``hoso.unify.told``); else identity learns what is new. Hot items that its decisions raise are not read again:
one version up, with the new owner, is what they are if nobody else wrote them; else the commit fails on the version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hoso.model.identifiers import Identifier
from hoso.platform.dynamo import Item, Key
from hoso.unify.evidence import Evidence
from hoso.unify.facts import strip
from hoso.unify.fragments import ERASED
from hoso.unify.identities import Identities, Outcome
from hoso.unify.identity_known import all_of
from hoso.unify.intake import evidence
from hoso.unify.part import Part
from hoso.unify.store import ProfileStore
from hoso.unify.told import Span, is_bare


class Owners:
    """Finds the people of parts, and has identity learn what their events tell."""

    def __init__(self, store: ProfileStore, identities: Callable[[str], Identities]) -> None:
        self._store = store
        self._identities = identities

    def meet(self, parts: Sequence[Part], *, careful: bool) -> tuple[list[Part], list[str]]:
        """Give each part its hot item; answers the parts, less what was erased, and the profile id of each.
        ``careful``: read strongly consistent, and believe nothing that was remembered.

        Raises:
            Transient: identity was not settled, or the table is throttled.
        """
        hots = self._store.read([(part.pk, "H") for part in parts], consistent=careful)
        pids: dict[int, str] = {}
        kept: list[Part] = []
        for workspace in dict.fromkeys(part.group.workspace for part in parts):
            identities = self._identities(workspace)
            mine = [part for part in parts if part.group.workspace == workspace]
            left = _without_erased(mine, hots, identities.erased)
            kept += left
            pids |= _meet(identities, left, hots, careful=careful)
        return kept, [pids[id(part)] for part in kept]


def _without_erased(
    parts: Sequence[Part], hots: Mapping[Key, Item], erased: Callable[[], Mapping[str, int]]
) -> list[Part]:
    """The parts without events of people who were erased (security S52). The hub's hot item says so, which is read for
    every event anyway; of a hub that has no events yet the documents of erasures do, as they outlive the tables."""
    kept: list[Part] = []
    told: Mapping[str, int] | None = None
    for part in parts:
        item = hots.get((part.pk, "H"))
        until: int | None = item.get(ERASED) if item else None
        if until is None and (item is None or "n" not in item):
            told = erased() if told is None else told
            until = told.get(part.fid)
        left = part if until is None else part.without_erased(until)
        if left is not None:
            kept.append(left)
    return kept


def _less_erased(identities: Identities, news: Sequence[Evidence]) -> list[Evidence]:
    """Evidence without identifiers that were erased since (R15), where the identity items may have been lost."""
    erased = identities.erased() if news else None
    if not erased:
        return list(news)
    left: list[Evidence] = []
    for one in news:
        fids = {found: identities.keys.fragment(found) for found in all_of(one)}
        stays = strip(one, {found: erased[fid] for found, fid in fids.items() if fid in erased}, identities.config)
        if stays is not None and stays.hub == one.hub:
            left.append(stays)
    return left


def _meet(identities: Identities, parts: Sequence[Part], hots: Mapping[Key, Item], *, careful: bool) -> dict[int, str]:
    """The same for the parts of one workspace, each of another hub; the profile ids by the part's identity."""
    reader = identities.told
    spans_of: dict[Identifier, dict[bytes, Span]] = {}
    used: dict[Identifier, list[tuple[bytes, int]]] = {}
    news: list[Evidence] = []
    for part in parts:
        spans = reader.spans(hots.get((part.pk, "H"), {}).get("k", b""))
        spans_of[part.group.hub] = spans
        for one in evidence(part.group, identities.config, identities.clients):
            if is_bare(one):
                if careful:
                    news.append(one)
                continue
            digest = reader.digest(one) if spans and not careful else b""
            span = spans.get(digest)
            if span is not None and span[0] <= one.ts <= span[1]:
                used.setdefault(one.hub, []).append((digest, one.ts))
            else:
                news.append(one)
    news = _less_erased(identities, news)
    outcome = identities.acquaint(news) if news else Outcome()
    for one in outcome.kept:
        if not is_bare(one):
            used.setdefault(one.hub, []).append((reader.digest(one), one.ts))
    raised: dict[Identifier, list[str]] = {}
    for hub, pid in outcome.raised:
        raised.setdefault(hub, []).append(pid)
    pids: dict[int, str] = {}
    for part in parts:
        hub, item = part.group.hub, hots.get((part.pk, "H"))
        if hub in raised:
            before: Item = item or {"v": 0, "hub": list(hub)}
            item = {**before, "v": before["v"] + len(raised[hub]), "o": raised[hub][-1]}
        part.meet(item)
        part.told = reader.renewed(spans_of[hub], used.get(hub, ()))
        pids[id(part)] = outcome.pids.get(hub) or (item or {}).get("o") or f"p_{part.fid}"
    return pids
