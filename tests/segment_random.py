"""Random rules, people and histories, drawn so that edges are met often: equal instants, window ends, day starts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hoso.segment.person import PersonState, RuleEvent, Score
from tests import segment_oracle as oracle

ZONES = ["UTC", "Asia/Ho_Chi_Minh", "America/New_York", "Africa/Cairo", "America/Havana", "Australia/Lord_Howe"]
MOMENTS = [
    1795316400000,  # 2026-11-22T03:00Z
    1773064800000,  # the day after New York's spring change of 2026
    1777021200000,  # Cairo's skipped midnight of 2026
    1793552400000,  # Havana's repeated midnight of 2026
    1835395200000,  # 29 February 2028
    1798761600000,  # the turn of the year
]
NAMES = ["a", "b", "c"]
DURATIONS = ["0d", "15min", "1h", "24h", "36h", "1d", "2d", "7d", "1w", "30d", "1mo", "2mo", "1y"]
ELAPSED = [one for one in DURATIONS if not one.endswith(("mo", "y"))]
TEXTS = ["x", "X", "xy", "ab", "1", "2", "true", "İstanbul", "istanbul", "e\u0301", "é", "100%_x", "a.b", ""]
ODD_NUMBERS = [2**53 + 1, 2**63, -(2**63), 99_999_999_999, 100_000_000_000, -5, 1e308, 1e-7, 5e-7, -0.0, 1e21]
ODD_TEXTS = [
    *("1e5", "1E+2", "-0", "-0.0", "0.5e-3", "+1", ".5", "1.", "00", "1,5", "1 ", "\u0661", "True", "false", "null"),
    *("2026-11-22T24:00Z", "2026-11-22T12:00:60Z", "2026-11-22T12:00+14:00", "2026-11-22T12:00+14:01"),
    *("2026-11-22T12:00:00.1239Z", "2026-11-22 12:00", "2026-11-22t12:00Z", "2026-11-22T12:00-0330", "2026-11-2"),
    *("2026-1-01", "9999-12-31", "0002-01-01", "2028-02-29", "1996-02-29", "2026-11-22T12", "2026-11-22T12:00:00,5Z"),
    *(
        "i\u0307",
        "I",
        "\u0131",
        "stra\u00dfe",
        "STRASSE",
        "\u212b",
        "\u00e5",
        "a\u0323\u0302",
        "\U0001f600",
        "a\nb",
        "*",
        "?",
    ),
]
DAYS = ["2026-11-22", "2026-11-21", "2026-11-15", "2026-10-22", "2004-02-29", "1990-11-24", "2026-02-30", "2026-11-01"]


class Draw:
    """One source of random documents around one instant."""

    def __init__(self, random):
        self.random = random
        self.as_of = random.choice(MOMENTS) + random.choice([0, 0, 1, -1, 3_600_000, -86_400_000])
        self.defined = {}
        """Computed traits of kind ``measure`` that rules may name."""

    def one(self, *choices):
        return self.random.choice(choices)

    def maybe(self, chance=0.5):
        return self.random.random() < chance

    def instant(self):
        """An instant on, or a millisecond beside, something that rules ask about."""
        random = self.random
        how = random.random()
        if how < 0.45:
            moment = oracle.back(
                self.as_of, random.choice(DURATIONS), random.choice(ZONES), random.choice([1, 1, 1, -1])
            )
        elif how < 0.6:
            zone = random.choice(ZONES)

            moment = oracle.start(oracle.local_day(self.as_of, zone) - timedelta(days=random.randint(-2, 40)), zone)
        else:
            moment = self.as_of - random.randint(-2, 40) * 21_600_000
        return moment + random.choice([0, 0, 0, 1, -1])

    def spelt(self, moment=None):
        from datetime import datetime, timedelta

        moment = self.instant() if moment is None else moment
        shift = self.one(0, 420, -300, 345)
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment, minutes=shift)
        text = at.strftime("%Y-%m-%d") + self.one("T", " ") + at.strftime("%H:%M:%S") + f".{at.microsecond // 1000:03d}"
        sign = "+" if shift >= 0 else "-"
        offset = f"{sign}{abs(shift) // 60:02d}{self.one(':', '')}{abs(shift) % 60:02d}"
        return text + (self.one("Z", "") if shift == 0 else offset)

    def value(self, deep=True):
        pick = self.random.randint(0, 9)
        if self.maybe(0.12):
            return self.one(*ODD_NUMBERS, *ODD_TEXTS)
        if pick <= 2:
            return self.one(*TEXTS)
        if pick == 3:
            return self.one(0, 1, 2, 3, 5, 10, -1, 70000)
        if pick == 4:
            return self.one(0.1, 0.2, 1.5, 2.0, 3.333333, -0.5, 1e5)
        if pick == 5:
            return self.one(True, False, None, "1.5", "2.0", "-1", " 5", "007")
        if pick == 6:
            return self.one(*DAYS)
        if pick == 7:
            moment = self.instant()
            return self.one(moment, moment // 1000, self.spelt(moment), self.spelt(moment))
        if not deep:
            return None
        if pick == 8:
            return [self.value(False) for _ in range(self.random.randint(0, 3))]
        return {self.one("p", "q"): self.value(False) for _ in range(self.random.randint(0, 2))}

    def scalar(self):
        if self.maybe(0.1):
            return self.one(*ODD_TEXTS, 100_000, -5, 0.0005)
        return self.one(*TEXTS, 0, 1, 2, 5, 1.5, 0.1, True, False)

    def comparison(self, ops=None):
        op = self.one(
            *(
                ops
                or [
                    "exists",
                    "missing",
                    "is",
                    "is_not",
                    "in",
                    "not_in",
                    "lt",
                    "lte",
                    "gt",
                    "gte",
                    "between",
                    "contains",
                    "not_contains",
                    "starts_with",
                    "ends_with",
                    "matches",
                    "has_any",
                    "has_all",
                    "has_none",
                    "size_gte",
                    "size_lte",
                    "before",
                    "after",
                    "on",
                    "in_last",
                    "in_next",
                    "older_than",
                    "later_than",
                    "days_from_today",
                    "anniversary",
                ]
            )
        )
        made = {"op": op}
        if op in ("is", "is_not"):
            made["value"] = self.scalar()
        elif op in ("in", "not_in", "has_any", "has_all", "has_none"):
            made["value"] = [self.scalar() for _ in range(self.random.randint(1, 3))]
        elif op in ("lt", "lte", "gt", "gte"):
            made["value"] = self.one(0, 1, 2, 1.5, 5, 0.3)
        elif op == "between":
            low = self.one(0, 1, 0.5)
            made["value"] = [low, low + self.one(0, 1, 4)]
        elif op in ("contains", "not_contains", "starts_with", "ends_with"):
            made["value"] = self.one("x", "X", "i", "é", "%", "1", "\u0130", "S", "e\u0301", "_", "\n")
        elif op == "matches":
            made["value"] = self.one("x*", "?", "*%_*", "??", "i*", "*", "*a*b*", "?*?", "\u00e5", "*.*", "*\\\\*")
        elif op in ("size_gte", "size_lte"):
            made["value"] = self.random.randint(0, 3)
        elif op in ("before", "after"):
            made["value"] = self.one(DAYS[0], DAYS[1], self.day(), self.moment())
        elif op == "on":
            made["value"] = self.day()
        elif op in ("in_last", "in_next", "older_than", "later_than"):
            made["value"] = self.one(*DURATIONS)
        elif op in ("days_from_today", "anniversary"):
            low = self.random.randint(-8, 8)
            made["value"] = {"from": low, "to": low + self.random.randint(0, 8)}
        if op in ("is", "in", "contains", "matches", "has_any", "starts_with") and self.maybe(0.2):
            made["ignore_case"] = True
        return made

    def day(self):
        return oracle.local_day(self.instant(), self.one(*ZONES)).isoformat()

    def moment(self):
        from datetime import datetime, timedelta

        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.instant())
        return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"

    # documents

    def where(self, depth=0):
        pick = self.random.random()
        if depth < 2 and pick < 0.2:
            return {
                "kind": self.one("all", "any"),
                "of": [self.where(depth + 1) for _ in range(self.random.randint(1, 2))],
            }
        if depth < 2 and pick < 0.3:
            return {"kind": "not", "of": self.where(depth + 1)}
        if depth < 2 and pick < 0.4:
            return {"kind": "item", "list": "properties.l", "where": self.where(depth + 1)}
        return {
            "kind": "prop",
            "path": self.one("p", "q") if depth and pick > 0.9 else self.path(),
            **self.comparison(),
        }

    def path(self):
        return self.one("properties.v", "properties.w", "properties.l", "properties.o.p", "context.c")

    def event(self):
        return self.one("a", "b", "c", "*", ["a", "b"])

    def window(self):
        pick = self.random.randint(0, 5)
        if pick <= 1:
            return {"last": self.one(*DURATIONS[1:])}
        if pick == 2:
            return {"between_ago": self.one(["2d", "1d"], ["30d", "7d"], ["1mo", "1d"], ["1y", "1mo"], ["36h", "0d"])}
        if pick == 3:
            made = {"calendar": self.one("day", "week", "month", "quarter", "year")}
            if self.maybe():
                made["back"] = self.random.randint(0, 3)
            if self.maybe():
                made["count"] = self.random.randint(1, 4)
            return made
        ends = {}
        first, last = sorted([self.instant(), self.instant()])

        def spell(moment):
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)
            if self.maybe():
                return at.date().isoformat()
            return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"

        if self.maybe(0.7):
            ends["from"] = spell(first)
        if self.maybe(0.7) or not ends:
            ends["to"] = spell(last)
        return ends

    def event_rule(self):
        made = {"kind": "event", "event": self.event()}
        if self.maybe(0.35):
            made["where"] = self.where()
        if self.maybe(0.7):
            made["window"] = self.window()
        numbers = ["is", "is_not", "in", "not_in", "lt", "lte", "gt", "gte", "between"]
        pick = self.random.randint(0, 9)
        if pick <= 2:
            if self.maybe(0.7):
                made |= self.number_comparison(numbers)
            return made
        agg = self.one(
            "sum", "avg", "min", "max", "unique", "percentile", "active", "first", "last", "most_frequent", "last"
        )
        measure = {"agg": agg}
        if agg == "active":
            measure["unit"] = self.one("day", "week", "month")
            if self.maybe():
                measure["min_each"] = self.random.randint(1, 3)
        else:
            measure["of"] = self.path()
        if agg == "percentile":
            measure["p"] = self.one(1, 25, 50, 90, 100)
        if agg == "most_frequent" and self.maybe():
            measure["min_count"] = 2
        if agg in ("first", "last") and self.maybe():
            measure["of"] = "timestamp"
        made["measure"] = measure
        if agg in ("first", "last", "most_frequent"):
            times = [
                "in_last",
                "older_than",
                "in_next",
                "later_than",
                "days_from_today",
                "before",
                "after",
                "on",
                "anniversary",
            ]
            made |= self.comparison(times if measure["of"] == "timestamp" and self.maybe(0.8) else None)
        else:
            made |= self.number_comparison(numbers)
        return made

    def number_comparison(self, numbers):
        op = self.one(*numbers)
        value = self.one(0, 1, 2, 3, 1.5, 0.3, 5)
        if op in ("in", "not_in"):
            return {"op": op, "value": [value, self.one(1, 4)]}
        if op == "between":
            return {"op": op, "value": [value, value + self.one(0, 1, 3)]}
        return {"op": op, "value": value}

    def sequence_rule(self):
        steps = [{"event": self.event()}]
        for _ in range(1, self.random.randint(1, 4)):
            step = {"event": self.event()}
            if self.maybe(0.4) and not steps[-1].get("absent"):
                step["absent"] = True
            if self.maybe() and not step.get("absent"):
                step["within"] = self.one(*ELAPSED[1:])
            steps.append(step)
        if steps[-1].get("absent") and self.maybe():
            steps[-1]["within"] = self.one(*ELAPSED[1:])
        for step in steps:
            if self.maybe(0.15):
                step["where"] = self.where(1)
        made = {"kind": "sequence", "steps": steps}
        if self.maybe(0.4):
            made["window"] = self.window()
        if self.maybe(0.25):
            made["within"] = self.one("1h", "36h", "7d")
        if self.maybe(0.25):
            made["same"] = ["properties.k", "properties.v"] if self.maybe(0.2) else ["properties.k"]
        return made

    def rule(self, depth=0):
        pick = self.random.random()
        if self.defined and self.maybe(0.06):
            numbers = ["is", "is_not", "in", "not_in", "lt", "lte", "gt", "gte", "between"]
            name = self.one(*sorted(self.defined))
            plain = self.defined[name]["of"]["measure"]["agg"] in ("first", "last", "most_frequent")
            made = self.comparison() if plain or self.maybe(0.1) else self.number_comparison(numbers)
            return {"kind": "trait", "name": name, **made, **({"for": "1d"} if self.maybe(0.05) else {})}
        if depth < 3 and pick < 0.25:
            return {
                "kind": self.one("all", "any"),
                "of": [self.rule(depth + 1) for _ in range(self.random.randint(1, 3))],
            }
        if depth < 3 and pick < 0.32:
            return {"kind": "not", "of": self.rule(depth + 1)}
        if pick < 0.55:
            return self.event_rule()
        if pick < 0.7:
            return self.sequence_rule()
        if pick < 0.88:
            made = {"kind": "trait", "name": self.one("t", "u", "o.p", "l", r"x\.y"), **self.comparison()}
            if self.maybe(0.15):
                made["for"] = self.one(*DURATIONS)
            return made
        return self.one(
            {"kind": "everyone"},
            {
                "kind": "consent",
                "purpose": self.one("m", "n"),
                "channel": self.one("e", "s"),
                "state": self.one(["granted"], ["unset", "denied"], ["denied"], ["unset"]),
            },
            {"kind": "consent", "purpose": "m", "state": ["granted", "unset"]},
            {"kind": "suppressed", "channel": "e"},
            {"kind": "has_id", "types": ["email", "phone"]},
            {"kind": "list", "key": "L"},
            {
                "kind": "score",
                "name": "s",
                **self.one(
                    {"op": "gte", "value": 0.5},
                    {"op": "lt", "value": 0.6},
                    {"op": "gt", "value": 0.5},
                    {"op": "lte", "value": 0.5},
                    {"op": "between", "value": [0.2, 0.6]},
                ),
                **({"max_age": self.one("1d", "1mo", "24h", "1y")} if self.maybe() else {}),
            },
            {"kind": "geo", "trait": "g", "lat": 21, "lon": 105.8, "within_km": self.one(1, 50, 20_000)},
            {
                "kind": "split",
                "salt": self.one("s", "r"),
                "from": self.one(0, 0, 12.34, 24.99),
                "to": self.one(25, 50, 99.99, 100),
            },
        )

    def segment(self, key, others=()):
        rule = self.rule()
        if others and self.maybe(0.15):
            rule = {"kind": "all", "of": [{"kind": "segment", "key": self.one(*others)}, rule]}
        return {"schema": "segment/1", "key": key, "timezone": self.one(*ZONES), "rule": rule}

    def definitions(self):
        """One or two computed traits of kind ``measure``, by name; rules drawn from now on may name them."""
        for name in ("c1", "c2")[: self.random.randint(1, 2)]:
            recipe = {}
            while "measure" not in recipe:
                recipe = self.event_rule()
            recipe = {key: recipe[key] for key in ("event", "where", "window", "measure") if key in recipe}
            document = {"schema": "trait/1", "key": name, "timezone": self.one(*ZONES[:3])}
            self.defined[name] = {**document, "of": {"kind": "measure", **recipe}}
        return self.defined

    # people

    def profile(self, identity):
        traits = {}
        for name in ("t", "u", "l", "o", "x.y"):
            if self.maybe(0.7):
                traits[name] = self.value()
        if self.maybe():
            traits["g"] = {"lat": self.one(21.01, 95, "21"), "lon": self.one(105.8, -74, 200)}
        made = {"id": identity, "traits": traits, "trait_since": {}, "scores": {}}
        made["trait_since"] = {name: self.instant() for name in traits if self.maybe(0.8)}
        if self.maybe(0.4):
            made["consent"] = {
                self.one("m", "m/e", "n", "n/s", "m/s"): self.one("granted", "denied") for _ in range(self.one(1, 2, 3))
            }
        if self.maybe(0.2):
            made["suppressed"] = [self.one("e", "*", "sms")]
        if self.maybe(0.3):
            made["lists"] = [self.one("L", "K")]
        if self.maybe(0.3):
            made["identifiers"] = {self.one("email", "anonymous_id"): self.one(["z"], [])}
        if self.maybe(0.3):
            made["scores"] = {"s": {"value": self.one(0.5, 0.7, 0.2, "0.6", "x", None), "at": self.instant()}}
        if self.maybe(0.2):
            made["split_id"] = f"split{self.random.randint(0, 99)}"
        if self.maybe(0.03):
            made["deleted"] = True
        return made

    def changed(self, profile):
        """The person after a change of consent, of a trait, of lists, or after a deletion; mostly as it was."""
        pick = self.random.random()
        if pick < 0.08:
            return {**profile, "deleted": True}
        if pick < 0.3:
            said = {**profile.get("consent", {}), self.one("m", "m/e", "n"): self.one("granted", "denied")}
            return {**profile, "consent": said}
        if pick < 0.4:
            name = self.one("t", "u", "l")
            traits, since = {**profile["traits"], name: self.value()}, {**profile["trait_since"], name: self.as_of}
            return {**profile, "traits": traits, "trait_since": since}
        if pick < 0.45:
            return {**profile, "lists": ["L"], "suppressed": ["e"]}
        return profile

    def events(self, most=8, prefix=""):
        made = []
        for place in range(self.random.randint(0, most)):
            moment = self.instant() if self.maybe(0.85) or not made else made[-1]["ts"]
            late = self.one(0, 0, 0, 1, 3_600_000, 2 * 86_400_000)
            received = moment + late if self.maybe(0.9) else self.as_of - self.one(0, 3_600_000)
            properties = {name: self.value() for name in ("v", "w", "l", "o") if self.maybe(0.6)}
            if self.maybe(0.3):
                properties["l"] = [{"p": self.value(False), "q": self.value(False)}, self.value(False)]
            if self.maybe(0.6):
                properties["k"] = self.one("7", 7, "8", None)
            body = {"properties": properties}
            if self.maybe(0.2):
                body["context"] = {"c": self.value()}
            made.append(
                {
                    "message_id": f"{prefix}m{place}",
                    "event": self.one(*NAMES),
                    "ts": moment,
                    "received_at": received,
                    "body": body,
                }
            )
        again = [event for event in made if self.maybe(0.1)]
        made += [{**event, "received_at": event["received_at"] + self.one(1, 60_000)} for event in again]
        self.random.shuffle(made)
        return made


def person_of(profile, meters=None):
    """A drawn profile as the live engine takes it."""
    return PersonState(
        id=profile["id"],
        split_id=profile.get("split_id"),
        traits=profile["traits"],
        trait_since=profile["trait_since"],
        identifiers=profile.get("identifiers", {}),
        lists=profile.get("lists", ()),
        consent=profile.get("consent", {}),
        suppressed=profile.get("suppressed", ()),
        scores={name: Score(score["value"], score["at"]) for name, score in profile["scores"].items()},
        deleted=profile.get("deleted", False),
        meters=meters or {},
    )


def rule_event(event):
    """A drawn event as the engines take it."""
    return RuleEvent(event["message_id"], event["event"], event["ts"], event["received_at"], event["body"])
