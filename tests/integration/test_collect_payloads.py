"""The sample payloads in ``events/`` are what the handlers take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoso.collect.handlers import admin, archive, ingest
from tests.collect_world import World, world

EVENTS = Path(__file__).parent.parent.parent / "events"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        archive._tools.cache_clear()
        made.source("web", "web")
        yield made
        archive._tools.cache_clear()


@pytest.mark.parametrize("file", sorted((EVENTS / "tracking").glob("*.json")), ids=lambda file: file.stem)
def test_tracking_samples_are_accepted(place: World, file: Path) -> None:
    path = f"/v1/{file.stem}"

    assert place.send(path, json.loads(file.read_text()), key=place.keys["web"])["statusCode"] == 200


@pytest.mark.parametrize("file", sorted((EVENTS / "api-gateway").glob("[!a]*.json")), ids=lambda file: file.stem)
def test_gateway_samples_are_answered(place: World, file: Path) -> None:
    import base64

    given = base64.b64encode(b"WRITE_KEY:").decode()
    mine = base64.b64encode(f"{place.keys['web']}:".encode()).decode()
    text = file.read_text().replace(given, mine).replace("WRITE_KEY", place.keys["web"])

    assert ingest.handler(json.loads(text), None)["statusCode"] == 200


def test_the_admin_sample_reaches_its_route(place: World) -> None:
    answer = admin.handler(json.loads((EVENTS / "api-gateway" / "admin-replay.json").read_text()), None)

    assert (answer["statusCode"], json.loads(answer["body"])["message"]) == (404, "no such quarantine entry")


def test_the_stream_sample_is_archived(place: World) -> None:
    event = json.loads((EVENTS / "kinesis" / "packed-record.json").read_text())

    assert archive.handler(event, None) == {"batchItemFailures": []}
