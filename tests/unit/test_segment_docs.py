"""docs/segments.md: every example is a document that is accepted, every sentence is the one that it becomes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hoso.segment.check import read_segment
from hoso.segment.describe import sentence
from hoso.segment.schema import trait_schema
from hoso.segment.traits.language import check_traits, read_trait

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/segments.md").read_text()
BLOCKS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
SAID = re.findall(r"\*\*(\w+)\*\*: (People .*?)\n\n```json\n(.*?)```", PAGE, re.DOTALL)
RECIPES = {
    "measure",
    "unique_list",
    "days_since",
    "trend",
    "rfm",
    "affinity",
    "lifetime",
    "propensity",
    "rank",
    "lookalike",
}
KINDS = {"everyone", "all", "any", "not", "trait", "event", "sequence", "segment", "list", "consent", "suppressed"} | {
    *("has_id", "score", "geo", "split"),
}


def segment(rule: Any) -> Any:
    return read_segment({"schema": "segment/1", "key": "example", "timezone": "Asia/Ho_Chi_Minh", "rule": rule})


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_example_is_accepted(block: dict[str, Any]) -> None:
    if block.get("schema") == "segment/1":
        read_segment(block)
    elif block.get("schema") == "trait/1":
        read_trait(block)
    elif block["kind"] in RECIPES:
        read_trait({"schema": "trait/1", "key": "example", "of": block})
    else:
        segment(block)


def test_every_kind_of_condition_and_recipe_has_an_example() -> None:
    assert {kind for kind, _, _ in SAID} == KINDS
    assert {block["kind"] for block in BLOCKS if "kind" in block} >= KINDS | RECIPES


@pytest.mark.parametrize(("kind", "said", "rule"), SAID, ids=[kind for kind, _, _ in SAID])
def test_the_sentence_beside_an_example_is_what_it_becomes(kind: str, said: str, rule: str) -> None:
    document = json.loads(rule)
    assert (document["kind"], sentence(segment(document))) == (kind, said)


def test_the_sample_definitions_are_accepted_in_their_order() -> None:
    known: dict[str, Any] = {}
    for key, document in json.loads((ROOT / "events/samples/traits.json").read_text()).items():
        definition = read_trait(document)
        check_traits(definition, known)
        known[key] = definition
        assert definition.key == key


def test_the_published_schema_of_definitions_is_that_of_the_models() -> None:
    published = json.loads((ROOT / "events/segments/trait-1.schema.json").read_text())
    assert published == json.loads(json.dumps(trait_schema()))


def test_the_hints_of_errors_name_a_page_that_is_there() -> None:
    named = {
        page
        for file in (ROOT / "functions/hoso/segment").rglob("*.py")
        for page in re.findall(r"docs/[\w-]+\.md", file.read_text())
    }
    assert all((ROOT / page).exists() for page in named)
    assert "docs/segments.md" in named
