"""Lines of NDJSON that the command prints."""

from __future__ import annotations

import json

import pytest

from infra.cli import show


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\n", "\r", "\x0b", "\x1c", "đ", "😀"])
def test_a_row_is_one_line_whatever_it_holds(mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    item = {"text": f"a{mark}b", mark: 1}
    show.rows([item, item], ["text"], as_json=True)
    printed = capsys.readouterr().out
    assert [json.loads(line) for line in printed.splitlines()] == [item, item]
