"""How many rows of a query go into one answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hoso.insight.handlers.sql import MAX_ANSWER_BYTES, fitting
from infra.cli.query import stored_events


@pytest.mark.parametrize("piece", ["x", '"', "ạ", "\\"])
def test_the_rows_of_an_answer_fit_into_what_lambda_sends(piece: str) -> None:
    rows = [{"body": json.dumps({"p": piece * 15_000})} for _ in range(500)]
    held = fitting(rows)
    assert 0 < len(held) < len(rows)
    assert held == rows[: len(held)]
    assert len(json.dumps({"body": json.dumps({"items": held})})) < MAX_ANSWER_BYTES + 100_000


def test_few_rows_all_fit_and_one_is_never_too_much() -> None:
    assert fitting([]) == []
    assert fitting([{"a": 1}, {"a": 2}]) == [{"a": 1}, {"a": 2}]
    assert len(fitting([{"a": "x" * MAX_ANSWER_BYTES}, {"a": 2}])) == 1


class _Answers:
    """Answers pages of at most two rows, as if all were large."""

    def __init__(self, count: int) -> None:
        self.rows: list[dict[str, Any]] = [
            {"message_id": f"m{n}", "received_at": n, "profile_id": "p", "body": f'{{"messageId":"m{n}"}}'}
            for n in range(count)
        ]

    def call(self, method: str, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        assert (method, path) == ("POST", "/v1/sql")
        after = int(asked["query"].split("received_at > ")[1].split()[0])
        left = [row for row in self.rows if row["received_at"] > after]
        return {"items": left[:2], "next": None, "cut": len(left) > 2}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_events_are_read_on_behind_an_answer_that_was_cut(count: int) -> None:
    answers: Any = _Answers(count)
    assert [event["messageId"] for event in stored_events(answers)] == [f"m{n}" for n in range(count)]
