"""Why a person is in a segment, or is not: every condition with its answer, its figures and its events (pure).

Each condition is asked as a segment of its own, by the live engine itself: what is told is what decided. The figures
come from the events (``hoso.segment.measured``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hoso.model.time import format_instant
from hoso.segment.conditions import bucket, distance_km
from hoso.segment.describe import condition
from hoso.segment.language import (
    AllOf,
    AnyOf,
    Consent,
    EventMeasure,
    Geo,
    HasId,
    InSegment,
    Not,
    OnList,
    Rule,
    ScoreTest,
    Segment,
    Split,
    Suppressed,
    Trait,
)
from hoso.segment.language import Sequence as Steps
from hoso.segment.live import compile_live
from hoso.segment.measured import chain, fitting, measured
from hoso.segment.person import PersonState, RuleEvent, Verdict
from hoso.segment.values import getter, number
from hoso.segment.zones import Zone, zone

MOST_EVENTS = 10
"""Events shown per condition, the newest ones; their number is told beside them."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question with everything that its parts need."""

    known: Mapping[str, Segment]
    person: PersonState
    events: Sequence[RuleEvent]
    as_of: int
    verdicts: Mapping[str, Verdict]


def explain(
    segment: Segment, known: Mapping[str, Segment], person: PersonState, events: Sequence[RuleEvent], as_of: int
) -> Json:
    """The tree of a segment's conditions for one person at ``as_of`` (UTC ms).

    ``known`` are the segments it may refer to; ``events`` all events of the person, each message once, in any order.
    A node has ``kind``, ``says`` and ``says_vi`` (words), ``holds``, ``until`` (ISO 8601, the next moment at which time
    alone may turn it, or null), for conditions their figures, and ``of`` for groups. ``missing`` lists, for a person
    who is not a member, the conditions that keep it out, by their path in the document.

    Raises:
        InvalidSegment: a reference leads nowhere.
    """
    numbered = _numbered(segment, known)
    probes = [
        Segment.model_construct(
            language="segment/1", key=f"n{place}", timezone=where, rule=rule, name="", description=""
        )
        for place, (_, rule, where) in enumerate(numbered)
    ]
    rules = compile_live([*probes, *(known[key] for key in sorted(known) if key != segment.key), segment])
    events = _first_copies(events, as_of)
    meters: Json = {}
    for event in events:
        rules.fold(meters, event)
    found = rules.evaluate(replace(person, meters=meters), as_of)
    verdicts = {path: found[f"n{place}"] for place, (path, _, _) in enumerate(numbered)}
    asked = _Asked({**known, segment.key: segment}, person, events, as_of, verdicts)
    tree = _node(asked, segment.rule, "rule", zone(segment.timezone))
    member = found[segment.key].member
    return {
        "member": member,
        "until": _iso(found[segment.key].until),
        "approximate": found[segment.key].spilled,
        "tree": tree,
        "missing": [] if member or person.deleted else sorted(_blockers(tree, wanted=True)),
    }


def standing(told: Json, *, member: bool) -> Json:
    """What ``explain`` told, where the live state cannot decide: the last nightly answer (``member``) stands, and no
    condition is named as the one that decided."""
    return {**told, "member": member, "until": None, "approximate": True, "missing": []}


def _first_copies(events: Sequence[RuleEvent], as_of: int) -> list[RuleEvent]:
    """The events received by ``as_of``, in order of receipt, of each message the copy received first."""
    kept: dict[str, RuleEvent] = {}
    for event in sorted(events, key=lambda event: event.received_at):
        if event.received_at <= as_of:
            kept.setdefault(event.message_id, event)
    return list(kept.values())


def _numbered(segment: Segment, known: Mapping[str, Segment]) -> list[tuple[str, Rule, str]]:
    """Every part of the rule, and of the rules it refers to, with its path and zone."""
    found: list[tuple[str, Rule, str]] = []

    def walk(rule: Rule, path: str, where: str) -> None:
        found.append((path, rule, where))
        if isinstance(rule, (AllOf, AnyOf)):
            for place, part in enumerate(rule.of):
                walk(part, f"{path}.of.{place}", where)
        elif isinstance(rule, Not):
            walk(rule.of, f"{path}.of", where)
        elif isinstance(rule, InSegment) and rule.key in known:
            walk(known[rule.key].rule, f"{path}.segment", known[rule.key].timezone)

    walk(segment.rule, "rule", segment.timezone)
    return found


def _node(asked: _Asked, rule: Rule, path: str, where: Zone) -> Json:
    verdict = asked.verdicts[path]
    node: Json = {
        "path": path,
        "kind": rule.kind,
        "says": condition(rule),
        "says_vi": condition(rule, "vi"),
        "holds": verdict.member,
        "until": _iso(verdict.until),
    }
    if verdict.spilled:
        node["approximate"] = True
    if isinstance(rule, (AllOf, AnyOf)):
        return {**node, "of": [_node(asked, part, f"{path}.of.{n}", where) for n, part in enumerate(rule.of)]}
    if isinstance(rule, Not):
        return {**node, "of": [_node(asked, rule.of, f"{path}.of", where)]}
    if isinstance(rule, InSegment):
        other = asked.known[rule.key]
        return {**node, "of": [_node(asked, other.rule, f"{path}.segment", zone(other.timezone))]}
    if isinstance(rule, EventMeasure):
        return {**node, **_events_of(asked, rule, where)}
    if isinstance(rule, Steps):
        return {**node, **_steps_of(asked, rule, where)}
    return {**node, **_person_part(asked.person, rule)}


def _events_of(asked: _Asked, rule: EventMeasure, where: Zone) -> Json:
    figures = measured(rule, where, asked.events, asked.as_of)
    value = figures.value
    if rule.measure.agg in ("first", "last") and getattr(rule.measure, "of", None) == "timestamp" and value is not None:
        value = format_instant(value)
    return {"value": value, "count": len(figures.events), "events": _shown(figures.events)}


def _steps_of(asked: _Asked, rule: Steps, where: Zone) -> Json:
    steps = [
        {
            "says": condition(
                Steps(kind="sequence", steps=(step.model_copy(update={"absent": False, "within": None}),))
            ),
            "absent": step.absent,
            "count": len(found := fitting(step.event, step.where, where, asked.events, asked.as_of)),
            "events": _shown(found[-3:]),
        }
        for step in rule.steps
    ]
    return {"steps": steps, "events": _shown(chain(rule, where, asked.events, asked.as_of))}


def _person_part(person: PersonState, rule: Rule) -> Json:
    """The value that a condition on the person looked at."""
    if isinstance(rule, Trait):
        whole = rule.name.split(".", 1)[0]
        since = person.trait_since.get(rule.name, person.trait_since.get(whole))
        return {"value": getter(rule.name)(person.traits), "since": _iso(since)}
    if isinstance(rule, Consent):
        both = f"{rule.purpose}/{rule.channel}" if rule.channel is not None else rule.purpose
        own = person.consent.get(rule.purpose)
        return {"value": own if own == "denied" else person.consent.get(both) or own or "unset"}
    if isinstance(rule, ScoreTest):
        score = person.scores.get(rule.name)
        return {"value": score and score.value, "at": _iso(score.at if score else None)}
    if isinstance(rule, Geo):
        return {"value": _distance(person, rule)}
    if isinstance(rule, Split):
        return {"value": bucket(rule.salt, person.split_id or person.id) / 100}
    if isinstance(rule, HasId):
        return {"value": sorted(kind for kind in rule.types if person.identifiers.get(kind))}
    if isinstance(rule, OnList):
        return {"value": rule.key in person.lists}
    if isinstance(rule, Suppressed):
        return {"value": sorted(person.suppressed)}
    return {}


def _distance(person: PersonState, rule: Geo) -> float | None:
    place = getter(rule.trait)(person.traits)
    lat, lon = (number(place.get("lat")), number(place.get("lon"))) if isinstance(place, dict) else (None, None)
    return None if lat is None or lon is None else round(distance_km(rule.lat, rule.lon, lat, lon), 3)


def _blockers(node: Json, wanted: bool) -> set[str]:
    """Paths of the conditions that would have to turn for this node to be ``wanted``."""
    if node["holds"] is wanted:
        return set()
    if node["kind"] == "not":
        return _blockers(node["of"][0], not wanted)
    if "of" not in node:
        return {node["path"]}
    return set[str]().union(*(_blockers(part, wanted) for part in node["of"]))


def _shown(events: Sequence[RuleEvent]) -> list[Json]:
    """The newest events, newest first."""
    newest = sorted(events, key=lambda event: (event.ts, event.message_id), reverse=True)[:MOST_EVENTS]
    return [
        {"message_id": event.message_id, "event": event.name, "timestamp": format_instant(event.ts)} for event in newest
    ]


def _iso(instant: int | None) -> str | None:
    return None if instant is None else format_instant(instant)
