"""A brute-force evaluator of the rule language, written from its reference alone: slow, obvious, shares no engine code.

It works on plain documents and plain events, looks at every event for every question, and knows nothing of state.
"""

from __future__ import annotations

import calendar
import hashlib
import math
import re
import unicodedata
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def member(document, others, profile, events, as_of):
    """Whether the person is a member; ``events`` are dicts with instants in ms."""
    if profile.get("deleted"):
        return False
    past = present(events, as_of)
    return holds(document["rule"], document.get("timezone", "UTC"), others, profile, past, as_of)


def present(events, as_of):
    """The events that count at an instant, of each message the copy received first."""
    counted = {}
    for event in sorted(events, key=lambda event: event["received_at"]):
        if event["received_at"] <= as_of:
            counted.setdefault(event["message_id"], event)
    return [event for event in counted.values() if event["ts"] <= as_of]


def holds(rule, tz, others, profile, events, as_of):
    kind = rule["kind"]
    if kind == "everyone":
        return True
    if kind == "all":
        return all(holds(part, tz, others, profile, events, as_of) for part in rule["of"])
    if kind == "any":
        return any(holds(part, tz, others, profile, events, as_of) for part in rule["of"])
    if kind == "not":
        return not holds(rule["of"], tz, others, profile, events, as_of)
    if kind == "segment":
        other = others[rule["key"]]
        return holds(other["rule"], other.get("timezone", "UTC"), others, profile, events, as_of)
    if kind == "trait":
        meant = measured(rule, tz, others)
        if meant is not None:
            return measure(meant, tz, events, as_of)
        if not compare(look(profile["traits"], rule["name"]), rule, tz, as_of):
            return False
        if "for" not in rule:
            return True
        # a part of a trait changes when the trait does
        whole = rule["name"].replace("\\.", "\0").split(".")[0].replace("\0", ".")
        since = profile.get("trait_since", {}).get(rule["name"], profile.get("trait_since", {}).get(whole))
        return since is not None and since <= back(as_of, rule["for"], tz)
    if kind == "list":
        return rule["key"] in profile.get("lists", [])
    if kind == "suppressed":
        return bool({rule["channel"], "*"} & set(profile.get("suppressed", [])))
    if kind == "has_id":
        return any(profile.get("identifiers", {}).get(name) for name in rule["types"])
    if kind == "consent":
        said = profile.get("consent", {})
        if said.get(rule["purpose"]) == "denied":
            return "denied" in rule["state"]
        pair = f"{rule['purpose']}/{rule['channel']}" if "channel" in rule else rule["purpose"]
        return (said.get(pair) or said.get(rule["purpose"]) or "unset") in rule["state"]
    if kind == "score":
        score = profile.get("scores", {}).get(rule["name"])
        if score is None or score["at"] > as_of:
            return False
        if "max_age" in rule and not score["at"] > back(as_of, rule["max_age"], tz):
            return False
        return compare(score["value"], rule, tz, as_of)
    if kind == "geo":
        place = look(profile["traits"], rule["trait"])
        lat, lon = (number(place.get(name)) for name in ("lat", "lon")) if isinstance(place, dict) else (None, None)
        if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180:
            return False
        a, b, c, d = map(math.radians, (rule["lat"], rule["lon"], lat, lon))
        h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
        return 2 * 6371.0088 * math.asin(min(1, math.sqrt(h))) <= rule["within_km"]
    if kind == "split":
        identity = profile.get("split_id") or profile["id"]
        bucket = int(hashlib.sha256(f"{rule['salt']}:{identity}".encode()).hexdigest()[:8], 16) % 10_000
        return round(rule["from"] * 100) <= bucket < round(rule["to"] * 100)
    if kind == "event":
        return measure(rule, tz, events, as_of)
    if kind == "sequence":
        return sequence(rule, tz, events, as_of)
    raise AssertionError(kind)


def measured(rule, tz, others):
    """The condition on events that a trait stands for: one that is defined (``trait:<name>``) as a measure here."""
    defined = others.get("trait:" + rule["name"])
    if defined is None or "for" in rule or defined.get("timezone", "UTC") != tz:
        return None
    recipe = {key: value for key, value in defined["of"].items() if key != "kind"}
    if recipe["measure"]["agg"] not in ("first", "last", "most_frequent"):
        if rule["op"] not in ("is", "is_not", "in", "not_in", "lt", "lte", "gt", "gte", "between"):
            return None
        operands = rule["value"] if isinstance(rule["value"], list) else [rule["value"]]
        if any(isinstance(one, (str, bool)) for one in operands):
            return None
    return {**recipe, **{key: rule[key] for key in ("op", "value", "ignore_case") if key in rule}}


# events


def named(event, names):
    names = [names] if isinstance(names, str) else names
    return "*" in names or event["event"] in names


def fits(body, where, tz, as_of):
    if where is None:
        return True
    if where["kind"] == "all":
        return all(fits(body, part, tz, as_of) for part in where["of"])
    if where["kind"] == "any":
        return any(fits(body, part, tz, as_of) for part in where["of"])
    if where["kind"] == "not":
        return not fits(body, where["of"], tz, as_of)
    if where["kind"] == "item":
        entries = look(body, where["list"])
        if not isinstance(entries, list):
            return False
        return any(isinstance(entry, dict) and fits(entry, where["where"], tz, as_of) for entry in entries)
    return compare(look(body, where["path"]), where, tz, as_of)


def measure(rule, tz, events, as_of):
    found = [
        event
        for event in events
        if named(event, rule["event"])
        and inside(event["ts"], rule.get("window"), tz, as_of)
        and fits(event["body"], rule.get("where"), tz, as_of)
    ]
    if "op" not in rule:
        return len(found) > 0
    how = rule.get("measure", {"agg": "count"})
    agg = how["agg"]
    found.sort(key=lambda event: (event["ts"], event["message_id"]))
    if agg == "count":
        return numeric(len(found), rule)
    if agg == "active":
        counts = Counter(unit_of(event["ts"], how["unit"], tz) for event in found)
        return numeric(sum(1 for count in counts.values() if count >= how.get("min_each", 1)), rule)
    if how["of"] == "timestamp" and agg in ("first", "last"):
        values = [event["ts"] for event in found]
    else:
        values = [look(event["body"], how["of"]) for event in found]
    if agg in ("first", "last"):
        values = [value for value in values if value is not None]
        return compare((values[0] if agg == "first" else values[-1]) if values else None, rule, tz, as_of)
    if agg == "unique":
        return numeric(len({text(value) for value in values} - {None}), rule)
    if agg == "most_frequent":
        counts = Counter(text(value) for value in values)
        counts.pop(None, None)
        best = min(counts, key=lambda form: (-counts[form], form), default=None)
        return compare(best if best is not None and counts[best] >= how.get("min_count", 1) else None, rule, tz, as_of)
    numbers = [value for value in map(number, values) if value is not None]
    if agg == "sum":
        return numeric(sum(map(micro, numbers)), rule, micro)
    if not numbers:
        return False
    if agg == "avg":
        return numeric(sum(map(micro, numbers)), rule, lambda value: micro(value) * len(numbers))
    if agg == "percentile":
        return numeric(sorted(numbers)[math.ceil(how["p"] * len(numbers) / 100) - 1], rule)
    return numeric(min(numbers) if agg == "min" else max(numbers), rule)


def micro(value):
    scaled = float(value) * 1e6 + 0.5
    return math.floor(scaled) if abs(scaled) < 1e30 else int(math.copysign(1e30, scaled))


def numeric(found, rule, scale=lambda value: value):
    op, value = rule["op"], rule["value"]
    if op in ("in", "not_in"):
        return (found in [scale(entry) for entry in value]) is (op == "in")
    if op == "between":
        return scale(value[0]) <= found <= scale(value[1])
    value = scale(value)
    return {
        "is": found == value,
        "is_not": found != value,
        "lt": found < value,
        "lte": found <= value,
        "gt": found > value,
        "gte": found >= value,
    }[op]


def sequence(rule, tz, events, as_of):
    steps = rule["steps"]
    matching = [
        [event for event in events if named(event, step["event"]) and fits(event["body"], step.get("where"), tz, as_of)]
        for step in steps
    ]
    positive = [place for place, step in enumerate(steps) if not step.get("absent")]

    def key(event):
        forms = [text(look(event["body"], path)) for path in rule.get("same", [])]
        return None if None in forms else tuple(forms)

    for choice in _rising([matching[place] for place in positive], ()):
        keys = {key(event) for event in choice}
        if len(keys) != 1 or None in keys or not inside(choice[0]["ts"], rule.get("window"), tz, as_of):
            continue
        moments = [event["ts"] for event in choice]
        if "within" in rule and moments[-1] - moments[0] > length(rule["within"]):
            continue
        if all(_step_fits(steps, matching, positive, moments, place, keys, key, as_of) for place in range(len(steps))):
            return True
    return False


def _rising(steps, chosen):
    """Every choice of one event per step in strictly rising time."""
    if len(chosen) == len(steps):
        yield chosen
        return
    for event in steps[len(chosen)]:
        if not chosen or event["ts"] > chosen[-1]["ts"]:
            yield from _rising(steps, (*chosen, event))


def _step_fits(steps, matching, positive, moments, place, keys, key, as_of):
    step = steps[place]
    if not step.get("absent"):
        order = positive.index(place)
        return order == 0 or "within" not in step or moments[order] - moments[order - 1] <= length(step["within"])
    before = moments[len([other for other in positive if other < place]) - 1]
    others = [event["ts"] for event in matching[place] if key(event) in keys]
    if place < len(steps) - 1:
        after = moments[len([other for other in positive if other < place])]
        return not any(before < moment < after for moment in others)
    if "within" in step:
        end = before + length(step["within"])
        return end <= as_of and not any(before < moment <= end for moment in others)
    return not any(moment > before for moment in others)


# values


def look(start, path):
    names = [name.replace("\0", ".") for name in path.replace("\\.", "\0").split(".")]
    for name in names:
        if not isinstance(start, dict):
            return None
        start = start.get(name)
    return start


def text(value):
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def number(value):
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", value):
        return float(value)
    return None


def boolean(value):
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value)
    return value if isinstance(value, bool) else None


def when(value, tz):
    """The instant in ms, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value * 1000 if value < 100_000_000_000 else value
    if not isinstance(value, str):
        return None
    found = re.fullmatch(
        r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:?\d\d)?)?", value, re.ASCII
    )
    if not found:
        return None
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
        if found[4] is None:
            return start(day, tz)
        moment = datetime(day.year, day.month, day.day, int(found[4]), int(found[5]), int(found[6] or 0), tzinfo=UTC)
    except ValueError:
        return None
    shift = 0
    if found[8] and found[8] != "Z":
        hours, minutes = int(found[8][1:3]), int(found[8][-2:])
        shift = (hours * 60 + minutes) * (1 if found[8][0] == "+" else -1)
        if minutes > 59 or abs(shift) > 840:
            return None
    return int((moment - EPOCH) / timedelta(seconds=1)) * 1000 - shift * 60_000 + int(((found[7] or "") + "000")[:3])


def lower(value):
    return "".join("i" if c == "\u0130" else c.lower() if len(c.lower()) == 1 else c for c in value)


def same(value, literal, ignore_case):
    if isinstance(literal, bool):
        return boolean(value) is literal
    if isinstance(literal, str):
        fold = lower if ignore_case else (lambda one: one)
        return text(value) is not None and fold(text(value)) == fold(text(literal))
    return number(value) is not None and number(value) == float(literal)


def compare(value, rule, tz, as_of):
    op, literal, ignore_case = rule["op"], rule.get("value"), rule.get("ignore_case", False)
    if op == "missing":
        return value is None
    if value is None:
        return False
    if op == "exists":
        return True
    if op in ("is", "is_not"):
        return same(value, literal, ignore_case) is (op == "is")
    if op in ("in", "not_in"):
        return any(same(value, entry, ignore_case) for entry in literal) is (op == "in")
    if op in ("lt", "lte", "gt", "gte", "between"):
        return number(value) is not None and numeric(number(value), rule, float)
    if op in ("contains", "not_contains", "starts_with", "ends_with", "matches"):
        if text(value) is None:
            return False
        fold = lower if ignore_case else (lambda one: one)
        found, part = fold(text(value)), fold(text(literal))
        if op == "contains":
            return part in found
        if op == "not_contains":
            return part not in found
        if op == "starts_with":
            return found.startswith(part)
        if op == "ends_with":
            return found.endswith(part)
        pattern = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in part)
        return re.fullmatch(pattern, found, re.DOTALL) is not None
    if op in ("has_any", "has_all", "has_none", "size_gte", "size_lte"):
        if isinstance(value, dict):
            return False
        entries = value if isinstance(value, list) else [value]
        if op == "size_gte":
            return len(entries) >= literal
        if op == "size_lte":
            return len(entries) <= literal
        hits = [any(same(entry, wanted, ignore_case) for entry in entries) for wanted in literal]
        return all(hits) if op == "has_all" else any(hits) is (op == "has_any")
    moment = when(value, tz)
    if moment is None:
        return False
    if op in ("before", "after", "on"):
        whole = re.fullmatch(r"\d{4}-\d\d-\d\d", literal)
        first = when(literal, tz)
        following = over(date.fromisoformat(literal), tz) if whole else first + 1
        return {"before": moment < first, "after": moment >= following, "on": first <= moment < following}[op]
    if op == "in_last":
        return back(as_of, literal, tz) < moment <= as_of
    if op == "older_than":
        return moment <= back(as_of, literal, tz)
    if op == "in_next":
        return as_of < moment <= back(as_of, literal, tz, -1)
    if op == "later_than":
        return moment > back(as_of, literal, tz, -1)
    today = local_day(as_of, tz)
    if local_day(moment, tz) is None:
        return False
    if op == "days_from_today":
        return literal["from"] <= (local_day(moment, tz) - today).days <= literal["to"]
    day = local_day(moment, tz)
    for shift in range(literal["from"], literal["to"] + 1):
        target = today + timedelta(days=shift)
        kept = (2, 28) if (day.month, day.day) == (2, 29) and not calendar.isleap(target.year) else (day.month, day.day)
        if (target.month, target.day) == kept:
            return True
    return False


# time


def length(duration):
    found = re.fullmatch(r"(\d+)(min|h|d|w)", duration)
    return int(found[1]) * UNITS[found[2]]


@cache
def start(day, tz):
    """The first instant of a local day, found by looking at every quarter of an hour around it."""
    guess = int((datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH).total_seconds()) * 1000
    for moment in range(guess - 15 * 3_600_000, guess + 15 * 3_600_000, 15 * 60_000):
        if (local_day(moment, tz) or (date.max if moment > 0 else date.min)) >= day:
            return moment
    raise AssertionError(day)


@cache
def over(day, tz):
    """The first instant after a local day; after the last day of the calendar there are instants on no day."""
    if day < date.max:
        return start(day + timedelta(days=1), tz)
    first = start(day, tz)
    return next(moment for moment in range(first, first + 2 * 86_400_000, 15 * 60_000) if local_day(moment, tz) is None)


@lru_cache(100_000)
def local_day(moment, tz):
    try:
        return (EPOCH + timedelta(milliseconds=moment)).astimezone(ZoneInfo(tz)).date()
    except OverflowError:  # instants beyond the calendar lie on no day
        return None


def add_months(day, months):
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


@lru_cache(100_000)
def back(as_of, duration, tz, direction=1):
    found = re.fullmatch(r"(\d+)(mo|y)", duration)
    if found:
        months = int(found[1]) * (12 if found[2] == "y" else 1)
        return start(add_months(local_day(as_of, tz), -months * direction), tz)
    return as_of - length(duration) * direction


def unit_of(moment, unit, tz):
    day = local_day(moment, tz)
    if unit == "week":
        day -= timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def inside(moment, window, tz, as_of):
    if window is None:
        return moment <= as_of
    if "last" in window:
        return back(as_of, window["last"], tz) < moment <= as_of
    if "between_ago" in window:
        far, near = window["between_ago"]
        return back(as_of, far, tz) < moment <= back(as_of, near, tz)
    if "calendar" in window:
        today = local_day(as_of, tz)
        unit, past, count = window["calendar"], window.get("back", 0), window.get("count", 1)
        if unit in ("day", "week"):
            days = 1 if unit == "day" else 7
            current = today if unit == "day" else today - timedelta(days=today.weekday())
            first, end = current - timedelta(days=past * days), current + timedelta(days=(count - past) * days)
        else:
            months = {"month": 1, "quarter": 3, "year": 12}[unit]
            current = date(today.year, (today.month - 1) // months * months + 1, 1)
            first, end = add_months(current, -past * months), add_months(current, (count - past) * months)
        return start(first, tz) <= moment < start(end, tz)
    if "from" in window and moment < when(window["from"], tz):
        return False
    if "to" in window:
        end = window["to"]
        if re.fullmatch(r"\d{4}-\d\d-\d\d", end):
            return moment < over(date.fromisoformat(end), tz)
        return moment < when(end, tz)
    return True
