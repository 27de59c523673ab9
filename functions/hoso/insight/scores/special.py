"""The special functions and the optimiser that the models need, in numpy alone (scipy does not fit beside duckdb)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Lanczos' approximation, g = 7, nine terms (Godfrey's coefficients): relative error below 1e-14 for positive x.
_G = 7.0
_LANCZOS = (
    0.99999999999980993,
    676.5203681218851,
    -1259.1392167224028,
    771.32342877765313,
    -176.61502916214059,
    12.507343278686905,
    -0.13857109526572012,
    9.9843695780195716e-6,
    1.5056327351493116e-7,
)
_HALF_LOG_2PI = 0.9189385332046727
_MOST_TERMS = 20_000


def log_gamma(x: Floats | float) -> Floats:
    """ln Γ(x) for positive x."""
    shifted = np.asarray(x, dtype=np.float64) - 1.0
    total = np.full_like(shifted, _LANCZOS[0])
    for place, coefficient in enumerate(_LANCZOS[1:], start=1):
        total += coefficient / (shifted + place)
    t = shifted + _G + 0.5
    return _HALF_LOG_2PI + (shifted + 0.5) * np.log(t) - t + np.log(total)


def hyp2f1(a: Floats, b: Floats, c: Floats, z: Floats) -> Floats:
    """Gauss' ₂F₁(a, b; c; z) for 0 ≤ z < 1 by its series, to 1e-12 of the sum."""
    a, b, c, z = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (a, b, c, z)))
    term = np.ones_like(z)
    total = np.ones_like(z)
    for n in range(_MOST_TERMS):
        term = term * (a + n) * (b + n) / (c + n) * z / (n + 1)
        total = total + term
        # with growing n the ratio of terms tends to z: what is left is about term · z / (1 − z)
        if n > 10 and bool(np.all(np.abs(term) * z < 1e-12 * np.abs(total) * (1.0 - z))):
            break
    return total


def nelder_mead(
    function: Callable[[Floats], float], start: Floats, step: float = 0.5, tolerance: float = 1e-7, most: int = 4_000
) -> tuple[Floats, float, int]:
    """The minimum of a function by Nelder and Mead's simplex (1965), begun anew once at the point it found.

    Answers the point, the value and how often the function was asked.
    """
    asked = 0
    best = np.asarray(start, dtype=np.float64)
    for size in (step, step / 10):
        best, used = _simplex(function, best, size, tolerance, most - asked)
        asked += used
    return best, function(best), asked + 1


def _simplex(
    function: Callable[[Floats], float], start: Floats, step: float, tolerance: float, most: int
) -> tuple[Floats, int]:
    size = len(start)
    points = np.vstack([start, start + step * np.eye(size)])
    values = np.array([function(point) for point in points])
    asked = size + 1
    while asked < most:
        order = np.argsort(values, kind="stable")
        points, values = points[order], values[order]
        near = np.max(np.abs(points[1:] - points[0])) < tolerance
        if near and values[-1] - values[0] <= tolerance * max(1.0, abs(values[0])):
            break
        centre = points[:-1].mean(axis=0)

        def at(factor: float, centre: Floats = centre, worst: Floats = points[-1]) -> Floats:
            return centre + factor * (worst - centre)

        reflected = at(-1.0)
        value = function(reflected)
        asked += 1
        if value < values[0]:
            expanded = at(-2.0)
            further = function(expanded)
            asked += 1
            points[-1], values[-1] = (expanded, further) if further < value else (reflected, value)
            continue
        if value < values[-2]:
            points[-1], values[-1] = reflected, value
            continue
        contracted = at(-0.5) if value < values[-1] else at(0.5)
        closer = function(contracted)
        asked += 1
        if closer < min(value, values[-1]):
            points[-1], values[-1] = contracted, closer
            continue
        points[1:] = points[0] + 0.5 * (points[1:] - points[0])
        values[1:] = [function(point) for point in points[1:]]
        asked += size
    return points[int(np.argmin(values))], asked
