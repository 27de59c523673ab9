"""What goes on the bus is what the schemas in events/bus say, and the samples are too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hoso.model.time import DAY_MS
from tests.activate_world import World, activate_world, receiving

FOLDER = Path("events/bus")
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in FOLDER.glob("*.schema.json")
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with activate_world(tmp_path) as made:
        yield made


def faults(detail: dict[str, object]) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMAS[str(detail["type"])]).iter_errors(detail)]


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_every_type_has_a_sound_schema_and_a_sample_that_obeys_it(kind: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[kind])
    sample = json.loads((FOLDER / f"{kind}.json").read_text())

    assert (sample["source"], sample["detail-type"], sample["detail"]["type"]) == ("hoso", kind, kind)
    assert faults(sample["detail"]) == []
    assert faults({**sample["detail"], "email": "an@example.vn"})


def test_what_really_goes_on_the_bus_obeys_the_schemas(world: World) -> None:
    with receiving() as receiver:
        world.shop(receiver.url)
        receiver.answers = [(400, {}, b"")]
        world.price(500_000, url="https://shop.example.vn/dress", sizes=["S"], stock=3)
        world.views("an")
        world.run()
        world.call("POST /v1/deliveries/redrive", body={"status": "failed"})
        world.price(400_000)
        world.run()
        for user in ("u1", "u2"):
            world.unify.consume({"type": "track", "event": "Seen", "userId": user, "messageId": user})
            link = {"type": "identify", "userId": user, "messageId": f"l{user}", "traits": {"phone": "0901234567"}}
            world.unify.consume(link)
        world.buys("an")
        world.advance(31 * DAY_MS)
        world.run()

    kinds = {detail["type"] for detail in world.bus}
    assert kinds >= {"segment.entered", "segment.exited", "product.price_changed", "activation.requested"}
    assert [(detail["type"], faults(detail)) for detail in world.bus if faults(detail)] == []
    assert any("redrive" in detail for detail in world.bus)
