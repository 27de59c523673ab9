"""What a link made unasked needs besides its probability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hoso.unify.likeness.comparisons import BASE, identifier
from hoso.unify.likeness.explain import explain
from hoso.unify.likeness.unasked import AUTO, REASONS, capped, lacking
from tests.likeness_people import people
from tests.likeness_world import Matched, match

COMPARED = (*BASE, identifier("x1", "card"))


def pattern(**outcomes: str) -> np.ndarray[Any, Any]:
    """One row of levels; what is not given was not said."""
    row = [0] * len(COMPARED)
    for name, level in outcomes.items():
        place = next(n for n, one in enumerate(COMPARED) if name in one.name.replace(" ", "_") or name in one.fields)
        row[place] = 1 + [one.name for one in COMPARED[place].levels].index(level)
    return np.asarray([row], dtype=np.int16)


SAME = "same given name and surname"


@pytest.mark.parametrize(
    ("outcomes", "lacks"),
    [
        ({"name": SAME, "phone": "same phone"}, 0),
        ({"name": SAME, "phone": "mistyped"}, 0),
        ({"name": SAME, "email": "same e-mail", "phone": "other phone"}, 0),
        ({"name": "same surname, given name mistyped", "dob": "one digit off"}, 0),
        ({"name": SAME, "x1": "same card"}, 0),
        ({"email": "same e-mail", "dob": "same birth date"}, 0),
        # a father's name, and all that a household shares
        ({"name": SAME, "street": "same house", "city": "same ward"}, 3),
        ({"name": SAME, "email": "mistyped"}, 3),
        ({"name": SAME, "email": "same mailbox elsewhere", "street": "same house"}, 3),
        # a mother's phone is her child's
        ({"email": "same e-mail", "phone": "same phone"}, 2),
        ({"phone": "same phone", "street": "same house"}, 2),
        # twins, couples, brothers, father and son
        ({"name": "same surname only", "phone": "same phone", "dob": "same birth date"}, 1),
        ({"name": SAME, "phone": "same phone", "sex": "other sex"}, 1),
        ({"name": "same but for the middle", "phone": "same phone"}, 1),
        ({"name": SAME, "phone": "same phone", "dob": "other birth date"}, 1),
    ],
)
def test_a_link_unasked_needs_the_person_a_tie_and_no_contradiction(outcomes: dict[str, str], lacks: int) -> None:
    levels = pattern(**outcomes)
    assert int(lacking(levels, COMPARED)[0]) == lacks
    assert (capped(np.asarray([0.999]), levels, COMPARED)[0] >= AUTO) == (lacks == 0)


def test_what_is_kept_below_the_line_keeps_its_order_and_the_rest_its_probability() -> None:
    lacks = pattern(name=SAME, street="same house").repeat(5, axis=0)
    given = np.asarray([0.2, 0.925, 0.95, 0.99, 1.0])
    found = capped(given, lacks, COMPARED)
    assert found[:2].tolist() == [0.2, 0.925]
    assert (np.diff(found) > 0).all()
    assert found.astype(np.float32).max() < AUTO
    whole = pattern(name=SAME, phone="same phone").repeat(5, axis=0)
    assert capped(given, whole, COMPARED).tolist() == given.tolist()


def test_an_explanation_says_why_a_sure_pair_is_asked_about() -> None:
    rows, _ = people(4, 1_500)
    matched = match(rows)
    edges, records = matched.edges, matched.matcher.records
    lacks = lacking(records.packing.unpacked(edges.pattern), records.comparisons)
    household = int(np.argmax(np.where(lacks == 3, edges.probability, 0)))

    told = explain(records, matched.parameters, int(edges.a[household]), int(edges.b[household]))

    assert (told["band"], told["asked"]) == ("review", REASONS[3])
    assert told["probability"] == pytest.approx(float(edges.probability[household]), abs=2e-3)
    best = int(np.argmax(edges.probability))
    assert "asked" not in explain(records, matched.parameters, int(edges.a[best]), int(edges.b[best]))


@pytest.mark.parametrize(("middle", "level"), [("W", "same but for the middle"), ("S", "same full name")])
def test_middle_initials_that_differ_contradict(middle: str, level: str) -> None:
    rows, _ = people(4, 1_500)
    place = {name: number for number, name in enumerate(rows[0])}
    for name, initial in (("m1", "S"), ("m2", middle)):
        row = [""] * len(rows[0])
        said = {"record_id": name, "first_name": f"Mark {initial}", "last_name": "Smith", "phone": "3900638387"}
        for column, value in {**said, "country": "US"}.items():
            row[place[column]] = value
        rows.append(row)
    matched = match(rows)

    told = explain(matched.matcher.records, matched.parameters, 1_500, 1_501)

    assert told["reasons"][0]["level"] == level
    assert told["band"] != "auto" or middle == "S"


def test_in_a_small_file_all_pairs_are_counted_so_one_record_less_hardly_moves_a_score() -> None:
    rows, _ = people(905, 300)
    whole, less = match(rows), match(rows[:-1])

    def by_pair(found: Matched) -> dict[tuple[int, int], float]:
        edges = found.edges
        return dict(zip(zip(edges.a.tolist(), edges.b.tolist(), strict=True), edges.probability.tolist(), strict=True))

    assert whole.matcher.records.drawn == 300 * 299 // 2
    before, after = by_pair(whole), by_pair(less)
    assert max(abs(score - before[pair]) for pair, score in after.items() if pair in before) < 0.1
