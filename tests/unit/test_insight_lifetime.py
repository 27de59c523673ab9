"""CDNOW: our BG/NBD, Gamma-Gamma and RFM against the published numbers (data of the `lifetimes` package)."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoso.insight.scores.lifetime import Purchases, Spend, fit_purchases, fit_spend, lifetime_value
from hoso.insight.scores.rfm import bands
from hoso.insight.scores.special import hyp2f1, log_gamma

END = date(1997, 9, 30)
PUBLISHED = Purchases(0.243, 4.414, 0.793, 2.426)


@pytest.fixture(scope="module")
def rows() -> list[tuple[int, date, float]]:
    """(customer, day, dollars) of the 1/10 sample."""
    found = find_spec("lifetimes")
    assert found is not None
    assert found.origin is not None
    text = (Path(found.origin).parent / "datasets" / "CDNOW_sample.txt").read_text()
    fields = [line.split() for line in text.splitlines() if line.strip()]
    return [(int(f[1]), date(int(f[2][:4]), int(f[2][4:6]), int(f[2][6:])), float(f[4])) for f in fields]


@pytest.fixture(scope="module")
def people(rows: list[tuple[int, date, float]]) -> Any:
    """x, tx, T, m of everybody at the end of the calibration."""
    days: dict[int, dict[date, float]] = {}
    for customer, day, dollars in rows:
        if day <= END:
            held = days.setdefault(customer, {})
            held[day] = held.get(day, 0.0) + dollars
    found: list[tuple[float, float, float, float]] = []
    for _, spent in sorted(days.items()):
        first, last = min(spent), max(spent)
        repeats = [dollars for day, dollars in spent.items() if day != first]
        mean = sum(repeats) / len(repeats) if repeats else 0.0
        # the published summaries are of two decimals, halves rounded up
        weeks = ((last - first).days / 7, (END - first).days / 7)
        found.append((len(spent) - 1, *(math.floor(part * 100 + 0.5 + 1e-9) / 100 for part in (*weeks, mean))))
    return np.array(found).T


def test_the_summary_is_the_published_one(people: Any) -> None:
    x = people[0]

    assert [int((x == k).sum()) for k in range(7)] + [int((x >= 7).sum())] == [1411, 439, 214, 100, 62, 38, 29, 64]


def test_bg_nbd_finds_the_published_parameters(people: Any) -> None:
    x, tx, age, _ = people

    model = fit_purchases(x, tx, age)

    assert [round(part, 4) for part in (model.r, model.alpha, model.a, model.b)] == [0.2426, 4.4135, 0.7929, 2.4258]
    assert round(model.log_likelihood, 2) == -9582.43


def test_predictions_with_the_published_parameters() -> None:
    person = (np.array([2.0]), np.array([30.43]), np.array([38.86]))

    assert round(float(PUBLISHED.expected(39, *person)[0]), 3) == 1.226
    assert round(float(PUBLISHED.alive(*person)[0]), 4) == 0.7266
    assert round(float(PUBLISHED.at_least_one(39, *person)[0]), 4) == 0.5546


def test_a_new_person_is_expected_to_buy_as_published(people: Any) -> None:
    x, tx, age, _ = people
    moments = np.array([0.1429, 1, 3, 31.8571, 32, 78])

    expected = fit_purchases(x, tx, age).expected_of_new(moments)

    assert expected == pytest.approx([0.0078, 0.0532, 0.1506, 1.0405, 1.0437, 1.8576], abs=5e-4)


def test_the_hold_out_is_met_as_published(people: Any, rows: list[tuple[int, date, float]]) -> None:
    x, tx, age, _ = people
    later = {(customer, day) for customer, day, _ in rows if day > END}

    assert len(later) == 1882
    assert round(float(fit_purchases(x, tx, age).expected(39, x, tx, age).sum())) == 1653


def test_gamma_gamma_finds_the_published_parameters(people: Any) -> None:
    x, _, _, m = people

    model = fit_spend(x, m)

    assert [round(part, 3) for part in (model.p, model.q, model.v)] == [6.249, 3.745, 15.448]
    published = [24.65, 18.91, 35.17, 35.17, 35.17, 71.46, 18.91, 35.17, 27.28, 35.17]
    assert model.expected(x, m)[:10] == pytest.approx(published, abs=0.1)


def test_lifetime_value_of_a_year(people: Any) -> None:
    x, tx, age, m = people

    spend = Spend(6.25, 3.74, 15.44)
    value = lifetime_value(fit_purchases(x, tx, age), spend, x, tx, age, m, months=12, discount=0.01)

    assert [round(float(part), 2) for part in value[:5]] == [36.29, 4.64, 8.36, 8.36, 8.36]
    assert round(float(value.sum())) == 71_538


def test_rfm_bands_are_the_published_ones(rows: list[tuple[int, date, float]]) -> None:
    days: dict[int, list[date]] = {}
    money: dict[int, float] = {}
    for customer, day, dollars in rows:
        days.setdefault(customer, []).append(day)
        money[customer] = money.get(customer, 0.0) + dollars
    customers = sorted(days)
    recency = np.array([(date(1998, 6, 30) - max(days[customer])).days for customer in customers])
    scores = [
        bands(-recency),
        bands(np.array([len(days[customer]) for customer in customers])),
        bands(np.array([round(money[customer] * 1e6) for customer in customers])),
    ]

    counts = [[int((score == band).sum()) for band in range(1, 6)] for score in scores]
    assert counts == [[482, 471, 463, 470, 471], [1205, 0, 406, 358, 388], [481, 462, 472, 471, 471]]
    together = np.column_stack(scores)
    assert int((together == 5).all(axis=1).sum()) == 234
    assert int((together == 1).all(axis=1).sum()) == 177
    assert [int(part) for part in together[0]] == [4, 4, 4]


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (
            lambda: log_gamma(np.array([1.0, 0.5, 10.0, 171.0])),
            [0.0, 0.5723649429247001, 12.801827480081469, 706.5730622457874],
        ),
        (lambda: hyp2f1(np.array([1.0]), np.array([1.0]), np.array([2.0]), np.array([0.9])), [2.558427881104495]),
        (lambda: hyp2f1(np.array([0.5]), np.array([0.5]), np.array([1.5]), np.array([0.25])), [1.0471975511965976]),
    ],
)
def test_special_functions(function: Callable[[], Any], wanted: list[float]) -> None:
    assert list(function()) == pytest.approx(wanted, rel=1e-10, abs=1e-12)
