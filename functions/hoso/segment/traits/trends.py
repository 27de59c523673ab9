"""The slope of a series, one definition for one person and for all (``DuckDB.regr_slope`` over the same numbers)."""

from __future__ import annotations

from collections.abc import Sequence


def slope(numbers: Sequence[float]) -> float | None:
    """The least-squares slope per step, as a share of the mean, of four decimals; None where the mean is 0.

    >>> slope([100.0, 110.0, 120.0])
    0.0909
    """
    size = len(numbers)
    mean = sum(numbers) / size
    if mean == 0 or size < 2:
        return None
    middle = (size - 1) / 2
    rise = sum((place - middle) * (value - mean) for place, value in enumerate(numbers))
    run = size * (size * size - 1) / 12
    return round(rise / run / abs(mean), 4)
