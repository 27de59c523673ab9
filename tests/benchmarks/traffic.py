"""A deterministic stream of shop traffic for the measurements: people browse, some log in, some buy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from hoso.model.time import format_instant

_START_MS = 1_767_225_600_000
_NAMES = ("Product Viewed", "Product Viewed", "Product Viewed", "Product Added", "Cart Viewed", "Order Completed")


def shop_events(events: int, people: int, seed: int = 7) -> Iterator[dict[str, Any]]:
    """``events`` Segment-spec events of ``people`` people, in order of their time; a fifth of the people log in."""
    draw = random.Random(seed)
    logged_in: set[int] = set()
    for number in range(events):
        person = draw.randrange(people)
        ts = format_instant(_START_MS + number * 1_500)
        message_id = f"bench-{seed}-{number:08d}"
        base = {"anonymousId": f"anon-{seed}-{person:06d}", "messageId": message_id, "timestamp": ts}
        if person in logged_in:
            base["userId"] = f"user-{seed}-{person:06d}"
        if person % 5 == 0 and person not in logged_in and draw.random() < 0.4:
            logged_in.add(person)
            user = {
                "userId": f"user-{seed}-{person:06d}",
                "traits": {"email": f"p{person}.{seed}@example.vn", "name": "Nguyễn Văn A"},
            }
            yield {"type": "identify", **base, **user, "context": _context(person)}
            continue
        name = draw.choice(_NAMES)
        yield {
            "type": "track",
            "event": name,
            "properties": _properties(name, number, draw),
            **base,
            "context": _context(person),
        }


def visits(requests: int, per_request: int, people: int, seed: int = 11) -> Iterator[list[dict[str, Any]]]:
    """Requests of one person each, as SDKs on devices send them: ``per_request`` events a request."""
    draw = random.Random(seed)
    for number in range(requests):
        person = draw.randrange(people)
        yield [
            {
                "type": "track",
                "event": (name := draw.choice(_NAMES[:5])),
                "properties": _properties(name, number, draw),
                "anonymousId": f"visit-{seed}-{person:06d}",
                "messageId": f"visit-{seed}-{number:07d}-{position:03d}",
                "timestamp": format_instant(_START_MS + number * 2_000 + position),
                "context": _context(person),
            }
            for position in range(per_request)
        ]


def _properties(name: str, number: int, draw: random.Random) -> dict[str, Any]:
    product = draw.randrange(400)
    price = 100_000 + 1_000 * product
    properties: dict[str, Any] = {
        "product_id": f"p-{product:03d}",
        "name": "Áo sơ mi",
        "category": "Quần áo",
        "price": price,
        "currency": "VND",
    }
    if name == "Order Completed":
        properties |= {
            "order_id": f"o-{number}",
            "revenue": price,
            "total": price + 30_000,
            "products": [{"product_id": f"p-{product:03d}", "quantity": 1, "price": price}],
        }
    return properties


def _context(person: int) -> dict[str, Any]:
    return {
        "userAgent": "Mozilla/5.0 (Linux; Android 14; SM-A546E) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Mobile Safari/537.36",
        "library": {"name": "analytics.js", "version": "npm:next-1.84.3"},
        "locale": "vi-VN",
        "timezone": "Asia/Ho_Chi_Minh",
        "page": {
            "path": f"/p/{person % 400}",
            "url": f"https://shop.example.vn/p/{person % 400}",
            "title": "Áo sơ mi",
            "referrer": "",
        },
    }
