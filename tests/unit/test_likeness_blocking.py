"""Which pairs are compared, against going through all pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from hoso.unify.likeness.blocking import first_keys, sharing
from hoso.unify.likeness.matcher import Matcher
from tests.likeness_people import people
from tests.likeness_world import records_of


@pytest.mark.parametrize("seed", range(20))
def test_each_pair_within_the_cap_of_a_key_comes_once_by_its_first_key(seed: int) -> None:
    r = np.random.default_rng(seed)
    size, cap = int(r.integers(1, 60)), 5
    said = [r.integers(0, 20, size) for _ in range(3)]
    holders = [np.flatnonzero(values > 3).astype(np.int32)[::-1] for values in said]  # some records do not say it
    want = {
        (a, b): next(key for key, values in enumerate(said) if _shared(values, a, b, cap))
        for a, b in combinations(range(size), 2)
        if any(_shared(values, a, b, cap) for values in said)
    }

    found = [sharing(ids, values[ids], cap) for ids, values in zip(holders, said, strict=True)]
    one, other, key = first_keys(size, found)

    assert len(one) == len(want)
    assert dict(zip(zip(one.tolist(), other.tolist(), strict=True), key.tolist(), strict=True)) == want


def test_no_key_finds_no_pair() -> None:
    assert [len(part) for part in first_keys(3, [])] == [0, 0, 0]


def test_of_fresh_records_only_their_pairs_are_compared() -> None:
    rows, _ = people(21, 400)
    matcher, partly = Matcher(records_of(rows)), Matcher(records_of(rows))
    matcher.candidates()
    fresh = np.zeros(400, dtype=np.bool_)
    fresh[[3, 77, 200, 201, 399]] = True

    scored = partly.candidates(fresh=fresh)

    of_fresh = np.flatnonzero(fresh[matcher.records.numbers]).tolist()
    everything = matcher.records.connection.execute("SELECT * FROM pairs ORDER BY ALL").fetchall()
    want = [row for row in everything if row[0] in of_fresh or row[1] in of_fresh]
    assert partly.records.connection.execute("SELECT * FROM pairs ORDER BY ALL").fetchall() == want
    assert 0 < scored == len(want) < len(everything)


def test_names_that_duckdb_hashes_alike_are_weighed_apart() -> None:
    rows = [["id", "name"], ["1", "Ashley B Wiliamx"], *([str(n), "Ashley K Wiliams"] for n in range(2, 9))]
    sql = records_of(rows).connection
    assert sql.execute("SELECT count(DISTINCT hash(name)) FROM records").fetchall() == [(1,)]

    frequent, rare = sql.execute("SELECT DISTINCT w_name, name FROM records ORDER BY 1").fetchall()

    assert (frequent[1], rare[1]) == ("ashley k wiliams", "ashley b wiliamx")
    assert frequent[0] < rare[0]


def _shared(values: np.ndarray, a: int, b: int, cap: int) -> bool:  # type: ignore[type-arg]
    value = values[a]
    return bool(value > 3 and value == values[b] and (values == value).sum() <= cap)
