"""What docs/identity.md shows as rules are rules, and the defaults it names are those in force."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hoso.model.identity_config import DEFAULT
from hoso.model.identity_rules import config_in

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()


def test_the_example_is_a_document_that_is_taken() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)

    config = config_in(json.loads(block))

    assert "ga_client_id" not in config.types
    assert config.types["crm_id"].limit == 1
    assert config.max_ids == 500


def test_the_defaults_are_those_in_force() -> None:
    told = PAGE[PAGE.index("Retail defaults") :].partition("\n\n")[0]

    for name, rule in DEFAULT.types.items():
        if name not in ("gclid", "fbclid", "ttclid"):
            assert re.search(rf"`{name}` {rule.rank:g}\b", told), name
