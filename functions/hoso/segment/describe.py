"""Every document as one sentence, in English or Vietnamese: the sentence, not the JSON, is what people approve."""

from __future__ import annotations

from typing import Any, Literal, cast

from hoso.segment.event_language import (
    Absolute,
    Active,
    BetweenAgo,
    Calendar,
    FirstLast,
    Item,
    Last,
    Measure,
    MostFrequent,
    Percentile,
    Prop,
    Where,
    WhereAll,
    WhereAny,
    WhereNot,
)
from hoso.segment.language import (
    AllOf,
    AnyOf,
    Consent,
    EventMeasure,
    Everyone,
    Geo,
    HasId,
    InSegment,
    Not,
    OnList,
    Rule,
    ScoreTest,
    Segment,
    Sequence,
    Split,
    Step,
    Suppressed,
    Trait,
)
from hoso.segment.phrases import PHRASES, UNITS

Language = Literal["en", "vi"]


def sentence(segment: Segment, language: Language = "en") -> str:
    """What the segment means, for its marketer."""
    words = _Words(language)
    return words.say("people", rule=words.rule(segment.rule), zone=segment.timezone)


def condition(rule: Rule, language: Language = "en") -> str:
    """What one condition of a segment means, on its own."""
    return _Words(language).rule(rule)


class _Words:
    """Says the parts of a document with the phrases of one language."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def say(self, phrase: str, **parts: object) -> str:
        return PHRASES[phrase][self._language].format(**parts)

    def rule(self, rule: Rule, nested: bool = False) -> str:
        if isinstance(rule, (AllOf, AnyOf)):
            word = "and" if isinstance(rule, AllOf) else "or"
            return self._joined([self.rule(part, nested=True) for part in rule.of], word, nested)
        if isinstance(rule, Not):
            return self.say("not", rule=self.rule(rule.of, nested=True))
        if isinstance(rule, EventMeasure):
            return self._event(rule)
        if isinstance(rule, Sequence):
            return self._sequence(rule)
        return self._person(rule)

    def _person(
        self, rule: Everyone | InSegment | Trait | OnList | Consent | Suppressed | HasId | ScoreTest | Geo | Split
    ) -> str:
        if isinstance(rule, Everyone):
            return self.say("everyone")
        if isinstance(rule, InSegment):
            return self.say("segment", key=rule.key)
        if isinstance(rule, OnList):
            return self.say("list", key=rule.key)
        if isinstance(rule, Suppressed):
            return self.say("suppressed", channel=rule.channel)
        if isinstance(rule, HasId):
            return self.say("has_id", types=self._or(rule.types))
        if isinstance(rule, Trait):
            said = self._compared(self.say("trait", name=rule.name), rule.op, rule.value, rule.ignore_case)
            return said if rule.held_for is None else self.say("for", said=said, time=self._duration(rule.held_for))
        if isinstance(rule, Consent):
            states = self._or([self.say(state) for state in rule.state])
            channel = "" if rule.channel is None else self.say("on_channel", channel=rule.channel)
            return self.say("consent", purpose=rule.purpose, channel=channel, states=states)
        if isinstance(rule, ScoreTest):
            said = self._compared(self.say("score", name=rule.name), rule.op, rule.value, False)
            return said if rule.max_age is None else self.say("fresh", said=said, time=self._duration(rule.max_age))
        if isinstance(rule, Geo):
            return self.say("geo", trait=rule.trait, km=rule.within_km, lat=rule.lat, lon=rule.lon)
        return self.say("split", salt=rule.salt, start=rule.start, end=rule.end)

    def _event(self, rule: EventMeasure) -> str:
        what = self._events(rule.event, rule.where)
        when = self._window(rule.window)
        if rule.op is None:
            return self.say("did", what=what, when=when)
        if rule.measure.agg == "count":
            if (rule.op, rule.value) in (("is", 0), ("lt", 1), ("lte", 0)):
                return self.say("did_not", what=what, when=when)
            subject = self.say("count", what=what, when=when)
        else:
            subject = self._measure(rule.measure, what, when)
        return self._compared(subject, rule.op, rule.value, rule.ignore_case)

    def _measure(self, measure: Measure, what: str, when: str) -> str:
        parts: dict[str, object] = {"what": what, "when": when}
        if isinstance(measure, Active):
            least = "" if measure.min_each == 1 else self.say("min_each", n=measure.min_each)
            return self.say("active", unit=self._unit(measure.unit), least=least, **parts)
        if isinstance(measure, FirstLast) and measure.of == "timestamp":
            return self.say(f"{measure.agg}_time", **parts)
        if isinstance(measure, Percentile):
            parts["p"] = measure.p
        if isinstance(measure, MostFrequent) and measure.min_count > 1:
            parts["when"] = self.say("min_count", when=when, n=measure.min_count)
        return self.say(measure.agg, of=getattr(measure, "of", ""), **parts)

    def _sequence(self, rule: Sequence) -> str:
        steps = [self._step(step, first=place == 0) for place, step in enumerate(rule.steps)]
        steps[0] += self._window(rule.window)
        said = self.say("then").join(steps)
        if rule.within is not None:
            said = self.say("in_all", said=said, time=self._duration(rule.within))
        return said if rule.same is None else self.say("same", said=said, paths=self._or(rule.same))

    def _step(self, step: Step, first: bool) -> str:
        phrase = "step_first" if first else "step_absent" if step.absent else "step"
        said = self.say(phrase, what=self._events(step.event, step.where))
        return said if step.within is None else self.say("within", said=said, time=self._duration(step.within))

    def _events(self, names: tuple[str, ...], where: Where | None) -> str:
        said = self.say("any_event") if "*" in names else self._or([f"“{name}”" for name in names])
        return said if where is None else self.say("with", said=said, where=self._where(where))

    def _where(self, where: Where, nested: bool = False) -> str:
        if isinstance(where, Prop):
            return self._compared(where.path, where.op, where.value, where.ignore_case)
        if isinstance(where, Item):
            return self.say("item", list=where.list, where=self._where(where.where, nested=True))
        if isinstance(where, WhereNot):
            return self.say("not", rule=self._where(where.of, nested=True))
        parts: tuple[WhereAll | WhereAny | Where, ...] = where.of
        return self._joined([self._where(part, True) for part in parts], _JOIN[type(where)], nested)

    def _window(self, window: Last | BetweenAgo | Calendar | Absolute | None) -> str:
        if window is None:
            return ""
        if isinstance(window, Last):
            return self.say("last_window", time=self._duration(window.last))
        if isinstance(window, BetweenAgo):
            far, near = window.between_ago
            return self.say("ago_window", far=self._duration(far), near=self._duration(near))
        if isinstance(window, Calendar):
            phrase = "calendar_window" if window.back == 0 and window.count == 1 else "calendar_window_back"
            return self.say(phrase, unit=self._unit(window.calendar), back=window.back, count=window.count)
        start = "" if window.start is None else self.say("from_window", day=window.start)
        return start + ("" if window.end is None else self.say("to_window", day=window.end))

    def _compared(self, subject: str, op: str, value: Any, ignore_case: bool) -> str:
        said = self.say(f"op_{op}", subject=subject, **self._operand(value))
        return self.say("ignore_case", said=said) if ignore_case else said

    def _operand(self, value: Any) -> dict[str, object]:
        if isinstance(value, dict):
            days = cast("dict[str, int]", value)
            return {"low": days["from"], "high": days["to"]}
        if isinstance(value, (list, tuple)):
            entries = list(cast("list[Any]", value))
            low, high = (entries[0], entries[-1]) if entries else ("", "")
            return {"value": self._or([_shown(entry) for entry in entries]), "low": low, "high": high}
        return {"value": _shown(value), "time": self._duration(value) if isinstance(value, str) else value}

    def _duration(self, text: str) -> str:
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = text[len(digits) :]
        if not digits.isdigit() or unit not in UNITS:
            return text
        one, many = UNITS[unit][self._language]
        return f"{digits} {one if digits == '1' else many}"

    def _unit(self, unit: str) -> str:
        return UNITS[unit][self._language][0]

    def _or(self, entries: list[str] | tuple[str, ...]) -> str:
        return self._joined(list(entries), "or", nested=False)

    def _joined(self, parts: list[str], word: str, nested: bool) -> str:
        said = self.say(word).join(parts)
        return f"({said})" if nested and len(parts) > 1 else said


_JOIN: dict[Any, str] = {WhereAll: "and", WhereAny: "or"}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"“{value}”"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)
