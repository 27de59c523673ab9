"""Random scenario documents of the published format: few values, so that everything collides with everything."""

from __future__ import annotations

import random
from typing import Any

TYPES = {
    "default": ["user_id", "crm_id", "loyalty_id", "email", "phone", "device_id", "ga_client_id", "anonymous_id"],
    "graph-linking": ["crm_id", "email", "phone", "login_id", "device_id", "anonymous_id"],
}
USELESS = {
    "email": ["test@test.com", "noreply@shop.vn", "not an address"],
    "phone": ["0000000000", "0123456789", "12"],
}
USELESS_ANYWHERE = ["", "null", "0", "0-0-0", "Anonymous", "  ", "[object Object]", "qa-user"]


def random_document(seed: int, *, operators: bool = True, most: int = 24) -> dict[str, Any]:
    """A scenario with limits, windows, guards, aliases, odd values and, with ``operators``, records of operators."""
    chance = random.Random(seed)
    base = chance.choice(["default", "default", "graph-linking"])
    config = _config(chance, base)
    kinds = list(TYPES[base])
    chance.shuffle(kinds)
    kinds = kinds[: chance.choice([2, 3, 4, len(kinds)])]
    spread = chance.choice([2, 3, 5, 8])
    span = chance.choice([10, 600, 86_400 * 3, 86_400 * 30])

    def plain(kind: str) -> str:
        number = chance.randrange(spread)
        return {"email": f"m{number}@x.vn", "phone": f"+8490100200{number}"}.get(kind, f"{kind[0]}{number}")

    def written(kind: str) -> Any:
        if chance.random() < 0.04:
            return chance.choice(USELESS_ANYWHERE + USELESS.get(kind, []))
        value = plain(kind)
        if kind == "phone":
            return chance.choice([value, "0" + value[3:], "0084 " + value[3:], value[1:]])
        if kind == "email":
            return chance.choice([value, value.upper(), f" {value} "])
        return chance.choice([value, value, value + " "])

    def named() -> str:
        kind = chance.choice(kinds)
        return f"{kind}:{plain(kind)}"

    def two() -> list[str]:
        while True:
            one, other = named(), named()
            if one != other:
                return [one, other]

    items: list[dict[str, Any]] = []
    now = 0
    for number in range(chance.choice([4, 8, 14, most])):
        now += chance.randrange(1 + span // 10)
        lot = chance.random()
        if lot < 0.06:
            one, other = two()
            score = round(0.01 + 0.99 * chance.random(), 2)
            items.append({"op": "probable", "id": f"o{number}", "ts": now, "score": score, "a": one, "b": other})
        elif operators and lot < 0.18:
            op = chance.choice(["cut", "cut", "restore", "apart", "delete"])
            record: dict[str, Any] = {"op": op, "id": f"o{number}", "ts": now}
            items.append(record | ({"profile_of": named()} if op == "delete" else {"links": [two()]}))
        else:
            items.append(_event(chance, f"e{number}", now, span, kinds, written))
    independent = all("op" not in item or item["op"] == "probable" for item in items)
    return {"id": f"r{seed}", "config": config, "items": items, "order_independent": independent}


def _config(chance: random.Random, base: str) -> Any:
    if chance.random() < 0.35:
        return base
    config: dict[str, Any] = {"base": base}
    if chance.random() < 0.3:
        config["order"] = chance.choice(["first", "last"])
    if chance.random() < 0.3:
        config["max_ids"] = chance.choice([2, 3, 4, 6])
    if chance.random() < 0.2:
        config["blocked"] = ["qa-user", "m1@x.vn"]
    for kind, rank in (("email", 4), ("phone", 5), ("device_id", 6), ("anonymous_id", 8)):
        if chance.random() < 0.3:
            rule: dict[str, Any] = {"rank": rank if base == "default" else rank - 2}
            if chance.random() < 0.7:
                rule["limit"] = chance.choice([1, 2, 3])
                if chance.random() < 0.5:
                    rule["window_days"] = chance.choice([1, 7])
            if chance.random() < 0.5:
                rule["fanout"] = chance.choice([1, 2, 3])
            config.setdefault("types", {})[kind] = rule
    return config


def _event(chance: random.Random, name: str, now: int, span: int, kinds: list[str], written: Any) -> dict[str, Any]:
    late = chance.randrange(1 + span) if chance.random() < 0.3 else 0
    chosen = chance.sample(kinds, min(len(kinds), chance.choice([1, 1, 2, 2, 2, 3, 4])))
    ids = {kind: written(kind) if chance.random() > 0.06 else [written(kind), written(kind)] for kind in chosen}
    event: dict[str, Any] = {"id": name, "ts": max(0, now - late), "type": "track", "ids": ids}
    if chance.random() < 0.1:
        previous = chance.choice(chosen) if chance.random() < 0.7 else chance.choice(kinds)
        event |= {"type": "alias", "previous": {previous: written(previous)}}
    return event
