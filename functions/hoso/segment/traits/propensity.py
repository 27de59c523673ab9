"""The chance that somebody does a thing within a horizon, learnt from what people did before they did it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hoso.insight.scores.logistic import Logistic, fit, quality
from hoso.insight.scores.special import Floats
from hoso.model.time import DAY_MS
from hoso.segment.traits.language import ComputedTrait, Propensity
from hoso.segment.traits.made import EVENTS, Bench, NotEnoughData, Row
from hoso.segment.zones import parse_duration

LEAST = 100
"""Of either outcome; below it nothing is published (insight reference)."""
HORIZONS_OF_HISTORY = 3
MOST_NAMES = 10
TOLD = 3


def propensity(bench: Bench, definition: ComputedTrait, recipe: Propensity) -> None:
    """Train at two horizons ago, check at one horizon ago, publish as of now.

    Raises:
        NotEnoughData: fewer than 100 people of either outcome, or too short a history.
    """
    duration = parse_duration(recipe.horizon)
    horizon = duration.ms if duration else DAY_MS
    begun = bench.database.execute(f"SELECT min(ts) FROM {EVENTS}").fetchone()  # noqa: S608  a constant
    if not begun or begun[0] is None or bench.as_of - begun[0] < HORIZONS_OF_HISTORY * horizon:
        raise NotEnoughData(f"a history of {HORIZONS_OF_HISTORY} horizons is needed")
    names = list(recipe.names) or frequent(bench)
    _, before, labels = _learnt(bench, recipe, names, bench.as_of - 2 * horizon, horizon)
    positives = int(labels.sum())
    if positives < LEAST or len(labels) - positives < LEAST:
        raise NotEnoughData(f"{positives} did it and {len(labels) - positives} did not; {LEAST} of each are needed")
    model = fit(before, labels)
    _, later, outcome = _learnt(bench, recipe, names, bench.as_of - horizon, horizon)
    ids, now = features_of(bench, names, bench.as_of)
    bench.report |= {
        "people": len(ids),
        "trained_on": {"people": len(labels), "positives": positives},
        "features": dict(zip(titles(names), [round(float(w), 4) for w in model.weights], strict=True)),
        "hold_out": quality(model.predict(later), outcome),
    }
    bench.put(_scored(definition.key, model, names, ids, now))


def _scored(key: str, model: Logistic, names: list[str], ids: list[str], now: Floats) -> Iterator[Row]:
    told = titles(names)
    parts = model.standardised(now) * model.weights
    for place, (pid, chance) in enumerate(zip(ids, model.predict(now), strict=True)):
        strongest: list[int] = np.argsort(-np.abs(parts[place]), kind="stable")[:TOLD].tolist()
        reason = {told[feature]: round(float(parts[place, feature]), 3) for feature in strongest}
        yield pid, key, "score", round(float(chance), 4), reason


def frequent(bench: Bench) -> list[str]:
    """The names of the most frequent events."""
    found = bench.database.execute(
        f"SELECT event FROM {EVENTS} GROUP BY 1 ORDER BY count(*) DESC, event LIMIT ?",  # noqa: S608  a constant
        [MOST_NAMES],
    ).fetchall()
    return sorted(row[0] for row in found)


def _learnt(
    bench: Bench, recipe: Propensity, names: list[str], cut: int, horizon: int
) -> tuple[list[str], Floats, Floats]:
    """Ids, features as of a cut-off, and who did it in the horizon after."""
    ids, features = features_of(bench, names, cut)
    found = bench.database.execute(
        f"SELECT DISTINCT profile_id FROM {EVENTS} WHERE event IN (SELECT unnest(?)) AND ts > ? AND ts <= ?",  # noqa: S608
        [list(recipe.target), cut, cut + horizon],
    ).fetchall()
    did = {row[0] for row in found}
    return ids, features, np.array([float(pid in did) for pid in ids])


def features_of(bench: Bench, names: list[str], cut: int) -> tuple[list[str], Floats]:
    """Features of everybody who was seen by the cut-off: recency, counts, active weeks, age, counts by name."""
    columns = [
        f"count(*) FILTER (WHERE ts > {cut - 90 * DAY_MS} AND event = ?) AS n{place}" for place in range(len(names))
    ]
    found: dict[str, Any] = bench.columns(
        f"SELECT profile_id, ({cut} - max(ts)) / {DAY_MS}.0 AS recency, ({cut} - min(ts)) / {DAY_MS}.0 AS age, "  # noqa: S608
        + "".join(f"count(*) FILTER (WHERE ts > {cut - days * DAY_MS}) AS c{days}, " for days in (7, 30, 90))
        + f"count(DISTINCT ts // {7 * DAY_MS}) FILTER (WHERE ts > {cut - 84 * DAY_MS}) AS weeks"
        + "".join(f", {column}" for column in columns)
        + f" FROM {EVENTS} WHERE ts <= {cut} GROUP BY 1 ORDER BY 1",
        names,
    )
    wanted = ["recency", "age", "c7", "c30", "c90", "weeks", *[f"n{place}" for place in range(len(names))]]
    return [str(pid) for pid in found["profile_id"]], np.log1p(
        np.column_stack([np.asarray(found[name], dtype=np.float64) for name in wanted])
    )


def titles(names: list[str]) -> list[str]:
    """What people call the features, in their order."""
    return [
        *("days since last seen", "days since first seen"),
        *("events in 7 days", "events in 30 days", "events in 90 days", "active weeks of 12"),
        *[f"{name} in 90 days" for name in names],
    ]
