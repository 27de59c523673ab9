"""All published cases of the rule language through both engines, and through the oracle of the tests."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from hoso.model.time import format_instant
from hoso.segment import batch
from hoso.segment.cases import read_case, run_live, run_sql
from hoso.segment.live import compile_live, merge_meters
from hoso.segment.values import parse_moment
from tests import segment_oracle as oracle

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "segments" / "vectors.json").read_text())["vectors"]
VALID = [vector for vector in VECTORS if "error" not in vector["expect"]]
REFUSED = [vector for vector in VECTORS if "error" in vector["expect"]]
DATED = [vector for vector in VALID if "next_change" in vector["expect"]]


def ids(vectors: list[dict[str, Any]]) -> list[str]:
    return [vector["id"] for vector in vectors]


@pytest.fixture(scope="module")
def database() -> Any:
    with batch.connect(256, 1) as connection:
        yield connection


def test_all_published_cases_are_here() -> None:
    assert (len(VECTORS), len(REFUSED)) == (168, 11)


@pytest.mark.parametrize("vector", VALID, ids=ids(VALID))
def test_live(vector: dict[str, Any]) -> None:
    assert run_live(vector).member is vector["expect"]["member"], vector["expect"]["why"]


@pytest.mark.parametrize("vector", VALID, ids=ids(VALID))
def test_sql(vector: dict[str, Any], database: Any) -> None:
    assert run_sql(vector, database).member is vector["expect"]["member"], vector["expect"]["why"]


@pytest.mark.parametrize("vector", DATED, ids=ids(DATED))
def test_live_looks_again_at_the_true_next_change(vector: dict[str, Any]) -> None:
    found = run_live(vector).next_change

    assert (None if found is None else format_instant(found)) == vector["expect"]["next_change"]


@pytest.mark.parametrize("vector", REFUSED, ids=ids(REFUSED))
def test_refused(vector: dict[str, Any]) -> None:
    assert run_live(vector).error == vector["expect"]["error"], vector["expect"]["why"]


@pytest.mark.parametrize("vector", VALID, ids=ids(VALID))
def test_live_in_any_order_and_spread_over_fragments(vector: dict[str, Any]) -> None:
    """A batch has no order, and a person's events lie in several fragments: the answer is the same."""
    case = read_case(vector)
    rules = compile_live(case.segments)
    events = [event for event in case.events if event.received_at <= case.as_of]
    for seed in range(3):
        random.Random(seed).shuffle(events)
        parts: list[dict[str, Any]] = [{}, {}, {}]
        for place, event in enumerate(events):
            rules.fold(parts[place % (seed + 1)], event)
        # the state is stored between any two events
        stored = merge_meters([orjson.loads(orjson.dumps(part)) for part in parts if part])

        verdict = rules.evaluate(replace(case.person, meters=stored), case.as_of)[case.segment.key]

        assert verdict.member is vector["expect"]["member"], f"seed {seed}: {vector['expect']['why']}"


@pytest.mark.parametrize("vector", VALID, ids=ids(VALID))
def test_oracle(vector: dict[str, Any]) -> None:
    profile = dict(vector["profile"])
    profile["trait_since"] = {name: parse_moment(since) for name, since in profile.get("trait_since", {}).items()}
    profile["scores"] = {
        name: {**score, "at": parse_moment(score["at"])} for name, score in profile.get("scores", {}).items()
    }
    events = [
        {
            "message_id": event["message_id"],
            "event": event["event"],
            "ts": parse_moment(event["timestamp"]),
            "received_at": parse_moment(event.get("received_at", event["timestamp"])),
            "body": event,
        }
        for event in vector.get("events", [])
    ]

    found = oracle.member(vector["segment"], vector.get("segments", {}), profile, events, parse_moment(vector["as_of"]))

    assert found is vector["expect"]["member"]
