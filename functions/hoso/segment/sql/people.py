"""Conditions on the person as SQL: one select over the profiles with every value extracted once."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from hoso.segment.conditions import EARTH_RADIUS_KM, EVERY_CHANNEL
from hoso.segment.language import Consent, Everyone, Geo, HasId, OnList, ScoreTest, Split, Suppressed, Trait
from hoso.segment.sql.build import (
    Sql,
    alias,
    both,
    call,
    case,
    cast,
    column,
    compare,
    double,
    either,
    integer,
    minus,
    one_of,
    plus,
    sure,
    text,
    times,
)
from hoso.segment.sql.comparisons import number_sql, test_sql
from hoso.segment.sql.dialect import Dialect
from hoso.segment.sql.scopes import Columns
from hoso.segment.values import split_path
from hoso.segment.zones import Zone, parse_duration

PERSON, SPLIT_ID, DELETED = "profile_id", "split_id", "deleted"
Personal = Everyone | Trait | OnList | Consent | Suppressed | HasId | ScoreTest | Geo | Split


@dataclass
class PeopleScan:
    """Collects what conditions ask about people."""

    dialect: Dialect
    as_of: int
    parts: dict[str, Columns] = field(default_factory=dict[str, Columns])

    def condition(self, rule: Personal, zone: Zone) -> Sql:
        """A condition on the row of a person."""
        if isinstance(rule, Everyone):
            return exp.true()
        if isinstance(rule, Trait):
            return self._trait(rule, zone)
        if isinstance(rule, OnList):
            return self._listed("lists", [rule.key])
        if isinstance(rule, Suppressed):
            return self._listed("suppressed", [rule.channel, EVERY_CHANNEL])
        if isinstance(rule, HasId):
            return either([self._has_id(kind) for kind in rule.types])
        if isinstance(rule, Consent):
            return self._consent(rule)
        if isinstance(rule, ScoreTest):
            return self._score(rule, zone)
        return self._geo(rule) if isinstance(rule, Geo) else self._split(rule)

    def query(self, profiles: str) -> exp.Select:
        """The select that gives a row per person with all values and forms that were asked for."""
        plain = [column(name) for name in (PERSON, SPLIT_ID, DELETED)]
        documents = [alias(self.dialect.document(column(part)), part) for part in self.parts]
        inner = exp.select(*plain, *documents).from_(profiles)
        values = [alias(value, name) for part in self.parts.values() for name, value in part.values().items()]
        middle = exp.select(*plain, *values).from_(inner.subquery("documents"))
        forms = [alias(form, name) for part in self.parts.values() for name, form in part.forms().items()]
        return exp.select(exp.Star(), *forms).from_(middle.subquery("found"))

    def _part(self, name: str) -> Columns:
        if name not in self.parts:
            self.parts[name] = Columns(self.dialect, name, f"{name}_")
        return self.parts[name]

    def _trait(self, rule: Trait, zone: Zone) -> Sql:
        holds = test_sql(rule.op, rule.value, rule.ignore_case, self._part("traits"), rule.name, zone, self.as_of)
        held_for = parse_duration(rule.held_for)
        if held_for is None:
            return holds
        names = dict.fromkeys([rule.name, split_path(rule.name)[0]])
        since = [self._part("trait_since").at((name,), "number") for name in names]
        found = since[0] if len(since) == 1 else call("COALESCE", *since)
        return both([holds, sure(compare("lte", found, double(zone.back(self.as_of, held_for))))])

    def _listed(self, part: str, names: list[str]) -> Sql:
        whole = self._part(part).at((), "json")
        wanted = [text(name) for name in names]
        return sure(self.dialect.any_entry(whole, lambda entry: one_of(self.dialect.raw(entry), wanted)))

    def _has_id(self, kind: str) -> Sql:
        values = self._part("identifiers").at((kind,), "json")
        return sure(compare("gt", self.dialect.size(values), integer(0)))

    def _consent(self, rule: Consent) -> Sql:
        states = self._part("consent")
        own = states.at((rule.purpose,), "text")
        known = [own] if rule.channel is None else [states.at((f"{rule.purpose}/{rule.channel}",), "text"), own]
        wanted = [text(state) for state in rule.state]
        denied = compare("is", own, text("denied"))
        return one_of(case([(denied, text("denied"))], call("COALESCE", *known, text("unset"))), wanted)

    def _score(self, rule: ScoreTest, zone: Zone) -> Sql:
        scores = self._part("scores")
        at = scores.at((rule.name, "at"), "number")
        parts = [
            sure(number_sql(rule.op, rule.value, scores.at((rule.name, "value"), "number"), double)),
            sure(compare("lte", at, double(self.as_of))),
        ]
        max_age = parse_duration(rule.max_age)
        if max_age is not None:
            parts.append(sure(compare("gt", at, double(zone.back(self.as_of, max_age)))))
        return both(parts)

    def _geo(self, rule: Geo) -> Sql:
        place = self._part("traits")
        path = split_path(rule.trait)
        lat, lon = place.at((*path, "lat"), "number"), place.at((*path, "lon"), "number")
        inside = [
            compare("lte", call("ABS", lat), double(90)),
            compare("lte", call("ABS", lon), double(180)),
        ]
        half_lat = times(call("RADIANS", minus(lat, double(rule.lat))), double(0.5))
        half_lon = times(call("RADIANS", minus(lon, double(rule.lon))), double(0.5))
        cosines = times(call("COS", call("RADIANS", double(rule.lat))), call("COS", call("RADIANS", lat)))
        chord = plus(_square(call("SIN", half_lat)), times(cosines, _square(call("SIN", half_lon))))
        arc = call("ASIN", call("LEAST", double(1), call("SQRT", chord)))
        distance = times(arc, double(2 * EARTH_RADIUS_KM))
        return sure(both([*inside, compare("lte", distance, double(rule.within_km))]))

    def _split(self, rule: Split) -> Sql:
        first, after = rule.buckets
        identity = call("COALESCE", column(SPLIT_ID, "p"), column(PERSON, "p"))
        bucket = self.dialect.bucket(call("CONCAT", text(f"{rule.salt}:"), cast(identity, "VARCHAR")))
        return both([compare("gte", bucket, integer(first)), compare("lt", bucket, integer(after))])


def _square(value: Sql) -> Sql:
    return times(value, value)
