"""Why identifiers are one person: the links between them with the event behind each, as data and as a graph (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hoso.model.identifiers import Identifier, IdentityConfig
from hoso.model.time import format_instant
from hoso.unify.evidence import Pair, pair
from hoso.unify.facts import Facts, Proof
from hoso.unify.graph import Clusters

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """A link that holds. ``kind``: link, alias, likeness (with ``score``), beside (a better identifier of the event is
    shared). ``first`` and ``last`` are event times in UTC ms, None where they are not kept."""

    ends: Pair
    kind: str
    first: int | None
    last: int | None
    proof: Proof | None
    score: float | None = None

    def as_json(self) -> Json:
        """The edge as the API shows it."""
        shown: Json = {
            "from": str(self.ends[0]),
            "to": str(self.ends[1]),
            "kind": self.kind,
            "first": _text(self.first),
            "last": _text(self.last),
            "message_id": self.proof.id if self.proof else None,
            "source": (self.proof.source or None) if self.proof else None,
        }
        return shown if self.score is None else {**shown, "score": self.score}


def edges_of(facts: Facts, clusters: Clusters, members: frozenset[Identifier]) -> list[Edge]:
    """The links that hold these members together, the oldest first."""
    found: dict[Pair, Edge] = {}
    for link, score in facts.probable.items():
        proof = facts.proofs.get(link)
        found[link] = Edge(link, "likeness", proof.ts if proof else None, None, proof, score)
    for one, other, _ in facts.beside:
        times = facts.beside[one, other, _]
        found[pair(one, other)] = Edge(pair(one, other), "beside", *times, facts.proofs.get(pair(one, other)))
    for link, times in facts.links.items():
        found[link] = Edge(link, "link", *times, facts.proofs.get(link))
    for link in facts.aliases:
        proof = facts.proofs.get(link)
        found[link] = Edge(link, "alias", proof.ts if proof else None, None, proof)
    holds = [
        edge
        for link, edge in found.items()
        if members.issuperset(link)
        and link not in facts.cuts
        and link not in clusters.refused
        and not clusters.shared & set(link)
    ]
    return sorted(holds, key=lambda edge: (edge.first or 0, tuple(map(str, edge.ends))))


def path(edges: Iterable[Edge], start: Identifier, end: Identifier) -> list[Edge] | None:
    """The shortest way over edges from one identifier to another, among equals over the oldest; None without any."""
    near: dict[Identifier, list[tuple[Identifier, Edge]]] = {}
    for edge in edges:
        one, other = edge.ends
        near.setdefault(one, []).append((other, edge))
        near.setdefault(other, []).append((one, edge))
    came: dict[Identifier, tuple[Identifier, Edge] | None] = {start: None}
    row = [start]
    while row and end not in came:
        further: list[Identifier] = []
        for here in row:
            for there, edge in near.get(here, ()):
                if there not in came:
                    came[there] = (here, edge)
                    further.append(there)
        row = further
    if end not in came:
        return None
    way: list[Edge] = []
    step = came[end]
    while step is not None:
        here, edge = step
        way.append(edge)
        step = came[here]
    return way[::-1]


def as_graph(members: Sequence[Identifier], edges: Sequence[Edge]) -> Json:
    """Nodes and edges for a console to draw, and the same as Mermaid and DOT text."""
    names = {one: f"n{number}" for number, one in enumerate(members)}
    return {
        "nodes": [{"id": names[one], "type": one.type, "value": one.value, "label": str(one)} for one in members],
        "edges": [
            {"from": names[edge.ends[0]], "to": names[edge.ends[1]], "kind": edge.kind, "label": _label(edge)}
            for edge in edges
        ],
        "mermaid": _mermaid(names, edges),
        "dot": _dot(names, edges),
    }


def refused_between(
    clusters: Clusters, one: frozenset[Identifier], other: frozenset[Identifier], config: IdentityConfig
) -> list[Json]:
    """The links between two people that were not taken, each with its reason."""
    rows = [
        {"from": str(link[0]), "to": str(link[1]), "reason": reason, "meaning": _meaning(reason, config)}
        for link, reason in clusters.refused.items()
        if (link[0] in one and link[1] in other) or (link[0] in other and link[1] in one)
    ]
    return sorted(rows, key=lambda row: (row["from"], row["to"]))


def _meaning(reason: str, config: IdentityConfig) -> str:
    kind = reason.removeprefix("limit:")
    if kind != reason and kind in config.types:
        return f"a person may have {config.types[kind].limit} of {kind}"
    return {
        "cut": "an operator took this link back",
        "apart": "an operator keeps the two apart",
        "shared": "the value is used by several people, so it joins nobody",
        "names": "the names on both sides contradict each other",
        "max_ids": f"a person may have {config.max_ids} identifiers",
    }.get(reason, reason)


def _label(edge: Edge) -> str:
    what = edge.kind if edge.score is None else f"{edge.kind} {edge.score:.2f}"
    return f"{what} {_text(edge.first) or ''}".strip()


def _mermaid(names: Mapping[Identifier, str], edges: Sequence[Edge]) -> str:
    lines = ["graph LR"]
    lines += [f'  {name}["{_quoted(str(one))}"]' for one, name in names.items()]
    lines += [f'  {names[edge.ends[0]]} ---|"{_label(edge)}"| {names[edge.ends[1]]}' for edge in edges]
    return "\n".join(lines)


def _dot(names: Mapping[Identifier, str], edges: Sequence[Edge]) -> str:
    nodes = "".join(f'  {name} [label="{_escaped(str(one))}"];\n' for one, name in names.items())
    links = "".join(f'  {names[edge.ends[0]]} -- {names[edge.ends[1]]} [label="{_label(edge)}"];\n' for edge in edges)
    return f"graph person {{\n{nodes}{links}}}"


def _quoted(text: str) -> str:
    """As Mermaid takes it inside quotes."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\n", " ")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _text(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else format_instant(instant_ms)
