"""Takes a person out of the tables (security S51, S52; decision 0082).

The document and the mark ``er`` on the hot item of every identifier are one transaction: from then on nobody's commit
on the old fragments holds, and the consumer passes over what happened or came before. Then identity forgets the
evidence (R15), and everything else is removed by keyed hashes alone, so that whoever comes after a kill needs no value.
A second look, when every worker of before has ended, takes out what these may have left. New events of the same
identifiers belong to somebody new, and are left alone throughout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from hoso.model.errors import Conflict, Transient
from hoso.model.identifiers import Identifier
from hoso.model.time import MINUTE_MS
from hoso.platform.audit import audit_entry
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Check, Delete, Item, Key, Put, Table, Update, Write, at_version, transact
from hoso.platform.ids import content_id
from hoso.unify import merge_log
from hoso.unify.erasures import ERASURE, PARTIAL, RUNNING, SETTLING, Erasures, key_of
from hoso.unify.evidence import Erasure
from hoso.unify.fragments import ERASED, Cold, cold_item, cold_of
from hoso.unify.identities import Identities
from hoso.unify.identity_component import Unfinished
from hoso.unify.identity_items import identifier_key, read_identifier
from hoso.unify.leftovers import Leftovers
from hoso.unify.listings import channel_of
from hoso.unify.profiles import Profile
from hoso.unify.settlement import due_item, member_key
from hoso.unify.store import ProfileStore, cold_key, hot_key, person_key

ATTEMPTS = 8
SETTLED_MS = 15 * MINUTE_MS
"""After that no worker is left that read the person before; a consumer lives two minutes, a replay's step fifteen."""
_MARKS_AT_ONCE = 90
"""Items that are emptied and marked in the transaction of the document: those of 30 identifiers and more."""
_ROUND = 16
"""Identifiers that identity forgets in one decision; fewer where even these are too many."""
_RESUMED_AFTER_MS = MINUTE_MS
_KEPT_OF_IDENTIFIER = ("pk", "sk", ERASED, "bl", "pend")
_EVIDENCE = ("al", "pr", "nm", "bs")

Member = tuple[str, str]
Json = dict[str, Any]


class Eraser:
    """Erases people of one workspace."""

    def __init__(
        self,
        store: ProfileStore,
        identities: Identities,
        erasures: Erasures,
        control: Table,
        client: Any,
        clock: Clock,
        workspace: str,
    ) -> None:
        self._store = store
        self._identities = identities
        self._erasures = erasures
        self._control = control
        self._client = client
        self._clock = clock
        self._workspace = workspace
        self._left = Leftovers(store, identities, client, workspace)

    def found(self, fid: str) -> Item | None:
        """The newest erasure of whoever had the identifier with this hash."""
        return self._erasures.of(self._workspace, {fid})

    def plan(self, profile: Profile) -> Json:
        """What would go: ``members``, and ``counts`` of identifiers, fragments, events and memberships.

        Raises:
            Conflict: too many identifiers hang together (``too_large``).
            Transient: the person is being merged right now.
        """
        config, keys = self._identities.config, self._identities.keys
        known = [one for one in map(_identifier, profile.person.identifiers) if one.type in config.types]
        held = {*map(_identifier, profile.person.identifiers)}
        if known:
            held |= self._identities.preview(Erasure("plan", self._clock(), known[0])).erased
        members = sorted((one.type, keys.fragment(one)) for one in held)
        counts = {
            "identifiers": len(members),
            "fragments": sum(fragment.hot.events > 0 for fragment in profile.fragments),
            "events": profile.totals["events"],
            "memberships": len(profile.person.memberships),
        }
        return {"members": members, "counts": counts}

    def begin(self, profile: Profile, actor: str) -> Item:
        """Note that a person is to be erased, and mark its identifiers, in one transaction; the document.

        Raises:
            Conflict: the person changed, or somebody else erases it: look again. Else as ``plan``.
        """
        plan = self.plan(profile)
        members: list[Member] = plan["members"]
        now, marks, lists = self._clock(), list[Write](), list[list[str]]()
        for member in members:
            writes, names = self._mark(member, now, evidence=len(members) <= _ROUND)
            lists += [[name, member[1]] for name in names]
            marks += writes if len(marks) + len(writes) <= _MARKS_AT_ONCE else []
        pk, sk = key_of(self._workspace, now, content_id(profile.pid, str(now))[:12])
        document: Item = {
            **{"pk": pk, "sk": sk, "v": 1, "at": now, "until": now, "by": actor, "state": RUNNING},
            **{"pid": profile.pid, "members": [list(one) for one in members], "counts": plan["counts"]},
            **{"lists": lists, "near": self._near(members), "told": []},
        }
        transact(
            self._client,
            [
                self._erasures.first(document),
                audit_entry(self._control, self._workspace, now, actor, "person.erase", sk),
                self._timer(sk, now + _RESUMED_AFTER_MS),
                self._raised(profile.pid, profile.person.version),
                *marks,
            ],
        )
        return document

    def resume(self, erasure: str) -> Item:
        """Go on with an erasure to its end, or to its second look; harmless where nothing is left to do.

        Raises:
            Transient: the tables are busy, or others kept changing somebody who is concerned; ask again.
        """
        held = self._erasures.get(self._workspace, erasure)
        now = self._clock()
        if held["state"] == PARTIAL or (held["state"] == SETTLING and now < held["look_at"]):
            return held
        members = [(kind, fid) for kind, fid in held["members"]]
        self._mark_all(held)
        if "forgotten" not in held:
            self._forget(held, members)
            held = self._noted(held, forgotten=self._clock())
        for kind, fid in members:
            self._scrub(held, kind, fid)
        self._left.logs(held)
        for _, fid in members:
            self._left.pages(held, fid, now, now - SETTLED_MS // 2)
        self._left.lists(held)
        told, gone = self._left.sent(held)
        if told != held["told"]:
            held = self._noted(held, told=told)
        self._left.remove(gone)
        if held["state"] == RUNNING:
            news: Json = {"state": SETTLING, "look_at": now + SETTLED_MS}
            self._store.delivery.put(self._timer(erasure, news["look_at"]).item)
        else:
            news = {"state": PARTIAL, "hot_at": now}
        with suppress(Conflict):  # somebody else was as far
            held = self._erasures.note(held, **news)
        return self._erasures.get(self._workspace, erasure)

    def _noted(self, held: Item, **news: Any) -> Item:
        try:
            return self._erasures.note(held, **news)
        except Conflict:
            raise Transient("somebody else is at this erasure") from None

    def _timer(self, erasure: str, at: int) -> Put:
        return Put(self._store.delivery, due_item(self._workspace, ERASURE + erasure, at))

    def _near(self, members: Iterable[Member]) -> list[str]:
        """The profile ids of others with whom the person was merged, by its log."""
        keys, mine = self._identities.keys, {fid for _, fid in members}
        near: set[str] = set()
        for fid in mine:
            for entry in merge_log.entries(self._store.profiles, self._workspace, f"p_{fid}"):
                for images in (entry.item["before"], entry.item["after"]):
                    texts = {text for held in images.values() for text in held}
                    near |= {*images, *(keys.profile(read_identifier(text)) for text in texts)}
        return sorted(near - {f"p_{fid}" for fid in mine})

    def _raised(self, pid: str, version: int) -> Write:
        """Whoever looked at the identifiers of a person before fails, and so does whoever joins it meanwhile."""
        table, key = self._store.profiles, person_key(self._workspace, pid)
        if version == 0:
            return Check(table, key, at_version(0))
        return Update(table, key, add={"v": 1}, condition=at_version(version))

    def _mark(self, member: Member, until: int, *, evidence: bool) -> tuple[list[Write], list[str]]:
        """The writes that empty a fragment and mark it (and its identifier, if that parts no more people than one
        decision can), and the lists that the identifier is on; none if that was done."""
        kind, fid = member
        name = identifier_key(self._workspace, kind, fid)
        hot, cold = hot_key(self._workspace, fid), cold_key(self._workspace, fid)
        items = self._store.read([hot, cold, name], consistent=True)
        held, table = items.get(hot, {}), self._store.profiles
        if held.get(ERASED, -1) >= until:
            return [], []
        known = items.get(name, {"pk": name[0], "sk": name[1], "v": 0})
        writes: list[Write] = [
            Put(table, _bare(hot, held, until), at_version(held.get("v", 0))),
        ]
        if evidence:
            # from now on no decision counts what was known before, and what is told afterwards is news
            writes.append(Put(table, known | {"v": known["v"] + 1, ERASED: until}, at_version(known["v"])))
        names: list[str] = []
        if cold in items:
            state, before = cold_of(items[cold]), items[cold]["v"]
            names = [name for name in state.listed if channel_of(name) is None]
            kept = {name: entry for name, entry in state.listed.items() if channel_of(name) is not None}
            if kept:
                writes.append(Put(table, cold_item(Cold(before + 1, listed=kept), cold[0]), at_version(before)))
            else:
                writes.append(Delete(table, cold, at_version(before)))
        return writes, names

    def _mark_all(self, held: Item) -> None:
        """Mark what the first transaction had no room for."""
        for kind, fid in held["members"]:
            self._until_settled(partial(self._marking, (kind, fid), held["until"]))

    def _marking(self, member: Member, until: int) -> list[Write]:
        return self._mark(member, until, evidence=False)[0]

    def _until_settled(self, decide: Callable[[], Sequence[Write]]) -> None:
        """Commit what ``decide`` says, again when somebody was faster. Raises ``Transient``."""
        for _ in range(ATTEMPTS):
            try:
                self._store.commit(decide())
            except Conflict:
                continue
            return
        raise Transient(f"the person kept changing in {ATTEMPTS} tries")

    def _forget(self, held: Item, members: list[Member]) -> None:
        """Have identity forget the evidence (R15), some identifiers at a time."""
        named = self._named(members)
        keys, config, until = self._identities.keys, self._identities.config, held["until"]
        waiting, size = self._fewest_links_first([one for one in named if one.type in config.types]), _ROUND
        while waiting:
            some = waiting[:size]
            name = f"erasure:{held['sk']}:{content_id(*sorted(map(keys.fragment, some)))}"
            try:
                self._identities.apply(Erasure(name, until, some[0], frozenset(some), frozenset(named)))
                waiting = waiting[size:]
            except Conflict as error:
                if error.code != "too_large" or size == 1:
                    raise
                size //= 2

    def _fewest_links_first(self, named: list[Identifier]) -> list[Identifier]:
        """So that no round parts many: whoever holds the others together goes last."""
        if len(named) <= _ROUND:
            return named
        try:
            facts = self._identities.facts_of(*named)
        except Unfinished:
            raise Transient("this person is being merged right now") from None
        links = Counter(end for link in (*facts.links, *facts.aliases, *facts.probable) for end in link)
        return sorted(named, key=lambda one: (links[one], str(one)))

    def _named(self, members: list[Member]) -> list[Identifier]:
        """The identifiers of the person that identity has anything on, as far as their values are there still."""
        keys, wanted = self._identities.keys, {fid for _, fid in members}
        names = [identifier_key(self._workspace, kind, fid) for kind, fid in members]
        people = [person_key(self._workspace, f"p_{fid}") for fid in wanted]
        items = self._store.read([*names, *people], consistent=True)
        found = {Identifier(pk.split("#")[2], item["val"]) for (pk, _), item in items.items() if "val" in item}
        found |= {Identifier(*one) for item in items.values() for one in item.get("ids", ())}
        return sorted(one for one in found if keys.fragment(one) in wanted)

    def _scrub(self, held: Item, kind: str, fid: str) -> None:
        """Take what the items of one identifier and of its person say of who was erased."""
        until = held["until"]
        hot, who = hot_key(self._workspace, fid), person_key(self._workspace, f"p_{fid}")
        name = identifier_key(self._workspace, kind, fid)

        def decide() -> list[Write]:
            items = self._store.read([hot, who, name], consistent=True)
            fragment, person = items.get(hot, {}), items.get(who)
            hots = self._hots(person)
            if person is not None and self._is_new(person, hots):
                return self._renewed(person, hots, until)
            writes = self._identifier(name, items.get(name), f"p_{fid}", until)
            if person is not None:
                self._unlist(person, person.get("m", {}))
                writes.append(Delete(self._store.profiles, who, at_version(person["v"])))
            owned = fragment.get("o", f"p_{fid}") == f"p_{fid}"
            if owned and "n" not in fragment and fragment.keys() - {"pk", "sk", "v", ERASED}:
                writes.append(Put(self._store.profiles, _bare(hot, fragment, until), at_version(fragment["v"])))
            return writes

        self._until_settled(decide)

    def _identifier(self, key: Key, item: Item | None, own: str, until: int) -> list[Write]:
        table = self._store.profiles
        if item is None:
            return [Put(table, {"pk": key[0], "sk": key[1], "v": 1, ERASED: until}, at_version(0))]
        links = item.get("l", {}).values()
        later = any(times[1] > until for times in links) or any(name in item for name in _EVIDENCE)
        if later or item.get("p", own) != own:
            return []  # what is there came afterwards
        kept = {name: item[name] for name in _KEPT_OF_IDENTIFIER if name in item}
        kept |= {"w": item["w"]} if item.get("w", 0) > until else {}
        kept[ERASED] = max(until, kept.get(ERASED, until))
        if kept == {attribute: value for attribute, value in item.items() if attribute != "v"}:
            return []
        return [Put(table, kept | {"v": item["v"] + 1}, at_version(item["v"]))]

    def _hots(self, person: Item | None) -> dict[Key, Item]:
        fids: list[str] = (person or {}).get("fr", [])
        return self._store.read([hot_key(self._workspace, fid) for fid in fids], consistent=True)

    @staticmethod
    def _is_new(person: Item, hots: Mapping[Key, Item]) -> bool:
        """Whether a person has events, or links, that came after the erasure."""
        return "to" in person or len(person.get("ids", ())) > 1 or any("n" in hot for hot in hots.values())

    def _unlist(self, person: Item, segments: Iterable[str]) -> None:
        """Take a person off the lists of members, and out of the timer."""
        pid = person["pk"].rpartition("#")[2]
        listed = [(one, segment) for one in (pid, *person.get("ab", ())) for segment in segments]
        self._store.profiles.batch_write(deletes={member_key(self._workspace, one, segment) for one, segment in listed})
        if "due" in person:
            timer = due_item(self._workspace, pid, person["due"])
            self._store.delivery.batch_write(deletes=[(timer["pk"], timer["sk"])])

    def _renewed(self, person: Item, hots: Mapping[Key, Item], until: int) -> list[Write]:
        """The writes that take from somebody new what is left of who was erased; the segments are evaluated anew."""
        memberships: dict[str, list[Any]] = person.get("m", {})
        over = [segment for segment, entry in memberships.items() if entry[1] <= until]
        if not over and not {"qm", "ab"} & person.keys():
            return []
        self._unlist(person, over)
        table, now, pid = self._store.profiles, self._clock(), person["pk"].rpartition("#")[2]
        rest = {name: value for name, value in person.items() if name not in ("m", "mr", "ab", "qm", "rl", "sp")}
        rest["m"] = {segment: entry for segment, entry in memberships.items() if segment not in over}
        rest["mr"] = {segment: why for segment, why in person.get("mr", {}).items() if segment not in over}
        return [
            Put(table, rest | {"v": person["v"] + 1, "dirty": True, "due": now}, at_version(person["v"])),
            Put(self._store.delivery, due_item(self._workspace, pid, now)),
            *(
                Update(table, key, put={"o": pid}, add={"v": 1}, condition=at_version(hot["v"]))
                for key, hot in sorted(hots.items())
            ),
        ]


def _bare(key: Key, held: Item, until: int) -> Item:
    """The mark that is left of a fragment. Its version goes on, so that nobody's older picture of it holds."""
    return {"pk": key[0], "sk": key[1], "v": held.get("v", 0) + 1, ERASED: max(until, held.get(ERASED, until))}


def _identifier(one: tuple[str, str]) -> Identifier:
    return Identifier(*one)
