"""Logistic regression by Newton's method with a small ridge, and what tells whether to believe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hoso.insight.scores.special import Floats

_ROUNDS = 50
_RIDGE = 1e-3
_CLIP = 3.0
BINS = 10


@dataclass(frozen=True, slots=True)
class Logistic:
    """A fitted model on standardised features (clipped to ±3 deviations)."""

    mean: Floats
    spread: Floats
    weights: Floats
    intercept: float

    def standardised(self, features: Floats) -> Floats:
        """Features as the model sees them."""
        return np.clip((features - self.mean) / self.spread, -_CLIP, _CLIP)

    def predict(self, features: Floats) -> Floats:
        """Probabilities."""
        return _sigmoid(self.standardised(features) @ self.weights + self.intercept)


def fit(features: Floats, labels: Floats) -> Logistic:
    """The model of greatest penalised likelihood. ``labels`` are 0 and 1."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x = np.column_stack([np.clip((features - mean) / spread, -_CLIP, _CLIP), np.ones(len(features))])
    penalty = np.full(x.shape[1], _RIDGE * len(features))
    penalty[-1] = 0.0
    theta = np.zeros(x.shape[1])
    for _ in range(_ROUNDS):
        p = _sigmoid(x @ theta)
        gradient = x.T @ (p - labels) + penalty * theta
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        theta -= step
        if float(np.max(np.abs(step))) < 1e-8:
            break
    return Logistic(mean, spread, theta[:-1], float(theta[-1]))


def quality(predicted: Floats, actual: Floats) -> dict[str, Any]:
    """AUC, log loss, calibration by tenths of people, and the lift of the first tenth, on a later cut-off."""
    order = np.argsort(-predicted, kind="stable")
    positives = float(actual.sum())
    negatives = len(actual) - positives
    _, inverse, counts = np.unique(predicted, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    auc = float("nan")
    if positives and negatives:
        auc = (float(ranks[actual > 0].sum()) - positives * (positives + 1) / 2) / (positives * negatives)
    p = np.clip(predicted, 1e-9, 1 - 1e-9)
    bins = np.array_split(order, min(BINS, max(len(order), 1)))
    base = positives / len(actual) if len(actual) else 0.0
    first = float(actual[bins[0]].mean()) if len(bins[0]) else 0.0
    return {
        "people": len(actual),
        "positives": int(positives),
        "auc": None if np.isnan(auc) else round(auc, 4),
        "log_loss": round(float(-(actual * np.log(p) + (1 - actual) * np.log(1 - p)).mean()), 4),
        "calibration": [
            {
                "predicted": round(float(predicted[b].mean()), 4),
                "actual": round(float(actual[b].mean()), 4),
                "n": len(b),
            }
            for b in bins
            if len(b)
        ],
        "lift_first_tenth": round(first / base, 2) if base else None,
    }


def _sigmoid(z: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(z, -40, 40)))
