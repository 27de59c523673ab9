"""Brings the evidence of live people to what a rebuild under other identity rules recorded (decision 0064).

Under other ranks an event links its identifiers otherwise, and under other types it links others: evidence that was
recorded under the former rules is not what these rules would have recorded. So a component takes the rebuilt evidence
in the place of its own, and is decided under the rules in force. Operators' records and links by likeness are evidence
of the live people alone and stay.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from hoso.model.errors import Conflict, Transient
from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Table
from hoso.unify.evidence import Pair
from hoso.unify.facts import Facts
from hoso.unify.graph import cluster
from hoso.unify.identity_changes import Change, difference
from hoso.unify.identity_component import Component, ComponentReader, TooLarge, Unfinished
from hoso.unify.identity_items import IdentityKeys, Known
from hoso.unify.identity_sides import keep_sides
from hoso.unify.identity_writes import Cause, IdentityWriter
from hoso.unify.rules_preview import Evidence

ATTEMPTS = 5
_BASE_DELAY_S = 0.03
_ROUNDS = 20


class Adopter:
    """Adopts rebuilt evidence, a component at a time. ``rebuilt`` is the table of the rebuild."""

    def __init__(
        self,
        profiles: Table,
        outbox: Table,
        delivery: Table,
        client: Any,
        rebuilt: Table,
        keys: IdentityKeys,
        config: IdentityConfig,
        clock: Clock,
        has_sides: Callable[[], bool],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = profiles
        self._rebuilt = rebuilt
        self._keys = keys
        self._config = config
        self._has_sides = has_sides
        self._sleep = sleep
        self._reader = ComponentReader(profiles, keys)
        self._writer = IdentityWriter(profiles, outbox, delivery, client, keys, clock)

    def adopt(self, one: Identifier, cause: Cause, *, replace: bool) -> Change:
        """Decide the component of an identifier on the rebuilt evidence: in the place of its own (``replace``), or
        beside it. Safe to repeat.

        Raises:
            Conflict: the component is too large to be decided at once (code ``too_large``).
            Transient: others kept changing it, or the table is throttled.
        """
        unfinished: str | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, _BASE_DELAY_S * 2**attempt))  # noqa: S311  jitter needs no secrecy
            try:
                if unfinished is not None:
                    self._writer.finish(unfinished)
                component, theirs = self._closed(one)
                change = self._change(component, theirs, replace=replace)
                if change and self._has_sides():
                    keep_sides(component, change, self._first_events)
                if change:
                    self._writer.write(component, change, cause)  # whoever calls has all people evaluated in the end
                return change
            except Unfinished as open_move:
                unfinished = open_move.pid
            except TooLarge:
                raise Conflict("too many identifiers hang together here", code="too_large") from None
            except (Conflict, Transient):
                continue
        raise Transient(f"identity was not settled in {ATTEMPTS} tries")

    def _closed(self, one: Identifier) -> tuple[Component, dict[Identifier, Known]]:
        """The live component of an identifier with all that the rebuilt evidence connects with it, and that evidence
        by identifier."""
        through, seeds = True, {one}
        for _ in range(_ROUNDS):
            try:
                component = self._reader.read(seeds, through=through)
            except TooLarge:
                if not through:
                    raise
                through = False
                continue
            names = {found: self._keys.identifier_key(found) for found in component.known}
            items = self._rebuilt.batch_get(names.values(), consistent=True)
            theirs = {found: Known.of(items[name]) for found, name in names.items() if name in items}
            near = {end for known in theirs.values() if not _is_closed(known, through) for end in known.neighbours()}
            if near <= component.known.keys():
                return component, theirs
            seeds = {one, *component.known, *near}
        raise TooLarge

    def _change(self, component: Component, theirs: dict[Identifier, Known], *, replace: bool) -> Change:
        config = self._config
        own, told = component.facts(config), Evidence(theirs).facts()
        facts = _united(own, told, component.known.keys(), config, replace=replace)
        closed = {one for one, known in theirs.items() if known.shared and not known.whole}
        facts.shared = {one for one in own.shared if not replace and one not in theirs} | closed
        erased = {one: known.erased for one, known in component.known.items() if known.erased is not None}
        change = difference(component, facts, cluster(facts, config), erased, config, self._keys, closed)
        change.forgotten = _taken_away(own, facts) & component.known.keys()
        return change

    def _first_events(self, identifiers: Iterable[Identifier]) -> dict[Identifier, int]:
        keys = {self._keys.hot_key(one): one for one in identifiers}
        items = self._table.batch_get(keys, consistent=True)
        return {keys[key]: item["f"] for key, item in items.items() if "f" in item}


def _united(own: Facts, told: Facts, members: Iterable[Identifier], config: IdentityConfig, *, replace: bool) -> Facts:
    """The rebuilt facts between these identifiers with what only the live people know: operators' records, links by
    likeness; and, unless it is replaced, all that they know."""
    inside = set(members)

    def within(link: Iterable[Identifier]) -> bool:
        return inside.issuperset(link)

    facts = Facts(probable=own.probable, cuts=own.cuts, aparts=own.aparts, blocked=own.blocked, seen=set(inside))
    links: dict[Pair, tuple[int, int]] = {}
    for source in (told,) if replace else (told, own):
        for link, times in source.links.items():
            if within(link):
                held = links.get(link, times)
                links[link] = (min(held[0], times[0]), max(held[1], times[1]))
        for key, times in source.beside.items():
            if within(key[:2]):
                held = facts.beside.get(key, times)
                facts.beside[key] = (min(held[0], times[0]), max(held[1], times[1]))
        facts.aliases |= {link for link in source.aliases if within(link)}
        for one, ts in source.together.items():
            facts.together[one] = min(ts, facts.together.get(one, ts))
        for one, names in source.names.items():
            for name, ts in names.items():
                facts.add_name(one, name, ts, config)
        for link, proof in source.proofs.items():
            facts.proofs[link] = min(proof, facts.proofs.get(link, proof))
    facts.links = links
    for link in own.probable:
        if link in own.proofs:
            facts.proofs[link] = own.proofs[link]
    facts.together = {one: ts for one, ts in facts.together.items() if one in inside}
    facts.names = {one: names for one, names in facts.names.items() if one in inside}
    facts.proofs = {link: proof for link, proof in facts.proofs.items() if within(link)}
    return facts


def _is_closed(known: Known, through: bool) -> bool:
    """As ``Component.ends_at``, of the rebuilt evidence."""
    return known.shared and not (known.whole and (through or known.disputed))


def _taken_away(own: Facts, facts: Facts) -> set[Identifier]:
    """Whose evidence is less than before: their hot items may not go on saying that it is known."""
    gone: set[Identifier] = set()
    for link, times in own.links.items():
        held = facts.links.get(link)
        if held is None or times[0] < held[0] or held[1] < times[1]:
            gone.update(link)
    for key, times in own.beside.items():
        held = facts.beside.get(key)
        if held is None or times[0] < held[0] or held[1] < times[1]:
            gone.update((*key[:2], *key[2]))
    gone.update(end for link in own.aliases - facts.aliases for end in link)
    for one, names in own.names.items():
        held_names = facts.names.get(one, {})
        if any(name not in held_names or ts < held_names[name] for name, ts in names.items()):
            gone.add(one)
    return gone
