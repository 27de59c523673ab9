"""Outcomes of all comparisons of a pair in one number."""

# The statements are made of names in this package, never of text from outside.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hoso.unify.likeness.comparisons import Comparison
from hoso.unify.likeness.sql import DUCKDB, Dialect

TERM_STEPS = 2
"""Weights of frequencies are kept in half bits."""


class Packing:
    """Levels to one number and back: a mixed radix with a digit per comparison."""

    def __init__(self, comparisons: Sequence[Comparison], dialect: Dialect = DUCKDB) -> None:
        self._comparisons = comparisons
        self._dialect = dialect

    def levels_sql(self) -> str:
        """Columns ``l0``, ``l1`` … of a query over the records ``a`` and ``b``."""
        return ", ".join(f"{one.level_sql(self._dialect)} AS l{place}" for place, one in enumerate(self._comparisons))

    def terms_sql(self) -> str:
        """What the frequencies of ``a``'s values add, in steps; over the columns of the two others."""
        terms = [one.term_sql(f"l{place}") for place, one in enumerate(self._comparisons)]
        total = " + ".join(f"coalesce({term}, 0)" for term in terms if term) or "0"
        return f"CAST(round(greatest(-40, least(60, {TERM_STEPS} * ({total})))) AS TINYINT)"

    def term_columns(self) -> str:
        """The columns that ``terms_sql`` needs beside the levels."""
        wanted = {level.term for one in self._comparisons for level in one.levels if level.term}
        return ", ".join(f"a.w_{term} AS w_{term}" for term in sorted(wanted)) or "0 AS no_terms"

    def packed_sql(self) -> str:
        """The number, from the columns of ``levels_sql``."""
        total = "0"
        for place, one in enumerate(self._comparisons):
            total = f"({total}) * {len(one.levels) + 1} + l{place}"
        return f"CAST({total} AS BIGINT)"

    def unpacked(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
        """The levels (pairs × comparisons) of numbers."""
        levels = np.zeros((len(numbers), len(self._comparisons)), dtype=np.int16)
        rest = numbers.copy()
        for place in range(len(self._comparisons) - 1, -1, -1):
            radix = len(self._comparisons[place].levels) + 1
            levels[:, place] = rest % radix
            rest //= radix
        return levels
