"""Look-alikes: beside a brute force, blocks and sampling that change nothing, seeds that have no score."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hoso.model.time import DAY_MS
from hoso.segment.batch import connect
from hoso.segment.traits import lookalike
from hoso.segment.traits.language import ComputedTrait, read_trait
from hoso.segment.traits.lookalike import resemblance, standardised
from hoso.segment.traits.made import Bench, NotEnoughData, make_table

AS_OF = 400 * DAY_MS


def definition() -> ComputedTrait:
    return read_trait({"schema": "trait/1", "key": "like-vips", "of": {"kind": "lookalike", "seed": "vips"}})


def bench(members: int, alike: int, others: int) -> Bench:
    """Members and their likes buy often and lately, the others viewed something long ago."""
    database = connect()
    database.execute("CREATE TABLE profiles (profile_id VARCHAR, memberships VARCHAR)")
    database.execute("CREATE TABLE events_distinct (profile_id VARCHAR, event VARCHAR, ts BIGINT, received_at BIGINT)")
    number = 0
    for count, prefix, name, days, times in (
        (members, "m", "Bought", 5, 6),
        (alike, "a", "Bought", 6, 5),
        (others, "o", "Viewed", 80, 1),
    ):
        for who in range(count):
            number += 1
            held = json.dumps({"vips": 1} if prefix == "m" else {})
            database.execute("INSERT INTO profiles VALUES (?, ?)", [f"{prefix}{who}", held])
            for time in range(times):
                ts = AS_OF - (days + time + who % 3) * DAY_MS
                database.execute("INSERT INTO events_distinct VALUES (?, ?, ?, ?)", [f"{prefix}{who}", name, ts, ts])
    make_table(database)
    return Bench(database, AS_OF)


def scores(given: Bench) -> dict[str, float]:
    found = given.database.execute("SELECT profile_id, value FROM made WHERE kind = 'score'").fetchall()
    return {pid: float(value) for pid, value in found}


def test_those_who_do_as_members_do_come_first_and_members_have_no_score() -> None:
    given = bench(members=12, alike=5, others=20)

    lookalike.lookalike(given, definition(), definition().of)  # type: ignore[arg-type]
    found = scores(given)

    assert set(found) == {*(f"a{n}" for n in range(5)), *(f"o{n}" for n in range(20))}
    assert min(found[f"a{n}"] for n in range(5)) > 0.8 > 0 > max(found[f"o{n}"] for n in range(20))
    assert (given.report["seeds"], given.report["people"]) == (12, 25)
    bought = given.report["features"]["Bought in 90 days"]
    assert bought["seeds"] > 0 and bought["first_tenth"] > 0


def test_fewer_than_ten_members_teach_nothing() -> None:
    with pytest.raises(NotEnoughData, match="9 members"):
        lookalike.lookalike(bench(9, 2, 2), definition(), definition().of)  # type: ignore[arg-type]


def test_blocks_give_what_a_loop_over_people_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    people, seeds = random.normal(size=(57, 6)), random.normal(size=(23, 6))
    people[3] = 0
    monkeypatch.setattr(lookalike, "_BLOCK", 10)

    def one(row: np.ndarray) -> float:
        length = np.linalg.norm(row)
        cosines = [0.0 if length == 0 else float(row @ s / length / np.linalg.norm(s)) for s in seeds]
        return float(np.mean(sorted(cosines)[-10:]))

    assert resemblance(people, seeds) == pytest.approx([one(row) for row in people], abs=1e-5)


def test_standardised_features_are_clipped_and_a_constant_one_is_nothing() -> None:
    features = np.column_stack([np.r_[np.zeros(99), 1_000.0], np.full(100, 7.0)])
    z = standardised(features)
    assert (z[-1, 0], float(np.abs(z[:, 1]).max())) == (3.0, 0.0)


def test_of_many_seeds_the_same_sample_is_taken_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookalike, "MOST_SEEDS", 20)
    monkeypatch.setattr(lookalike, "SAMPLED", 8)
    ids = [f"p{n}" for n in range(50)]
    chosen = {ids[place] for place in lookalike._chosen("k", ids, np.ones(50, dtype=bool))}
    turned = ids[::-1]
    assert chosen == {turned[place] for place in lookalike._chosen("k", turned, np.ones(50, dtype=bool))}
    assert len(chosen) == 8
