"""RFM: recency, frequency and money as scores 1 to 5 by rank, 5 best (insight reference).

``score = 1 + floor(5 · (rank − 1) / n)`` with ``RANK()``: equal values share the lowest rank, so nobody's score depends
on the order of rows (``NTILE`` splits ties). A score may be empty when many people tie.
"""

from __future__ import annotations

import numpy as np

from hoso.insight.scores.special import Floats

BANDS = 5


def bands(values: Floats) -> Floats:
    """Scores 1 to 5 of values, the greatest best; of recency hand over the days negated."""
    values = np.asarray(values, dtype=np.float64)
    below = np.searchsorted(np.sort(values), values, side="left")
    return 1 + np.floor_divide(BANDS * below, max(len(values), 1))
