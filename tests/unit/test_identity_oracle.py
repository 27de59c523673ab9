"""The resolver and its store against a second, slow reading of rules R1-R17 (``tests.identity_oracle``)."""

import json
from pathlib import Path

import pytest

from hoso.unify.try_scenarios import parse_scenario
from infra.cli.identity_trial import run_scenario
from tests.identity_documents import random_document
from tests.identity_oracle import expected
from tests.identity_streams import as_sets
from tests.identity_table import MemoryDynamo

FILE = Path(__file__).parents[1] / "fixtures" / "identity" / "scenarios.json"
DOCUMENTS = json.loads(FILE.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["id"])
def test_the_oracle_reads_the_published_scenarios_as_they_are_meant(document: dict) -> None:
    assert expected(document) == as_sets(document["expect"])


def test_r1_r17_random_scenarios_with_operators_end_as_the_rules_say() -> None:
    for seed in range(300):
        document = random_document(seed)
        found = run_scenario(MemoryDynamo(), parse_scenario(document), {})
        assert as_sets(found) == expected(document), json.dumps(document)


def test_r6_r7_random_scenarios_shuffled_repeated_and_interleaved_end_as_the_rules_say() -> None:
    for seed in range(100_000, 100_060):
        document = random_document(seed, operators=False)
        found = run_scenario(MemoryDynamo(), parse_scenario(document), {}, "shuffled-repeats", workers=4, seed=seed)
        assert as_sets(found) == expected(document), json.dumps(document)
