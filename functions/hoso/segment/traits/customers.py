"""Recipes about customers: RFM bands, and lifetime value with churn and next order (insight reference)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hoso.insight.scores.lifetime import fit_purchases, fit_spend, lifetime_value
from hoso.insight.scores.logistic import quality
from hoso.insight.scores.rfm import bands
from hoso.insight.scores.special import Floats
from hoso.model.time import DAY_MS
from hoso.segment.event_language import Last
from hoso.segment.sql.values import Rows
from hoso.segment.traits.language import ComputedTrait, Lifetime, Rfm
from hoso.segment.traits.made import Bench, NotEnoughData, Row
from hoso.segment.zones import parse_duration, zone

LEAST_BUYERS, LEAST_REPEATERS = 100, 20
"""Below these the models are not fitted: their parameters would be noise."""
CHECK_DAYS = 90
"""The hold-out: the model as of so long ago is compared with what people have done since."""
ORDER = ("properties.order_id", "properties.orderId")
"""What names an order, as in the totals of a profile."""
NAMES: tuple[tuple[str, tuple[int, int], tuple[int, int]], ...] = (
    ("champions", (4, 5), (4, 5)),
    ("loyal", (3, 3), (4, 5)),
    ("at risk", (1, 2), (4, 5)),
    ("potential loyalists", (4, 5), (2, 3)),
    ("new", (4, 5), (1, 1)),
    ("need attention", (3, 3), (1, 3)),
    ("about to sleep", (2, 2), (1, 3)),
    ("hibernating", (1, 1), (1, 3)),
)
"""Names of bands by recency and frequency. There is no standard; each pair of scores has one name."""


class Buyers(NamedTuple):
    """Buyers in columns: ids, repeat purchase days x, weeks to the last purchase tx, weeks of age T, mean spend m."""

    ids: list[str]
    x: Floats
    tx: Floats
    age: Floats
    m: Floats


def rfm(bench: Bench, definition: ComputedTrait, recipe: Rfm) -> None:
    """Scores 1 to 5 of recency, frequency and money over the look-back, and the name of their band.

    An order counts once by its order id, however many sources tell it. Refunds are taken off the money.
    """
    where, window = zone(definition.timezone), Last(last=recipe.lookback)
    _orders(bench, Rows(recipe.event, where, None, window, recipe.of, "number", ORDER))
    bench.rows("refunds", Rows(recipe.refund, where, None, window, recipe.of, "number"))
    found = bench.columns(
        "SELECT o.profile_id, o.recency, o.n, o.money - coalesce(r.money, 0) AS money FROM "
        "(SELECT profile_id, max(day) AS recency, count(*) AS n, sum(round(v * 1e6)) AS money "
        "FROM orders GROUP BY 1) o "
        "LEFT JOIN (SELECT profile_id, sum(round(v * 1e6)) AS money FROM refunds GROUP BY 1) r USING (profile_id) "
        "ORDER BY profile_id"
    )
    recency, frequency, money = bands(found["recency"]), bands(found["n"]), bands(found["money"])
    bench.report["people"] = len(recency)
    bench.put(_banded(definition.key, found, recency, frequency, money))


def _banded(key: str, found: Mapping[str, Any], r: Floats, f: Floats, m: Floats) -> Iterator[Row]:
    for pid, a, b, c, n, spent in zip(found["profile_id"], r, f, m, found["n"], found["money"], strict=True):
        name = next(name for name, (low, high), (few, many) in NAMES if low <= a <= high and few <= b <= many)
        scores = {"recency": int(a), "frequency": int(b), "money": int(c)}
        yield pid, key, "trait", name, {**scores, "orders": int(n), "spent": float(spent) / 1e6}
        for suffix, score in (("_r", a), ("_f", b), ("_m", c)):
            yield pid, key + suffix, "trait", int(score), None


def lifetime(bench: Bench, definition: ComputedTrait, recipe: Lifetime) -> None:
    """Value over the next months, P(churned) of those who came back, P(next order) within the time named.

    Raises:
        NotEnoughData: too few buyers, or too few who came back.
    """
    buyers = _buyers(bench, definition, recipe, bench.as_of)
    purchases, spend = _models(buyers)
    _, x, tx, age, m = buyers
    horizon = parse_duration(recipe.next)
    weeks = (horizon.ms if horizon else 0) / (7 * DAY_MS)
    value = lifetime_value(purchases, spend, x, tx, age, m, months=recipe.months, discount=recipe.discount)
    churn = 1.0 - purchases.alive(x, tx, age)
    again = purchases.at_least_one(weeks, x, tx, age)
    bench.report |= {
        "people": len(x),
        "purchases": {"r": purchases.r, "alpha": purchases.alpha, "a": purchases.a, "b": purchases.b},
        "spend": {"p": spend.p, "q": spend.q, "v": spend.v, "correlation_of_frequency_and_spend": spend.correlation},
        "hold_out": _hold_out(bench, definition, recipe),
    }

    def rows() -> Iterator[Row]:
        for place, pid in enumerate(buyers.ids):
            reason = {
                "repeat_days": int(x[place]),
                "weeks_to_last": round(float(tx[place]), 2),
                "weeks_of_age": round(float(age[place]), 2),
                "mean_spend": round(float(m[place]), 2),
            }
            yield pid, definition.key, "score", round(float(value[place]), 2), reason
            yield pid, f"{definition.key}_next_order", "score", round(float(again[place]), 4), reason
            if x[place] > 0:  # of one-time buyers the model says 0 by construction
                yield pid, f"{definition.key}_churn", "score", round(float(churn[place]), 4), reason

    bench.put(rows())


def _models(buyers: Buyers) -> tuple[Any, Any]:
    repeaters = int((buyers.x > 0).sum())
    if len(buyers.x) < LEAST_BUYERS or repeaters < LEAST_REPEATERS:
        raise NotEnoughData(
            f"{len(buyers.x)} buyers, {repeaters} of them came back; {LEAST_BUYERS} and {LEAST_REPEATERS} are needed"
        )
    return fit_purchases(buyers.x, buyers.tx, buyers.age), fit_spend(buyers.x, buyers.m)


def _hold_out(bench: Bench, definition: ComputedTrait, recipe: Lifetime) -> dict[str, Any] | None:
    """How well the model of 90 days ago foretold who ordered since; None while there is too little history."""
    cut = bench.as_of - CHECK_DAYS * DAY_MS
    then = _buyers(bench, definition, recipe, cut)
    try:
        model, _ = _models(then)
    except NotEnoughData:
        return None
    predicted = model.at_least_one(CHECK_DAYS / 7, then.x, then.tx, then.age)
    rows = Rows(recipe.event, zone(definition.timezone), None, Last(last=f"{CHECK_DAYS}d"), recipe.of, "number")
    bench.rows("since", rows)
    ordered = set(bench.columns("SELECT DISTINCT profile_id FROM since")["profile_id"])
    actual = np.array([float(pid in ordered) for pid in then.ids])
    return {"days": CHECK_DAYS, **quality(predicted, actual)}


def _buyers(bench: Bench, definition: ComputedTrait, recipe: Lifetime, as_of: int) -> Buyers:
    where = zone(definition.timezone)
    _orders(bench, Rows(recipe.event, where, None, None, recipe.of, "number", ORDER), as_of)
    today = where.day_of(as_of) - where.day_of(0)
    found = bench.columns(
        "WITH days AS (SELECT profile_id, day, sum(v) AS spent FROM orders GROUP BY ALL), "
        "firsts AS (SELECT profile_id, min(day) AS first, max(day) AS last, count(*) - 1 AS x FROM days GROUP BY 1) "
        "SELECT profile_id, x, (last - first) / 7.0 AS tx, (? - first) / 7.0 AS age, "
        "coalesce(avg(spent) FILTER (WHERE day > first), 0) AS m FROM firsts JOIN days USING (profile_id) "
        "GROUP BY ALL ORDER BY profile_id",
        [today],
    )
    x, tx, age, m = (np.asarray(found[name], dtype=np.float64) for name in ("x", "tx", "age", "m"))
    return Buyers([str(pid) for pid in found["profile_id"]], x, tx, age, m)


def _orders(bench: Bench, rows: Rows, as_of: int | None = None) -> None:
    """Table ``orders``: each order of a person once, as it was told first."""
    bench.rows("told", rows, as_of)
    bench.database.execute(
        "CREATE OR REPLACE TEMP TABLE orders AS SELECT * FROM told QUALIFY "
        "row_number() OVER (PARTITION BY profile_id, coalesce(k, message_id) ORDER BY ts, message_id) = 1"
    )
