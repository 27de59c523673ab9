"""The sentences of the rule language's reference, one by one: who is in, who is out, in both engines and by the oracle.

A sentence is one rule and two lists of people. All people of all sentences of an instant are asked in one statement of
the batch engine; the live engine gets their events one at a time, all at once in another order, and each one twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from hoso.model.time import format_instant
from hoso.segment import batch
from hoso.segment.cases import read_events, read_person, run_live
from hoso.segment.check import read_segment
from hoso.segment.live import compile_live
from hoso.segment.values import parse_moment
from tests import segment_oracle as oracle

NOW = "2026-11-22T03:00:00Z"
SAIGON = "Asia/Ho_Chi_Minh"
Json = dict[str, Any]


@dataclass
class Sentence:
    """A rule, the people for whom it holds, and those for whom it does not."""

    says: str
    rule: Json
    yes: list[Json] = field(default_factory=list[Json])
    no: list[Json] = field(default_factory=list[Json])
    zone: str = "UTC"
    at: str = NOW
    segments: Json = field(default_factory=dict[str, Any])

    def document(self) -> Json:
        return {"schema": "segment/1", "key": "s", "timezone": self.zone, "rule": self.rule}


def t(*values: Any) -> list[Json]:
    """One person for each value of the trait ``t``."""
    return [{"traits": {"t": value}} for value in values]


def trait(op: str, *value: Any, **more: Any) -> Json:
    return {"kind": "trait", "name": "t", "op": op, **({"value": value[0]} if value else {}), **more}


def e(name: str, at: str, received: str | None = None, identity: str | None = None, **properties: Any) -> Json:
    made = {"message_id": identity or f"{name}-{at}-{received}-{properties}", "event": name, "timestamp": at}
    return {**made, "properties": properties, **({"received_at": received} if received else {})}


def did(*events: Json, **profile: Any) -> Json:
    return {"events": list(events), **profile}


def counts(name: str = "A", **more: Any) -> Json:
    return {"kind": "event", "event": name, **more}


def of(agg: str, op: str, value: Any, **more: Any) -> Json:
    measure: Json = {"agg": agg, **({} if agg == "active" else {"of": "properties.v"})}
    for key in ("p", "min_each", "min_count", "unit", "of"):
        if key in more:
            measure[key] = more.pop(key)
    return {"kind": "event", "event": "A", "measure": measure, "op": op, "value": value, **more}


def values(*given: Any) -> Json:
    """A person with one event a second for each value."""
    return did(*(e("A", f"2026-11-20T00:00:{n:02d}Z", identity=f"v{n:02d}", v=v) for n, v in enumerate(given)))


def steps(*names: Any, **more: Any) -> Json:
    made = [{"event": name} if isinstance(name, str) else name for name in names]
    return {"kind": "sequence", "steps": made, **more}


NOBODY = {"traits": {}}
NEGATIVES = [
    trait("is_not", "x"),
    trait("not_in", ["x"]),
    trait("not_contains", "x"),
    trait("has_none", ["x"]),
    trait("lt", 5),
    trait("size_lte", 5),
    trait("older_than", "1d"),
]

SENTENCES = [
    # values and their forms
    Sentence(
        "a text that spells a JSON number exactly",
        trait("gte", -1e9),
        t("0", "-0", "1.5", "1e3", "1E+2", "-2.5e-3", 7, 7.5),
    ),
    Sentence(
        "what is no number",
        trait("gte", -1e9),
        no=t(
            " 5",
            "5 ",
            "007",
            "1,5",
            "+1",
            ".5",
            "1.",
            "1e",
            "0x10",
            "٣",
            "",
            True,
            False,
            [5],
            {"a": 5},
            None,
            "NaN",
            "-",
        ),
    ),
    Sentence(
        "a number compares as a double", trait("is", 100), t(100, 100.0, "100", "1e2", "100.0"), t("100 ", True, [100])
    ),
    Sentence("numbers with a fraction have no text form", trait("is", "1.5"), t("1.5"), t(1.5)),
    Sentence("integers have decimal digits as text", trait("contains", "23"), t(1234, "1234"), t(1234.5, [1234])),
    Sentence("booleans as text", trait("is", "true"), t("true", True), t("True", 1, False)),
    Sentence(
        "only true and the text true are true", trait("is", True), t(True, "true"), t(1, "True", "1", "yes", False)
    ),
    Sentence("False with a capital is not false", trait("is", False), t(False, "false"), t("False", 0, "", None)),
    Sentence("JSON null is missing", trait("missing"), [NOBODY, *t(None)], t("", [], {}, 0, False)),
    Sentence("empty text and empty list are values", trait("exists"), t("", [], {}, 0, False), [NOBODY, *t(None)]),
    Sentence(
        "a path through anything but an object finds nothing",
        {**trait("missing"), "name": "t.a"},
        [*t("x", 5, True, [{"a": 1}], {"b": 1}, {"a": None}), NOBODY],
        t({"a": 1}, {"a": ""}),
    ),
    Sentence(
        "a backslash keeps a dot in a name",
        {**trait("exists"), "name": r"a\.b.c"},
        [{"traits": {"a.b": {"c": 1}}}],
        [{"traits": {"a": {"b": {"c": 1}}}}],
    ),
    Sentence("text compares in NFC on both sides", trait("is", "e\u0301"), t("\u00e9", "e\u0301"), t("e", "E\u0301")),
    Sentence("NFC, not NFKC", trait("is", "\u00c5"), t("\u212b", "A\u030a"), t("\uff21\u030a")),
    Sentence("NFC before contains", trait("contains", "\u1ead"), t("a\u0323\u0302 b", "x\u1ead"), t("a\u0302")),
    Sentence("case counts", trait("starts_with", "Ab"), t("Abc"), t("abc", "ABC")),
    Sentence(
        "ignore_case folds both sides", trait("is", "HÀ Nội", ignore_case=True), t("hà nội", "HÀ NỘI"), t("ha noi")
    ),
    Sentence(
        "the dotted capital I becomes a plain i",
        trait("is", "\u0130X", ignore_case=True),
        t("ix", "IX", "\u0130x"),
        t("\u0131x", "i\u0307x"),
    ),
    Sentence(
        "letters that lower to more than one stay",
        trait("contains", "SS", ignore_case=True),
        t("ss", "Ss"),
        t("ß", "\u1e9e"),
    ),
    Sentence("ignore_case in lists", trait("in", ["A", "b"], ignore_case=True), t("a", "B"), t("c")),
    Sentence(
        "ignore_case in list entries", trait("has_any", ["vip"], ignore_case=True), t(["VIP", 1], "Vip"), t(["v"])
    ),
    Sentence("ignore_case in patterns", trait("matches", "a*Z", ignore_case=True), t("AbcZ", "aZ"), t("abc")),
    # operators
    Sentence(
        "is_not is there and not is",
        trait("is_not", 5),
        t(4, "x", [5], {"a": 5}, True),
        [NOBODY, *t(5, "5", 5.0, None)],
    ),
    Sentence("not_in is there and none", trait("not_in", [5, "x"]), t("y", [5], 6), [NOBODY, *t(5, "5", "x")]),
    Sentence(
        "each entry of in decides its own type",
        trait("in", [1, "2", True]),
        t(1, "1", 1.0, 2, "2", True, "true"),
        t(2.5, "3", False),
    ),
    Sentence("between includes both ends", trait("between", [1, 2]), t(1, 2, "1.5", 2.0), t(0.999999, 2.000001, "x")),
    Sentence("a value without the form is not below", trait("lt", 5), t(4, "-1"), t("x", True, [1], {})),
    Sentence("matches is the whole text", trait("matches", "a?c*"), t("abc", "abcd", "a*c"), t("ac", "xabc", "ab")),
    Sentence(
        "a question mark is one character, also beyond the basic plane",
        trait("matches", "?"),
        t("\U0001f600", "e\u0301", "\n"),
        t("", "ab"),
    ),
    Sentence("a star runs over line ends", trait("matches", "a*b"), t("a\nb", "ab"), t("a\nbc")),
    Sentence(
        "SQL wildcards and backslashes are plain", trait("contains", "100%_\\"), t("is 100%_\\ off"), t("100xx\\")
    ),
    Sentence("ends_with", trait("ends_with", "%"), t("5%", "%"), t("5", "% ")),
    Sentence("contains never holds for lists", trait("contains", "a"), t("a", "ba"), t(["a"], {"a": 1}, 1.5)),
    Sentence(
        "not_contains needs a text form", trait("not_contains", "a"), t("b", "", 5, True), t("a", ["b"], 1.5, {}, None)
    ),
    Sentence(
        "a single value is a list of one", trait("has_all", ["a"]), t("a", ["a"], ["b", "a"]), t("b", [], {"a": 1})
    ),
    Sentence("has_all needs every entry", trait("has_all", ["a", 1]), t(["a", 1], ["1", "a", "b"]), t(["a"], "a", [1])),
    Sentence(
        "has_none with an empty list",
        trait("has_none", ["a"]),
        t([], ["b"], "b", [None]),
        [NOBODY, *t(["a"], "a", {"b": 1})],
    ),
    Sentence(
        "entries follow the rules of single values",
        trait("has_any", [5]),
        t([5], ["5"], [5.0], 5),
        t([True], ["05"], [[5]]),
    ),
    Sentence(
        "size counts entries", trait("size_gte", 2), t(["a", "a"], [None, None]), t("ab", ["a"], [], {"a": 1, "b": 2})
    ),
    Sentence(
        "size of a single value is one", trait("size_lte", 1), t("abc", 5, [], ["a"]), [NOBODY, *t(["a", "b"], {})]
    ),
    *(Sentence(f"missing makes {rule['op']} false", rule, no=[NOBODY, *t(None)]) for rule in NEGATIVES),
    *(
        Sentence(f"the group not turns a missing {rule['op']} true", {"kind": "not", "of": rule}, [NOBODY, *t(None)])
        for rule in NEGATIVES
    ),
    # time
    Sentence(
        "spellings of one instant",
        trait("on", "2026-11-20"),
        t(
            "2026-11-20",
            "2026-11-20T12:00Z",
            "2026-11-20 12:00:01.5+07:00",
            "2026-11-20T12:00",
            1795132800,
            1795132800000,
        ),
    ),
    Sentence(
        "what has no time form",
        trait("later_than", "0d"),
        no=t(
            "2026-02-30",
            "2026-13-01",
            "2027-1-01",
            "2027-01-01T24:00Z",
            "2027-01-01T10:60Z",
            "2027-01-01T10Z",
            "2027-01-01T10:00+14:01",
            "2027-01-01T10:00+7",
            "27-01-01",
            " 2027-01-01",
            True,
            1e12,
            [1895132800],
            "1895132800",
            "2027-01-01T10:00:00.Z",
        ),
    ),
    Sentence(
        "offsets up to fourteen hours",
        trait("later_than", "0d"),
        t("2027-01-01T10:00+14:00", "2027-01-01T10:00-1400", "2027-01-01 10:00:00.123456+0530"),
    ),
    Sentence(
        "further digits of a second are cut",
        trait("after", "2026-11-20T00:00:00.123Z"),
        t("2026-11-20T00:00:00.124Z"),
        t("2026-11-20T00:00:00.1239999Z", "2026-11-20T00:00:00.123Z"),
    ),
    Sentence(
        "seconds below 1e11, else milliseconds",
        trait("before", "2000-01-01"),
        t(100_000_000_000, 0, -1),
        t(99_999_999_999),
    ),
    Sentence(
        "a day is where it starts in the segment's zone",
        trait("before", "2026-11-20T17:00:00.001Z"),
        t("2026-11-21"),
        t("2026-11-22"),
        zone=SAIGON,
    ),
    Sentence(
        "before a day is before its start",
        trait("before", "2026-11-21"),
        t("2026-11-20T16:59:59.999Z", "2026-11-20"),
        t("2026-11-20T17:00Z", "2026-11-21"),
        zone=SAIGON,
    ),
    Sentence(
        "after a day is from the start of the next",
        trait("after", "2026-11-21"),
        t("2026-11-21T17:00Z", "2026-11-22"),
        t("2026-11-21T16:59:59.999Z", "2026-11-21"),
        zone=SAIGON,
    ),
    Sentence(
        "in_last: exactly that old is out",
        trait("in_last", "7d"),
        t("2026-11-15T03:00:00.001Z", NOW),
        t("2026-11-15T03:00:00Z", "2026-11-22T03:00:00.001Z"),
    ),
    Sentence(
        "older_than begins there",
        trait("older_than", "7d"),
        t("2026-11-15T03:00:00Z", "2020-01-01"),
        t("2026-11-15T03:00:00.001Z", "2027-01-01"),
    ),
    Sentence(
        "in_next: exactly that far is in, now is not",
        trait("in_next", "7d"),
        t("2026-11-29T03:00:00Z", "2026-11-22T03:00:00.001Z"),
        t(NOW, "2026-11-29T03:00:00.001Z"),
    ),
    Sentence(
        "later_than begins after",
        trait("later_than", "7d"),
        t("2026-11-29T03:00:00.001Z"),
        t("2026-11-29T03:00:00Z", NOW),
    ),
    Sentence(
        "days_from_today, ends included",
        trait("days_from_today", {"from": -6, "to": 0}),
        t("2026-11-16", "2026-11-22", "2026-11-15T17:00Z"),
        t("2026-11-15T16:59:59Z", "2026-11-23"),
        zone=SAIGON,
    ),
    Sentence(
        "tomorrow is the next calendar day",
        trait("days_from_today", {"from": 1, "to": 1}),
        t("2026-11-22T17:00Z", "2026-11-23T16:59Z"),
        t("2026-11-22T16:59Z", "2026-11-23T17:00Z"),
        zone=SAIGON,
    ),
    Sentence(
        "anniversary over the turn of the year",
        trait("anniversary", {"from": 0, "to": 7}),
        t("1990-12-28", "1990-01-04", "2030-01-01"),
        t("1990-12-27", "1990-01-05"),
        at="2026-12-28T01:00:00Z",
    ),
    Sentence(
        "29 February is kept on the 28th in other years",
        trait("anniversary", {"from": 0, "to": 0}),
        t("2004-02-29", "1990-02-28"),
        t("1990-03-01"),
        at="2027-02-28T12:00:00Z",
    ),
    Sentence(
        "in a leap year it has its own day",
        trait("anniversary", {"from": 0, "to": 0}),
        t("2004-02-29"),
        t("1990-02-28"),
        at="2028-02-29T12:00:00Z",
    ),
    Sentence(
        "and not the day before",
        trait("anniversary", {"from": 0, "to": 0}),
        t("1990-02-28"),
        t("2004-02-29"),
        at="2028-02-28T12:00:00Z",
    ),
    Sentence(
        "a range of more than a year holds every day",
        trait("anniversary", {"from": 0, "to": 366}),
        t("1990-01-01", "2004-02-29"),
    ),
    Sentence(
        "months go back to the start of the day, clamped",
        trait("in_last", "1mo"),
        t("2026-02-28T00:00:00.001Z"),
        t("2026-02-28T00:00:00Z"),
        at="2026-03-31T12:00:00Z",
    ),
    Sentence(
        "a year before 29 February",
        trait("older_than", "1y"),
        t("2027-02-28T00:00:00Z"),
        t("2027-02-28T00:00:00.001Z"),
        at="2028-02-29T12:00:00Z",
    ),
    Sentence(
        "1d is 24 hours also over a clock change",
        trait("in_last", "1d"),
        t("2026-03-07T12:00:00.001Z"),
        t("2026-03-07T12:00:00Z"),
        zone="America/New_York",
        at="2026-03-08T12:00:00Z",
    ),
    Sentence(
        "a trait that holds its value long enough",
        trait("is", "gold", **{"for": "14d"}),
        [{"traits": {"t": "gold"}, "trait_since": {"t": "2026-11-08T03:00:00Z"}}],
        [{"traits": {"t": "gold"}, "trait_since": {"t": "2026-11-08T03:00:00.001Z"}}, *t("gold")],
    ),
    # events and windows
    Sentence(
        "an event stamped in the future waits",
        counts(),
        [did(e("A", NOW))],
        [did(e("A", "2026-11-22T03:00:00.001Z", received="2026-11-22T01:00:00Z"))],
    ),
    Sentence(
        "a late event does not count before it is received",
        counts(),
        [did(e("A", "2026-11-20T00:00Z", received=NOW))],
        [did(e("A", "2026-11-20T00:00Z", received="2026-11-22T03:00:00.001Z"))],
    ),
    Sentence(
        "one message counts once, the copy received first",
        {**counts(op="is", value=1), "where": {"kind": "prop", "path": "properties.v", "op": "is", "value": 1}},
        [
            did(
                e("A", "2026-11-20T00:00Z", identity="m", v=1),
                e("A", "2026-11-20T00:00Z", received="2026-11-21T00:00Z", identity="m", v=2),
            )
        ],
        [
            did(
                e("A", "2026-11-20T00:00Z", identity="m", v=2),
                e("A", "2026-11-20T00:00Z", received="2026-11-21T00:00Z", identity="m", v=1),
            )
        ],
    ),
    Sentence(
        "names are exact",
        counts("Order Completed"),
        [did(e("Order Completed", "2026-11-20T00:00Z"))],
        [did(e("order completed", "2026-11-20T00:00Z")), did(e("Order Completed ", "2026-11-20T00:00Z"))],
    ),
    Sentence("the star is every event", counts("*"), [did(e("$page", "2026-11-20T00:00Z"))], [NOBODY]),
    Sentence(
        "between_ago is half open",
        counts(window={"between_ago": ["90d", "30d"]}),
        [did(e("A", "2026-10-23T03:00Z")), did(e("A", "2026-08-24T03:00:00.001Z"))],
        [did(e("A", "2026-10-23T03:00:00.001Z")), did(e("A", "2026-08-24T03:00Z"))],
    ),
    Sentence(
        "the calendar day so far",
        counts(window={"calendar": "day"}),
        [did(e("A", "2026-11-21T17:00Z"))],
        [did(e("A", "2026-11-21T16:59:59.999Z"))],
        zone=SAIGON,
    ),
    Sentence(
        "weeks start on Monday",
        counts(window={"calendar": "week"}),
        [did(e("A", "2026-11-16T00:00Z"))],
        [did(e("A", "2026-11-15T23:59:59Z"))],
    ),
    Sentence(
        "two whole months, the first two back",
        counts(window={"calendar": "month", "back": 2, "count": 2}),
        [did(e("A", "2026-09-01T00:00Z")), did(e("A", "2026-10-31T23:59:59.999Z"))],
        [did(e("A", "2026-08-31T23:59:59Z")), did(e("A", "2026-11-01T00:00Z"))],
    ),
    Sentence(
        "a count beyond today ends now",
        counts(window={"calendar": "quarter", "back": 0, "count": 4}),
        [did(e("A", "2026-10-01T00:00Z"))],
        [did(e("A", "2026-09-30T23:59:59Z")), did(e("A", "2026-12-01T00:00Z", received="2026-11-01T00:00Z"))],
    ),
    Sentence(
        "the year before",
        counts(window={"calendar": "year", "back": 1}),
        [did(e("A", "2025-01-01T00:00Z")), did(e("A", "2025-12-31T23:59:59Z"))],
        [did(e("A", "2026-01-01T00:00Z")), did(e("A", "2024-12-31T23:59:59Z"))],
    ),
    Sentence(
        "from included, a day at the end whole",
        counts(window={"from": "2026-11-01", "to": "2026-11-10"}),
        [did(e("A", "2026-11-01T00:00Z")), did(e("A", "2026-11-10T23:59:59.999Z"))],
        [did(e("A", "2026-11-11T00:00Z")), did(e("A", "2026-10-31T23:59:59Z"))],
    ),
    Sentence(
        "an instant at the end is not included",
        counts(window={"from": "2026-11-01T10:00Z", "to": "2026-11-10T10:00:00Z"}),
        [did(e("A", "2026-11-01T10:00Z")), did(e("A", "2026-11-10T09:59:59.999Z"))],
        [did(e("A", "2026-11-10T10:00Z"))],
    ),
    Sentence(
        "a day of 23 hours",
        counts(window={"calendar": "day", "back": 1}),
        [did(e("A", "2026-03-08T05:00Z")), did(e("A", "2026-03-09T03:59:59Z"))],
        [did(e("A", "2026-03-09T04:00Z")), did(e("A", "2026-03-08T04:59:59Z"))],
        zone="America/New_York",
        at="2026-03-09T12:00:00Z",
    ),
    Sentence(
        "item: one object meets the whole where",
        counts(
            where={
                "kind": "item",
                "list": "properties.l",
                "where": {
                    "kind": "all",
                    "of": [
                        {"kind": "prop", "path": "a", "op": "is", "value": 1},
                        {"kind": "prop", "path": "b", "op": "is", "value": 2},
                    ],
                },
            }
        ),
        [did(e("A", "2026-11-20T00:00Z", l=[{"a": 1, "b": 2}, 5]))],
        [
            did(e("A", "2026-11-20T00:00Z", l=[{"a": 1}, {"b": 2}])),
            did(e("A", "2026-11-20T00:00Z", l={"a": 1, "b": 2})),
            did(e("A", "2026-11-20T00:00Z")),
        ],
    ),
    Sentence(
        "two items may be met by two objects",
        counts(
            where={
                "kind": "all",
                "of": [
                    {
                        "kind": "item",
                        "list": "properties.l",
                        "where": {"kind": "prop", "path": "a", "op": "is", "value": 1},
                    },
                    {
                        "kind": "item",
                        "list": "properties.l",
                        "where": {"kind": "prop", "path": "b", "op": "is", "value": 2},
                    },
                ],
            }
        ),
        [did(e("A", "2026-11-20T00:00Z", l=[{"a": 1}, {"b": 2}]))],
        [did(e("A", "2026-11-20T00:00Z", l=[{"a": 1}]))],
    ),
    Sentence(
        "not in a filter includes what is missing",
        counts(where={"kind": "not", "of": {"kind": "prop", "path": "properties.v", "op": "is", "value": 1}}),
        [did(e("A", "2026-11-20T00:00Z")), values(2)],
        [values(1), NOBODY],
    ),
    Sentence(
        "not done in n days is a count of 0",
        counts(op="is", value=0, window={"last": "7d"}),
        [NOBODY, did(e("A", "2026-11-15T03:00Z"))],
        [did(e("A", "2026-11-15T03:00:00.001Z"))],
    ),
    Sentence(
        "a count that is not a whole number never is", counts(op="is", value=1.5), no=[values(1), values(1, 2), NOBODY]
    ),
    # measures
    Sentence("sum counts number forms", of("sum", "is", 4.5), [values(1, "3.5", "x", None, True, [9])], [values(4)]),
    Sentence("a sum of nothing is 0", of("sum", "is", 0), [NOBODY, values("x"), values(5, -5)], [values(1)]),
    Sentence(
        "sums are in millionths, rounded half up",
        of("sum", "is", 0.000001),
        [values(0.0000005), values(0.0000014)],
        [values(0.0000004), values(0.0000015)],
    ),
    Sentence("tenths add up", of("sum", "gte", 1), [values(*[0.1] * 10)], [values(*[0.1] * 9)]),
    Sentence(
        "an average of nothing compares with nothing",
        of("avg", "is_not", 5),
        [values(4)],
        [NOBODY, values("x"), values(4, 6)],
    ),
    Sentence("an average is not rounded", of("avg", "gt", 3.333333), [values(3, 3, 4)], [values(3.333333)]),
    Sentence(
        "min and max of nothing", of("max", "lt", 100), [values(5), values(-1, "7")], [NOBODY, values("x"), values(100)]
    ),
    Sentence("min", of("min", "lte", 2), [values(2, 9)], [values(3, 9), NOBODY]),
    Sentence(
        "unique counts text forms",
        of("unique", "is", 2),
        [values(7, "7", 8), values("a", "A"), values(True, "true", "x")],
        [values(1.5, 2.5), values("e\u0301", "\u00e9")],
    ),
    Sentence("nothing unique is 0", of("unique", "is", 0), [NOBODY, values(1.5, [1])], [values(1)]),
    Sentence(
        "percentile is the nearest rank",
        of("percentile", "is", 9, p=90),
        [values(*range(1, 11))],
        [values(*range(1, 12)), NOBODY],
    ),
    Sentence("the first percentile is the smallest", of("percentile", "is", 1, p=1), [values(3, 1, 2)], [values(3, 2)]),
    Sentence("the hundredth is the greatest", of("percentile", "is", 3, p=100), [values(3, 1, 2)], [values(4, 3)]),
    Sentence("percentile of nothing", of("percentile", "lt", 5, p=50), [values(1)], [NOBODY, values("x")]),
    Sentence(
        "active days",
        of("active", "is", 2, unit="day"),
        [did(e("A", "2026-11-19T16:00Z"), e("A", "2026-11-19T17:00Z"))],
        [did(e("A", "2026-11-19T17:00Z"), e("A", "2026-11-20T16:59Z"))],
        zone=SAIGON,
    ),
    Sentence(
        "active units with at least so many",
        of("active", "gte", 1, unit="week", min_each=2),
        [did(e("A", "2026-11-16T00:00Z"), e("A", "2026-11-22T02:00Z"))],
        [did(e("A", "2026-11-15T23:00Z"), e("A", "2026-11-16T00:00Z"))],
    ),
    Sentence("active months of nothing are 0", of("active", "is", 0, unit="month"), [NOBODY], [values(1)]),
    Sentence(
        "the first that has a value", of("first", "is", "x"), [values(None, "x", "y")], [values("y", "x"), NOBODY]
    ),
    Sentence("the last that has a value", of("last", "is", "x"), [values("y", "x", None)], [values("x", "y")]),
    Sentence(
        "of equal instants the message id decides",
        of("last", "is", 2),
        [did(e("A", "2026-11-20T00:00Z", identity="a", v=1), e("A", "2026-11-20T00:00Z", identity="b", v=2))],
        [did(e("A", "2026-11-20T00:00Z", identity="b", v=1), e("A", "2026-11-20T00:00Z", identity="a", v=2))],
    ),
    Sentence("first takes any operator", of("first", "has_any", ["x"]), [values(["x", "y"])], [values(["y"]), NOBODY]),
    Sentence(
        "first timestamp",
        of("first", "in_last", "30d", of="timestamp"),
        [did(e("A", "2026-10-23T03:00:00.001Z"))],
        [did(e("A", "2026-10-23T03:00Z"), e("A", "2026-11-20T00:00Z")), NOBODY],
    ),
    Sentence(
        "last timestamp is never for nobody",
        of("last", "older_than", "60d", of="timestamp"),
        [did(e("A", "2026-09-23T03:00Z"))],
        [did(e("A", "2026-09-23T03:00:00.001Z")), NOBODY],
    ),
    Sentence(
        "most frequent, a tie to the first code point",
        of("most_frequent", "is", "B"),
        [values("a", "B"), values("B", "B", "a")],
        [values("a", "a", "B"), values("C", "A", "B")],
    ),
    Sentence(
        "most frequent by text form", of("most_frequent", "is", "7"), [values(7, "7", 8, 8, "7")], [values(7, 8, 8)]
    ),
    Sentence(
        "most frequent with a least count",
        of("most_frequent", "is_not", "", min_count=2),
        [values("a", "a")],
        [values("a", "b"), NOBODY],
    ),
    # sequences
    Sentence(
        "the same instant is not then",
        steps("A", "B"),
        [did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T00:00:00.001Z"))],
        [did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T00:00Z"))],
    ),
    Sentence(
        "any choice may serve, not only the first",
        steps("A", {"event": "B", "within": "1h"}),
        [did(e("A", "2026-11-20T00:00Z"), e("A", "2026-11-20T02:00Z"), e("B", "2026-11-20T03:00Z"))],
        [did(e("A", "2026-11-20T01:59:59Z"), e("B", "2026-11-20T03:00Z"))],
    ),
    Sentence(
        "absent between two steps, strictly",
        steps("A", {"event": "B", "absent": True}, "C"),
        [
            did(
                e("A", "2026-11-20T00:00Z"),
                e("B", "2026-11-20T00:00Z"),
                e("C", "2026-11-20T01:00Z"),
                e("B", "2026-11-20T01:00Z"),
            )
        ],
        [did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T00:30Z"), e("C", "2026-11-20T01:00Z"))],
    ),
    Sentence(
        "a trailing absent step waits",
        steps("A", {"event": "B", "absent": True, "within": "1h"}),
        [did(e("A", "2026-11-22T02:00Z")), did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T01:00:00.001Z"))],
        [did(e("A", "2026-11-22T02:00:00.001Z")), did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T01:00Z"))],
    ),
    Sentence(
        "without within: none so far",
        steps("A", {"event": "B", "absent": True}),
        [did(e("A", NOW)), did(e("B", "2026-11-20T00:00Z"), e("A", "2026-11-20T01:00Z"))],
        [did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T01:00Z"))],
    ),
    Sentence(
        "the window looks at the first step",
        steps("A", "B", window={"last": "1d"}),
        [did(e("A", "2026-11-21T03:00:00.001Z"), e("B", "2026-11-22T00:00Z"))],
        [did(e("A", "2026-11-21T03:00Z"), e("B", "2026-11-22T00:00Z"))],
    ),
    Sentence(
        "a later step may lie outside the window",
        steps("A", "B", window={"between_ago": ["10d", "5d"]}),
        [did(e("A", "2026-11-15T00:00Z"), e("B", "2026-11-21T00:00Z"))],
        [did(e("A", "2026-11-18T00:00Z"), e("B", "2026-11-21T00:00Z"))],
    ),
    Sentence(
        "the whole sequence within, exactly",
        steps("A", "B", "C", within="2h"),
        [did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T01:00Z"), e("C", "2026-11-20T02:00Z"))],
        [did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T01:00Z"), e("C", "2026-11-20T02:00:00.001Z"))],
    ),
    Sentence(
        "same: there and equal as text",
        steps("A", "B", same=["properties.k"]),
        [did(e("A", "2026-11-20T00:00Z", k=7), e("B", "2026-11-20T01:00Z", k="7"))],
        [
            did(e("A", "2026-11-20T00:00Z", k=7), e("B", "2026-11-20T01:00Z", k=8)),
            did(e("A", "2026-11-20T00:00Z"), e("B", "2026-11-20T01:00Z")),
            did(e("A", "2026-11-20T00:00Z", k=1.5), e("B", "2026-11-20T01:00Z", k=1.5)),
        ],
    ),
    Sentence(
        "same with two paths",
        steps("A", "B", same=["properties.k", "properties.m"]),
        [did(e("A", "2026-11-20T00:00Z", k="a", m="b"), e("B", "2026-11-20T01:00Z", k="a", m="b"))],
        [
            did(e("A", "2026-11-20T00:00Z", k="a", m="b"), e("B", "2026-11-20T01:00Z", k="b", m="a")),
            did(e("A", "2026-11-20T00:00Z", k="a"), e("B", "2026-11-20T01:00Z", k="a", m="b")),
        ],
    ),
    Sentence(
        "absent steps look at the same key only",
        steps("A", {"event": "B", "absent": True, "within": "1h"}, same=["properties.k"]),
        [did(e("A", "2026-11-20T00:00Z", k=1), e("B", "2026-11-20T00:30Z", k=2))],
        [did(e("A", "2026-11-20T00:00Z", k=1), e("B", "2026-11-20T00:30Z", k="1"))],
    ),
    Sentence("one step is a sequence", steps("A"), [values(1)], [NOBODY]),
    Sentence("one event does not serve two steps", steps("A", "A"), [values(1, 2)], [values(1)]),
    # the person
    Sentence("deleted people are members of nothing", {"kind": "everyone"}, [NOBODY], [{"deleted": True}]),
    Sentence("also under not", {"kind": "not", "of": trait("exists")}, [NOBODY], [{"deleted": True}, *t(1)]),
    Sentence(
        "the purpose's own denied beats everything",
        {"kind": "consent", "purpose": "m", "channel": "e", "state": ["granted"]},
        [
            {"consent": {"m/e": "granted"}},
            {"consent": {"m": "granted"}},
            {"consent": {"m": "granted", "m/e": "granted"}},
        ],
        [
            {"consent": {"m": "denied", "m/e": "granted"}},
            {"consent": {"m": "granted", "m/e": "denied"}},
            {"consent": {"n": "granted"}},
            NOBODY,
        ],
    ),
    Sentence(
        "without a channel only the purpose speaks",
        {"kind": "consent", "purpose": "m", "state": ["unset"]},
        [NOBODY, {"consent": {"m/e": "granted"}}],
        [{"consent": {"m": "granted"}}],
    ),
    Sentence(
        "denied by the purpose is denied for a channel",
        {"kind": "consent", "purpose": "m", "channel": "e", "state": ["denied"]},
        [{"consent": {"m": "denied"}}, {"consent": {"m/e": "denied"}}, {"consent": {"m": "denied", "m/e": "granted"}}],
        [NOBODY, {"consent": {"m": "granted"}}],
    ),
    Sentence(
        "suppressed for the channel or for all",
        {"kind": "suppressed", "channel": "email"},
        [{"suppressed": ["email"]}, {"suppressed": ["*"]}],
        [{"suppressed": ["sms"]}, NOBODY],
    ),
    Sentence(
        "an identifier of one of the types",
        {"kind": "has_id", "types": ["email", "phone"]},
        [{"identifiers": {"phone": ["1"]}}],
        [{"identifiers": {"email": []}}, {"identifiers": {"user_id": ["1"]}}, NOBODY],
    ),
    Sentence("on a list", {"kind": "list", "key": "vip"}, [{"lists": ["a", "vip"]}], [{"lists": ["a"]}, NOBODY]),
    Sentence(
        "a score dated later does not count",
        {"kind": "score", "name": "c", "op": "gte", "value": 0.5},
        [{"scores": {"c": {"value": 0.5, "at": NOW}}}],
        [
            {"scores": {"c": {"value": 0.9, "at": "2026-11-22T03:00:00.001Z"}}},
            {"scores": {"d": {"value": 1, "at": NOW}}},
            NOBODY,
        ],
    ),
    Sentence(
        "a score must be younger than its age",
        {"kind": "score", "name": "c", "op": "between", "value": [0, 1], "max_age": "7d"},
        [{"scores": {"c": {"value": 1, "at": "2026-11-15T03:00:00.001Z"}}}],
        [{"scores": {"c": {"value": 1, "at": "2026-11-15T03:00:00Z"}}}],
    ),
    Sentence(
        "near, the end included; bounds are bounds",
        {"kind": "geo", "trait": "t", "lat": 0, "lon": 0, "within_km": 111.2},
        t({"lat": 1, "lon": 0}, {"lat": "0.5", "lon": "-0.5"}),
        t(
            {"lat": 1.01, "lon": 0},
            {"lat": 90.1, "lon": 0},
            {"lat": 0, "lon": 180.1},
            {"lat": 0},
            {"lat": True, "lon": 0},
            [0, 0],
            "0,0",
            None,
        ),
    ),
    Sentence(
        "near over the date line and at the pole",
        {"kind": "geo", "trait": "t", "lat": 90, "lon": 0, "within_km": 1},
        t({"lat": 90, "lon": 180}, {"lat": 90, "lon": -77}),
    ),
    Sentence(
        "half the way round the earth is not too far",
        {"kind": "geo", "trait": "t", "lat": 0, "lon": 0, "within_km": 20016},
        t({"lat": 0, "lon": 180}, {"lat": 0, "lon": -180}),
    ),
    Sentence(
        "everybody is in one of two halves",
        {
            "kind": "any",
            "of": [
                {"kind": "split", "salt": "spring", "from": 0, "to": 50},
                {"kind": "split", "salt": "spring", "from": 50, "to": 100},
            ],
        },
        [NOBODY, {"split_id": "x"}],
    ),
    Sentence(
        "a nested segment keeps its zone",
        {"kind": "all", "of": [{"kind": "segment", "key": "other"}, {"kind": "everyone"}]},
        [did(e("A", "2026-11-21T17:00Z"))],
        [did(e("A", "2026-11-21T16:59Z"))],
        segments={
            "other": {
                "schema": "segment/1",
                "key": "other",
                "timezone": SAIGON,
                "rule": counts(window={"calendar": "day"}),
            }
        },
    ),
    Sentence("empty text is a text", trait("is", ""), t(""), [NOBODY, *t(None, [], " ")]),
]


@dataclass
class Told:
    """One person of one sentence as a case (format ``segment-vectors/1``) with its answer."""

    vector: Json
    member: bool


def cases() -> list[Told]:
    made: list[Told] = []
    for number, sentence in enumerate(SENTENCES):
        everyone = [(person, True) for person in sentence.yes] + [(person, False) for person in sentence.no]
        for place, (person, member) in enumerate(everyone):
            identity = f"{number:03d}-{place:02d}"
            rest = {key: value for key, value in person.items() if key != "events"}
            vector = {
                "id": f"{identity} {sentence.says}",
                "segment": {**sentence.document(), "key": f"s{number}"},
                "segments": dict(sentence.segments),
                "profile": {"id": identity, "traits": {}, **rest},
                "events": person.get("events", []),
                "as_of": sentence.at,
            }
            made.append(Told(json.loads(json.dumps(vector)), member))
    return made


CASES = cases()


def named(told: list[Told]) -> list[str]:
    return [f"{one.vector['id']} ({'in' if one.member else 'out'}): {one.vector['profile']}" for one in told]


def test_every_sentence_has_somebody() -> None:
    assert all(sentence.yes or sentence.no for sentence in SENTENCES)
    assert len(CASES) > 500


def test_the_oracle_reads_the_reference_the_same_way() -> None:
    wrong = [told for told in CASES if oracle_says(told.vector) is not told.member]

    assert named(wrong) == []


def test_the_live_engine_in_any_order_and_with_copies() -> None:
    wrong: list[Told] = []
    for told in CASES:
        documents = [told.vector["segment"], *told.vector["segments"].values()]
        rules = compile_live([read_segment(document) for document in documents])
        as_of = parse_moment(told.vector["as_of"]) or 0
        person = read_person(told.vector["profile"])
        events = [event for event in read_events(told.vector["events"]) if event.received_at <= as_of]
        for order in (events, events[::-1]):
            meters: Json = {}
            for event in order:
                rules.fold(meters, event)
                meters = orjson.loads(orjson.dumps(meters))
            person.meters = meters
            if rules.evaluate(person, as_of)[told.vector["segment"]["key"]].member is not told.member:
                wrong.append(told)
    assert named(wrong) == []


def test_the_batch_engine_asks_everybody_at_once() -> None:
    wrong: list[Told] = []
    with batch.connect(512, 1) as database:
        for moment in sorted({told.vector["as_of"] for told in CASES}):
            group = [told for told in CASES if told.vector["as_of"] == moment]
            documents = {
                document["key"]: document
                for told in group
                for document in (told.vector["segment"], *told.vector["segments"].values())
            }
            batch.create_tables(database)
            rows = (
                (told.vector["profile"]["id"], event) for told in group for event in read_events(told.vector["events"])
            )
            batch.fill_tables(database, [read_person(told.vector["profile"]) for told in group], rows)
            found = batch.members(
                database, [read_segment(document) for document in documents.values()], parse_moment(moment) or 0
            )
            wrong += [
                told
                for told in group
                if (told.vector["profile"]["id"] in found[told.vector["segment"]["key"]]) is not told.member
            ]
    assert named(wrong) == []


def oracle_says(vector: Json) -> bool:
    profile = dict(vector["profile"])
    profile["trait_since"] = {name: parse_moment(since) for name, since in profile.get("trait_since", {}).items()}
    scores = profile.get("scores", {})
    profile["scores"] = {name: {**score, "at": parse_moment(score["at"])} for name, score in scores.items()}
    events = [
        {
            "message_id": event["message_id"],
            "event": event["event"],
            "ts": parse_moment(event["timestamp"]),
            "received_at": parse_moment(event.get("received_at", event["timestamp"])),
            "body": event,
        }
        for event in vector["events"]
    ]
    return oracle.member(vector["segment"], vector["segments"], profile, events, parse_moment(vector["as_of"]))


@pytest.mark.parametrize("number", range(0, len(CASES), 3))
def test_the_next_change_is_the_first_moment_at_which_brute_force_answers_otherwise(number: int) -> None:
    told = CASES[number]
    found = run_live(told.vector)

    assert found.member is told.member
    if found.next_change is not None:
        before = {**told.vector, "as_of": format_instant(found.next_change - 1)}
        after = {**told.vector, "as_of": format_instant(found.next_change)}
        assert oracle_says(before) is told.member
        assert oracle_says(after) is not told.member
