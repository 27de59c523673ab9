"""Answers about people for roles without the right to personal data (decision 0070; pure).

One rule for every route, ``hoso.model.masks``: who somebody is becomes a shape, what somebody did stays. Profile and
message ids, times, figures, segments, consents, names of events and traits are shown as they are; values of
identifiers, traits and events are not. Handlers call these at the edge; ``hoso.platform.access`` says for whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from hoso.model.identifiers import Identifier
from hoso.model.masks import masked, shape, shown_event, shown_message_id, shown_name
from hoso.model.time import parse_instant
from hoso.unify.evidence import pair
from hoso.unify.explain import Edge

Json = dict[str, Any]
_NUMBERS = (int, float)


def profile(body: Json) -> Json:
    """The answer of ``hoso.unify.shown.as_json`` with all that the handler adds to it."""
    return {name: _SECTIONS[name](content) if name in _SECTIONS else content for name, content in body.items()}


def page(body: Json, one: Callable[[Json], Json]) -> Json:
    """A list's answer with each of its items veiled."""
    return {**body, "items": [one(item) for item in body["items"]]}


def event(item: Json) -> Json:
    """An event of a timeline."""
    shown = {**item, "message_id": shown_message_id(item["message_id"]), "event": shown_name(item["event"])}
    return {**shown, "body": shown_event(item["body"]), "derived": masked(item["derived"])}


def session(item: Json) -> Json:
    """A session: how long, not which addresses were looked at."""
    pages = [
        {**page, "page": shape(page["page"]), "sections": [_part(part) for part in page["sections"]]}
        for page in item["pages"]
    ]
    ends = {name: None if item[name] is None else shape(item[name]) for name in ("entry", "exit")}
    return {**item, **ends, "pages": pages, "campaign": masked(item["campaign"])}


def greeting(body: Json) -> Json:
    """What the host may say, without the names."""
    companion = body.get("companion")
    veiled = companion and {**companion, "name": figures(companion["name"])}
    return {**body, "name": figures(body.get("name")), "companion": veiled}


def review(item: Json) -> Json:
    """A pair of the likeness queue; what it says in ``why`` is masked for everybody."""
    return {**item, **{side: {**item[side], "value": shape(item[side]["value"])} for side in ("a", "b")}}


def example(item: Mapping[str, Any]) -> Json:
    """A person in the preview of a segment: the id, and its traits."""
    return {name: value if name == "profile_id" else masked(value, name) for name, value in item.items()}


def membership(answer: Json) -> Json:
    """Why somebody is in a segment: conditions, counts and times, not the values that were looked at."""
    return {**answer, "tree": _node(answer["tree"])}


def figures(content: Any) -> Any:
    """JSON whose numbers are figures of a business, as those of computed traits are: these stay, texts do not.

    >>> figures({"orders": 3, "last_city": "Huế"})
    {'orders': 3, 'last_city': 'xxx'}
    """
    if isinstance(content, dict):
        return {shown_name(name): figures(part) for name, part in cast("Json", content).items()}
    if isinstance(content, list):
        return [figures(part) for part in cast("list[Any]", content)]
    return shape(content) if isinstance(content, str) else content


class Names:
    """Identifiers of one answer as shapes that stay apart: the second of a shape is numbered.

    >>> names = Names()
    >>> [names.text(one) for one in ("phone:+84901", "phone:+84902", "phone:+84901")]
    ['phone:+000', 'phone:+000 (2)', 'phone:+000']
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}
        self._count: dict[tuple[str, str], int] = {}

    def text(self, told: str) -> str:
        """``type:value``."""
        kind, _, value = told.partition(":")
        return f"{kind}:{self._value(kind, value)}"

    def identifier(self, one: Identifier) -> Identifier:
        """One identifier."""
        return Identifier(one.type, self._value(one.type, one.value))

    def edge(self, edge: Edge) -> Edge:
        """A link."""
        return replace(edge, ends=pair(*map(self.identifier, edge.ends)))

    def within(self, content: Any) -> Any:
        """JSON of which every text is ``type:value``, as the merge log's links and people are."""
        if isinstance(content, dict):
            return {name: self.within(part) for name, part in cast("Json", content).items()}
        if isinstance(content, list):
            return [self.within(part) for part in cast("list[Any]", content)]
        return self.text(content) if isinstance(content, str) else content

    def inside(self, entry: Json, names: Iterable[str]) -> Json:
        """An object with the members of these names put through ``within``."""
        return {**entry, **{name: self.within(entry[name]) for name in names if name in entry}}

    def _value(self, kind: str, value: str) -> str:
        known = self._found.get((kind, value))
        if known is None:
            form = shape(value)
            number = self._count[kind, form] = self._count.get((kind, form), 0) + 1
            known = self._found[kind, value] = form if number == 1 else f"{form} ({number})"
        return known


def rule_preview(report: Json) -> Json:
    """What other rules of identity would mean, in a preview or a switch: the people of its examples as shapes."""
    names = Names()
    if "memberships" in report:
        held: Json = report["memberships"]
        moved = [names.inside(one, ["identifiers"]) for one in held["examples"]]
        report = {**report, "memberships": {**held, "examples": moved}}
    examples: list[Json] = [
        {
            **one,
            "person": names.inside(one["person"], ["identifiers"]),
            "parts": [names.inside(part, ["identifiers"]) for part in one["parts"]],
            "because": [names.inside(link, ["from", "to"]) for link in one["because"]],
        }
        for one in report["examples"]
    ]
    largest = [names.inside(one, ["identifiers"]) for one in report["largest_after"]]
    return {**report, "largest_after": largest, "examples": examples}


def _part(part: Json) -> Json:
    return {name: shape(value) if isinstance(value, str) else value for name, value in part.items()}


def _node(node: Json) -> Json:
    shown = dict(node)
    if "of" in node:
        shown["of"] = [_node(part) for part in node["of"]]
    if node["kind"] in ("trait", "geo"):
        shown["value"] = masked(node["value"])
    elif node["kind"] == "event" and parse_instant(node["value"]) is None:
        shown["value"] = figures(node["value"])
    return shown


def _identifiers(content: Any) -> Any:
    return [{**one, "value": shape(one["value"])} for one in content]


def _named(content: Any) -> Any:
    """Traits: the value under its name, all about it as it is."""
    return {shown_name(name): {**entry, "value": masked(entry["value"], name)} for name, entry in content.items()}


def _history(content: Any) -> Any:
    return {
        shown_name(name): [{**write, "value": masked(write["value"], name)} for write in writes]
        for name, writes in content.items()
    }


def _computed(content: Any) -> Any:
    return {
        name: {**entry, "value": figures(entry["value"]), "reason": figures(entry.get("reason"))}
        for name, entry in content.items()
    }


def _timeline(content: Any) -> Any:
    return page(content, event)


_SECTIONS: Mapping[str, Callable[[Any], Any]] = {
    "identifiers": _identifiers,
    "traits": _named,
    "trait_history": _history,
    "normalised": masked,
    "computed_traits": _computed,
    "scores": _computed,
    "timeline": _timeline,
}
