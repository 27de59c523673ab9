"""100 segments over an archive: our SQL, SQL written by hand and polars for the same rules; live CPU; previews.

Each batch engine runs in a process of its own, which tells its CPU and its greatest memory.
``python -m tests.benchmarks.bench_segments ENGINE FOLDER RULES`` is that process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from hoso.model.time import DAY_MS, format_instant
from hoso.segment.check import read_segment
from hoso.segment.live import compile_live
from hoso.segment.nightly_tables import answers
from hoso.segment.person import PersonState, RuleEvent
from hoso.segment.picture import Picture
from hoso.segment.preview import preview
from tests.benchmarks import bench_consume
from tests.benchmarks.traffic import visits
from tests.unify_world import NOW, unify_world

AS_OF = 1_795_358_100_000
NAMES = 20
DAYS = 120
PEOPLE, EVENTS, RULES = 100_000, 5_000_000, 100


def documents(count: int, *, alike: bool = True) -> list[dict[str, Any]]:
    """Rules of four kinds in turn, over twenty event names: so many, so much, this but not that, long ago.

    Of 1,000 of them many ask the same, as rules that people write do: 45 conditions without a sum, and 250 sums in 15
    windows. Not ``alike``: every rule has a window of its own, so that no two ask the same.
    """
    made: list[dict[str, Any]] = []
    for n in range(count):
        name, days = f"Event {n % NAMES:02d}", 7 + n % 60
        span = f"{days}d" if alike else f"{days * 1_440 + n}min"
        window = {"last": span}
        rules: list[dict[str, Any]] = [
            {"kind": "event", "event": name, "window": window, "op": "gte", "value": 1 + n % 3},
            {
                "kind": "event",
                "event": name,
                "window": window,
                "measure": {"agg": "sum", "of": "properties.revenue"},
                "op": "gte",
                "value": 200_000 + 1_000 * n,
            },
            {
                "kind": "all",
                "of": [
                    {"kind": "event", "event": name, "window": window},
                    {"kind": "not", "of": {"kind": "event", "event": f"Event {(n + 1) % NAMES:02d}", "window": window}},
                ],
            },
            {
                "kind": "event",
                "event": name,
                "measure": {"agg": "last", "of": "timestamp"},
                "op": "older_than",
                "value": span,
            },
        ]
        made.append({"schema": "segment/1", "key": f"s{n:04d}", "rule": rules[n % 4]})
    return made


def write_store(folder: Path, people: int, events: int) -> None:
    """An archive in the compacted form, and a snapshot of its people."""
    with duckdb.connect() as db:
        db.execute("SET threads = 2")
        db.execute(
            f"""
            COPY (
              SELECT 'm' || i AS message_id, 'track' AS type, 'Event ' || lpad((hash(i * 7) % {NAMES})::VARCHAR, 2, '0')
                AS event, ts, ts AS original_ts, ts AS received_at, 'web' AS source, 'anonymous_id' AS hub_type,
                'a' || who AS hub_value, '[]' AS ids,
                '{{"type":"track","anonymousId":"a' || who || '","messageId":"m' || i ||
                '","properties":{{"product_id":"p' || (i % 400) || '","revenue":' || (hash(i * 3) % 200000) ||
                ',"currency":"VND","category":"c' || (i % 30) || '"}},"context":{{"locale":"vi-VN","page":{{"path":"/p/'
                || (i % 400) || '"}}}}}}' AS body
              FROM (SELECT i, hash(i) % {people} AS who, {AS_OF} - (hash(i * 5) % {DAYS * DAY_MS})::BIGINT AS ts
                    FROM range({events}) t(i))
              ORDER BY event, ts
            ) TO '{folder}/events.parquet' (FORMAT parquet, COMPRESSION zstd)
            """
        )
        empty = ", ".join(f"'{{}}' AS {name}" for name in ("traits", "trait_since", "identifiers"))
        db.execute(
            f"COPY (SELECT 'p' || i AS profile_id, NULL::VARCHAR AS split_id, false AS deleted, {empty}, "
            "'[]' AS lists, '{}' AS consent, '[]' AS suppressed, '{}' AS scores, '{}' AS memberships, "
            f"NULL::VARCHAR AS live, '[]' AS spilled, 0::BIGINT AS known FROM range({people}) t(i)) "
            f"TO '{folder}/people.parquet' (FORMAT parquet)"
        )
        db.execute(
            f"COPY (SELECT 'anonymous_id' AS hub_type, 'a' || i AS hub_value, 'p' || i AS profile_id "
            f"FROM range({people}) t(i)) TO '{folder}/fragments.parquet' (FORMAT parquet)"
        )


def ours(folder: Path, rules: int) -> int:
    """Memberships by the production path."""
    segments = [read_segment(document) for document in documents(rules)]
    found = answers(
        segments, AS_OF, [folder / "events.parquet"], folder / "people.parquet", folder / "fragments.parquet"
    )
    return sum(len(answer.members) for answer in found)


def by_hand(folder: Path, rules: int) -> int:
    """The same rules as one would write them in SQL, one grouped scan per event name."""
    per_name: dict[int, list[str]] = {}
    finals: list[str] = []
    for n in range(rules):
        name, low = n % NAMES, AS_OF - (7 + n % 60) * DAY_MS
        inside = f"ts > {low} AND ts <= {AS_OF}"
        if n % 4 == 0:
            per_name.setdefault(name, []).append(f"count(*) FILTER (WHERE {inside}) AS f{n}")
            finals.append(f"coalesce(e{name}.f{n}, 0) >= {1 + n % 3}")
        elif n % 4 == 1:
            per_name.setdefault(name, []).append(f"sum(revenue) FILTER (WHERE {inside}) AS f{n}")
            finals.append(f"coalesce(e{name}.f{n}, 0) >= {200_000 + 1_000 * n}")
        elif n % 4 == 2:
            other = (n + 1) % NAMES
            per_name.setdefault(name, []).append(f"count(*) FILTER (WHERE {inside}) AS f{n}")
            per_name.setdefault(other, []).append(f"count(*) FILTER (WHERE {inside}) AS g{n}")
            finals.append(f"coalesce(e{name}.f{n}, 0) > 0 AND coalesce(e{other}.g{n}, 0) = 0")
        else:
            per_name.setdefault(name, []).append(f"max(ts) AS f{n}")
            finals.append(f"coalesce(e{name}.f{n} <= {low}, false)")
    tables = ", ".join(
        f"e{name} AS (SELECT profile_id, {', '.join(dict.fromkeys(figures))} FROM rows "
        f"WHERE event = 'Event {name:02d}' GROUP BY 1)"
        for name, figures in per_name.items()
    )
    joins = " ".join(f"LEFT JOIN e{name} USING (profile_id)" for name in per_name)
    columns = ", ".join(f"{final} AS in_{n}" for n, final in enumerate(finals))
    with duckdb.connect() as db:
        db.execute("SET threads = 2; SET memory_limit = '1024MB'")
        db.execute(f"SET temp_directory = '{folder}'")
        db.execute(f"CREATE TABLE fragments AS FROM read_parquet('{folder}/fragments.parquet')")
        db.execute(
            "CREATE TABLE rows AS SELECT f.profile_id, e.event, e.ts, "
            "try_cast(json_extract_string(e.body, '$.properties.revenue') AS DOUBLE) AS revenue "
            f"FROM (SELECT *, row_number() OVER (PARTITION BY message_id ORDER BY received_at) AS copy "
            f"FROM read_parquet('{folder}/events.parquet') WHERE received_at <= {AS_OF}) e "
            "JOIN fragments f USING (hub_type, hub_value) WHERE copy = 1"
        )
        found = db.execute(
            f"WITH {tables} SELECT p.profile_id, {columns} FROM read_parquet('{folder}/people.parquet') p {joins}"
        )
        total = 0
        while rows := found.fetchmany(5_000):
            total += sum(flag for row in rows for flag in row[1:] if flag)
        return total


def by_polars(folder: Path, rules: int) -> int:
    """The same rules in polars' expressions."""
    import polars as pl

    frame = pl.scan_parquet(folder / "events.parquet").filter(pl.col("received_at") <= AS_OF)
    frame = frame.unique("message_id", keep="any").join(
        pl.scan_parquet(folder / "fragments.parquet"), on=["hub_type", "hub_value"]
    )
    revenue = pl.col("body").str.json_path_match("$.properties.revenue").cast(pl.Float64, strict=False)
    frame = frame.select("profile_id", "event", "ts", revenue.alias("revenue"))
    figures: list[Any] = []
    finals: list[Any] = []
    for n in range(rules):
        low = AS_OF - (7 + n % 60) * DAY_MS
        named = pl.col("event") == f"Event {n % NAMES:02d}"
        inside = named & (pl.col("ts") > low)
        column = pl.col(f"f{n}")
        if n % 4 == 0:
            figures.append(inside.sum().alias(f"f{n}"))
            finals.append(column >= 1 + n % 3)
        elif n % 4 == 1:
            figures.append(pl.col("revenue").filter(inside).sum().alias(f"f{n}"))
            finals.append(column >= 200_000 + 1_000 * n)
        elif n % 4 == 2:
            other = (pl.col("event") == f"Event {(n + 1) % NAMES:02d}") & (pl.col("ts") > low)
            figures += [inside.any().alias(f"f{n}"), other.any().alias(f"g{n}")]
            finals.append(column & ~pl.col(f"g{n}"))
        else:
            figures.append(pl.col("ts").filter(named).max().alias(f"f{n}"))
            finals.append((column <= low).fill_null(value=False))
    found = frame.group_by("profile_id").agg(figures).select([final.alias(f"in_{n}") for n, final in enumerate(finals)])
    return int(found.select(pl.sum_horizontal(pl.all().sum())).collect().item())


ENGINES = {"ours": ours, "by_hand": by_hand, "polars": by_polars}


def measured(engine: str, folder: Path, rules: int) -> dict[str, float]:
    """Answer, CPU seconds and greatest memory of an engine in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_segments", engine, str(folder), str(rules)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def stored(folder: Path, people: int, events: int) -> None:
    """Write the store in a process of its own: what a parent used counts as the greatest memory of its children."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_segments", "store", str(folder), f"{people}x{events}"]
    subprocess.run(command, check=True)


def batch(people: int = PEOPLE, events: int = EVENTS) -> dict[str, Any]:
    """The three engines on one store, and how CPU grows with events, people and rules."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored(folder, people, events)
        found = {engine: measured(engine, folder, RULES) for engine in ENGINES}
        fewer_rules = measured("ours", folder, RULES // 4)
        results: dict[str, Any] = {
            **found,
            "ours_to_by_hand": round(found["ours"]["cpu_s"] / found["by_hand"]["cpu_s"], 2),
            "ours_to_polars": round(found["ours"]["cpu_s"] / found["polars"]["cpu_s"], 2),
            "rules_exponent": exponent(fewer_rules["cpu_s"], found["ours"]["cpu_s"], 4),
            "preview_s": previewed(folder),
        }
        for what, smaller in (("events_exponent", (people, events // 4)), ("people_exponent", (people // 4, events))):
            stored(folder, *smaller)
            results[what] = exponent(measured("ours", folder, RULES)["cpu_s"], found["ours"]["cpu_s"], 4)
    return results


def previewed(folder: Path) -> float:
    """Seconds for the size, examples and overlap of one rule."""
    segment = read_segment(documents(2)[1])
    picture = Picture(folder / "people.parquet", folder / "fragments.parquet", [folder / "events.parquet"], AS_OF)
    began = time.perf_counter()
    preview(segment, {}, picture, AS_OF, history=False)
    return round(time.perf_counter() - began, 2)


def exponent(smaller: float, larger: float, factor: float) -> float:
    """k in cost ~ size^k, from two costs at sizes that differ by ``factor``."""
    import math

    return round(math.log(larger / smaller) / math.log(factor), 2)


def live(rules: int, events: int = 20_000, *, alike: bool = True) -> dict[str, float]:
    """CPU per event of the stream consumer with so many rules, over parsing and writing the same events.

    Measured as the consumer works: a record's events are folded one by one, and its person is evaluated once a batch.
    """
    per_record = 100
    requests = list(browsing(events // per_record, per_record, events // per_record // 6))
    with tempfile.TemporaryDirectory() as folder, unify_world(Path(folder), config_ttl_ms=600_000) as world:
        for document in documents(rules, alike=alike):
            world.segment(document["key"], document["rule"])
        found = bench_consume.ratio(world, per_record, requests=requests)
    return {name: found[name] for name in ("ratio", "us_per_event", "parse_us_per_event")}


def browsing(requests: int, per_request: int, people: int) -> Iterator[list[dict[str, Any]]]:
    """Shop traffic whose events bear the twenty names of the rules, from ten days before the consumer's clock on.

    People come in turn, so that all of them are known, and in their first segments, when the clock starts.
    """
    for number, request in enumerate(visits(requests, per_request, people)):
        for place, event in enumerate(request):
            event["anonymousId"] = f"visit-{number % people}"
            event["event"] = f"Event {(number * 7 + place) % NAMES:02d}"
            event["properties"]["revenue"] = event["properties"]["price"]
            event["timestamp"] = format_instant(NOW - 10 * DAY_MS + number * 20_000 + place * 100)
        yield request


def engine_alone(rules: int, events: int = 20_000, people: int = 200) -> dict[str, float]:
    """Microseconds of the rule engine alone per event when every event is a batch of its own: the worst case."""
    compiled = compile_live([read_segment(document) for document in documents(rules)])
    meters: list[dict[str, Any]] = [{} for _ in range(people)]
    given = [
        RuleEvent(f"m{n:08d}", f"Event {n % NAMES:02d}", AS_OF + n, AS_OF + n, {"properties": {"revenue": n % 1000}})
        for n in range(events)
    ]
    began = time.process_time()
    for n, event in enumerate(given):
        held = meters[n % people]
        compiled.fold(held, event)
        compiled.evaluate(PersonState("p", meters=held), event.ts, compiled.affected([event.name], []))
    return {"us_per_event": round((time.process_time() - began) / events * 1e6, 1)}


def hot_person() -> float:
    """CPU of the last 1,000 of 16,000 events of one person over that of the first 1,000 after the start."""
    compiled = compile_live([read_segment(document) for document in documents(10)])
    meters: dict[str, Any] = {}
    spent: list[float] = []
    for block in range(16):
        began = time.process_time()
        for n in range(1_000):
            at = AS_OF + (block * 1_000 + n) * 60_000
            event = RuleEvent(f"m{block}-{n}", f"Event {n % 4:02d}", at, at, {"properties": {"revenue": n}})
            compiled.fold(meters, event)
            compiled.evaluate(PersonState("p", meters=meters), at, compiled.affected([event.name], []))
        spent.append(time.process_time() - began)
    return round(spent[-1] / spent[1], 2)


def lifetime(people: int = 1_000_000) -> dict[str, float]:
    """CPU of fitting BG/NBD to so many people, and of predicting for them."""
    import numpy as np

    from hoso.insight.scores.lifetime import fit_purchases

    draw = np.random.default_rng(3)
    age = np.round(draw.uniform(1, 100, people) * 7) / 7
    x = draw.poisson(age / 25).astype(float)
    tx = np.where(x > 0, np.round(age * draw.uniform(0.1, 1, people) * 7) / 7, 0.0)
    began = time.process_time()
    model = fit_purchases(x, tx, age)
    fitted = time.process_time()
    model.at_least_one(4.0, x, tx, age)
    return {"fit_cpu_s": round(fitted - began, 1), "predict_cpu_s": round(time.process_time() - fitted, 2)}


def measure() -> dict[str, Any]:
    """All of it."""
    lives = {f"live_{rules}_rules": live(rules) for rules in (10, 100, 1_000)}
    return {
        "batch_100_rules_100k_people_5M_events": batch(),
        **lives,
        "live_1000_rules_none_alike": live(1_000, alike=False),
        **{f"engine_alone_{rules}_rules": engine_alone(rules) for rules in (10, 100, 1_000)},
        "live_1000_to_10": round(lives["live_1000_rules"]["ratio"] / lives["live_10_rules"]["ratio"], 2),
        "hot_person_16000_events": hot_person(),
        "lifetime_1M_people": lifetime(),
    }


if __name__ == "__main__":
    chosen, place, number = sys.argv[1:]
    if chosen == "store":
        write_store(Path(place), *map(int, number.split("x")))
        sys.exit()
    answer = ENGINES[chosen](Path(place), int(number))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {"answer": answer, "cpu_s": round(used.ru_utime + used.ru_stime, 2), "memory_mb": used.ru_maxrss // 1024}
        )
    )
