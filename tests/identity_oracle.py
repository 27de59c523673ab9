"""A second reading of rules R1-R17, straight from the README of the scenarios, that shares no code with the product.

It takes a scenario document and answers with its ``expect`` as sets. It is written to be obviously right and slow:
every question is answered from the whole list of items, nothing is kept between two questions.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

Node = tuple[str, str]
Link = tuple[Node, Node]

PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "order": "first",
        "max_ids": 1000,
        "types": {
            "user_id": {"rank": 1, "limit": 1},
            "crm_id": {"rank": 2, "limit": 1},
            "loyalty_id": {"rank": 3, "limit": 5},
            "email": {"rank": 4, "limit": 5, "fanout": 5},
            "phone": {"rank": 5, "limit": 5, "fanout": 5},
            "device_id": {"rank": 6, "limit": 5, "fanout": 10},
            "ga_client_id": {"rank": 7, "limit": 5, "fanout": 10},
            "anonymous_id": {"rank": 8, "limit": 5, "window_days": 7, "fanout": 10},
        },
    },
    "graph-linking": {
        "order": "last",
        "max_ids": 50,
        "types": {
            "crm_id": {"rank": 1, "limit": 1},
            "email": {"rank": 2},
            "phone": {"rank": 3},
            "login_id": {"rank": 4},
            "device_id": {"rank": 5},
            "anonymous_id": {"rank": 6},
        },
    },
}
WORDS = {
    *[
        "null",
        "none",
        "nil",
        "undefined",
        "nan",
        "n/a",
        "na",
        "anonymous",
        "unknown",
        "invalid",
        "void",
        "-1",
        "not-specified",
        "true",
        "false",
    ],
    "[object object]",
}


def text(node: Node) -> str:
    return f"{node[0]}:{node[1]}"


def clean(kind: str, value: Any, config: dict[str, Any]) -> str | None:
    """R1 and R2."""
    if kind not in config["types"]:
        return None
    value = str(value)
    raw = value.strip()
    if len(value) > 1024 or re.fullmatch("[0-]*", raw) or raw.lower() in WORDS:
        return None
    found = raw
    if kind == "email":
        found = raw.lower()
        if found in ("test@test.com", "a@a.com", "none@none.com", "noemail@noemail.com"):
            return None
        if found.split("@")[0] in ("noreply", "no-reply", "donotreply"):
            return None
        if not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", found):
            return None
    if kind == "phone":
        digits = re.sub("[^0-9]", "", raw)
        if not raw.startswith("+"):
            if digits.startswith("00"):
                digits = digits[2:]
            elif digits.startswith("0"):
                digits = "84" + digits[1:]
        if not 8 <= len(digits) <= 15 or digits.endswith("123456789"):
            return None
        if digits.startswith("84") and len(set(digits[2:])) == 1:
            return None
        found = "+" + digits
    return None if found in config.get("blocked", ()) or raw in config.get("blocked", ()) else found


def rules_of(document: dict[str, Any]) -> dict[str, Any]:
    given = document.get("config", "default")
    if isinstance(given, str):
        return PRESETS[given]
    base = PRESETS[given.get("base", "default")]
    return {**base, **given, "types": {**base["types"], **given.get("types", {})}}


def nodes_of(given: dict[str, Any] | None, config: dict[str, Any]) -> list[Node]:
    found: set[Node] = set()
    for kind, values in (given or {}).items():
        for value in values if isinstance(values, list) else [values]:
            usable = clean(kind, value, config)
            if usable is not None:
                found.add((kind, usable))
    return sorted(found, key=lambda node: (config["types"][node[0]]["rank"], node))


def node_of(name: str, config: dict[str, Any]) -> Node | None:
    kind, _, value = name.partition(":")
    usable = clean(kind, value, config)
    return None if usable is None else (kind, usable)


def both(one: str, other: str, config: dict[str, Any]) -> Link | None:
    """The link that a record names; none when an end of it identifies nobody."""
    first, second = node_of(one, config), node_of(other, config)
    return None if first is None or second is None or first == second else link_of(first, second)


def link_of(one: Node, other: Node) -> Link:
    return (one, other) if text(one) <= text(other) else (other, one)


class World:
    """The state after a list of items."""

    def __init__(self, items: list[dict[str, Any]], config: dict[str, Any]) -> None:
        self.config = config
        self.rank = {kind: rule["rank"] for kind, rule in config["types"].items()}
        self.erased: list[tuple[set[Node], int]] = []
        self.forgotten: set[int] = set()
        unique: list[dict[str, Any]] = []
        for item in items:
            if item["id"] not in {other["id"] for other in unique}:
                if item.get("op") == "delete":
                    before = World([*unique], config)
                    erased = node_of(item["profile_of"], config)
                    gone = set[Node]() if erased is None else before.cluster(erased)
                    self.erased.append((gone, item["ts"]))
                    for number, held in enumerate(unique):
                        if held.get("op") == "probable" and gone & set(both(held["a"], held["b"], config) or ()):
                            self.forgotten.add(number)
                unique.append(item)
        self.items = unique
        self._solve()

    def identifiers(self, item: dict[str, Any]) -> list[Node]:
        """R3, R4, R15: what counts of an event, best first."""
        found = nodes_of(item.get("ids"), self.config)
        if item.get("type") != "alias":
            for one, other in combinations(found, 2):
                if one[0] == other[0] and self.config["types"][one[0]].get("limit") == 1:
                    return []
        return [node for node in found if not self.is_erased(node, item["ts"])]

    def previous(self, item: dict[str, Any]) -> list[Node]:
        if item.get("type") != "alias":
            return []
        found = nodes_of(item.get("previous"), self.config)
        return [node for node in found if not self.is_erased(node, item["ts"])]

    def is_erased(self, node: Node, ts: int) -> bool:
        return any(node in gone and ts <= until for gone, until in self.erased)

    def _solve(self) -> None:
        times: dict[Link, list[int]] = {}
        aliases: set[Link] = set()
        met: dict[Node, list[int]] = {}
        self.seen: set[Node] = set()
        self.hubs: dict[str, Node] = {}
        probable: dict[Link, float] = {}
        cuts: set[Link] = set()
        apart: set[Link] = set()
        for number, item in enumerate(self.items):
            op = item.get("op")
            if op is None:
                found = self.identifiers(item)
                if not found:
                    continue
                hub = found[0]
                self.hubs[item["id"]] = hub
                others = [(other, False) for other in found[1:]]
                others += [(other, other[0] == hub[0]) for other in self.previous(item) if other != hub]
                self.seen.update([hub, *(other for other, _ in others)])
                for other, alias in others:
                    if alias:
                        aliases.add(link_of(hub, other))
                    else:
                        times.setdefault(link_of(hub, other), []).append(item["ts"])
                    for end in (hub, other):
                        met.setdefault(end, []).append(item["ts"])
            elif op == "probable" and number not in self.forgotten:
                link = both(item["a"], item["b"], self.config)
                if link is not None and not any(self.is_erased(end, item["ts"]) for end in link):
                    probable[link] = max(item["score"], probable.get(link, 0))
            elif op in ("cut", "restore", "apart"):
                for one, other in item["links"]:
                    link = both(one, other, self.config)
                    if link is None:
                        continue
                    if op == "cut":
                        cuts.add(link)
                    elif op == "apart":
                        apart.add(link)
                    else:
                        cuts.discard(link)
                        apart.discard(link)
        self.met = {node: min(seen) for node, seen in met.items()}
        self.classes = [{one, other} for one, other in aliases - cuts]
        self.apart = apart
        self.parts: list[set[Node]] = [{node} for node in self.seen | {end for link in probable for end in link}]
        for one, other in sorted(aliases - cuts):
            self._unite(one, other)
        shared = self._shared([link for link in times if link not in cuts])
        for link in self._in_order(times) + sorted(
            (link for link in probable if link not in times),
            key=lambda link: (-probable[link], text(link[0]), text(link[1])),
        ):
            if link not in cuts and not shared & set(link) and self._allowed(*link):
                self._unite(*link)

    def _in_order(self, times: dict[Link, list[int]]) -> list[Link]:
        """R7."""

        def key(link: Link) -> Any:
            ranks = sorted(self.rank[end[0]] for end in link)
            names = (text(link[0]), text(link[1]))
            if self.config["order"] == "first":
                return (min(times[link]), ranks[1], ranks[0], names)
            return (ranks[1], -max(times[link]), ranks[0], names)

        return sorted(times, key=key)

    def _shared(self, links: list[Link]) -> set[Node]:
        """R9."""
        found: set[Node] = set()
        for node in {end for link in links for end in link}:
            guard = self.config["types"][node[0]].get("fanout")
            near = [(set(link) - {node}).pop() for link in links if node in link]
            for kind, rule in self.config["types"].items():
                counts = guard is not None and rule.get("limit") == 1 and rule["rank"] < self.rank[node[0]]
                if counts and len({other for other in near if other[0] == kind}) > guard:
                    found.add(node)
        return found

    def cluster(self, node: Node) -> set[Node]:
        return next((part for part in self.parts if node in part), {node})

    def _unite(self, one: Node, other: Node) -> None:
        first, second = self.cluster(one), self.cluster(other)
        if first is not second:
            self.parts = [part for part in self.parts if part is not first and part is not second]
            self.parts.append(first | second)

    def _allowed(self, one: Node, other: Node) -> bool:
        """R8, R12, R14, R16."""
        first, second = self.cluster(one), self.cluster(other)
        if first is second:
            return True
        whole = first | second
        if len(whole) > self.config["max_ids"] or any({a, b} <= whole for a, b in self.apart):
            return False
        for kind, rule in self.config["types"].items():
            limit = rule.get("limit")
            groups = self._counted({node for node in whole if node[0] == kind})
            if limit is None or len(groups) <= limit:
                continue
            if rule.get("window_days") is None:
                return False
            width = rule["window_days"] * 86_400
            firsts = [min(self.met[node] for node in group if node in self.met) for group in groups if self._has(group)]
            if any(sum(start <= at < start + width for at in firsts) > limit for start in firsts):
                return False
        return True

    def _has(self, group: set[Node]) -> bool:
        return any(node in self.met for node in group)

    def _counted(self, nodes: set[Node]) -> list[set[Node]]:
        """Values, aliased ones as one."""
        groups = [self._class(node) for node in nodes]
        return [group for number, group in enumerate(groups) if group not in groups[:number]]

    def _class(self, node: Node) -> set[Node]:
        group = {node}
        while True:
            wider = group.union(*(one for one in self.classes if one & group)) if self.classes else group
            if wider == group:
                return group
            group = wider


def expected(document: dict[str, Any]) -> tuple[Any, ...]:
    """Profiles, unowned identifiers and unresolved events of a scenario, as sets (R10, R11)."""
    config = rules_of(document)
    world = World(document["items"], config)
    hubs = set(world.hubs.values())
    owned = [part for part in world.parts if len(part) > 1 or part & hubs]
    profiles = {
        (
            frozenset(map(text, part)),
            frozenset(event for event, hub in world.hubs.items() if hub in part),
        )
        for part in owned
    }
    unowned = {text(node) for node in world.seen if not any(node in part for part in owned)}
    events = {item["id"] for item in document["items"] if "op" not in item}
    return profiles, unowned, events - world.hubs.keys()
