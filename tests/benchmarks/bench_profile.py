"""Profiles: what a read and a greeting cost, whether an event costs the same among many people, and how items grow.

``python -m tests.benchmarks.bench_profile`` prints JSON. Own CPU is the CPU of this code alone: calls to AWS are
answered by moto and their time is taken out.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from hoso.model.time import DAY_MS, MINUTE_MS, format_instant
from hoso.platform.wire import marshal
from hoso.unify.handlers import profiles
from infra.twin import calls
from infra.twin.moto_fixes.values import canonical
from tests.benchmarks.bench_consume import rules
from tests.unify_world import NOW, Context, World, packed, unify_world

READS = 300
PEOPLE = (10_000, 100_000)
CUSTOMERS = (5_000, 20_000)
SAMPLE = 5_000
BATCH = 500
ITEM_CAP = 100_000


class Meter:
    """Own CPU of a call (ms), less what AWS calls took, and the AWS calls."""

    def __init__(self) -> None:
        self.aws_s = 0.0
        self.calls: dict[str, int] = {}

    def __call__(self, call: Any, proceed: Any) -> Any:
        began = time.process_time()
        self.calls[call.operation] = self.calls.get(call.operation, 0) + 1
        try:
            return proceed(call)
        finally:
            self.aws_s += time.process_time() - began

    def own_ms(self, work: Callable[[], Any]) -> float:
        """CPU of ``work`` without that of AWS calls."""
        before, began = self.aws_s, time.process_time()
        work()
        return (time.process_time() - began - (self.aws_s - before)) * 1_000


def order(n: int, card: str, ts: int, **properties: Any) -> dict[str, Any]:
    """A coffee on a bill that a party shares."""
    body = {"order_id": f"{card}{n}", "store_id": "A", "table_or_seat": "3", "products": [{"name": "latte"}]}
    stamp = format_instant(ts)
    told = {"type": "track", "event": "Order Completed", "messageId": f"{card}o{n}", "userId": card}
    return {**told, "timestamp": stamp, "properties": {**body, "total": 45_000, **properties}}


def regular(world: World, card: str) -> None:
    """Somebody with twenty traits, three devices, 64 shared visits and 200 views."""
    token = {"externalIds": [{"type": "presence_token", "id": f"token-{card}"}]}
    traits = {f"t{n}": f"value {n}" for n in range(18)} | {"firstName": card, "city": "Huế"}
    stamp = format_instant(NOW - 90 * DAY_MS)
    told = {"type": "identify", "traits": traits, "userId": card, "timestamp": stamp, "context": token}
    consent = {"purpose": "personalization", "state": "granted"}
    world.consume(
        {**told, "messageId": f"{card}i0"},
        *({**told, "messageId": f"{card}d{n}", "anonymousId": f"{card}a{n}", "context": {}} for n in range(3)),
        {"type": "track", "event": "Consent Updated", "messageId": f"{card}c", "userId": card, "properties": consent},
    )
    start = NOW - NOW % DAY_MS + 60 * MINUTE_MS
    world.consume(*(order(n, card, start - n * DAY_MS, party_ref=f"p{n}") for n in range(70)))
    for n in range(3):
        views = [
            {
                "type": "page",
                "messageId": f"{card}v{n}.{k}",
                "anonymousId": f"{card}a{n}",
                "timestamp": format_instant(NOW - k * MINUTE_MS),
                "properties": {"path": f"/{k % 9}"},
            }
            for k in range(70)
        ]
        world.consume(*views)


def reads(world: World) -> dict[str, Any]:
    """Milliseconds of own CPU of the reads of a regular, p50 and p95."""
    for card in ("An", "Bình", "Chi"):
        regular(world, card)
    meter = Meter()
    calls.use("faults", meter)
    at = format_instant(NOW - NOW % DAY_MS + 60 * MINUTE_MS)
    asked: dict[str, tuple[str, dict[str, str], dict[str, str] | None]] = {
        "whole profile": ("GET /v1/profiles/{id}", {"id": "user_id:An"}, None),
        "traits and segments": ("GET /v1/profiles/{id}", {"id": "user_id:An"}, {"fields": "traits,segments"}),
        "sessions": ("GET /v1/profiles/{id}/sessions", {"id": "user_id:An"}, None),
        "greeting": ("GET /v1/host/{store}/greeting", {"store": "A"}, {"token": "token-An", "at": at}),
    }
    results: dict[str, Any] = {}
    for name, (route, path, query) in asked.items():
        event = _event(route, path, query)
        assert profiles.handler(event, Context())["statusCode"] == 200
        meter.calls.clear()
        spent = sorted(meter.own_ms(lambda event=event: profiles.handler(event, Context())) for _ in range(READS))
        results[name] = {
            "own_cpu_ms_p50": round(spent[READS // 2], 2),
            "own_cpu_ms_p95": round(spent[READS * 95 // 100], 2),
            "aws_calls": {operation: round(count / READS, 1) for operation, count in sorted(meter.calls.items())},
        }
    calls.drop("faults")
    said = json.loads(profiles.handler(_event(*asked["greeting"]), Context())["body"])
    assert said["companion"] is not None and said["usual"]["item"]["value"] == "latte"
    return results


def one_person(world: World) -> dict[str, Any]:
    """10,000 events of one person in 100 batches: writes of the hot item per batch, and the largest items."""
    writes = [0]
    batches_with_more = 0

    def count(call: Any, proceed: Any) -> Any:
        item = call.params.get("Item", {}) if call.operation == "PutItem" else {}
        writes[0] += item.get("sk", {}).get("S") == "H"
        if call.operation == "TransactWriteItems":
            puts = [entry["Put"]["Item"] for entry in call.params["TransactItems"] if "Put" in entry]
            writes[0] += sum(put["sk"]["S"] == "H" for put in puts)
        return proceed(call)

    calls.use("faults", count)
    noise = random.Random(1)
    for batch in range(100):
        events = [
            {
                "type": "track",
                "event": "Seen",
                "messageId": f"b{batch}.{n}",
                "userId": "busy",
                "timestamp": format_instant(NOW - batch * 1_000 - n),
                "properties": {"note": noise.randbytes(300).hex(), "price": n},
            }
            for n in range(98)
        ]
        told = {f"t{batch}.{n}": noise.randbytes(40).hex() for n in range(20)}
        events.append({"type": "identify", "messageId": f"i{batch}", "userId": "busy", "traits": told})
        events.append({**order(batch, "busy", NOW - batch * DAY_MS), "messageId": f"o{batch}"})
        before = writes[0]
        world.consume(*events)
        batches_with_more += writes[0] - before > 1
    calls.drop("faults")
    sizes: dict[str, int] = {}
    for item in world.items():
        kind = item["sk"].split("#")[0]
        wire = {name: marshal(value) for name, value in item.items()}
        sizes[kind] = max(sizes.get(kind, 0), canonical(wire)[1])
    assert world.profile("user_id:busy")["totals"]["events"] == 10_000
    names = {"H": "hot", "C": "cold", "T": "page", "I": "identifier", "P": "person", "R": "mark"}
    return {
        "hot_writes_per_batch": writes[0] / 100,
        "batches_with_more_than_one": batches_with_more,
        "largest_item_bytes": {names.get(kind, kind): size for kind, size in sorted(sizes.items())},
        "cap_bytes": ITEM_CAP,
    }


def growth(people: int, *, linked: bool = False) -> dict[str, float]:
    """What an event costs when so many people are known: own CPU and AWS calls, for a sample who come back. ``linked``:
    each is a customer of three identifiers who signed in, instead of a browser."""
    room = {"HOSO_NEW_PROFILES_PER_HOUR": str(10 * people)}  # all of them are new in the same hour
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, room),
        unify_world(Path(folder), config_ttl_ms=60_000) as world,
    ):
        serial = iter(range(10**9))

        def visit(who: int, ts: int) -> dict[str, Any]:
            body = {"type": "track", "event": "Product Viewed", "messageId": f"m{next(serial)}"}
            return {**body, "anonymousId": f"v{who}", "timestamp": format_instant(ts), "properties": {"price": 1}}

        def first(who: int) -> dict[str, Any]:
            told = visit(who, NOW - 10_000)
            if not linked:
                return told
            return {**told, "type": "identify", "userId": f"u{who}", "traits": {"email": f"c{who}@example.vn"}}

        for start in range(0, people, BATCH):
            blobs = [blob for who in range(start, start + BATCH) for blob in packed([first(who)], NOW)]
            assert world.deliver(world.kinesis(blobs)) == []
        dice = random.Random(7)
        chosen = dice.sample(range(people), SAMPLE)
        batches = [
            world.kinesis(blob for who in chosen[start : start + BATCH] for blob in packed([visit(who, NOW)], NOW))
            for start in range(0, SAMPLE, BATCH)
        ]
        meter = Meter()
        calls.use("faults", meter)
        spent_ms = sum(meter.own_ms(lambda batch=batch: world.deliver(batch)) for batch in batches)
        calls.drop("faults")
        return {
            "own_cpu_us_per_event": round(spent_ms * 1_000 / SAMPLE, 1),
            **{f"{name}_per_event": round(count / SAMPLE, 3) for name, count in sorted(meter.calls.items())},
        }


def identifiers(count: int) -> dict[str, float]:
    """What an event costs for a person of so many identifiers, each a device with a fragment: ten live rules, one of
    them on a trait, 50 batches of one record of ten events."""
    with tempfile.TemporaryDirectory() as folder, unify_world(Path(folder), config_ttl_ms=60_000) as world:
        for number, rule in enumerate(rules(10)):
            world.segment(f"s{number}", rule)
        for n in range(count - 1):
            told = {"type": "identify", "userId": "u", "anonymousId": f"a{n}", "traits": {"plan": "gold"}}
            stamp = format_instant(NOW - 400 * DAY_MS + n * 3 * DAY_MS)
            seen = {"type": "track", "event": "Product Viewed", "messageId": f"s{n}", "anonymousId": f"a{n}"}
            world.consume({**told, "messageId": f"i{n}", "timestamp": stamp}, {**seen, "timestamp": stamp})
        who = {"anonymousId": "a0"} if count > 1 else {"userId": "u"}
        view = {"type": "track", "event": "Product Viewed", **who}
        meter = Meter()
        calls.use("faults", meter)
        spent = 0.0
        for batch in range(50):
            stamps = [format_instant(NOW - (50 - batch) * 1_000 + n) for n in range(10)]
            events = [
                {**view, "messageId": f"m{batch}.{n}", "timestamp": stamp, "properties": {"price": 9}}
                for n, stamp in enumerate(stamps)
            ]
            work = world.kinesis(packed(events, NOW))
            spent += meter.own_ms(lambda work=work: world.deliver(work))
        calls.drop("faults")
        held = len(world.profile("user_id:u")["identifiers"])
        assert held == count, held
        return {
            "own_cpu_us_per_event": round(spent * 1_000 / 500, 1),
            **{f"{name}_per_event": round(number / 500, 2) for name, number in sorted(meter.calls.items())},
        }


def measure(people: tuple[int, ...] = PEOPLE) -> dict[str, Any]:
    """All of it."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, unify_world(Path(folder), config_ttl_ms=60_000) as world:
        results["reads"] = reads(world)
    with tempfile.TemporaryDirectory() as folder, unify_world(Path(folder), config_ttl_ms=60_000) as world:
        results["one person"] = one_person(world)
    results["identifiers"] = {f"{count} identifiers": identifiers(count) for count in (1, 10, 100)}
    results["growth"] = {f"{count} people": growth(count) for count in people}
    results["growth of customers"] = {f"{count} people": growth(count, linked=True) for count in CUSTOMERS}
    return results


def _event(route: str, path: dict[str, str], query: dict[str, str] | None) -> dict[str, Any]:
    return {
        "routeKey": route,
        "pathParameters": {name: quote(value, safe="") for name, value in path.items()},
        "queryStringParameters": query,
        "requestContext": {"authorizer": {"jwt": {"claims": {"sub": "bench", "cognito:groups": "[engineer]"}}}},
    }


if __name__ == "__main__":
    print(json.dumps(measure(tuple(map(int, sys.argv[1:])) or PEOPLE), indent=1, ensure_ascii=False))
