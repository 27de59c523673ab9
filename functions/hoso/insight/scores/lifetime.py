"""Customer lifetime value: BG/NBD for purchases, Gamma-Gamma for spend.

Fader, Hardie, Lee, "Counting Your Customers the Easy Way", Marketing Science 24 (2005); Fader, Hardie, "The Gamma-Gamma
Model of Monetary Value", note 025 (2013). Time is in weeks. Per person: ``x`` repeat purchase days, ``tx`` weeks from
the first to the last purchase, ``T`` weeks from the first purchase to now, ``m`` mean spend of the repeat days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoso.insight.scores.special import Floats, hyp2f1, log_gamma, nelder_mead

WEEKS_PER_MONTH = 4.345
_WANTED_T = 10.0
_NEVER = 1e300


@dataclass(frozen=True, slots=True)
class Purchases:
    """A fitted BG/NBD model. ``log_likelihood`` is of the data it was fitted to."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = float("nan")

    def alive(self, x: Floats, tx: Floats, age: Floats) -> Floats:
        """P(alive): 1 by construction for people without a repeat purchase, for whom it says nothing."""
        x, tx, age = _arrays(x, tx, age)
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = self.a / (self.b + x - 1) * ((self.alpha + age) / (self.alpha + tx)) ** (self.r + x)
        return np.where(x > 0, 1.0 / (1.0 + np.where(x > 0, odds, 0.0)), 1.0)

    def expected(self, weeks: float, x: Floats, tx: Floats, age: Floats) -> Floats:
        """Expected purchases in the next ``weeks``."""
        x, tx, age = _arrays(x, tx, age)
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        z = weeks / (alpha + age + weeks)
        series = hyp2f1(r + x, b + x, a + b + x - 1, z)
        gone = ((alpha + age) / (alpha + age + weeks)) ** (r + x)
        return (a + b + x - 1) / (a - 1) * (1.0 - gone * series) * self.alive(x, tx, age)

    def expected_of_new(self, weeks: Floats) -> Floats:
        """Expected purchases of somebody who comes now, up to ``weeks``."""
        t = np.asarray(weeks, dtype=np.float64)
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        series = hyp2f1(np.full_like(t, r), np.full_like(t, b), np.full_like(t, a + b - 1), t / (alpha + t))
        return (a + b - 1) / (a - 1) * (1.0 - (alpha / (alpha + t)) ** r * series)

    def at_least_one(self, weeks: float, x: Floats, tx: Floats, age: Floats) -> Floats:
        """P(at least one purchase in the next ``weeks``), the next-order propensity."""
        x, tx, age = _arrays(x, tx, age)
        none = ((self.alpha + age) / (self.alpha + age + weeks)) ** (self.r + x)
        return self.alive(x, tx, age) * (1.0 - none)


@dataclass(frozen=True, slots=True)
class Spend:
    """A fitted Gamma-Gamma model. ``correlation`` of x and m should be near 0, else the model's premise fails."""

    p: float
    q: float
    v: float
    correlation: float = float("nan")

    def expected(self, x: Floats, m: Floats) -> Floats:
        """Expected spend per purchase; of people without a repeat purchase the population's."""
        x, m = (np.asarray(part, dtype=np.float64) for part in (x, m))
        return self.p * (self.v + x * m) / (self.p * x + self.q - 1)


def fit_purchases(x: Floats, tx: Floats, age: Floats) -> Purchases:
    """The BG/NBD model of greatest likelihood. Equal people are counted once with their weight.

    Raises:
        ValueError: nobody ever came back, so there is nothing to fit.
    """
    x, tx, age = _arrays(x, tx, age)
    if not np.any(x > 0):
        raise ValueError("a purchase model needs people who came back")
    scale = _WANTED_T / max(float(age.max()), 1e-9)
    # The functions are taken of the distinct values of each figure, which are few, and looked up for each triple.
    xs, of_xs = np.unique(x, return_inverse=True)
    txs, of_txs = np.unique(tx * scale, return_inverse=True)
    ages, of_ages = np.unique(age * scale, return_inverse=True)
    triples = (of_xs * len(txs) + of_txs) * len(ages) + of_ages
    kept, weights = np.unique(triples, return_counts=True)
    at_x, at_tx, at_age = kept // (len(txs) * len(ages)), kept // len(ages) % len(txs), kept % len(ages)
    never = xs[at_x] == 0
    later = np.maximum(xs, 1.0) - 1.0
    repeats = float(np.dot(weights, xs[at_x]))

    def minus_log_likelihood(logs: Floats) -> float:
        if np.any(np.abs(logs) > 30):
            return _NEVER
        r, alpha, a, b = (float(part) for part in np.exp(logs))
        of_r = log_gamma(r + xs) - log_gamma(r) + r * np.log(alpha)
        of_b = log_gamma(a + b) + log_gamma(b + xs) - log_gamma(b) - log_gamma(a + b + xs)
        leaving = np.log(a) - np.log(b + later)
        power = (r + xs)[at_x]
        stays = -power * np.log(alpha + ages)[at_age]
        leaves = leaving[at_x] - power * np.log(alpha + txs)[at_tx]
        leaves[never] = -np.inf
        return float(-np.dot(weights, (of_r + of_b)[at_x] + np.logaddexp(stays, leaves)))

    found, value, _ = nelder_mead(minus_log_likelihood, np.zeros(4))
    r, alpha, a, b = (float(part) for part in np.exp(found))
    # the likelihood of times that were scaled differs by a factor per repeat purchase
    return Purchases(r, alpha / scale, a, b, -value + repeats * float(np.log(scale)))


def fit_spend(x: Floats, m: Floats) -> Spend:
    """The Gamma-Gamma model of greatest likelihood, of the people with x > 0 and m > 0.

    Raises:
        ValueError: fewer than three such people.
    """
    x, m = (np.asarray(part, dtype=np.float64) for part in (x, m))
    kept = (x > 0) & (m > 0)
    x, m = x[kept], m[kept]
    if len(x) < 3:
        raise ValueError("a spend model needs people with repeat purchases")
    scale = float(m.mean())
    scaled = m / scale

    def minus_log_likelihood(logs: Floats) -> float:
        if np.any(np.abs(logs) > 30):
            return _NEVER
        p, q, v = np.exp(logs)
        px = p * x
        terms = (
            log_gamma(px + q)
            - log_gamma(px)
            - log_gamma(float(q))
            + q * np.log(v)
            + (px - 1) * np.log(scaled)
            + px * np.log(x)
            - (px + q) * np.log(x * scaled + v)
        )
        return float(-terms.sum())

    found, _, _ = nelder_mead(minus_log_likelihood, np.zeros(3))
    p, q, v = (float(part) for part in np.exp(found))
    spread = bool(x.std() > 0 and m.std() > 0)
    return Spend(p, q, v * scale, float(np.corrcoef(x, m)[0, 1]) if spread else 0.0)


def lifetime_value(
    purchases: Purchases, spend: Spend, x: Floats, tx: Floats, age: Floats, m: Floats, *, months: int, discount: float
) -> Floats:
    """Value over the next months: expected purchases of each month times expected spend, discounted by month."""
    per_purchase = spend.expected(x, m)
    total = np.zeros_like(per_purchase)
    before = np.zeros_like(per_purchase)
    for month in range(1, months + 1):
        upto = purchases.expected(month * WEEKS_PER_MONTH, x, tx, age)
        total += (upto - before) * per_purchase / (1.0 + discount) ** month
        before = upto
    return total


def _arrays(*parts: Floats) -> list[Floats]:
    return [np.asarray(part, dtype=np.float64) for part in parts]
